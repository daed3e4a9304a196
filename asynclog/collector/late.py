"""What a process logs when its pipeline has stopped at exit: line by line into the run's file.

Finalisers do, functions at exit, and threads that nobody has told.
"""

from __future__ import annotations

import threading
from typing import Final

from ..intake.producer import Producer, make_producer
from ..intake.ring import Origin
from ..intake.spool import Spool
from .plan import Plan

RING_SIZE: Final = 64 * 1024
"""Room for what is left to a collector elsewhere."""
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

    Attributes:
        turn: Held by the thread that writes.
    """

    def __init__(self, plan: Plan, spool: Spool, origin: Origin) -> None:
        declared = plan.durable()
        self._file = None if declared is None else declared.file(plan.run(origin))
        self._spool = spool
        self._origin = origin
        self._left: Producer | None = None
        self.turn = threading.RLock()

    def __call__(self, line: bytes, level: int) -> bool:
        """Store a line; say whether it is."""
        if self._file is None:
            return False
        try:
            return self._write(line) or self._leave(line, level)
        except Exception:
            return False

    def _write(self, line: bytes) -> bool:
        if self._left is not None or not self.turn.acquire(timeout=TURN_TIMEOUT):
            return False
        try:
            self._spool.prepare()
            if self._file is None or not self._spool.elect():
                return False
            try:
                self._file.prepare(len(line))
                self._file.append([line])
                self._file.close()
            finally:
                self._spool.leave()
            return True
        finally:
            self.turn.release()

    def _leave(self, line: bytes, level: int) -> bool:
        left = self._left
        if left is None:
            self._spool.prepare()
            left = make_producer()
            left.attach(self._spool.create_ring(RING_SIZE, self._origin, left.next_base))
            self._left = left
        return left.put(line, level)
