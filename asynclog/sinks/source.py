"""Source lines for tracebacks, read when they are shown: bounded, and never from other files."""

from __future__ import annotations

import linecache
import os
import stat
from functools import lru_cache
from typing import Final

MAX_SOURCE_BYTES: Final = 2_000_000
"""Larger files are not read; the largest module of torch has 1.2 MB."""
MAX_FILES: Final = 32
"""Files kept in memory."""


def may_read(file: str) -> bool:
    """Say whether a name in a record may be opened.

    A record may come from another process or machine: a name in it is no reason to show the
    content of any file but Python source.
    """
    return file.endswith((".py", ".pyi", ".pyx")) and "\0" not in file


def source_line(file: str, line: int) -> str:
    """Return a line of Python source without indentation, empty where there is none to be had."""
    if file in linecache.cache:
        # a notebook's cells have no file of their own
        return linecache.getline(file, line).strip()
    if not may_read(file):
        return ""
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SOURCE_BYTES:
            return ""
        lines = _lines(file, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        return ""
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


@lru_cache(MAX_FILES)
def _lines(file: str, modified: int, size: int) -> tuple[str, ...]:
    # time and size are only there to be part of the key: an edited file is read anew
    del modified, size
    with open(file, encoding="utf-8", errors="replace") as source:
        return tuple(source)
