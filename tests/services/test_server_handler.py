"""Processes of servers: those that log after the stop, and those that start after a fork."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import asynclog
from asynclog.stdlib.server import ServerHandler

from .servers import read_events


def made(message: str, level: int = logging.INFO) -> logging.LogRecord:
    """Return a record as a server makes it."""
    return logging.LogRecord("uvicorn.error", level, "/lib/server.py", 113, message, (), None)


def texts(run_dir: Path) -> list[str]:
    """Return the events in the files of a run."""
    return [event["event"] for event in read_events(run_dir)]


def test_records_after_the_stop(run_dir: Path, spool_dir: Path) -> None:
    """What a server logs after the application stopped the pipeline is in the file at once."""
    handler = ServerHandler()
    for number in range(2):
        with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
            handler.handle(made(f"running {number}"))
        handler.handle(made(f"late {number}"))
        handler.handle(made("too low", logging.DEBUG))
        assert texts(run_dir)[-2:] == [f"running {number}", f"late {number}"]
        assert not [path for path in spool_dir.rglob("*") if path.is_file()]
    assert len(texts(run_dir)) == 4


def test_records_that_cannot_be_written(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What comes after the stop and cannot be written is complained of, and written later."""
    handler = ServerHandler()
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        handler.handle(made("running"))
    file = run_dir / "events.jsonl"
    file.rename(run_dir / "aside")
    file.mkdir()
    handler.handle(made("late"))
    assert "asynclog: cannot log into a run that was stopped" in capfd.readouterr().err
    file.rmdir()
    (run_dir / "aside").rename(file)
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        pass
    assert texts(run_dir) == ["running", "late"]


FORKED = """
import os, sys, time
from pathlib import Path
import pytest

import asynclog

asynclog.start_sync("run", sinks=[asynclog.JsonlFile()])
log = asynclog.get_logger("app")
pid = os.fork()
if pid:
    status = os.waitpid(pid, 0)[1]
    asynclog.stop_sync()
    sys.exit(os.waitstatus_to_exitcode(status))


def rings():
    found = Path(os.environ["ASYNCLOG_SPOOL_DIR"]).rglob("*.ring")
    return [path for path in found if f"-{os.getpid()}-" in path.name]


def wait_for_rings(number):
    deadline = time.monotonic() + 60
    while len(rings()) != number:
        assert time.monotonic() < deadline, rings()
        time.sleep(0.01)


log.info("before")
wait_for_rings(1)
asynclog.start_sync()
log.info("after")
wait_for_rings(1)
report = asynclog.stop_sync()
wait_for_rings(0)
os._exit(0)
"""


def test_a_forked_worker_that_starts_later(tmp_path: Path) -> None:
    """A worker that has logged before it starts gives up the ring that it had for that."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(texts(tmp_path / "run")) == ["after", "before"]
