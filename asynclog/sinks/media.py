"""The file that an ``image`` record refers to, for sinks that hand it on; the collector writes it.

Record and file travel apart: a sink may see the record some milliseconds before the file is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeGuard

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds to wait for a file: an image takes the collector some ten milliseconds."""
MEDIA: Final = "media"
"""Directory in the run directory that holds all of them."""
_LOOK_EVERY: Final = 0.01


def media_file(
    directory: Path,
    record: Mapping[str, Any],
    timeout: float = DEFAULT_TIMEOUT,
    sleep: Callable[[float], object] = time.sleep,
) -> Path | None:
    """Return the file of an ``image`` record, waiting for it; for sinks in a thread of their own.

    Args:
        directory: The run directory.
        record: The record. One that was dropped refers to no file.
        timeout: Seconds to wait at most; 0 to look once.
        sleep: Waits some seconds.

    Returns:
        The path, None when there is no such file.
    """
    relative = record.get("path")
    if not is_media_path(relative):
        return None
    path = directory / relative
    deadline = time.monotonic() + timeout
    while not path.is_file():
        if time.monotonic() >= deadline:
            return None
        sleep(_LOOK_EVERY)
    return path


def is_media_path(path: object) -> TypeGuard[str]:
    """Tell whether a path lies below ``media`` in a run directory, whatever the directory is."""
    if type(path) is not str or "\0" in path or "\\" in path:
        return False
    parts = PurePosixPath(path).parts
    return len(parts) > 1 and parts[0] == MEDIA and ".." not in parts
