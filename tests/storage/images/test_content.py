import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.images import IMAGE_STORES, UnknownImageStore, open_image_store
from storage.images.content import ContentMissing, ContentStore

ADDRESSES: dict[str, Callable[[Path], str]] = {"file": lambda folder: f"file://{folder / 'a store'}"}


@pytest.fixture(params=sorted(IMAGE_STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ContentStore:
    return open_image_store(ADDRESSES[request.param](tmp_path))


def test_what_was_put_can_be_had_by_its_hash(store: ContentStore) -> None:
    data = bytes(range(256)) * 100
    sha256 = store.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert store.has(sha256)
    assert store.get(sha256) == data
    assert store.uri(sha256) == f"{store.address}/{sha256[:2]}/{sha256}"


def test_putting_the_same_twice_changes_nothing(store: ContentStore) -> None:
    assert store.put(b"same") == store.put(b"same")
    assert store.put_all([b"same", b"new", b"same"]) == [
        hashlib.sha256(b).hexdigest() for b in (b"same", b"new", b"same")
    ]
    assert store.get(store.put(b"same")) == b"same"


def test_bytes_whose_hash_is_known_are_put_under_it(store: ContentStore) -> None:
    known = [(hashlib.sha256(data).hexdigest(), data) for data in (b"left", b"right", b"left")]
    assert store.put_known(known) == [sha256 for sha256, _ in known]
    assert [store.get(sha256) for sha256, _ in known] == [b"left", b"right", b"left"]


def test_nothing_can_be_put_and_an_empty_object_too(store: ContentStore) -> None:
    assert store.put_all([]) == []
    assert store.get(store.put(b"")) == b""


def test_what_is_not_there_is_missing_with_a_remedy(store: ContentStore) -> None:
    absent = hashlib.sha256(b"absent").hexdigest()
    assert not store.has(absent)
    with pytest.raises(ContentMissing, match=absent) as missing:
        store.get(absent)
    assert missing.value.sha256 == absent
    assert "LOUPE_IMAGE_STORE_URL" in missing.value.remedy


def test_an_object_that_lost_its_bytes_to_a_power_cut_is_written_again(tmp_path: Path) -> None:
    """Between writing and settling a file may keep its name and lose its bytes."""
    store = open_image_store(f"file://{tmp_path}")
    sha256 = store.put(b"an image")
    (tmp_path / sha256[:2] / sha256).write_bytes(b"")
    assert store.put(b"an image") == sha256
    assert store.get(sha256) == b"an image"


def test_a_folder_with_any_name_can_hold_images(tmp_path: Path) -> None:
    folder = tmp_path / "größe 100%"
    store = open_image_store((folder).as_uri())
    sha256 = store.put(b"x")
    assert (folder / sha256[:2] / sha256).read_bytes() == b"x"


@pytest.mark.parametrize("address", ["", "images", "/var/lib/images", "ftp://host/x", "://"])
def test_an_address_of_no_known_kind_is_refused(address: str) -> None:
    with pytest.raises(UnknownImageStore) as refused:
        open_image_store(address)
    assert "file://" in refused.value.remedy
