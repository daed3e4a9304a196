"""What interrupts a program anywhere: a signal handler, and the garbage collector."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

DEPTH: Final = 5
"""How many handlers may be interrupted by the next: on a busy machine each takes longer than until
then, and they would never come to an end."""


@contextmanager
def ticks(handle: Callable[[], object]) -> Generator[None, None, None]:
    """Call something from a signal handler, a thousand times a second, for a while."""
    depth = 0

    def tick(*_: object) -> None:
        nonlocal depth
        if depth < DEPTH:
            depth += 1
            handle()
            depth -= 1

    previous = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextmanager
def frequent_collections() -> Generator[None, None, None]:
    """Have garbage collected, and its finalisers called, every few objects for a while."""
    before = gc.get_threshold()
    gc.set_threshold(50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
