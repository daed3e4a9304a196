"""A job on three machines, while links are cut and whatever can be killed is killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nats")

from asynclog.collector.published import read_tally
from asynclog.intake.spool import Spool

from .conftest import PATIENCE, Command, Link, Server, collect, eventually

RANKS = 4
MORE = 10_000
"""Bytes that machines log while something is away."""
FAULTS = ("link", "server", "collector", "receiver")


def _as_host() -> list[str]:
    """Return what runs a command on a machine with another name."""
    for options in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *options, "--uts"]
        tried = subprocess.run(
            [*command, "hostname", "node0"], capture_output=True, check=False, timeout=PATIENCE
        )
        if tried.returncode == 0:
            return command
    pytest.skip("needs the right to name a machine")


class Job:
    """Three machines with four ranks each, what is between them, and who receives.

    Each has a name, and an address of its own at which it reaches the server.
    """

    def __init__(self, directory: Path, server: Server) -> None:
        self.server = server
        self.links = [Link(server.port, f"127.0.0.{2 + number}") for number in range(3)]
        self.stop = directory / "stop"
        self.command = Command(server.url, "job", directory / "collected")
        self.run_dirs = [directory / f"node{number}" for number in range(3)]
        as_host = _as_host()
        self.machines: list[subprocess.Popen[bytes]] = []
        for number, run_dir in enumerate(self.run_dirs):
            arguments = [run_dir, self.links[number].url, number * RANKS, RANKS, self.stop]
            rename = ["sh", "-c", 'hostname "$0" && exec "$@"', f"node{number}"]
            node = [sys.executable, str(Path(__file__).with_name("node.py"))]
            self.machines.append(subprocess.Popen([*as_host, *rename, *node, *map(str, arguments)]))
        self.receiver = self.command.start()

    def fault(self, what: str) -> None:
        """Let something fail while the machines go on, and come back."""
        getattr(self, f"_{what}")()

    def received(self) -> int:
        """Return how many bytes were collected."""
        return _size(self.command.run_dir)

    def end(self) -> None:
        """Let all ranks end, and the receiver."""
        self.stop.touch()
        for machine in self.machines:
            assert machine.wait(PATIENCE) == 0
        self.end_receiver(signal.SIGTERM)

    def end_receiver(self, number: int) -> None:
        """End the receiver, which says how."""
        self.receiver.send_signal(number)
        self.receiver.communicate(timeout=PATIENCE)

    def kill(self) -> None:
        """Leave nothing behind."""
        self.stop.touch()
        for process in [*self.machines, self.receiver]:
            process.kill()
            process.wait()
        for link in self.links:
            link.close()

    def _link(self) -> None:
        for link in self.links[1:]:
            link.cut()
        self._go_on(*self.run_dirs[1:])
        for link in self.links[1:]:
            link.restore()

    def _server(self) -> None:
        self.server.kill()
        self._go_on(*self.run_dirs)
        self.server.start()

    def _collector(self) -> None:
        run_dir = self.run_dirs[1]
        spool = Spool(run_dir, Path(os.environ["ASYNCLOG_SPOOL_DIR"]))

        def collector() -> int | None:
            tally = read_tally(spool)
            return None if tally is None else tally.pid

        killed = eventually(collector, "a collector")
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: (collector() or killed) != killed, "another collector")
        self._go_on(run_dir)

    def _receiver(self) -> None:
        self.end_receiver(signal.SIGKILL)
        self._go_on(self.run_dirs[0])
        self.receiver = self.command.start()

    def _go_on(self, *run_dirs: Path) -> None:
        goals = {run_dir: _size(run_dir) + MORE for run_dir in run_dirs}
        eventually(
            lambda: all(_size(run_dir) >= goal for run_dir, goal in goals.items()), "a record"
        )


def _size(run_dir: Path) -> int:
    return sum(path.stat().st_size for path in run_dir.glob("events*.jsonl"))


@pytest.fixture
def job(tmp_path: Path, server: Server) -> Iterator[Job]:
    """Return the job, running."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    job = Job(tmp_path, server)
    yield job
    job.kill()


def _every_record_once(job: Job, faults: list[str]) -> None:
    eventually(lambda: job.received() > 3 * MORE, "a record")
    for fault in faults:
        job.fault(fault)
        before = job.received()
        eventually(lambda goal=before + MORE: job.received() > goal, f"a record after {fault}")
    job.end()
    expected = Counter[Any]()
    for number, run_dir in enumerate(job.run_dirs):
        for path in run_dir.glob("*.count"):
            rank, count = int(path.stem), int(path.read_text())
            expected.update((f"node{number}", rank, n) for n in range(count))
    assert len({rank for _, rank, _ in expected}) == 3 * RANKS

    def found() -> list[Any]:
        collect(job.server.url, job.command.run_dir, run="job")
        records = [r for r in job.command.records() if r.get("kind") in (None, "metrics")]
        return [(r["host"], r["rank"], r.get("n", r.get("step"))) for r in records]

    # a collector may live on a moment when its ranks are gone
    eventually(lambda: len(found()) >= expected.total(), "the last record")
    assert Counter(found()) == expected


def test_every_record_once(job: Job) -> None:
    """Links cut, server, collector and receiver killed: every record of 12 ranks is there once."""
    _every_record_once(job, list(FAULTS))


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(10))
def test_every_record_once_for_long(job: Job, seed: int) -> None:
    """The same with ten failures, in any order."""
    _every_record_once(job, random.Random(seed).choices(FAULTS, k=10))
