"""Waiting for what others do, processes perhaps: look again, less and less often."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

_PAUSES: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)


def pauses(done: Callable[[], bool], deadline: float) -> Iterator[float]:
    """Yield seconds to sleep until it is done or too late.

    Args:
        done: Looks whether it is done.
        deadline: When to give up, on the monotonic clock.
    """
    looks = 0
    while not done():
        if time.monotonic() >= deadline:
            return
        yield _PAUSES[min(looks, len(_PAUSES) - 1)]
        looks += 1


def wait(done: Callable[[], bool], deadline: float) -> bool:
    """Block until it is done or too late; say whether it is done; see :func:`pauses`."""
    for pause in pauses(done, deadline):
        time.sleep(pause)
    return done()
