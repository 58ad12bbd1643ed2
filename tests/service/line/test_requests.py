from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.line.requests import MEDIA_TYPES, MODES, PartRequest, Refusal, UnknownType, WrongRequest, read_request

FIELDS = (
    "station", "trigger_id", "trigger_epoch", "product", "part_id", "lot", "camera", "view_id", "captured_at",
    "deadline_ms", "mode",
)  # fmt: skip
HEADERS = ("content-type", "x-pixel-format", "x-width", "x-height", "x-stride")
NEEDED = {"station": "s1", "trigger_id": "7"}
JPEG = {"content-type": "image/jpeg"}

anything = st.text(max_size=250)
likely = st.sampled_from(
    ["", " ", "s1", "7", "0", "-1", "nan", "inf", "1e309", "1e400", "٣", "²", "production", "2026-03-01T06:30:00 02:00"]
)


def read(query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> PartRequest:
    return read_request({**NEEDED, **(query or {})}, {**JPEG, **(headers or {})})


def read_or_refusal(query: dict[str, str], headers: dict[str, str]) -> PartRequest | Refusal:
    try:
        return read_request(query, headers)
    except Refusal as refusal:
        return refusal


@given(
    st.dictionaries(st.sampled_from(FIELDS), anything | likely),
    st.dictionaries(st.sampled_from(HEADERS), anything | likely | st.sampled_from(MEDIA_TYPES)),
)
def test_whatever_is_sent_is_read_or_refused_with_a_remedy(query: dict[str, str], headers: dict[str, str]) -> None:
    part = read_or_refusal(query, headers)
    if isinstance(part, Refusal):
        assert str(part)
        assert part.remedy
        return
    assert part.station
    assert part.trigger_id
    assert part.mode in MODES
    assert [view.media_type in MEDIA_TYPES for view in part.views] == [True]
    assert part.deadline_ms is None or 0 < part.deadline_ms < 1e7
    assert part.captured_at is None or part.captured_at.tzinfo is UTC


TEXT = st.characters(categories=["L", "N", "P"], exclude_characters="/+#")


@given(st.lists(st.tuples(*[st.text(TEXT, min_size=1, max_size=5)] * 4), min_size=2))
def test_different_parts_have_different_keys(parts: list[tuple[str, str, str, str]]) -> None:
    names = ("station", "trigger_epoch", "trigger_id", "view_id")
    read_parts = {part: read(dict(zip(names, part, strict=True))) for part in parts}
    keys = {part: found.key(found.views[0]) for part, found in read_parts.items()}
    assert len(set(keys.values())) == len(keys)
    part_keys = {part[:3]: found.part_key for part, found in read_parts.items()}
    assert len(set(part_keys.values())) == len(part_keys)
    assert not set(keys.values()) & set(part_keys.values())


def test_fields_that_were_not_sent_have_defaults() -> None:
    part = read()
    (view,) = part.views
    assert (view.camera, view.view_id, part.trigger_epoch, part.mode) == ("0", "0", "", "production")
    assert (part.product, part.part_id, part.lot, part.captured_at, part.deadline_ms) == (None,) * 5


@pytest.mark.parametrize("field", ["station", "trigger_id"])
@pytest.mark.parametrize("value", ["", "   "])
def test_part_without_identity_is_refused(field: str, value: str) -> None:
    with pytest.raises(WrongRequest, match=field):
        read({field: value})


@pytest.mark.parametrize("field", [f for f in FIELDS if f not in ("captured_at", "deadline_ms", "mode")])
@pytest.mark.parametrize("value", ["x" * 201, "a\nb", "a\x00b", "a\u202eb", "\ud800"])
def test_text_that_is_long_or_not_printable_is_refused(field: str, value: str) -> None:
    with pytest.raises(WrongRequest, match=field):
        read({field: value})


@pytest.mark.parametrize("value", ["", "0", "-1", "nan", "inf", "1e7", "soon", "1,5"])
def test_deadline_that_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(WrongRequest, match="deadline_ms"):
        read({"deadline_ms": value})


@pytest.mark.parametrize("name", ["x-width", "x-height", "x-stride"])
@pytest.mark.parametrize("value", ["", "-1", "1.5", "²", "٣", "9999999999", "abc"])
def test_raw_size_that_is_no_whole_number_is_refused(name: str, value: str) -> None:
    with pytest.raises(WrongRequest, match=name):
        read(headers={name: value})


@pytest.mark.parametrize(
    "value",
    ["2026-03-01T06:30:00Z", "2026-03-01T08:30:00+02:00", "2026-03-01T08:30:00 02:00", "2026-03-01T06:30:00",
     "2026-03-01 06:30:00"],
)  # fmt: skip
def test_time_of_capture_is_utc(value: str) -> None:
    assert read({"captured_at": value}).captured_at == datetime(2026, 3, 1, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00", " "])
def test_time_of_capture_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(WrongRequest, match="captured_at"):
        read({"captured_at": value})


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "image/gif", "image/webp", "multipart/form-data; boundary=x", "application/json"]
)
def test_type_that_is_not_read_is_refused(media_type: str) -> None:
    with pytest.raises(UnknownType):
        read(headers={"content-type": media_type})


def test_type_is_read_whatever_its_case_and_parameters() -> None:
    assert read(headers={"content-type": "Image/JPEG; charset=binary"}).views[0].media_type == "image/jpeg"


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(WrongRequest, match="mode"):
        read({"mode": "Production"})


@pytest.mark.parametrize("station", ["a/b", "a+", "#1"])
def test_station_that_would_not_fit_an_address_or_a_topic_is_refused(station: str) -> None:
    with pytest.raises(WrongRequest, match=r"one of / . #"):
        read({"station": station})
