"""The ring file: its format, its header, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.intake.locks import FileLock
from asynclog.intake.ring import (
    HEAD,
    HEADER_BYTES,
    Intent,
    Origin,
    Ring,
    RingFormatError,
    lines_between,
)

ORIGIN = Origin("node-7", 4711, 3, None)
SIZE = 1 << 16


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a ring may be made."""
    return tmp_path / "a.ring"


def test_a_ring_is_read_by_another_mapping(place: Path) -> None:
    """What one process puts, another one that opens the file sees, with its origin."""
    ring = Ring.create(place, SIZE, ORIGIN)
    ring.data[:6] = b"hello\n"
    ring.words[HEAD] = 6
    other = Ring.open(place)
    assert other.origin == ORIGIN
    assert other.read(other.tail, other.head) == b"hello\n"
    other.close()
    ring.close()


def test_modes_and_liveness(place: Path) -> None:
    """The file is for its owner alone, and its lock tells whether the maker is alive."""
    ring = Ring.create(place, SIZE, ORIGIN)
    assert place.stat().st_mode & 0o777 == 0o600
    probe = FileLock(place)
    assert not probe.acquire()
    ring.close()
    assert probe.acquire()
    probe.release()


def test_a_half_made_ring_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room, neither the ring nor a file under construction remains."""

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="No space"):
        Ring.create(place, SIZE, ORIGIN)
    assert list(place.parent.iterdir()) == []


def test_a_name_that_is_taken_is_refused(place: Path) -> None:
    """Neither an existing file nor a symbolic link in the way is followed."""
    place.with_suffix(".new").symlink_to(place.parent / "elsewhere")
    with pytest.raises(FileExistsError):
        Ring.create(place, SIZE, ORIGIN)
    assert not (place.parent / "elsewhere").exists()


@pytest.mark.parametrize(
    ("word", "value", "problem"),
    [
        (0, 1, "magic"),
        (1, 99, "format version 99"),
        (2, 12345, "size"),
        (3, 10**12, "disagree"),
        (4, 10**12, "disagree"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(
    place: Path, word: int, value: int, problem: str
) -> None:
    """A ring that was overwritten, or made by another version, is named and never misread."""
    ring = Ring.create(place, SIZE, ORIGIN)
    ring.words[word] = value
    ring.close()
    with pytest.raises(RingFormatError, match=problem):
        Ring.open(place)


@pytest.mark.parametrize("length", [0, 17, HEADER_BYTES, HEADER_BYTES + 100])
def test_a_truncated_file_is_refused(place: Path, length: int) -> None:
    """A file that is too short is refused before anything is read from it."""
    Ring.create(place, SIZE, ORIGIN).close()
    os.truncate(place, length)
    with pytest.raises(RingFormatError):
        Ring.open(place)


def test_an_intent_is_void_once_tail_has_moved() -> None:
    """Moving the tail is what says that a write is done."""
    ring = Ring.private(SIZE, ORIGIN)
    intent = Intent(1, 2, 3, 4, 5)
    ring.intent = intent
    assert ring.intent == intent
    ring.tail = 4
    assert ring.intent is None
    ring.intent = intent
    ring.intent = None
    assert ring.intent is None


@given(
    lines=st.lists(st.binary(max_size=200).map(lambda b: b.replace(b"\n", b" ") + b"\n")),
    base=st.integers(0, 5),
    shift=st.integers(0, SIZE - 1),
)
def test_positions_wrap_around(lines: list[bytes], base: int, shift: int) -> None:
    """Whatever the position, spans, lines and line ends come out as they went in."""
    ring = Ring.private(SIZE, ORIGIN, base * SIZE)
    start = base * SIZE + shift
    at = start
    ends = [start]
    for line in lines:
        if at + len(line) - start > SIZE:
            break
        for byte in range(len(line)):
            ring.data[(at + byte) % SIZE] = line[byte]
        at += len(line)
        ends.append(at)
    ring.words[HEAD] = at
    kept = lines[: len(ends) - 1]
    assert ring.read(start, at) == b"".join(kept)
    assert [stop for _, stop in lines_between(ring, start, at)] == ends[1:]
    for limit in (at, at - 1, at - 7, start + 1):
        if limit >= start:
            assert ring.line_end(start, limit) == max(end for end in ends if end <= limit)


def test_locks_survive_unlinking(tmp_path: Path) -> None:
    """A lock file that is removed by its holder never lets two hold it."""
    path = tmp_path / "lock"
    first, second = FileLock(path), FileLock(path)
    assert first.acquire(create=True)
    assert not second.acquire(create=True)
    first.release(unlink=True)
    assert second.acquire(create=True)
    third = FileLock(path)
    assert not third.acquire(create=True)
    second.release()
    assert third.acquire()
    third.release()
