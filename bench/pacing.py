"""Calls on a timetable, and a thread that computes beside them."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter_ns

from bench.measure import Call

RATE = 2_000
"""Calls a second."""


def pace(call: Call, samples: array[int], first: int, *, busy: bool = False) -> None:
    """Time each call of a fixed timetable; a late one is made at once, none is left out.

    Args:
        call: What to time.
        samples: Takes the nanoseconds of each call; its length is the number of calls.
        first: Running number of the first call.
        busy: Compute between the calls instead of sleeping.
    """
    clock = perf_counter_ns
    period = 1_000_000_000 // RATE
    due = clock()
    for i in range(len(samples)):
        if busy:
            while clock() < due:
                pass
        else:
            early = due - clock()
            if early > 0:
                time.sleep(early / 1e9)
        start = clock()
        call(first + i)
        samples[i] = clock() - start
        due += period


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
