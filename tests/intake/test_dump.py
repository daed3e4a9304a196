"""Crash dumps in the spool: a record each, once, whatever is killed in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asynclog.collector.recovery import recover
from asynclog.intake import dump
from asynclog.intake.dump import DumpFile, collect_dumps
from asynclog.intake.producer import make_producer
from asynclog.intake.ring import Origin, Ring
from asynclog.intake.spool import Spool

TEXT = (
    'Fatal Python error: Segmentation fault\n\nThread 0x1 (most recent call first):\n  File "a.py"'
)


@pytest.fixture
def spool(run_dir: Path, spool_dir: Path) -> Spool:
    """Return a spool that is there."""
    run_dir.mkdir()
    spool = Spool(run_dir, spool_dir)
    spool.prepare()
    return spool


def left_behind(spool: Spool, content: bytes | None = None) -> Path:
    """Leave the dump of a process that has died."""
    path = spool.path / "00000000000000000001-123-abcdef01.dump"
    header = b'{"fields":{"pid":123,"host":"here","rank":3},"max_event_bytes":65536}\n'
    path.write_bytes(header + TEXT.encode() if content is None else content)
    return path


def dumps_of(run_dir: Path) -> list[dict[str, object]]:
    """Return the records of dumps after a recovery."""
    recover(run_dir)
    path = run_dir / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [event for line in lines if (event := json.loads(line)).get("logger") == "faulthandler"]


def test_record(spool: Spool) -> None:
    """The record has the first line as event, the dump, and where it comes from."""
    left_behind(spool)
    [event] = dumps_of(spool.run_dir)
    assert event.pop("timestamp")
    assert event == {
        "level": "critical",
        "event": "Fatal Python error: Segmentation fault",
        "logger": "faulthandler",
        "pid": 123,
        "host": "here",
        "rank": 3,
        "stack": TEXT,
    }
    assert not spool.path.exists()


def test_killed_before_the_dump_is_removed(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that dies after it has made the ring: the next one does not make another."""
    path = left_behind(spool)
    content = path.read_bytes()
    assert collect_dumps(spool)
    path.write_bytes(content)
    assert not collect_dumps(spool)
    assert not path.exists()
    assert len(dumps_of(spool.run_dir)) == 1


def test_killed_before_the_ring_is_filled(spool: Spool) -> None:
    """A collector that dies over an empty ring: the next one begins again."""
    path = left_behind(spool)
    producer = make_producer()
    origin = Origin("", 1)
    Ring.create(path.with_suffix(".ring"), dump.RING_BYTES, origin, producer.next_base).close()
    assert len(dumps_of(spool.run_dir)) == 1


def test_living_process(spool: Spool) -> None:
    """The file of a living process is left alone; without a dump it leaves nothing behind."""
    file = DumpFile.create(spool, {"pid": os.getpid()}, 65536)
    os.write(file.descriptor, TEXT.encode())
    assert not collect_dumps(spool)
    assert file.read() == TEXT
    file.close()
    assert not list(spool.path.glob("*.dump"))


def test_process_that_dies_without_a_dump(spool: Spool) -> None:
    """A file nothing was written to is removed, without a record."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from asynclog.intake.dump import DumpFile; from asynclog.intake.spool import Spool\n"
        "DumpFile.create(Spool(Path(sys.argv[1])," + "Path(sys.argv[2])), {}, 65536)\n"
        "os.kill(os.getpid(), 9)"
    )
    place = str(spool.root.parent)
    subprocess.run([sys.executable, "-c", code, str(spool.run_dir), place], check=False)
    assert len(list(spool.path.glob("*.dump"))) == 1
    assert dumps_of(spool.run_dir) == []
    assert not spool.path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"garbage", b"\xff" * 5000, b"[]\nFatal", b'{"fields":{"pid":1}', b"{}\n   \n"],
)
def test_garbage(spool: Spool, content: bytes) -> None:
    """What is no dump of ours is removed, and harms nobody."""
    left_behind(spool, content)
    assert dumps_of(spool.run_dir) == []
    assert not spool.path.exists()


def test_not_followed(spool: Spool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A link or a named pipe in its place is not opened."""
    target = tmp_path / "target"
    target.write_text("{}\nFatal")
    (spool.path / "1.dump").symlink_to(target)
    os.mkfifo(spool.path / "2.dump")
    assert not collect_dumps(spool)
    assert target.exists()
    assert "crash dump" in capfd.readouterr().err


def test_long_dump(spool: Spool) -> None:
    """A dump of many threads is cut; the line stays within the run's bound."""
    header = b'{"fields":{"pid":123},"max_event_bytes":16384}\n'
    left_behind(spool, header + b"Fatal\n" + b'File "x"\n' * 20_000)
    [event] = dumps_of(spool.run_dir)
    assert event["truncated"] is True
    assert len((spool.run_dir / "events.jsonl").read_bytes()) <= 16384
