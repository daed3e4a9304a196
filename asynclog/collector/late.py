"""What a process logs when its pipeline has stopped at exit: line by line into the run's file.

Finalisers do, functions at exit, and threads that nobody has told.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from ..intake.overflow import Overflow
from ..intake.producer import Producer, make_producer
from ..intake.ring import Origin
from ..intake.spool import Spool
from .plan import Plan

RING_SIZE: Final = 1 << 20
"""Room for what is left to a collector elsewhere; taken only when there is something."""
TURN_TIMEOUT: Final = 1.0
"""Seconds a thread waits at most for others that write: one may have been stopped for good at the
interpreter's end while it did."""


class LateWriter:
    """Stores lines of a process that is about to end, as ``late`` of a producer.

    They go straight into the run's file; where another process collects, into a ring that is left
    to it. It is made while it still can be: at the very end of the interpreter no import works.

    Args:
        plan: Says which file.
        spool: The run's.
        origin: This process.
    """

    def __init__(self, plan: Plan, spool: Spool, origin: Origin) -> None:
        declared = plan.durable()
        self._file = None if declared is None else declared.file(plan.run(origin))
        self._spool = spool
        self._origin = origin
        self._left: Producer | None = None
        self._turn = threading.RLock()
        self._elected = False

    def __call__(self, line: bytes, level: int) -> bool:
        """Store a line; say whether it is."""
        if self._file is None:
            return False
        try:
            return self._write(line) or self._leave(line, level)
        except Exception:
            return False

    @contextmanager
    def holding(self) -> Generator[None, None, None]:
        """Keep other threads from writing, and the file open, for many lines; never raises."""
        with self._turn:
            elected = False
            with suppress(Exception):
                elected = self._elect()
            try:
                yield
            finally:
                if elected:
                    with suppress(Exception):
                        self._resign()

    def _write(self, line: bytes) -> bool:
        file = self._file
        if file is None or self._left is not None or not self._turn.acquire(timeout=TURN_TIMEOUT):
            return False
        try:
            elected = not self._elected
            if elected and not self._elect():
                return False
            try:
                file.prepare(len(line))
                file.append([line])
            finally:
                if elected:
                    self._resign()
            return True
        finally:
            self._turn.release()

    def _elect(self) -> bool:
        self._spool.prepare()
        self._elected = self._spool.elect()
        return self._elected

    def _resign(self) -> None:
        self._elected = False
        if self._file is not None:
            self._file.close()
        self._spool.leave()

    def _leave(self, line: bytes, level: int) -> bool:
        left = self._left
        if left is None:
            self._spool.prepare()
            # nobody waits for room: the process is to end
            left = make_producer(Overflow(wait=False))
            left.attach(self._spool.create_ring(RING_SIZE, self._origin, left.next_base))
            self._left = left
        return left.put(line, level)
