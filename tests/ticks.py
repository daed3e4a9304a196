"""A signal handler that interrupts everything, itself as well, a thousand times a second."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

DEPTH: Final = 5
"""How many handlers may be interrupted by the next: on a busy machine each takes longer than until
then, and they would never come to an end."""


@contextmanager
def ticks(handle: Callable[[], object]) -> Generator[None, None, None]:
    """Call something from the handler for a while."""
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
