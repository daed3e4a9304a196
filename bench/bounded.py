"""Runs a command in bounded time and leaves nothing of it behind; knows nothing of benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.procfs import descendants


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status (None: it was stopped) and what it printed."""

    status: int | None
    output: str

    def words(self) -> str:
        """Return the exit status in words, signals by name."""
        if self.status is not None and self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        return f"exit status {self.status}"


def run_bounded(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], limit: float
) -> Ended:
    """Run a command for at most ``limit`` seconds, then kill it and all its descendants.

    What it prints goes to a file: a pipe would be held open by a child that outlives it, and
    would have to be read all the while.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        in_time = _has_ended(process.pid, limit)
        # Before it is reaped: until then its number belongs to nobody else.
        _kill_tree(process.pid)
        status = process.wait()
        return Ended(status if in_time else None, _tail(output.fileno()))


def _has_ended(pid: int, limit: float) -> bool:
    deadline = time.monotonic() + limit
    while True:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def _kill_tree(leader: int) -> None:
    """Kill a session's leader, its process group, and descendants that went elsewhere."""
    for pid in descendants(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, 2_000, max(0, size - 2_000)).decode(errors="replace").strip()
