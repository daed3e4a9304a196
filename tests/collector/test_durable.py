"""Exactly once: a write that was cut anywhere is finished, and nothing is written twice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog.collector.durable import QUARANTINE, DurableFile
from asynclog.collector.source import Source
from asynclog.intake.ring import HEAD, LINES, Intent, Origin, Ring
from asynclog.sinks.rotation import RotatingFile
from asynclog.typing import Run

HERE = Origin("here", 1)
RECORDS = [b'{"n":%d,"x":"%s"}\n' % (number, b"y" * (number % 40)) for number in range(60)]


def run_in(directory: Path) -> Run:
    """Return a run."""
    return Run(directory, "run", datetime.now(UTC), "here", 1)


def ring_with(lines: Sequence[bytes], base: int = 0) -> Ring:
    """Return a ring that holds lines, wrapped around when base is odd."""
    ring = Ring.private(1 << 16, HERE)
    start = base * ring.size + (ring.size - 50 if base % 2 else 0)
    content = b"".join(lines)
    for at, byte in enumerate(content):
        ring.data[(start + at) % ring.size] = byte
    ring.tail = start
    ring.words[HEAD] = start + len(content)
    ring.words[LINES] = content.count(b"\n")
    return ring


class Disk:
    """Makes rotating files whose next append writes so many bytes and then fails."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.fail_after: int | None = None

    def file(self, run: Run) -> RotatingFile:
        """Return the file of a run."""
        disk = self

        class Failing(RotatingFile):
            def append(self, pieces: Sequence[bytes | memoryview]) -> None:
                if disk.fail_after is None:
                    super().append(pieces)
                    return
                part = b"".join(pieces)[: disk.fail_after]
                disk.fail_after = None
                with open(self.path, "ab") as file:
                    file.write(part)
                raise OSError(28, "No space left on device")

        return Failing(run.directory / "events.jsonl", max_bytes=self.max_bytes, backups=1000)


@pytest.mark.parametrize("base", [0, 1])
def test_a_write_cut_at_any_byte_is_finished_by_the_next_collector(
    tmp_path: Path, base: int
) -> None:
    """Killed after any number of bytes: the redo leaves every line once and whole."""
    content = b"".join(RECORDS[:12])
    for cut in range(len(content) + 1):
        path = tmp_path / "events.jsonl"
        path.write_bytes(b"{}\n" + content[:cut])
        ring = ring_with(RECORDS[:12], base)
        status = path.stat()
        ring.intent = Intent(status.st_dev, status.st_ino, 3, len(content), 12)
        source = Source(ring)
        durable = DurableFile(Disk().file, run_in(tmp_path))
        durable.redo(source)
        durable.write(source, ring.head)
        durable.close()
        assert path.read_bytes() == b"{}\n" + content
        assert source.ring.stored == 12
        assert source.drained()


