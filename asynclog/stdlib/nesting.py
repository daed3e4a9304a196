"""How deep records may be made within each other on one thread, and how many.

A processor or a ``__repr__`` that logs makes a record while another one is being made, and so
may a signal handler or a finaliser that comes in between. None of these is to be lost, and the
first two may have no end.
"""

from __future__ import annotations

import sys
import threading
from types import CodeType, FrameType
from typing import Final

MAX_DEPTH: Final = 16
"""Records within each other. Signal handlers at 1 kHz do not come near it by chance."""
MAX_NESTED: Final = 64
"""Records made altogether while one is being made: a processor that logs twice would double them
at each level."""


class Nesting(threading.local):
    """Counts the records that are being made on the current thread.

    Args:
        code: Of the function that makes records, by which it is found on the stack.
    """

    _depth = 0
    _nested = 0

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def enter(self) -> bool:
        """Begin a record; say whether it may be made. If so, :meth:`leave` comes after it."""
        if self._depth:
            # An exception from outside may have come before the last leave().
            self._depth = self._depth_on_stack()
        if self._depth == 0:
            self._nested = 0
        else:
            self._nested += 1
            if self._depth > MAX_DEPTH or self._nested > MAX_NESTED:
                return False
        self._depth += 1
        return True

    def leave(self) -> None:
        """End a record."""
        self._depth -= 1

    def _depth_on_stack(self) -> int:
        """Count the calls that make records, without the one that is about to."""
        depth = -1
        frame: FrameType | None = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
        while frame is not None:
            depth += frame.f_code is self._code
            frame = frame.f_back
        return max(depth, 0)
