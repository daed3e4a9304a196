"""The timetable of paced calls, and a thread that computes beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter_ns

RATE = 2_000
"""Calls a second."""

PERIOD = 1_000_000_000 // RATE
"""Nanoseconds between two calls."""


def wait_until(due: int, *, busy: bool) -> None:
    """Sleep, or compute, until the clock shows so many nanoseconds."""
    clock = perf_counter_ns
    if busy:
        while clock() < due:
            pass
    else:
        early = due - clock()
        if early > 0:
            time.sleep(early / 1e9)


@contextmanager
def cpu_bound_thread() -> Generator[None, None, None]:
    """Run pure Python in another thread for the time of the block."""
    ending = False

    def burn() -> None:
        value = 0
        while not ending:
            value = (value * 31 + 7) & 0xFFFF

    thread = threading.Thread(target=burn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending = True
        thread.join()
