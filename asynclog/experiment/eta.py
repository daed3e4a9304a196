"""Eta: how far a loop is and how long it will take, said every twentieth of the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

SHARES: Final = 20
"""A loop says where it is after each twentieth of its steps."""
MAX_KEYS: Final = 1000
"""Loops that are kept track of; further ones say nothing."""
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class Progress(NamedTuple):
    """Where a loop is.

    Attributes:
        step: The step it is at.
        total_steps: How many there are.
        elapsed: Seconds since its first step was seen.
        remaining: Seconds that the other steps will take at the same pace.
    """

    step: int
    total_steps: int
    elapsed: float
    remaining: float

    @property
    def percent(self) -> float:
        """Share of the steps that are done, in percent."""
        return 100 * self.step / self.total_steps

    def __str__(self) -> str:
        return (
            f"{self.step}/{self.total_steps} ({self.percent:.1f}%) | "
            f"Elapsed: {time_text(self.elapsed)} | ETA: {time_text(self.remaining)}"
        )


class _Seen(NamedTuple):
    started: float
    first_step: int
    share: int


class Eta:
    """Estimates how long loops will take, by key; threads may ask at once.

    What counts is the pace since the first step that was seen here: a resumed run is not taken
    for a fast one.

    Args:
        clock: Monotonic seconds.
    """

    __slots__ = ("_clock", "_seen")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def update(self, key: str, step: int, total_steps: int) -> Progress | None:
        """Note a step; return where the loop is if it is time to say so.

        Args:
            key: Names the loop.
            step: Its step.
            total_steps: Its last step.
        """
        if total_steps <= 0:
            return None
        now = self._clock()
        seen = self._seen.get(key)
        share = min(step, total_steps) * SHARES // total_steps
        if seen is None or step < seen.first_step:
            # the first one, or a loop that begins anew
            if seen is not None or len(self._seen) < MAX_KEYS:
                self._seen[key] = _Seen(now, step, share)
            return None
        done = step - seen.first_step
        if share <= seen.share or not done:
            return None
        following, turn = seen._replace(share=share), False
        # one line without a call: of two threads at the same step one says it
        # fmt: off
        if self._seen[key] is seen: self._seen[key] = following; turn = True  # noqa: E701, E702
        # fmt: on
        if not turn:
            return None
        elapsed = now - seen.started
        return Progress(step, total_steps, elapsed, elapsed / done * max(0, total_steps - step))


def time_text(seconds: float) -> str:
    """Return a length of time for people: ``2h 15m 30s``, ``45s``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
