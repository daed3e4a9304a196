"""What happens to the job: instants, and spans around them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from files import Files
from job import Job

BALLAST: Final = bytes(1 << 20)
LONGEST: Final = 1.5
"""Seconds that a span takes at most."""


class Faults:
    """All that can happen.

    Args:
        job: The job it happens to.
        files: Its files.
        disk: Their file system, None where that must not be filled.
        randomness: Decides what comes, and when.
    """

    def __init__(
        self, job: Job, files: Files, disk: Path | None, randomness: random.Random
    ) -> None:
        self._job = job
        self._files = files
        self._disk = disk
        self._randomness = randomness
        self.instants: dict[str, Callable[[], None]] = {
            "a rank is killed": self._kill_rank,
            "half of the ranks are killed": self._kill_half,
            "the collector is killed": self._kill_collector,
            "the file is moved": files.move,
            "the file is removed": files.remove,
        }
        self.spans: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "nothing": contextlib.nullcontext,
            "the collector is frozen": self._frozen,
        }
        if disk is not None:
            self.spans["the disk is full"] = self._full

    def happen(self, span: str, instant: str) -> None:
        """Let something happen within something else."""
        with self.spans[span]():
            self._pause()
            self.instants[instant]()
            self._pause()

    def rings_are_removed(self) -> None:
        """Remove all rings; by itself, since nobody would find them after a kill."""
        # one that has them open: what a ring has counted goes with it otherwise
        self._job.collector()
        for path in self._job.spool.rings():
            path.unlink(missing_ok=True)

    def _pause(self) -> None:
        time.sleep(self._randomness.uniform(0, LONGEST / 2))

    def _kill_rank(self) -> None:
        self._job.kill(self._randomness.choice(self._mortal()))

    def _kill_half(self) -> None:
        for source in self._randomness.sample(self._mortal(), len(self._job.pids) // 2):
            self._job.kill(source)

    def _mortal(self) -> list[int]:
        """Return all ranks but the first: one lives as long as the job, to be watched."""
        return [source for source in self._job.pids if source]

    def _kill_collector(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._job.collector(), signal.SIGKILL)

    @contextmanager
    def _frozen(self) -> Generator[None, None, None]:
        pid = self._job.collector()
        try:
            os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def _full(self) -> Generator[None, None, None]:
        assert self._disk is not None
        ballast = self._disk / "ballast"
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(BALLAST):
                    pass
            yield
        finally:
            ballast.unlink()
