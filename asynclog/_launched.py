"""Which streams of this process a launcher above it reads, told from the environment."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "ASYNCLOG_OUTPUT"
"""Inodes of the pipes that the launcher reads, and where it listens: ``12,13:/path``."""


def is_read_by_launcher(number: int) -> bool:
    """Say whether what is written to a descriptor becomes records without our help."""
    inodes, _, _ = os.environ.get(VARIABLE, "").partition(":")
    try:
        return str(os.fstat(number).st_ino) in inodes.split(",")
    except OSError:
        return False
