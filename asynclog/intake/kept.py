"""Lines that come while a process has no ring for a moment, in the order in which they came."""

from __future__ import annotations

from collections import deque
from typing import Final

from .producer import Producer

MAX_KEPT_BYTES: Final = 16 << 20
"""Lines kept at most; what does not fit is counted as any other call after a stop."""


class Kept:
    """Takes the lines that come between the stop of a pipeline and what comes after it.

    That is a start with other settings, or the end of the process.

    Args:
        producer: Has no ring for a while.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._lines: deque[tuple[bytes, int]] = deque()
        self._bytes = 0
        self._over = False
        producer.late = self._take

    def put(self) -> None:
        """Put what was taken; nothing is taken any more."""
        if self._producer.late == self._take:
            # nothing has come after it: what is kept is counted
            self._producer.late = None
        self._over = True
        self._empty()

    def _take(self, line: bytes, level: int) -> bool:
        if self._bytes > MAX_KEPT_BYTES:
            return False
        self._bytes += len(line)
        self._lines.append((line, level))
        if self._over:
            # a thread that was on its way here
            self._empty()
        return True

    def _empty(self) -> None:
        while True:
            try:
                line, level = self._lines.popleft()
            except IndexError:
                return
            self._producer.put(line, level)
