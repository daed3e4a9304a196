"""A process that logs, forks, flushes and stops as it is told, and notes what it has promised.

What became of a call is written into memory that outlives the process, so that it may be killed at
any instant.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import socket
import traceback
import warnings
from collections.abc import Generator
from enum import IntEnum
from typing import Any, Final

import anyio

import asynclog

SOURCES: Final = 64
ROOM: Final = 4096
"""Processes of one example, and calls of one process."""
_MESSAGE: Final = 1 << 16


class Fate(IntEnum):
    """What the caller knows of a call."""

    OPEN = 0
    ACCEPTED = 1
    DROPPED = 2
    CANCELLED = 3


class Ledger:
    """The fate of every call, in memory that forked processes share."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, SOURCES * ROOM)

    def note(self, source: int, number: int, fate: Fate) -> None:
        """Note what became of a call, once it has returned."""
        self._map[source * ROOM + number] = fate

    def of(self, source: int) -> bytes:
        """Return the fates of the calls of a process that have returned."""
        return self._map[source * ROOM : (source + 1) * ROOM].rstrip(b"\0")

    def clear(self) -> None:
        """Forget everything."""
        self._map[:] = bytes(len(self._map))


class Subject:
    """Does what comes over a socket, until that is closed.

    Args:
        connection: Its end of the socket.
        source: Its number in the ledger.
        ledger: Where it notes its calls.
    """

    def __init__(self, connection: socket.socket, source: int, ledger: Ledger) -> None:
        self._connection = connection
        self._source = source
        self._ledger = ledger
        self._number = 0

    def run(self) -> None:
        """Do what is asked for, one thing after the other."""
        while True:
            text, descriptors, _, _ = socket.recv_fds(self._connection, _MESSAGE, 1)
            if not text:
                return
            command: dict[str, Any] = json.loads(text)
            name = command.pop("do")
            if name == "leave":
                return
            if name == "fork":
                answer = self._fork(socket.socket(fileno=descriptors[0]), **command)
                if not answer:
                    continue
            else:
                answer = getattr(self, name)(**command)
            self._connection.sendall(json.dumps({"answer": answer}).encode())

    def start(self, run_dir: str, collector: Any) -> None:
        """Start, or do nothing when it runs."""
        if asynclog.stats("process").collector != "none":
            asynclog.start_sync()
            return
        asynclog.start_sync(
            run_dir,
            sinks=[asynclog.JsonlFile(max_bytes=50_000, backups=1000)],
            collector=collector,
            ring_size="512 KiB",
            child_ring_size="64 KiB",
            max_event_bytes="8 KiB",
            overflow_timeout="5 ms",
            stop_timeout="500 ms",
            # many writes, for a kill to come between two of them
            linger="1 ms",
        )

    def log(self, count: int, size: int, level: str) -> None:
        """Log numbered records."""
        call = getattr(asynclog.get_logger("subject"), level)
        for _ in range(count):
            with self._noting():
                call("call", source=self._source, n=self._number, pad="x" * size)

    def alog(self, count: int, size: int, backend: str, patience: float) -> None:
        """Log numbered records with the awaited method, each for a limited time."""
        log = asynclog.get_logger("subject")

        async def work() -> None:
            for _ in range(count):
                with self._noting() as outcome, anyio.move_on_after(patience):
                    outcome.append(Fate.CANCELLED)
                    await log.ainfo("call", source=self._source, n=self._number, pad="x" * size)
                    outcome.pop()

        anyio.run(work, backend=backend)

    def flush(self, timeout: float) -> bool:
        """Flush; say whether everything is in the files."""
        return asynclog.flush_sync(timeout)

    def stop(self, timeout: float) -> list[Any]:
        """Stop twice; return what both reports say."""
        first, second = asynclog.stop_sync(timeout), asynclog.stop_sync(timeout)
        return [first.accepted, first.written, first.dropped, first == second]

    def complain(self, text: str) -> None:
        """Tell of an error."""
        self._connection.sendall(json.dumps({"error": text}).encode())

    @contextlib.contextmanager
    def _noting(self) -> Generator[list[Fate], None, None]:
        """Note what becomes of the call within, by the counters."""
        before = asynclog.stats("process")
        outcome: list[Fate] = []
        yield outcome
        after = asynclog.stats("process")
        calls = after.accepted - before.accepted
        dropped = sum(after.dropped.values()) - sum(before.dropped.values())
        fate = Fate.DROPPED if dropped else Fate.ACCEPTED
        if outcome:
            fate = outcome.pop()
        expected = {Fate.ACCEPTED: (1, 0), Fate.DROPPED: (1, 1), Fate.CANCELLED: (0, 0)}[fate]
        assert (calls, dropped) == expected, (fate, before, after)
        self._ledger.note(self._source, self._number, fate)
        self._number += 1

    def _fork(self, connection: socket.socket, source: int) -> int:
        with warnings.catch_warnings():
            # a child that only logs is safe beside our threads; that is what is tested
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            connection.close()
            return pid
        self._connection.close()
        self._connection, self._source, self._number = connection, source, 0
        return 0


def be_nursery(control: socket.socket, ledger: Ledger) -> bool:
    """Fork a subject for each socket that comes, until nobody asks any more.

    This process itself starts nothing, so that every subject begins as a fresh program would.

    Returns:
        Whether this is a subject, which is to end now as a program does.
    """
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, _MESSAGE, 1)
        if not text:
            return False
        connection = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if not pid:
            control.close()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            be_subject(connection, int(text), ledger)
            return True
        connection.close()
        control.sendall(str(pid).encode())
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def be_subject(connection: socket.socket, source: int, ledger: Ledger) -> None:
    """Be a subject; an error is told, and ends it."""
    subject = Subject(connection, source, ledger)
    try:
        subject.run()
    except Exception:
        with contextlib.suppress(OSError):
            subject.complain(traceback.format_exc())
        raise
