import random

import pytest

from storage.journal.entries import Entry
from storage.journal.frames import HEADER_BYTES, MAGIC, Place, Scan, draft, header_of, scan
from tests.storage.samples import NOW

START = Place(3, 4096)


def entry(name: str, blob: bytes = b"") -> Entry:
    blobs = {f"hash of {name}": blob} if blob else {}
    return Entry(name, "event", name.encode() * 5, NOW, {f"key “{name}”": "d"}, b"answer", blobs)


def written(*groups: tuple[Entry, ...], start: Place = START) -> bytes:
    data = b""
    for group in groups:
        found = draft(group)
        data += header_of(found, Place(start.segment, start.offset + len(data))) + found.head + b"".join(found.blobs)
    return data


def names(found: Scan) -> list[str]:
    return [e.id for frame in found.frames for e in frame.entries]


THREE = ((entry("a", b"A" * 300), entry("b")), (entry("c", b"C" * 200),), (entry("d"),))


@pytest.mark.parametrize("known_end", [False, True])
def test_frames_come_back_as_they_went_in(known_end: bool) -> None:
    data = written(*THREE)
    found = scan(data, START, known_end=known_end)
    assert tuple(frame.entries for frame in found.frames) == THREE
    assert found.frames[0].start == START
    assert found.frames[0].end == found.frames[1].start
    assert (found.lost, found.end) == ([], START.offset + len(data))


def test_nothing_is_found_in_zeros_or_in_an_earlier_life() -> None:
    for data in (b"", bytes(10_000), written(*THREE, start=Place(2, 4096)), written(*THREE, start=Place(3, 0)), MAGIC):
        assert scan(data, START, known_end=False) == Scan([], [], START.offset)


def test_what_an_earlier_life_left_behind_a_frame_is_not_read() -> None:
    old = written(*THREE, start=Place(2, 4096))
    new = written(THREE[2])
    found = scan(new + old[len(new) :], START, known_end=False)
    assert names(found) == ["d"]
    assert found.end == START.offset + len(new)


def test_a_tail_cut_anywhere_ends_with_the_last_whole_frame() -> None:
    data = written(*THREE)
    ends = [frame.end.offset - START.offset for frame in scan(data, START, known_end=False).frames]
    for cut in range(len(data)):
        whole = sum(end <= cut for end in ends)
        for tail in (b"", bytes(500)):
            found = scan(data[:cut] + tail, START, known_end=False)
            assert tuple(f.entries for f in found.frames) == THREE[:whole], cut


def test_a_byte_damaged_anywhere_costs_no_other_frame() -> None:
    data = written(*THREE)
    frames = scan(data, START, known_end=True).frames
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << at % 8
        found = scan(bytes(broken), START, known_end=True)
        hit = next(f for f in frames if f.end.offset - START.offset > at)
        others = [f for f in frames if f is not hit]
        kept = [f for f in found.frames if f.start == hit.start]
        assert [f for f in found.frames if f.start != hit.start] == others
        if kept:
            # Only an image was hit: the records are whole, and it is told which image is not.
            assert [e.record for e in kept[0].entries] == [e.record for e in hit.entries]
            assert list(kept[0].damaged) == [hit.entries[0].id]
            assert kept[0].entries[0].blobs == {}
        else:
            assert found.lost, at


def test_damage_before_a_whole_frame_is_told_from_a_torn_tail() -> None:
    data = written(*THREE)
    image = data.index(b"C" * 200)
    broken = data[:image] + b"x" + data[image + 1 :]
    assert names(scan(broken, START, known_end=False)) == ["a", "b", "c", "d"], "d was written later, so c was answered"
    last = len(data) - len(written(THREE[2]))
    torn = broken[:last]
    assert names(scan(torn, START, known_end=False)) == ["a", "b"], "nobody was answered on what is torn"
    assert names(scan(torn, START, known_end=True)) == ["a", "b", "c"]


def test_random_bytes_are_survived() -> None:
    rng = random.Random(1)
    data = written(*THREE)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            start = rng.randrange(len(data))
            broken[start : start + rng.randrange(1, 200)] = rng.randbytes(rng.randrange(1, 200))
        for known_end in (False, True):
            for frame in scan(bytes(broken), START, known_end=known_end).frames:
                assert frame.entries in THREE or frame.damaged


def test_a_header_says_where_it_belongs() -> None:
    found = draft((entry("a"),))
    header = header_of(found, START)
    assert len(header) == HEADER_BYTES
    assert header != header_of(found, Place(3, 4097))
