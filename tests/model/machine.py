"""A run in which anything happens in any order, against a model of what must be in its files.

Run as a program of its own, since it forks: ``python machine.py DIRECTORY EXAMPLES STEPS``. Without
a directory that is a small file system of its own, the disk never fills.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from subject import ROOM, SOURCES, Fate, Ledger, be_nursery

from asynclog.collector.recovery import recover
from asynclog.intake.spool import Spool

PATIENCE: Final = 60.0
HASTE: Final = 0.05
"""Seconds to wait for what must come, and for what may not come."""
MAX_CALLS: Final = 60
MAX_SIZE: Final = 4000
BALLAST: Final = bytes(1 << 20)


class Program:
    """What the machine is run with: where, and by whom processes are forked."""

    directory: Path
    spool: Path
    can_fill: bool
    control: socket.socket
    ledger: Ledger
    examples = 0


@dataclass(eq=False)
class Process:
    """What the model knows of a process.

    Attributes:
        pid: Its number.
        connection: Where it is told what to do.
        source: Its number in the ledger.
        collects: Whether it has been started, so that it collects when nobody else does.
        promises: Whether what it accepts is to be in the files: not before its start.
        early: Calls made before that; they come out at the start.
        earlier: How many calls it had made at its last start. They come out in the end: what it
            left in another ring is no matter of its flush.
    """

    pid: int
    connection: socket.socket
    source: int
    collects: bool = False
    promises: bool = False
    early: set[int] = field(default_factory=set[int])
    earlier: int = 0
    alive: bool = True

    def tell(self, do: str, *descriptors: int, **arguments: Any) -> None:
        """Tell it to do something."""
        message = json.dumps({"do": do, **arguments}).encode()
        socket.send_fds(self.connection, [message], descriptors)

    def answer(self) -> Any:
        """Wait for what it answers.

        Raises:
            AssertionError: It fails, or does not answer.
        """
        try:
            text = self.connection.recv(1 << 16)
        except TimeoutError:
            raise AssertionError(f"process {self.pid} hangs") from None
        assert text, f"process {self.pid} has ended"
        answer = json.loads(text)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have it do something, and wait for it."""
        self.tell(do, **arguments)
        return self.answer()

    def gone(self) -> None:
        """Wait until it has ended."""
        try:
            while self.connection.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise AssertionError(f"process {self.pid} does not end") from None
        self.connection.close()
        self.alive = self.collects = False


