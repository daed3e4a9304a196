"""The rank that the records of this process name, looked up once."""

from __future__ import annotations

import os

from ._rank import rank_from_environment

_this: tuple[int | None] | None = None


def this_rank() -> int | None:
    """Return the global rank of this process, looked up once; None outside a distributed job."""
    global _this
    known = _this
    if known is None:
        known = _this = (rank_from_environment(),)
    return known[0]


def look_again() -> None:
    """Look the rank up anew when it is next asked for: a launcher may have set it meanwhile."""
    global _this
    _this = None


# What a forked worker is told of its rank, it is told after the fork.
os.register_at_fork(after_in_child=look_again)
