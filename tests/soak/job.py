"""A job of some ranks that log without end: started, killed, replaced, watched."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import asynclog
from asynclog.collector.published import read_tally
from asynclog.collector.tally import Tally
from asynclog.intake.spool import Spool

PATIENCE: Final = 60.0
PACE: Final = 0.01
"""Seconds between two records of a rank: its ring holds those of a minute."""
MAX_SOURCES: Final = 1 << 16


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something has come true.

    Raises:
        TimeoutError: It has not within a minute.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


class Board:
    """How many calls of each process have returned, in memory that outlives it."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 8 * (MAX_SOURCES + 1))
        self.counts = memoryview(self._map).cast("Q")[:MAX_SOURCES]
        self._words = memoryview(self._map).cast("Q")

    @property
    def paused(self) -> bool:
        """Whether the ranks are to be silent for a while."""
        return self._words[MAX_SOURCES] == 1

    @property
    def over(self) -> bool:
        """Whether the ranks are to end."""
        return self._words[MAX_SOURCES] == 2

    def say(self, word: int) -> None:
        """Tell the ranks: 0 to go on, 1 to be silent, 2 to end."""
        self._words[MAX_SOURCES] = word


class Usage(NamedTuple):
    """What a process has in use."""

    memory: int
    descriptors: int
    threads: int


def usage(pid: int) -> Usage | None:
    """Return what a process has in use, None when it is gone.

    Its memory in bytes, without what it shares: the rings are counted by their size.
    """
    try:
        pages = [int(word) for word in Path(f"/proc/{pid}/statm").read_text().split()]
        return Usage(
            (pages[1] - pages[2]) * mmap.PAGESIZE,
            len(os.listdir(f"/proc/{pid}/fd")),
            len(os.listdir(f"/proc/{pid}/task")),
        )
    except (OSError, IndexError):
        return None


class Job:
    """Ranks that share a run directory, and whoever of them collects.

    Args:
        run_dir: The run directory.
        spool_dir: Where the rings lie.
        ranks: How many.
    """

    def __init__(self, run_dir: Path, spool_dir: Path, ranks: int) -> None:
        self.run_dir = run_dir
        self.spool = Spool(run_dir, spool_dir)
        self.board = Board()
        self.pids: dict[int, int] = {}
        """Process by source; a source is one life of a rank."""
        self.sources = 0
        self._size = ranks

    def fill(self) -> None:
        """Start ranks until all are there, and wait until they log."""
        started: list[int] = []
        while len(self.pids) < self._size:
            source = self.sources
            self.sources += 1
            pid = os.fork()
            if not pid:
                be_rank(self.run_dir, self.board, source)
            self.pids[source] = pid
            started.append(source)
        wait_for(lambda: all(self.board.counts[source] for source in started), "a rank is mute")

    def kill(self, source: int) -> None:
        """Kill a rank."""
        pid = self.pids.pop(source)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def collector(self) -> int:
        """Return the process that collects, once there is one."""
        found: list[int] = []

        def look() -> bool:
            tally = read_tally(self.spool)
            if tally is not None and tally.pid is not None:
                with contextlib.suppress(OSError):
                    command = Path(f"/proc/{tally.pid}/cmdline").read_bytes()
                    if b"asynclog.collector" in command:
                        found.append(tally.pid)
            return bool(found)

        wait_for(look, "nobody collects")
        return found[-1]

    def tally(self) -> Tally:
        """Return what the collector has published."""
        return read_tally(self.spool) or Tally()

    def acknowledged(self) -> list[int]:
        """Return how many calls have returned, by source."""
        return self.board.counts[: self.sources].tolist()

    def end(self) -> list[int]:
        """Have all ranks stop; return the statuses of those that say that something is wrong."""
        self.board.say(2)
        statuses = [os.waitpid(pid, 0)[1] for pid in self.pids.values()]
        self.pids.clear()
        return [os.waitstatus_to_exitcode(status) for status in statuses if status]

    def kill_all(self) -> None:
        """Kill what is left of the ranks."""
        for source in [*self.pids]:
            self.kill(source)


def be_rank(run_dir: Path, board: Board, source: int) -> None:
    """Log numbered records until it is over; end this process."""
    status = 1
    # Ctrl-C is for who started us
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        asynclog.start_sync(
            run_dir,
            sinks=[asynclog.JsonlFile(max_bytes="256 KB", backups=1000)],
            collector="process",
            ring_size="1 MiB",
            # a record that is dropped is lost here
            overflow_timeout="1 min",
            stop_timeout="5 s",
        )
        log = asynclog.get_logger("rank").bind(source=source)
        number = 0
        while not board.over:
            if not board.paused:
                log.info("working", n=number, loss=1.0 / (number + 1), text="x" * (number % 97))
                number += 1
                board.counts[source] = number
            time.sleep(PACE)
        report = asynclog.stop_sync(PATIENCE)
        balanced = report.accepted == report.written + sum(report.dropped.values())
        status = 0 if balanced and not report.dropped else 3
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
