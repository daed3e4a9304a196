"""What happens when the ring is full: who may wait, for how long, and what is said afterwards."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import anyio

from .._complain import complain

_STEPS = (0.0005, 0.001, 0.002, 0.005)
"""Seconds between looks for room: the collector needs about a millisecond to make some."""

_late_call_reported = False


class Overflow:
    """The policy for a full ring.

    Args:
        wait: Whether a plain thread waits for room.
        timeout: For how many seconds at most.
    """

    __slots__ = ("_gave_up", "_waiting", "timeout", "wait_allowed")

    def __init__(self, *, wait: bool = True, timeout: float = 0.1) -> None:
        self.wait_allowed: bool = wait
        self.timeout: float = timeout
        # After one wait in vain nobody waits until there was room again: a full disk may cost
        # one time-out, not one for every call.
        self._gave_up = False
        self._waiting: set[int] = set()

    def has_room(self) -> None:
        """Note that the ring has room, so that waiting makes sense again."""
        self._gave_up = False

    def wait(self, put: Callable[[], bool], *, may_wait: bool = True) -> str | None:
        """Try to put until it works or waiting is over.

        Args:
            put: Puts the line if there is room.
            may_wait: Whether anybody can make room.

        Returns:
            None when the line is in, else the reason for which it is dropped.
        """
        thread = threading.get_ident()
        if (
            not may_wait
            or not self.wait_allowed
            or self._gave_up
            # A signal handler that interrupts the wait of its own thread.
            or thread in self._waiting
            or _runs_event_loop()
        ):
            return "full"
        self._waiting.add(thread)
        try:
            deadline = time.monotonic() + self.timeout
            looks = 0
            while time.monotonic() < deadline:
                time.sleep(_STEPS[min(looks, len(_STEPS) - 1)])
                if put():
                    self._gave_up = False
                    return None
                looks += 1
            self._gave_up = True
            return "timeout"
        finally:
            self._waiting.discard(thread)

    async def wait_async(self, put: Callable[[], bool | None]) -> bool:
        """Try to put until it works or never will; cancellable before, not after."""
        looks = 0
        while True:
            await anyio.sleep(_STEPS[min(looks, len(_STEPS) - 1)])
            accepted = put()
            if accepted is not None:
                return accepted
            looks += 1

    def after_fork(self) -> None:
        """Forget the threads of the parent process."""
        self._waiting.clear()
        self._gave_up = False


def _runs_event_loop() -> bool:
    """Say whether this thread runs an event loop, which a wait would stop."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return True
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def report_late_call() -> None:
    """Say once on stderr that something is logged after the pipeline has stopped."""
    global _late_call_reported
    if not _late_call_reported:
        _late_call_reported = True
        complain("something is logged after stop(); it is counted, not stored")