class Run(RuleBasedStateMachine):
    """Processes start, log, fork, stop and die; the disk fills; the file is moved away.

    The model is the fate of each call as its caller knows it. In the end every accepted call is in
    the files, once, whole and in order, and no other.
    """

    processes: Bundle[Process] = Bundle("processes")

    def __init__(self) -> None:
        super().__init__()
        Program.ledger.clear()
        Program.examples += 1
        self.run_dir = Program.directory / f"run-{Program.examples}"
        self.ballast = Program.directory / "ballast"
        self.known: list[Process] = []
        self.moved = 0

    # Processes

    @initialize(target=processes)
    def first(self) -> Process:
        """Begin with one process."""
        return self._born()

    @precondition(lambda self: len(self.known) < SOURCES // 2)
    @rule(target=processes)
    def begin(self) -> Process:
        """Begin another program in the same run directory."""
        return self._born()

    def _born(self, parent: Process | None = None) -> Process:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here.settimeout(PATIENCE)
        source = len(self.known)
        with there:
            if parent is None:
                socket.send_fds(Program.control, [str(source).encode()], [there.fileno()])
                pid = int(Program.control.recv(64))
            else:
                parent.tell("fork", there.fileno(), source=source)
                pid = parent.answer()
        process = Process(pid, here, source)
        self.known.append(process)
        return process

    @precondition(lambda self: len(self.known) < SOURCES // 2)
    @rule(target=processes, parent=processes)
    def fork(self, parent: Process) -> Process:
        """Fork a process, whatever state it is in."""
        child = self._born(parent)
        child.promises = parent.promises
        return child

    @rule(process=processes, collector=st.sampled_from(["thread", "thread", "thread", "process"]))
    def start(self, process: Process, collector: str) -> None:
        """Start; nothing happens when it runs."""
        if not self.full:
            process.ask("start", run_dir=str(self.run_dir), collector=collector)
            if process.promises and not process.collects:
                process.earlier = len(Program.ledger.of(process.source))
            process.collects = process.promises = True
            process.early.clear()

    @rule(process=consumes(processes))
    def kill(self, process: Process) -> None:
        """Kill one between two calls."""
        self._killed(process)

    @rule(
        process=consumes(processes), count=st.integers(1, MAX_CALLS), size=st.integers(0, MAX_SIZE)
    )
    def kill_within(self, process: Process, count: int, size: int) -> None:
        """Kill one at any instant of a burst."""
        if self._has_room(process):
            self._note_early(process, MAX_CALLS)
            before = len(Program.ledger.of(process.source))
            process.tell("log", count=MAX_CALLS, size=size, level="info")
            while len(Program.ledger.of(process.source)) < before + count:
                if select.select([process.connection], [], [], 0.0005)[0]:
                    process.answer()
                    break
        self._killed(process)

    def _killed(self, process: Process) -> None:
        if process.alive:
            os.kill(process.pid, signal.SIGKILL)
            process.gone()

    @rule(process=consumes(processes))
    def leave(self, process: Process) -> None:
        """End one as a program ends that knows nothing of stop()."""
        process.tell("leave")
        process.gone()

    # Calls

    @rule(
        process=processes,
        count=st.integers(1, MAX_CALLS),
        size=st.integers(0, MAX_SIZE),
        level=st.sampled_from(["info", "warning", "error"]),
    )
    def log(self, process: Process, count: int, size: int, level: str) -> None:
        """Log; each call is accepted or dropped, and counted as one of the two."""
        if self._has_room(process):
            self._note_early(process, count)
            process.ask("log", count=count, size=size, level=level)

    @rule(
        process=processes,
        count=st.integers(1, MAX_CALLS // 4),
        size=st.integers(0, MAX_SIZE),
        backend=st.sampled_from(["asyncio", "trio"]),
    )
    def alog(self, process: Process, count: int, size: int, backend: str) -> None:
        """Log with the awaited method, which waits for room; it can be cancelled."""
        if self._has_room(process):
            self._note_early(process, count)
            process.ask("alog", count=count, size=size, backend=backend, patience=HASTE)

    def _has_room(self, process: Process) -> bool:
        return len(Program.ledger.of(process.source)) + MAX_CALLS < ROOM

    def _note_early(self, process: Process, count: int) -> None:
        if not process.promises:
            begin = len(Program.ledger.of(process.source))
            process.early.update(range(begin, begin + count))

    # Files

    @precondition(lambda self: Program.can_fill and not self.full)
    @rule()
    def fill_disk(self) -> None:
        """Leave not a byte."""
        with self.ballast.open("wb", buffering=0) as file:
            try:
                while file.write(BALLAST):
                    pass
            except OSError:
                pass

    @precondition(lambda self: self.full)
    @rule()
    def free_disk(self) -> None:
        """Make room again."""
        self.ballast.unlink()

    @property
    def full(self) -> bool:
        """Whether the disk is full."""
        return self.ballast.exists()

    @rule()
    def rotate(self) -> None:
        """Move the file away, as logrotate does."""
        file = self.run_dir / "events.jsonl"
        if file.exists():
            self.moved += 1
            file.rename(self.run_dir / f"moved-{self.moved}.jsonl")

    @rule()
    def recover(self) -> None:
        """Recover, whoever is alive."""
        try:
            recover(self.run_dir)
        except OSError:
            assert self.full, "no recovery though there is room"

    # Promises on the way

    @property
    def collected(self) -> bool:
        """Whether somebody collects, or will before long."""
        return not self.full and any(process.collects for process in self.known)

    @rule(process=processes)
    def flush(self, process: Process) -> None:
        """Flush: what is said to be in the files is there."""
        if not process.promises:
            return
        flushed = process.ask("flush", timeout=PATIENCE / 2 if self.collected else HASTE)
        assert flushed or not self.collected, "nothing is flushed"
        if flushed:
            self._check_written(process, self._found()[process.source], since=process.earlier)

    @rule(process=processes)
    def stop(self, process: Process) -> None:
        """The report adds up, and a second one is the same."""
        accepted, written, dropped, same = process.ask(
            "stop", timeout=PATIENCE / 2 if self.collected else HASTE
        )
        assert same, "a second report is another one"
        assert accepted == written + sum(dropped.values()), (accepted, written, dropped)
        if process.promises and self.collected:
            assert "unwritten" not in dropped, dropped
            self._check_written(process, self._found()[process.source], since=process.earlier)
        process.collects = False

    # The promise

    def teardown(self) -> None:
        """Let the disk be free, kill what is alive, recover, and compare."""
        try:
            self.ballast.unlink(missing_ok=True)
            for process in self.known:
                self._killed(process)
            deadline = time.monotonic() + PATIENCE
            while recover(self.run_dir).collected_elsewhere:
                assert time.monotonic() < deadline, "somebody still collects"
                time.sleep(0.002)
            found = self._found()
            for process in self.known:
                numbers = found[process.source]
                self._check_written(process, numbers)
                fates = Program.ledger.of(process.source)
                wrong = [n for n in numbers if n < len(fates) and fates[n] != Fate.ACCEPTED]
                assert not wrong, f"written though not accepted: {wrong}"
                # the call under way when it was killed may be there
                assert all(n <= len(fates) for n in numbers), "made up"
            assert not Spool(self.run_dir, Program.spool).rings(), "rings are left"
        finally:
            for process in self.known:
                process.connection.close()
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _check_written(self, process: Process, numbers: list[int], *, since: int = 0) -> None:
        """Check that the calls that were accepted, from a number on, are in the files."""
        there = set(numbers) | process.early | set(range(since))
        fates = Program.ledger.of(process.source)
        lost = [n for n, fate in enumerate(fates) if fate == Fate.ACCEPTED and n not in there]
        assert not lost, f"lost: {lost}"

    def _found(self) -> dict[int, list[int]]:
        """Return the numbers in the files by source.

        Raises:
            AssertionError: A line is torn, twice there, or out of order.
        """
        found: dict[int, list[int]] = {process.source: [] for process in self.known}
        for path in sorted(self.run_dir.glob("*.jsonl*")):
            here: dict[int, list[int]] = {}
            for line in path.read_bytes().splitlines(keepends=True):
                assert line.startswith(b"{"), f"torn: {line!r}"
                assert line.endswith(b"}\n"), f"torn: {line!r}"
                event = json.loads(line)
                if event.get("logger") == "subject":
                    here.setdefault(event["source"], []).append(event["n"])
            for source, numbers in here.items():
                assert numbers == sorted(set(numbers)), f"out of order in {path}: {numbers}"
                found[source] += numbers
        for numbers in found.values():
            assert len(numbers) == len(set(numbers)), f"twice: {sorted(numbers)}"
        return found


def main() -> int:
    """Run the machine in a process of its own, beside the one that forks the subjects."""
    Program.directory = Path(sys.argv[1])
    Program.spool = Path(os.environ["ASYNCLOG_SPOOL_DIR"])
    Program.can_fill = os.path.ismount(Program.directory)
    Program.ledger = Ledger()
    Program.control, nursery = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    machine = os.fork()
    if not machine:
        nursery.close()
        run_state_machine_as_test(
            Run,
            settings=settings(
                max_examples=int(sys.argv[2]),
                stateful_step_count=int(sys.argv[3]),
                deadline=None,
                database=None,
                derandomize=len(sys.argv) == 4,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )
        return 0
    Program.control.close()
    if be_nursery(nursery, Program.ledger):
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(machine, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
