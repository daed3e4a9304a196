"""What the children in the tests do; importable, for those that are spawned."""

from __future__ import annotations

import asynclog


def log_numbers(start: int, count: int) -> None:
    """Log some numbers."""
    log = asynclog.get_logger("child")
    for number in range(start, start + count):
        log.info("x", number=number)


def log_one(number: int) -> int:
    """Log one number."""
    asynclog.get_logger("child").info("x", number=number)
    return number


def log_rank(rank: int) -> None:
    """Log the rank as a number."""
    log_one(rank)


class Numbers:
    """Map-style data set that logs what it is asked for."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, at: int) -> int:
        return log_one(at)
