"""Following sinks: what a backend missed, it gets later; nothing twice, nothing lost."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from asynclog.collector.follow import Feed
from asynclog.collector.trail import CURSORS, Trail
from asynclog.sinks.rotation import RotatingFile
from asynclog.typing import Batch, Run


def _record(number: int, kind: str | None = "metrics") -> bytes:
    head = '{"timestamp":"2026-01-31T12:00:00.123456Z",'
    if kind is not None:
        head += f'"kind":"{kind}",'
    return f'{head}"level":"info","event":"x","n":{number}}}\n'.encode()


class Backend:
    """A sink that keeps numbers, and fails when it is told to."""

    kinds: ClassVar[frozenset[str]] = frozenset({"metrics", "hparams"})

    def __init__(self) -> None:
        self.got: list[int] = []
        self.restored: Any = "never"
        self.fail = False

    def restore(self, state: dict[str, Any] | None) -> None:
        """Forget what was not confirmed."""
        self.restored = state
        if state is not None:
            del self.got[state["count"] :]

    def state(self) -> dict[str, Any]:
        """Return how much there is."""
        return {"count": len(self.got)}

    def write_blocking(self, batch: Batch) -> None:
        """Keep the numbers, or raise."""
        if self.fail:
            raise ConnectionError("away")
        self.got += [event["n"] for event in batch.events]


def _run(directory: Path) -> Run:
    return Run(directory, "run", datetime.now(UTC), "host", os.getpid())


def _feed(
    run_dir: Path, sink: Backend, files: Sequence[RotatingFile], *, from_start: bool = False
) -> Feed:
    trail = Trail(
        run_dir, "backend", sink.kinds, written=lambda: files, existing=run_dir.glob("e*.jsonl")
    )
    feed = Feed(sink, trail)
    feed.begin(from_start=from_start)
    feed.open(_run(run_dir))
    return feed


def _all(feed: Feed) -> None:
    while feed.step():
        pass


@pytest.fixture
def file(tmp_path: Path) -> RotatingFile:
    """Return a file that rotates after a few records."""
    return RotatingFile(tmp_path / "e.jsonl", max_bytes=1000, backups=50)


def test_only_its_kinds(tmp_path: Path, file: RotatingFile) -> None:
    """A sink gets the records of its kinds and no others, whatever their text says."""
    sink = Backend()
    feed = _feed(tmp_path, sink, [file])
    tricky = _record(9, None).replace(b'"x"', rb'"\",\"kind\":\"metrics\""')
    file.write(_record(1) + _record(2, None) + _record(3, "hparams") + _record(4, "note") + tricky)
    _all(feed)
    assert sink.got == [1, 3]
    feed.close()
    file.close()


def test_failed_batch_comes_again(tmp_path: Path, file: RotatingFile) -> None:
    """A batch whose write raised is written later, once, before what came behind it."""
    sink = Backend()
    feed = _feed(tmp_path, sink, [file])
    file.write(_record(1))
    sink.fail = True
    for _ in range(3):
        with pytest.raises(ConnectionError):
            feed.step()
    file.write(_record(2))
    sink.fail = False
    _all(feed)
    assert sink.got == [1, 2]
    feed.close()
    file.close()


def test_goes_on_at_its_cursor(tmp_path: Path, file: RotatingFile) -> None:
    """The next start gives the sink what it has not got, across rotations, and its state."""
    sink = Backend()
    feed = _feed(tmp_path, sink, [file])
    assert sink.restored is None
    file.write(_record(1))
    _all(feed)
    feed.close()
    for number in range(2, 60):
        file.write(_record(number))
    file.close()
    again = Backend()
    again.got = [1]
    feed = _feed(tmp_path, again, [])
    assert again.restored == {"count": 1}
    _all(feed)
    assert again.got == list(range(1, 60))
    feed.close()


def test_kill_between_write_and_cursor(tmp_path: Path, file: RotatingFile) -> None:
    """What was written and not confirmed is undone by the state and written again: once."""
    sink = Backend()
    feed = _feed(tmp_path, sink, [file])
    file.write(_record(1))
    _all(feed)
    file.write(_record(2))
    # written, and then killed before the cursor was saved
    sink.got.append(2)
    feed.close()
    feed = _feed(tmp_path, sink, [file])
    _all(feed)
    assert sink.got == [1, 2]
    feed.close()
    file.close()


def test_new_sink_on_an_old_run(tmp_path: Path, file: RotatingFile) -> None:
    """A sink that was not there before gets what comes from now on; from_start gives it all."""
    file.write(_record(1))
    sink = Backend()
    feed = _feed(tmp_path, sink, [file])
    file.write(_record(2))
    _all(feed)
    assert sink.got == [2]
    feed.close()
    whole = Backend()
    feed = _feed(tmp_path, whole, [file], from_start=True)
    _all(feed)
    assert whole.got == [1, 2]
    feed.close()
    file.close()


def test_files_that_come_later(tmp_path: Path, file: RotatingFile) -> None:
    """Files of further ranks are followed from their beginning, also by the next start."""
    sink = Backend()
    files = [file]
    feed = _feed(tmp_path, sink, files)
    other = RotatingFile(tmp_path / "e_rank1.jsonl", max_bytes=None, backups=1)
    other.write(_record(1))
    files.append(other)
    _all(feed)
    feed.close()
    third = RotatingFile(tmp_path / "e_rank2.jsonl", max_bytes=None, backups=1)
    third.write(_record(2))
    other.write(_record(3))
    feed = _feed(tmp_path, sink, [])
    _all(feed)
    assert sorted(sink.got) == [1, 2, 3]
    feed.close()
    for each in (*files, third):
        each.close()


def test_counts_what_is_left(tmp_path: Path, file: RotatingFile) -> None:
    """What the sink has not got can be counted while it hangs."""
    sink = Backend()
    trail = Trail(tmp_path, "backend", sink.kinds, written=lambda: [file])
    feed = Feed(sink, trail)
    feed.begin()
    feed.open(_run(tmp_path))
    file.write(_record(1) + _record(2, None) + _record(3))
    assert trail.take() is not None
    assert trail.left() == 2
    feed.close()
    file.close()


def test_broken_cursor_is_not_used(
    tmp_path: Path, file: RotatingFile, capfd: pytest.CaptureFixture[str]
) -> None:
    """A cursor that cannot be read is said and replaced, and stops nothing."""
    cursor = tmp_path / CURSORS / "backend.json"
    cursor.parent.mkdir(parents=True)
    cursor.write_text("[]")
    sink = Backend()
    feed = _feed(tmp_path, sink, [file])
    assert "cannot be read" in capfd.readouterr().err
    assert json.loads(cursor.read_text())["version"] == 1
    feed.close()


def test_cursor_is_private(tmp_path: Path, file: RotatingFile) -> None:
    """Only the user may read a cursor: a sink's state may name accounts."""
    feed = _feed(tmp_path, Backend(), [file])
    cursor = tmp_path / CURSORS / "backend.json"
    assert stat.S_IMODE(cursor.stat().st_mode) == 0o600
    feed.close()