def test_a_failed_write_is_tried_again_before_any_other(tmp_path: Path) -> None:
    """Two rings in one file: the torn one is finished before the other one writes."""
    disk = Disk()
    durable = DurableFile(disk.file, run_in(tmp_path))
    first, second = Source(ring_with(RECORDS[:30])), Source(ring_with(RECORDS[30:]))
    disk.fail_after = 33
    with pytest.raises(OSError, match="No space"):
        durable.write(first, first.ring.head)
    durable.write(second, second.ring.head)
    durable.write(first, first.ring.head)
    durable.close()
    assert (tmp_path / "events.jsonl").read_bytes() == b"".join(RECORDS)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_sequence_of_failures_loses_and_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Several rings, writes that fail anywhere, collectors that die: each line once, in order."""
    directory = tmp_path_factory.mktemp("run")
    disk = Disk(max_bytes=data.draw(st.sampled_from([None, 400])))
    sources = [
        Source(ring_with([b'{"ring":%d,"n":%d}\n' % (ring, n) for n in range(30)], ring))
        for ring in range(3)
    ]
    with ExitStack() as collectors:

        def new_collector() -> DurableFile:
            """Return one that knows only what is in the rings."""
            collectors.close()
            durable = DurableFile(disk.file, run_in(directory))
            collectors.callback(durable.close)
            for source in sources:
                durable.redo(source)
            return durable

        durable = new_collector()
        for _ in range(200):
            unfinished = [source for source in sources if not source.drained()]
            if not unfinished:
                break
            if data.draw(st.integers(0, 4)) == 0:
                durable = new_collector()
            source = data.draw(st.sampled_from(unfinished))
            goal = data.draw(st.integers(source.ring.tail, source.ring.head))
            disk.fail_after = data.draw(st.none() | st.integers(0, 200))
            try:
                durable.redo(source)
                durable.write(source, source.ring.line_end(source.ring.tail, goal))
            except OSError:
                pass
            disk.fail_after = None
        durable = new_collector()
        for source in sources:
            durable.write(source, source.ring.head)
    lines = b"".join(path.read_bytes() for path in directory.glob("events.jsonl*")).splitlines(
        keepends=True
    )
    if disk.max_bytes is None:
        for ring in range(3):
            own = [line for line in lines if line.startswith(b'{"ring":%d,' % ring)]
            assert own == [b'{"ring":%d,"n":%d}\n' % (ring, n) for n in range(30)]
        assert len(lines) == 90
    assert len(lines) == len(set(lines))
    assert sum(source.ring.stored for source in sources) == 90


def test_foreign_bytes_behind_a_torn_piece(tmp_path: Path) -> None:
    """Whole lines of ours stay, the torn one is written again, the fragment is ended."""
    path = tmp_path / "events.jsonl"
    content = b"".join(RECORDS[:3])
    torn = len(RECORDS[0]) + 4
    path.write_bytes(content[:torn] + b"foreign without end")
    status = path.stat()
    ring = ring_with(RECORDS[:3])
    ring.intent = Intent(status.st_dev, status.st_ino, 0, len(content), 3)
    source = Source(ring)
    durable = DurableFile(Disk().file, run_in(tmp_path))
    durable.redo(source)
    durable.write(source, ring.head)
    durable.close()
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines == [RECORDS[0], RECORDS[1][:4] + b"foreign without end\n", RECORDS[1], RECORDS[2]]


def test_a_file_that_is_gone_or_was_cut_is_written_anew(tmp_path: Path) -> None:
    """The intent names a file that does not exist any more, or is shorter: all lines come again."""
    path = tmp_path / "events.jsonl"
    for prepare in ("missing", "truncated"):
        path.write_bytes(b"z" * 1000)
        status = path.stat()
        ring = ring_with(RECORDS[:3])
        ring.intent = Intent(status.st_dev, status.st_ino, 1000, ring.head, 3)
        if prepare == "missing":
            (tmp_path / "elsewhere").mkdir()
            os.rename(path, tmp_path / "elsewhere" / path.name)
        else:
            os.truncate(path, 0)
        source = Source(ring)
        durable = DurableFile(Disk().file, run_in(tmp_path))
        durable.redo(source)
        durable.write(source, ring.head)
        durable.close()
        assert path.read_bytes() == b"".join(RECORDS[:3])


def test_garbage_in_a_dead_ring_goes_to_quarantine(tmp_path: Path) -> None:
    """What is no JSON is kept apart and counted; the lines around it are written."""
    good, bad = RECORDS[:4], [b"\x00\x01garbage\n", b'{"half": \n', b"[1]\n"]
    ring = ring_with([good[0], bad[0], good[1], good[2], bad[1], bad[2], good[3], b"no end"])
    source = Source(ring)
    source.ended = True
    durable = DurableFile(Disk().file, run_in(tmp_path))
    durable.write(source, ring.head)
    durable.close()
    assert (tmp_path / "events.jsonl").read_bytes() == b"".join(good)
    assert (tmp_path / QUARANTINE).read_bytes() == b"".join([*bad, b"no end"])
    assert source.ring.stored == 4
    assert source.quarantined == 4
    assert (tmp_path / QUARANTINE).stat().st_mode & 0o777 == 0o640
