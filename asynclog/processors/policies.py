"""When records of one key pass: pure functions of what is remembered of a key, and the time.

A policy is called as ``policy(memory, now)`` and returns whether to let this one pass and what to
remember. Memory is None for a key that is not known; whatever else it is, it is never changed.
Times are nanoseconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

SECOND: Final = 1_000_000_000
"""Nanoseconds."""


class Policy(Protocol):
    """Decides on one record of a key."""

    def __call__(self, memory: Any, now: int, /) -> tuple[bool, Any]:
        """Return whether it passes, and what to remember of the key."""
        ...


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """Lets records pass at a rate, and some more at once after a pause.

    The bucket is kept as the time at which it will be full again (the "virtual scheduling" form of
    ITU-T I.371, known as GCRA), so that counts are exact: no fractions of tokens are added up.

    Args:
        interval: Nanoseconds until another one may pass.
        burst: How many may pass at once.
    """

    interval: int
    burst: int = 1

    def __call__(self, memory: int | None, now: int, /) -> tuple[bool, int]:
        """Return whether there is a token, and when the bucket will be full."""
        full = now if memory is None or memory < now else memory
        if full - now > (self.burst - 1) * self.interval:
            return False, full
        return True, full + self.interval


@dataclass(frozen=True, slots=True)
class EveryN:
    """Lets the first record pass and then each n-th one.

    Args:
        n: One of so many passes.
    """

    n: int

    def __call__(self, memory: int | None, now: int, /) -> tuple[bool, int]:
        """Return whether it is the turn of this one, and how many came since the last that was."""
        since = self.n if memory is None else memory + 1
        return (True, 0) if since >= self.n else (False, since)


@dataclass(frozen=True, slots=True)
class Once:
    """Lets the first record pass."""

    def __call__(self, memory: bool | None, now: int, /) -> tuple[bool, bool]:
        """Return whether it is the first one."""
        return memory is None, True


def every_seconds(seconds: float) -> TokenBucket:
    """Return the policy that lets a record pass when the last one that did is long enough ago."""
    return TokenBucket(max(1, round(seconds * SECOND)))


def at_rate(rate: float, burst: int) -> TokenBucket:
    """Return the policy that lets so many records a second pass, and `burst` at once."""
    return TokenBucket(max(1, round(SECOND / rate)), burst)
