"""Reading while processes log as fast as they can: each snapshot is whole, and so is a tail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from asynclog.collector.recovery import recover
from asynclog.intake.spool import Spool
from asynclog.reading import Tail, read_run
from asynclog.reading.summary import ring_states

WRITERS = """
import os, sys, time
import asynclog

sinks = [asynclog.JsonlFile(max_bytes="100 kB", backups=100_000, compress=sys.argv[2] == "gz")]
asynclog.start_sync(sys.argv[1], sinks=sinks, overflow_timeout="60 s")
writers = [os.getpid()]
for writer in range(1, 4):
    child = os.fork()
    if not child:
        break
    writers.append(child)
else:
    writer = 0
    print(*writers, flush=True)
log = asynclog.get_logger().bind(writer=writer)
number = 0
while True:
    log.info("x", number=number)
    number += 1
    if number % 5 == 0:
        time.sleep(0.002)
"""


def by_writer(events: Iterable[Mapping[str, Any]]) -> dict[int, list[int]]:
    """Return the numbers of each writer's events, in their order."""
    found: dict[int, list[int]] = defaultdict(list)
    for event in events:
        found[event["writer"]].append(event["number"])
    return found


@pytest.mark.parametrize("form", ["plain", "gz"])
@pytest.mark.parametrize("trials", [1, pytest.param(20, marks=pytest.mark.faults)])
def test_every_snapshot_is_whole(tmp_path: Path, spool_dir: Path, trials: int, form: str):
    """Of each process a snapshot has the first so many events, once each and in order."""
    for trial in range(trials):
        _look_on(tmp_path / f"run{trial}", spool_dir, form)


def _look_on(run_dir: Path, spool: Path, form: str) -> None:
    seen = [0] * 4
    rounds = 0
    command = [sys.executable, "-c", WRITERS, str(run_dir), form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        pids = [int(pid) for pid in job.stdout.readline().split()]
        tail = read_run(run_dir).tail(10**9)
        came = by_writer(tail.last)
        try:
            while rounds < 6 or not min(seen):
                rounds += 1
                events = read_run(run_dir)
                found = by_writer(events)
                assert (events.counts.gaps, events.counts.torn) == (0, 0)
                for writer, numbers in found.items():
                    assert numbers == [*range(len(numbers))]
                    assert len(numbers) >= seen[writer]
                    seen[writer] = len(numbers)
                _add(came, tail)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(ring.alive for ring in ring_states(Spool(run_dir, spool))):
        # a kill takes its time
        assert time.monotonic() < deadline
        time.sleep(0.005)
    last = by_writer(read_run(run_dir))
    assert {writer: [*range(len(numbers))] for writer, numbers in last.items()} == last
    assert all(len(numbers) >= seen[writer] for writer, numbers in last.items())
    recover(run_dir)
    assert by_writer(read_run(run_dir)) == last
    with tail:
        while came != last and time.monotonic() < deadline:
            _add(came, tail)
    assert came == last


def _add(came: dict[int, list[int]], tail: Tail) -> None:
    for writer, numbers in by_writer(tail.more()).items():
        came[writer] += numbers
