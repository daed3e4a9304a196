"""Programs of their own: what they print cannot be tested in the process of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from asynclog.collector.recovery import recover

_START = """
import asynclog, ctypes, os, signal, subprocess, sys, threading, time, warnings
from asynclog.capture import capture

def descriptors():
    return {
        (number, os.readlink(f"/proc/self/fd/{number}"))
        for number in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{number}")
    }

def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)

def recorded(number):
    wait_for(lambda: asynclog.stats().accepted >= number)
"""


class Ended(NamedTuple):
    """What a program has left.

    Attributes:
        code: Its exit status.
        out: What came out of its stdout.
        err: The same for stderr.
        records: The run's records, those of dead processes included.
    """

    code: int
    out: str
    err: str
    records: list[dict[str, Any]]

    def lines(self, stream: str = "stdout") -> list[str]:
        """Return the captured lines of a stream."""
        return [
            record["event"]
            for record in self.records
            if record.get("kind") == "output" and record["stream"] == stream
        ]

    def of(self, logger: str) -> list[dict[str, Any]]:
        """Return the records of a logger."""
        return [record for record in self.records if record.get("logger") == logger]


Program = Callable[..., Ended]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run a program; its run directory is ``run``."""

    def run(code: str, *, check: bool = True, timeout: float = 60, **environment: str) -> Ended:
        path = tmp_path / "program.py"
        path.write_text(_START + textwrap.dedent(code), encoding="utf-8")
        result = subprocess.run(
            [sys.executable, "-W", "default", str(path)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        out, err = result.stdout.decode(), result.stderr.decode()
        assert not check or result.returncode == 0, err
        return Ended(result.returncode, out, err, records_of(tmp_path / "run"))

    return run


def records_of(run_dir: Path) -> list[dict[str, Any]]:
    """Return all records of a run, in the order of its file."""
    recover(run_dir)
    path = run_dir / "events.jsonl"
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line.get("kind") != "note"]
