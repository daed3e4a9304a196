"""Faults in a loop over a live job of some ranks: nothing may be lost, doubled or torn, or grow.

``python tests/soak --minutes 30``; prints what has happened, and ends with 1 if a promise was
broken. Fills a small file system where mounting one is allowed (as root).
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from faults import Faults
from files import Files, Seen
from job import Job, Usage, usage, wait_for

from asynclog.collector.recovery import recover

MEMORY_GROWTH: Final = 32 << 20
OTHER_GROWTH: Final = 24
"""What a process may use more than in the beginning: bytes; descriptors, or threads."""
WARM: Final = 3
"""Looks at a process before what it uses counts as its beginning."""


class Soak:
    """One run of it.

    Args:
        directory: Where everything lies.
        spool_dir: Where the rings lie.
        disk: File system that may be filled, None for the directory itself, which may not.
        ranks: How many ranks.
        seed: Decides what happens.
    """

    def __init__(
        self, directory: Path, spool_dir: Path, disk: Path | None, ranks: int, seed: int
    ) -> None:
        place = disk or directory
        kept = place / "kept"
        kept.mkdir()
        self.job = Job(place / "run", spool_dir, ranks)
        self.files = Files(place / "run", kept)
        self._spool_dir = spool_dir
        self._randomness = random.Random(seed)
        self._faults = Faults(self.job, self.files, disk, self._randomness)
        self.happened: Counter[str] = Counter()
        self.problems: list[str] = []
        self._used: dict[int, list[Usage]] = {}
        self._slowest = 0.0
        self._killed = 0
        self._kinds: list[tuple[str, str]] = []

    def run(self, seconds: float) -> None:
        """Let everything happen once in any order, and again until the time is over."""
        deadline = time.monotonic() + seconds
        try:
            self.job.fill()
            while time.monotonic() < deadline:
                self._round()
            self._quiet()
            self._end()
        except TimeoutError as error:
            self.problems.append(str(error))
        finally:
            self.job.kill_all()
            self._recover()

    def _plan(self) -> list[tuple[str, str]]:
        kinds = [
            (span, instant) for span in self._faults.spans for instant in self._faults.instants
        ]
        kinds.append(("rings", "removed"))
        self._randomness.shuffle(kinds)
        return kinds

    def _round(self) -> None:
        if not self._kinds:
            self._kinds = self._plan()
        span, instant = self._kinds.pop()
        if span == "rings":
            self._faults.rings_are_removed()
            self.happened["all rings are removed"] += 1
        else:
            before = len(self.job.pids)
            self._faults.happen(span, instant)
            self._killed += before - len(self.job.pids)
            self.happened.update({span, instant} - {"nothing"})
        self.job.fill()
        self._quiet()
        self._watch()

    def _quiet(self) -> None:
        """Let the ranks be silent until all that was acknowledged is in the files; count it."""
        job = self.job
        job.board.say(1)
        start = time.monotonic()
        wait_for(lambda: not self._missing(self.files.look()), "what was logged does not come")
        self._slowest = max(self._slowest, time.monotonic() - start)
        wait_for(lambda: len(job.spool.rings()) == len(job.pids), "not one ring per rank")
        wait_for(self._adds_up, "the counts do not add up")
        self.files.settle()
        job.board.say(0)

    def _adds_up(self) -> bool:
        """Say whether the collector has counted what was acknowledged.

        A rank that was killed may have been within a call.
        """
        tally = self.job.tally()
        more = tally.accepted - sum(self.job.acknowledged())
        return (
            tally.accepted == tally.written + sum(tally.dropped.values())
            and 0 <= more <= self._killed
        )

    def _missing(self, seen: dict[int, Seen]) -> int:
        counts = enumerate(self.job.acknowledged())
        return sum(seen.get(source, Seen()).missing(count) for source, count in counts)

    def _watch(self) -> None:
        """Note what each process uses."""
        for pid in (*self.job.pids.values(), self.job.collector()):
            used = usage(pid)
            if used is not None:
                self._used.setdefault(pid, []).append(used)

    def _growth(self) -> Usage:
        """Return the most by which any process has grown since it was warm."""
        growths = [
            [max(column) - column[0] for column in zip(*used[WARM - 1 :], strict=True)]
            for used in self._used.values()
            if len(used) > WARM
        ]
        return Usage(*map(max, zip(*growths, strict=True))) if growths else Usage(0, 0, 0)

    def _end(self) -> None:
        """End the job, recover, and compare."""
        statuses = self.job.end()
        if statuses:
            self.problems.append(f"ranks have ended with {statuses}")
        self._recover()
        seen = self.files.look(final=True)
        counts = self.job.acknowledged()
        lost = self._missing(seen)
        # the call that was under way at a kill may be there
        made_up = sum(seen.get(n, Seen()).beyond(count + 1) for n, count in enumerate(counts))
        growth = self._growth()
        faults = {"lost": lost, "made up": made_up, **self.files.faults}
        self.problems += [f"{count} {what}" for what, count in faults.items() if count]
        if self.job.spool.rings():
            self.problems.append("rings are left")
        if growth.memory > MEMORY_GROWTH:
            self.problems.append(f"a process has grown by {growth.memory} bytes")
        if max(growth.descriptors, growth.threads) > OTHER_GROWTH:
            self.problems.append(f"a process has {growth} more in use")
        self._summary(sum(counts), growth)

    def _recover(self) -> None:
        """Bring what is left in rings to the files, when the last collector has gone."""
        wait_for(
            lambda: not recover(self.job.run_dir, self._spool_dir).collected_elsewhere,
            "somebody still collects",
        )

    def _summary(self, acknowledged: int, growth: Usage) -> None:
        for what, count in sorted(self.happened.items()):
            print(f"{count:6} times: {what}")
        print(f"{self.job.sources} ranks have logged {acknowledged} records;", end=" ")
        print(f"all were in the files at most {self._slowest:.1f} s after a fault.")
        print(f"Most that a process has grown: {growth.memory / 2**20:.1f} MiB,", end=" ")
        print(f"{growth.descriptors} descriptors, {growth.threads} threads.")


@contextmanager
def small_disk(path: Path) -> Generator[Path | None, None, None]:
    """Mount a file system of 24 MiB; None where that is not allowed."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24M", "asynclog-soak", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def main() -> int:
    """Run it as a command."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    arguments = parser.parse_args()
    if arguments.minutes <= 0 or arguments.ranks < 2:
        parser.error("--minutes must be positive, --ranks at least 2")
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asynclog-soak-")))
        shared = Path("/dev/shm")
        spool_dir = stack.enter_context(
            tempfile.TemporaryDirectory(
                prefix="asynclog-soak-", dir=shared if shared.is_dir() else directory
            )
        )
        os.environ["ASYNCLOG_SPOOL_DIR"] = spool_dir
        disk = stack.enter_context(small_disk(directory / "disk"))
        if disk is None:
            print("The disk is not filled: mounting a small one is not allowed here.")
        soak = Soak(directory, Path(spool_dir), disk, arguments.ranks, seed)
        try:
            soak.run(60 * arguments.minutes)
        except KeyboardInterrupt:
            soak.problems.append("interrupted")
    for problem in soak.problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    print("failed" if soak.problems else "passed")
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
