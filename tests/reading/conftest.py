"""Runs to read: lines as a pipeline writes them, and processes that are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)

KILLED = """
import os, signal, sys
import asynclog
asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile()], linger=60)
log = asynclog.get_logger("victim")
log.info("wakes the collector")
assert asynclog.flush_sync(5)
for number in range(int(sys.argv[2])):
    log.info("last words", number=number)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Lines:
    """Makes lines and files of them."""

    @staticmethod
    def stamp(seconds: float) -> str:
        """Return a time stamp so long after noon of 31 January 2026, UTC."""
        return f"{BEGIN + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%fZ}"

    def __call__(
        self, seconds: float, event: str = "x", level: str = "info", **fields: Any
    ) -> bytes:
        """Return a line as a pipeline writes it, with its end."""
        front: dict[str, Any] = {"timestamp": self.stamp(seconds)}
        if "kind" in fields:
            front["kind"] = fields.pop("kind")
        record = {**front, "level": level, "event": event, **fields}
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"

    @staticmethod
    def write(path: Path, lines: Iterable[bytes]) -> Path:
        """Write lines to a file, with its directory."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(lines))
        return path

    @staticmethod
    def of_a_killed_process(run_dir: Path, count: int = 100) -> None:
        """Let a process log so many events that no collector stores, and be killed right after."""
        command = [sys.executable, "-c", KILLED, str(run_dir), str(count)]
        killed = subprocess.run(command, timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL


@pytest.fixture
def line() -> Lines:
    """Return what makes lines."""
    return Lines()
