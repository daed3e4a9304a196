"""Journal: reading on in a rotated file, whatever happens to its parts."""

from __future__ import annotations

import gzip
import os
import random
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asynclog.sinks.journal import Journal, Place
from asynclog.sinks.rotation import RotatingFile


def _line(number: int, length: int = 0) -> bytes:
    return b'{"n":%d,"x":"%b"}\n' % (number, b"y" * length)


def _read_all(journal: Journal, size: int = 4096) -> bytes:
    found = b""
    while lines := journal.read(size):
        found += lines
    return found


def test_reads_what_is_there_and_then_what_comes(tmp_path: Path) -> None:
    """Whole lines are returned once each, in order; an unfinished line waits for its end."""
    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    assert journal.read() == b""
    path.write_bytes(_line(1) + b'{"n":')
    assert journal.read() == _line(1)
    assert journal.read() == b""
    with path.open("ab") as file:
        file.write(b"2}\n")
    assert journal.read() == b'{"n":2}\n'
    journal.close()


def test_line_longer_than_a_piece_is_whole(tmp_path: Path) -> None:
    """A line is never cut, however small the pieces are."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(_line(1, 10_000) + _line(2))
    journal = Journal(path)
    assert journal.read(16).startswith(_line(1, 10_000))
    _read_all(journal, 16)
    assert journal.place.offset == path.stat().st_size
    journal.close()


def test_reads_no_further_than_the_writer_vouches_for(tmp_path: Path) -> None:
    """Bytes that the writer may still cut back are not returned."""
    file = RotatingFile(tmp_path / "events.jsonl", max_bytes=None, backups=1)
    position = file.prepare(0)
    file.append([_line(1)])
    journal = Journal(file.path, written=lambda: position._replace(offset=len(_line(1))))
    with file.path.open("ab") as other:
        other.write(_line(2))
    assert _read_all(journal) == _line(1)
    journal.close()
    file.close()


@pytest.mark.parametrize("compress", [False, True])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.sampled_from(["write", "read", "reopen", "settle"]), min_size=5, max_size=60),
)
def test_every_line_once_across_rotation(
    tmp_path: Path, compress: bool, seed: int, steps: list[str]
) -> None:
    """While no part is removed, a reader that comes back from its place misses and repeats none."""
    directory = tmp_path / uuid.uuid4().hex
    rng = random.Random(seed)
    file = RotatingFile(directory / "e.jsonl", max_bytes=200, backups=100, compress=compress)
    journal = Journal(file.path)
    wrote, found = b"", b""
    try:
        for number, step in enumerate(steps):
            if step == "write":
                line = _line(number, rng.randrange(120))
                file.write(line)
                wrote += line
            elif step == "read":
                found += journal.read(rng.choice([1, 64, 4096]))
            elif step == "reopen":
                journal.close()
                journal = Journal(file.path, journal.place)
            else:
                # compressing goes on in a thread; here it ends
                file.close()
        file.close()
        found += _read_all(journal, 64)
        assert found == wrote
        assert journal.gaps == 0
    finally:
        file.close()
        journal.close()


def test_removed_part_is_a_gap(tmp_path: Path) -> None:
    """What was rotated away before it was read is counted, and reading goes on behind it."""
    file = RotatingFile(tmp_path / "e.jsonl", max_bytes=60, backups=1)
    file.write(_line(0, 40))
    journal = Journal(file.path)
    assert journal.read() == _line(0, 40)
    journal.close()
    for number in (1, 2, 3):
        file.write(_line(number, 40))
    journal = Journal(file.path, journal.place)
    assert _read_all(journal) == _line(2, 40) + _line(3, 40)
    assert journal.gaps == 1
    journal.close()
    file.close()


def test_part_that_is_open_survives_its_removal(tmp_path: Path) -> None:
    """The rest of a part that is being read is still read when its name is gone."""
    path = tmp_path / "e.jsonl"
    path.write_bytes(_line(1) + _line(2))
    journal = Journal(path)
    assert journal.read(1) == _line(1)
    path.unlink()
    path.write_bytes(_line(3))
    assert _read_all(journal) == _line(2) + _line(3)
    journal.close()


def test_truncated_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    """After copytruncate reading goes on with what is written then."""
    path = tmp_path / "e.jsonl"
    path.write_bytes(_line(1, 50))
    journal = Journal(path)
    assert journal.read() == _line(1, 50)
    os.truncate(path, 0)
    with path.open("ab") as file:
        file.write(_line(2))
    assert _read_all(journal) == _line(2)
    journal.close()


@pytest.mark.parametrize("compress", [False, True])
def test_to_end_skips_what_is_there(tmp_path: Path, compress: bool) -> None:
    """A reader may begin behind everything that exists, rotated parts included."""
    file = RotatingFile(tmp_path / "e.jsonl", max_bytes=60, backups=9, compress=compress)
    journal = Journal(file.path)
    journal.to_end()
    assert journal.place == Place()
    for number in range(4):
        file.write(_line(number, 40))
    file.close()
    journal.to_end()
    assert _read_all(journal) == b""
    file.write(_line(9, 40))
    file.close()
    assert _read_all(journal) == _line(9, 40)
    journal.close()


def test_to_end_with_an_empty_current_file(tmp_path: Path) -> None:
    """An empty current file behind rotated parts does not make their lines come back."""
    file = RotatingFile(tmp_path / "e.jsonl", max_bytes=60, backups=9)
    file.write(_line(0, 40))
    file.close()
    (tmp_path / "e.jsonl").rename(tmp_path / "e.jsonl.1")
    (tmp_path / "e.jsonl").touch()
    journal = Journal(file.path)
    journal.to_end()
    assert _read_all(journal) == b""
    file.write(_line(1, 40))
    file.close()
    assert _read_all(journal) == _line(1, 40)
    journal.close()


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    """A link in the file's place is not followed."""
    (tmp_path / "secret").write_bytes(_line(1))
    (tmp_path / "e.jsonl").symlink_to(tmp_path / "secret")
    journal = Journal(tmp_path / "e.jsonl")
    with pytest.raises(OSError, match="symbolic link"):
        journal.read()


def test_a_damaged_compressed_part_is_a_gap(tmp_path: Path) -> None:
    """Of a compressed part that was cut off, what can be read is read; then comes the next part."""
    path = tmp_path / "events.jsonl"
    lines = b"".join(_line(number, random.Random(number).randrange(50)) for number in range(5000))
    packed = gzip.compress(lines)
    path.with_name("events.jsonl.1.gz").write_bytes(packed[: len(packed) // 2])
    path.write_bytes(_line(5001))
    journal = Journal(path)
    found = _read_all(journal)
    assert found.endswith(_line(5001))
    assert lines.startswith(found.removesuffix(_line(5001)))
    assert found.count(b"\n") > 1000
    assert journal.gaps == 1
    journal.close()


def test_the_end_is_that_of_a_line(tmp_path: Path) -> None:
    """Whoever begins at the end gets the line that is being written then, whole."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(_line(1) + b'{"n":2')
    journal = Journal(path)
    journal.to_end()
    with path.open("ab") as file:
        file.write(b"}\n")
    assert journal.read() == b'{"n":2}\n'
    journal.close()
