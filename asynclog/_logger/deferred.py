"""Lines whose numbers are still on their way from a device: kept in order, put when they are there.

Knows neither loggers nor pipelines. Whoever comes by looks: later calls, the pipeline's tick, a
flush. What is here when the process is killed is lost; everything else never is in private memory.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from .._best import BestValues
from .._complain import complain
from .._json import loads
from .._line.arrival import Arrival
from .._patience import pauses, wait

if TYPE_CHECKING:
    from .._line.encoder import LineEncoder
    from .outlet import LineTarget

MAX_WAITING: Final = 4096
"""Lines that may wait: a device is never so many steps behind."""
AT_ONCE: Final = 64
"""Lines that a log call puts for others: some ten microseconds."""
STALE: Final = 2.0
"""Seconds after which whoever puts lines is taken for gone: an exception came in between."""

_live: weakref.WeakSet[Deferred] = weakref.WeakSet()


Put: TypeAlias = Callable[[bytes, int], bool | None]


class _Line(NamedTuple):
    line: bytes
    level: int
    arrival: Arrival | None


class Deferred:
    """The lines of one pipeline that wait, and those that must not overtake them.

    Args:
        target: Takes the lines when they are complete.
        encoder: Knows how long a line may be.
        best: Is told of metrics when they are complete.

    Attributes:
        waiting: The lines, oldest first; always the same object.
        attended: Whether a thread of its own looks now and then, and has the time to make fields
            of whole tensors.
        closed: Whether the pipeline has stopped, so that nobody would look any more.
        done: How many lines were put after they had waited.
    """

    __slots__ = (
        "__weakref__",
        "_best",
        "_encoder",
        "_lock",
        "_since",
        "attended",
        "closed",
        "done",
        "target",
        "waiting",
    )

    def __init__(self, target: LineTarget, encoder: LineEncoder, best: BestValues) -> None:
        self.target: LineTarget = target
        self._best = best
        self._encoder = encoder
        self.waiting: deque[_Line] = deque()
        self.attended: bool = False
        self.closed: bool = False
        self._lock = threading.Lock()
        self._since = 0.0
        self.done: int = 0
        _live.add(self)

    def put(self, line: bytes, level: int, arrival: Arrival | None = None) -> None:
        """Put a line once its numbers have arrived, behind the lines that wait.

        Args:
            line: The line.
            level: Its level as a number.
            arrival: The numbers whose tokens are in it.
        """
        if arrival is not None:
            try:
                if not arrival.begin(line):
                    arrival = None
            except Exception as error:
                line, arrival = arrival.failed(line, error, self._encoder.max_event_bytes), None
        waiting = self.waiting
        if waiting:
            self.look()
        if arrival is None and not waiting:
            self.target.put(line, level)
        elif self.closed:
            self.target.count_drop(level, "stopped")
        elif len(waiting) < MAX_WAITING:
            waiting.append(_Line(line, level, arrival))
        else:
            self.target.count_drop(level, "full")

    def look(
        self, at_most: int = AT_ONCE, put: Put | None = None, *, patient: bool = False
    ) -> None:
        """Put the lines whose numbers are there, in order; never waits for a device.

        Args:
            at_most: How many lines.
            put: Puts a line instead of the target's method; None from it means that there is no
                room, and the line stays here.
            patient: Whether the caller has the time to make fields of whole tensors.
        """
        patient = patient or not self.attended
        # Two at a time would mix the order. Whoever does not get the lock leaves it to the other.
        lock, waiting = self._lock, self.waiting
        if not waiting or not self._claim(lock):
            return
        try:
            for _ in range(at_most):
                first = waiting[0] if waiting else None
                if first is None or not self._advance(first, put or self.target.put, patient):
                    return
                # Not before it was put: what another thread logs meanwhile waits behind it.
                if waiting and waiting[0] is first:
                    waiting.popleft()
                    self.done += 1
        finally:
            lock.release()

    def _claim(self, lock: threading.Lock) -> bool:
        now = time.monotonic()
        if lock.acquire(blocking=False):
            self._since = now
            return True
        if now - self._since > STALE:
            self._lock = threading.Lock()
            self._since = now
        return False

    def _advance(self, first: _Line, put: Put, patient: bool) -> bool:
        """Put the oldest line if it is complete and there is room; say whether it was."""
        line, level, arrival = first
        self._since = time.monotonic()
        if arrival is not None:
            try:
                if not arrival.arrived() or (arrival.array_bytes and not patient):
                    return False
                line = arrival.finished(line)
                if b'","kind":"metrics","' in line:
                    self._best.note_record(loads(line))
            except Exception as error:
                complain(f"numbers were lost on their device: {error}", kind="device")
                line = arrival.failed(line, error, self._encoder.max_event_bytes)
        return put(line, level) is not None

    def close(self) -> None:
        """Accept nothing any more; what still waits is counted as lost."""
        self.closed = True
        while True:
            try:
                lost = self.waiting.popleft()
            except IndexError:
                return
            self.target.count_drop(lost.level, "timeout")

    def _after_fork(self) -> None:
        # They are the parent's, which puts them itself.
        self.waiting.clear()
        self.attended = False
        self._lock = threading.Lock()


class Settling:
    """Sees to it that what waits now is put, for whoever has the patience.

    Args:
        deferred: Where it waits.
        deadline: When to give up, on the monotonic clock.

    Attributes:
        done: Whether all of it was put.
    """

    def __init__(self, deferred: Deferred, deadline: float) -> None:
        self._deferred = deferred
        self._deadline = deadline
        self._goal = deferred.done + len(deferred.waiting)
        self.done: bool = not deferred.waiting

    def pauses(self) -> Iterator[float]:
        """Yield seconds to sleep until it is done or too late."""
        return pauses(self._look, self._deadline)

    def wait(self) -> bool:
        """Block until it is done or too late; say whether it is done."""
        return wait(self._look, self._deadline)

    def _look(self) -> bool:
        deferred = self._deferred
        if not self.done:
            deferred.look(MAX_WAITING, patient=True)
            # what was dropped when the pipeline stopped is not waited for
            self.done = deferred.done >= self._goal or not deferred.waiting
        return self.done


def _after_fork_in_child() -> None:
    for deferred in list(_live):
        deferred._after_fork()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_after_fork_in_child)
