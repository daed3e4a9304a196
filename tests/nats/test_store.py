"""The receiver's file and ledger: each line once, though its writer is killed at any instant."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from asynclog.exceptions import SettingError

from .conftest import PATIENCE, eventually, records_of
from .storing import FILES, LINES, message, open_store


def _check(run_dir: Path) -> int:
    """See that the files hold the stream up to some message, once; return how many records."""
    records = records_of(run_dir)
    counts = Counter((record["source"], record["n"] - 10_000_000) for record in records)
    assert set(counts.values()) <= {1}
    for source in range(FILES):
        numbers = [record["n"] - 10_000_000 for record in records if record["source"] == source]
        assert numbers == [*range(len(numbers))]
        assert len(numbers) % LINES == 0
    assert all(record["host"] == f"host{record['source']}" for record in records)
    return len(records)


def test_repeats_and_rotation(run_dir: Path) -> None:
    """Parts that come again, alone or with new ones, are written once, over all rotations."""
    store = open_store(run_dir)
    for first in range(0, 200, 7):
        store.take([message(number) for number in range(first, first + 7)])
        # the server sends again what was not acknowledged
        assert (
            store.take([message(number) for number in range(max(0, first - 3), first + 7)]) == b""
        )
    store.close()
    assert _check(run_dir) == store.records == (203 // FILES) * FILES * LINES + 3 * LINES
    assert store.repeated > 0
    assert len([*run_dir.glob("events.jsonl.*")]) > 5


def test_other_stream(run_dir: Path) -> None:
    """A stream of the same name, numbered anew, adds what is new in it."""
    store = open_store(run_dir)
    store.take([message(number) for number in range(20)])
    store.begin("another stream")
    assert store.sequence == 0
    assert store.take([message(number) for number in range(10)]) == b""
    assert store.take([message(number) for number in range(10, 30)]).count(b"\n") == 10 * LINES
    store.close()
    assert _check(run_dir) == 30 * LINES


def test_disk_is_full(run_dir: Path) -> None:
    """What cannot be written is not entered; given again, it is written once."""
    store = open_store(run_dir)
    store.take([message(number) for number in range(10)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # the ledger takes less than this, the next messages more
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.take([message(number) for number in range(10, 40)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.sequence == 10
    store.take([message(number) for number in range(10, 40)])
    store.close()
    assert _check(run_dir) == 40 * LINES


def test_files_are_gone(run_dir: Path) -> None:
    """Removed files are not missed; files of somebody else are refused, and left as they are."""
    store = open_store(run_dir)
    store.take([message(number) for number in range(10)])
    store.close()
    (run_dir / "events.jsonl").unlink()
    store = open_store(run_dir)
    store.take([message(number) for number in range(10, 15)])
    store.close()
    assert len(records_of(run_dir)) == 5 * LINES
    (run_dir / "events.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(SettingError, match="holds other lines"):
        open_store(run_dir)
    assert (run_dir / "events.jsonl").read_text() == '{"mine": 1}\n'


def test_copied_directory(run_dir: Path, tmp_path: Path) -> None:
    """A run directory that was copied elsewhere goes on where it was."""
    store = open_store(run_dir)
    store.take([message(number) for number in range(10)])
    store.close()
    copied = tmp_path / "copied"
    subprocess.run(["cp", "-r", str(run_dir), str(copied)], check=True)
    store = open_store(copied)
    store.take([message(number) for number in range(5, 20)])
    store.close()
    assert _check(copied) == 20 * LINES


def _kill_and_go_on(run_dir: Path, rounds: int) -> None:
    chance = random.Random(rounds)
    command = [sys.executable, str(Path(__file__).with_name("storing.py")), str(run_dir)]
    for _ in range(rounds):
        before = _size(run_dir)
        process = subprocess.Popen([*command, "1000000"])
        try:
            eventually(lambda size=before: _size(run_dir) != size, "a line")
            time.sleep(chance.random() * 0.05)
        finally:
            process.kill()
            process.wait(PATIENCE)
    subprocess.run([*command, "3"], check=True, timeout=PATIENCE)
    assert _check(run_dir) > 0


def _size(run_dir: Path) -> tuple[int, int]:
    size, paths = 0, [*run_dir.glob("events.jsonl*")]
    for path in paths:
        # it may be renamed at this moment
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return len(paths), size


def test_killed(run_dir: Path) -> None:
    """Killed while it writes, rotates and enters: no line is lost, none is there twice."""
    _kill_and_go_on(run_dir, 4)


@pytest.mark.faults
def test_killed_often(run_dir: Path) -> None:
    """The same 200 times."""
    _kill_and_go_on(run_dir, 200)
