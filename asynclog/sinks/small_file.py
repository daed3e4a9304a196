"""Writes small files so that a reader finds the old content or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path

from .rotation import FILE_MODE, make_directories

_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_TRUNC
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content, also if the power fails; takes as long as the disk does.

    The file gets mode 0640 less the process's umask, directories that are missing are made.

    Raises:
        OSError: It did not work; what was there is still there.
    """
    unfinished = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(unfinished, _FLAGS, FILE_MODE)
    except FileNotFoundError:
        make_directories(path.parent)
        descriptor = os.open(unfinished, _FLAGS, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(unfinished, path)
