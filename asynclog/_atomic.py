"""Where a source line without calls is one step: nothing of this process comes in between.

CPython switches threads and runs signal handlers, finalisers and trace functions only at calls,
backward jumps, function entries and line starts. So "if nobody has changed it, change it", written
on one source line, needs no lock: none that a signal handler could find taken, a fork could copy,
or an asynchronous exception could leave behind. Whoever builds on it has a test that shows it for
every version in :data:`LOCK_FREE`, and the same line under a lock for everywhere else.
"""

from __future__ import annotations

import sys
from typing import Final

LOCK_FREE: Final = ((3, 11), (3, 12), (3, 13))
"""Versions of CPython for which it has been shown."""


def lines_are_atomic() -> bool:
    """Tell whether it has been shown for this interpreter."""
    return (
        sys.implementation.name == "cpython"
        and sys.version_info[:2] in LOCK_FREE
        and "t" not in sys.abiflags
    )
