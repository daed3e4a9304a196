"""Processes that each start on one run directory, and end at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from asynclog import JsonlFile, Pipeline

PROGRAM = """
import atexit, sys

late = "late" in sys.argv
if late:
    # comes after asynclog's own, which is registered when it is imported
    atexit.register(lambda: asynclog.get_logger().info("late"))
import asynclog

asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile()], collector="thread")
for number in range(50):
    asynclog.get_logger().info("x", n=number)
print("ready", flush=True)
sys.stdin.read()
if "stop" in sys.argv:
    asynclog.stop_sync()
"""


def start(run_dir: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a process that logs, and goes on when its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, run_dir, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def end(*processes: subprocess.Popen[bytes]) -> None:
    """Let processes end, all at once."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    for process in processes:
        with process:
            assert process.wait(60) == 0


def lines(run_dir: Path) -> list[str]:
    """Return the events in the file of a run."""
    text = (run_dir / "events.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["event"] for line in text.splitlines()]


@pytest.mark.parametrize("how", ["stop", "exit"])
def test_nothing_is_left_in_shared_memory(run_dir: Path, spool_dir: Path, how: str) -> None:
    """Whoever is last removes what each has left to the others."""
    end(*(start(run_dir, how) for _ in range(4)))
    assert lines(run_dir) == ["x"] * 200
    assert not [path for path in spool_dir.rglob("*") if path.is_file()]


def test_late_records_where_another_process_collects(run_dir: Path, spool_dir: Path) -> None:
    """What a process logs after its pipeline has stopped at exit is left to the collector."""
    with Pipeline(run_dir, sinks=[JsonlFile()]) as pipeline:
        end(start(run_dir, "late"))
        assert pipeline.flush_sync(60)
    assert lines(run_dir) == [*["x"] * 50, "late"]
    assert not [path for path in spool_dir.rglob("*") if path.is_file()]
