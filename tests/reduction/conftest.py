"""What the tests of reduction in a running pipeline share."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RANK = """
import sys, time, asynclog
from pathlib import Path
from asynclog import JsonlFile, MetricsCsv, Reduced, TensorBoard

run_dir, steps, signs = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
rank = asynclog.rank_info().rank

def wait(name):
    (signs / f"{name} {rank}").touch()
    while not (signs / name).exists():
        time.sleep(0.01)

sinks = [JsonlFile(), Reduced([MetricsCsv(), TensorBoard()], timeout="10 min")]
with asynclog.running(run_dir, sinks=sinks):
    wait("begin")
    for step in range(steps):
        asynclog.log_metrics({"loss": step + rank, "rank": rank}, step=step, split="train")
        if rank == 0:
            asynclog.log_metrics({"lr": 0.5}, step=step)
        if step == steps // 2:
            asynclog.flush_sync()
            wait("go on")
"""


def until(condition: Callable[[], Any]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rows(path: Path) -> list[tuple[int, str, str, float]]:
    """Return the rows of a metrics.csv: step, split, name, value."""
    with path.open(newline="") as file:
        return [
            (int(row["step"]), row["split"], row["name"], float(row["value"]))
            for row in csv.DictReader(file)
        ]


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


class Job:
    """A job whose ranks log some steps, and wait for a sign before and in the middle.

    Args:
        run_dir: Where they log.
        directory: Where the signs are given.
        spool: Where their rings are.
        world: Number of ranks.
        steps: Number of steps.
    """

    def __init__(self, run_dir: Path, directory: Path, spool: Path, world: int, steps: int) -> None:
        self._signs = directory
        self._spool = spool
        program = directory / "rank.py"
        program.write_text(RANK)
        command = [sys.executable, str(program), str(run_dir), str(steps), str(directory)]
        self.ranks = [
            subprocess.Popen(command, env=os.environ | _environment(rank, world))
            for rank in range(world)
        ]

    def reach(self, sign: str) -> None:
        """Wait until all ranks wait for a sign."""
        until(lambda: len(list(self._signs.glob(f"{sign} *"))) == len(self.ranks))

    def give(self, sign: str) -> None:
        """Give a sign."""
        (self._signs / sign).touch()

    def collector(self) -> int:
        """Return the process that collects."""
        [path] = self._spool.rglob("collector.json")
        return json.loads(path.read_bytes())["pid"]

    def end(self) -> None:
        """Wait until all have ended, the collector last."""
        for rank in self.ranks:
            rank.wait(60)
        until(lambda: not list(self._spool.rglob("*.ring")))

    def close(self) -> None:
        """End what has not ended."""
        for rank in self.ranks:
            rank.kill()
            rank.wait(60)


def _environment(rank: int, world: int) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}


@pytest.fixture
def start_job(
    run_dir: Path, tmp_path: Path, spool_dir: Path
) -> Iterator[Callable[[int, int], Job]]:
    """Return what starts a job of some ranks that log some steps."""
    jobs: list[Job] = []

    def start(world: int, steps: int) -> Job:
        jobs.append(Job(run_dir, tmp_path, spool_dir, world, steps))
        return jobs[-1]

    yield start
    for job in jobs:
        job.close()
