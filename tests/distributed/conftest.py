"""Real programs under the real launcher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LAUNCHER = [sys.executable, "-m", "asynclog.cli", "run"]
PATIENCE = 180


class Job:
    """A run directory, and programs that are launched into it."""

    def __init__(self, directory: Path, run_dir: Path) -> None:
        self.directory = directory
        self.run_dir = run_dir

    def command(self, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the launcher's command line."""
        return [*LAUNCHER, "--run-dir", str(self.run_dir), *options, "--", *command]

    def program(self, code: str, name: str = "program.py") -> str:
        """Write a program; return its path."""
        path = self.directory / name
        path.write_text(textwrap.dedent(code))
        return str(path)

    def run(
        self, *command: str, options: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command under the launcher to its end."""
        return subprocess.run(
            self.command(*command, options=options),
            cwd=self.directory,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def python(
        self, code: str, *, options: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a Python program under the launcher to its end."""
        return self.run(sys.executable, self.program(code), options=options, **environment)

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command under the launcher."""
        return subprocess.Popen(self.command(*command), cwd=self.directory, text=True, **options)

    def events(self) -> list[dict[str, Any]]:
        """Return all records, those of each file in order."""
        return [
            json.loads(line)
            for path in sorted(self.run_dir.glob("events*.jsonl"))
            for line in path.read_bytes().splitlines()
        ]

    def printed(self, **fields: Any) -> list[str]:
        """Return the printed lines whose records have these fields."""
        return [
            event["event"]
            for event in self.events()
            if event.get("kind") == "output"
            and all(event.get(name) == value for name, value in fields.items())
        ]

    def crash(self) -> dict[str, Any]:
        """Return the crash report."""
        return json.loads((self.run_dir / "crash.json").read_bytes())


@pytest.fixture
def job(tmp_path: Path, run_dir: Path) -> Job:
    """Return an empty job."""
    return Job(tmp_path, run_dir)


@pytest.fixture
def ranks(job: Job) -> Callable[..., str]:
    """Return what writes a launcher of ranks, as simple as can be: one process for each rank."""

    def write(code: str, count: int = 4) -> str:
        worker = job.program(code, "worker.py")
        return job.program(
            f"""
            import os, subprocess, sys
            workers = [
                subprocess.Popen(
                    [sys.executable, {worker!r}],
                    env={{**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank),
                          "WORLD_SIZE": "{count}"}},
                )
                for rank in range({count})
            ]
            sys.exit(max(abs(worker.wait()) for worker in workers))
            """
        )

    return write
