"""The standard streams as they were before they were captured: where our own words go.

Knows which descriptors are diverted and what they led to; does not divert anything itself.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any, Final, NamedTuple

from . import _own_threads


class _Original(NamedTuple):
    """What a descriptor led to.

    Attributes:
        stream: Leads there. It is open.
        writing: Held while somebody writes there, so that nobody closes the descriptor under a
            write: its number may be another file's a moment later.
    """

    stream: io.TextIOWrapper
    writing: threading.RLock


_before: dict[int, _Original] = {}

CLOSING_PATIENCE: Final = 1.0
"""Seconds to wait for a write to end. A descriptor that is still in use then stays open."""


class _Aside(threading.local):
    shown: bool | None = None


_aside = _Aside()


def divert(number: int, saved: int, like: Any) -> None:
    """Note that a descriptor leads elsewhere from now on.

    Args:
        number: 1 or 2.
        saved: A duplicate of what it led to.
        like: The Python stream on it, for its encoding.
    """
    encoding = getattr(like, "encoding", None) or "utf-8"
    stream = open(  # noqa: SIM115
        saved, "w", encoding=encoding, errors="backslashreplace", closefd=False
    )
    _before[number] = _Original(stream, threading.RLock())


def restored(number: int) -> bool:
    """Note that a descriptor leads where it did; say whether the duplicate may be closed."""
    original = _before.pop(number, None)
    if original is None:
        return True
    if not original.writing.acquire(timeout=CLOSING_PATIENCE):
        return False
    original.writing.release()
    return True


def descriptor(number: int) -> int:
    """Return where to write what must not be captured: 1 or 2 where nothing is."""
    original = _before.get(number)
    return number if original is None else original.stream.fileno()


def uncaptured(stream: Any) -> Any:
    """Return the stream to write to in the place of a captured one; any other as it is."""
    if not _before:
        return stream
    # a live display of rich has put itself between
    proxied = getattr(stream, "rich_proxied_file", stream)
    if not isinstance(proxied, io.TextIOWrapper):
        return stream
    try:
        original = _before.get(proxied.fileno())
    except (OSError, ValueError):
        return stream
    return stream if original is None else original.stream


@contextmanager
def writing(stream: Any) -> Generator[bool]:
    """Keep a stream open for a block; yield whether it is the original of a captured one."""
    for original in list(_before.values()):
        if original.stream is stream:
            break
    else:
        yield False
        return
    with original.writing:
        yield True


def write(number: int, data: bytes) -> None:
    """Write to what a captured descriptor led to; what cannot be written vanishes."""
    original = _before.get(number)
    with original.writing if original is not None else nullcontext():
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor(number), rest) :]
        except OSError:
            pass


@contextmanager
def aside(shown: bool) -> Generator[None]:
    """Keep what this thread prints in a block from being captured.

    Args:
        shown: Whether it goes where it would go if nothing was captured; else nowhere.
    """
    before, _aside.shown = _aside.shown, shown
    try:
        yield
    finally:
        _aside.shown = before


def speaks_aside() -> bool | None:
    """Return whether what this thread prints is shown without being captured.

    Returns:
        None when it is to be captured.
    """
    shown = _aside.shown
    if shown is None and _own_threads.is_own():
        # a sink that prints each record it gets would get that as a record, for ever
        return True
    return shown


def _after_fork_in_child() -> None:
    # a thread that does not exist here may have held one
    for number, original in _before.items():
        _before[number] = original._replace(writing=threading.RLock())


os.register_at_fork(after_in_child=_after_fork_in_child)
