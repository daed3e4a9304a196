"""Exceptions and call stacks as data: names and numbers only, no source files, no frames kept.

A frame that stays alive keeps its local variables alive, and with them tensors on a GPU. Reading
source on the caller's side would be I/O in a log call; whoever renders a line does it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

from .plain import type_of
from .snapshot import Plain, Snapshot
from .untrusted import failure, qualified_name

MAX_FRAMES: Final = 32
"""Frames kept of one traceback or stack: the innermost, where it happened."""
MAX_CHAIN: Final = 8
"""Exceptions within each other by cause, context or group."""
MAX_EXCEPTIONS: Final = 32
"""Exceptions in one record altogether."""
MAX_NOTES: Final = 16
"""Notes (``add_note``) kept of one exception."""
_TUPLE: Final[Any] = tuple
_LIST: Final[Any] = list
OWN_PACKAGES: Final = ("asynclog", "structlog", "logging")
"""The callers that a stack is not about."""


def exception_to_dict(
    error: BaseException,
    traceback: TracebackType | None = None,
    *,
    snapshot: Snapshot | None = None,
    text: bool = False,
) -> dict[str, Plain]:
    """Return an exception as data, see docs/reference/line-schema.md.

    Args:
        error: The exception; never kept.
        traceback: The traceback to take instead of the exception's own.
        snapshot: Counts the text against an event's budget.
        text: Add the classic traceback under ``"text"``, which reads source files.
    """
    snapshot = snapshot or Snapshot(65536)
    data = _Chain(snapshot).capture(error, traceback or _get(error, "__traceback__"), 0)
    if text:
        data["text"] = _classic(error, traceback, snapshot)
    return data


def current_exception(exc_info: Any) -> tuple[BaseException, TracebackType | None] | None:
    """Return what an ``exc_info`` argument means: True, an exception or a ``sys.exc_info()``.

    None where there is no exception, for instance True outside of an except block.
    """
    if exc_info is None or exc_info is False:
        return None
    kind = type_of(exc_info)
    if issubclass(kind, BaseException):
        return exc_info, None
    if issubclass(kind, _TUPLE):
        found, length = _contents(exc_info, 3)
        if length != 3 or not issubclass(type_of(found[1]), BaseException):
            return None
        return found[1], found[2] if type_of(found[2]) is TracebackType else None
    current = sys.exc_info()[1]
    return None if current is None else (current, None)


def stack_to_dict(snapshot: Snapshot) -> dict[str, Plain]:
    """Return the call stack of the code that logs, in the shape of an exception's frames."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and _is_own(frame):
        frame = frame.f_back
    places: list[tuple[CodeType, int | None]] = []
    left_out = 0
    while frame is not None:
        if len(places) < MAX_FRAMES:
            places.append((frame.f_code, frame.f_lineno))
        else:
            left_out += 1
        frame = frame.f_back
    return _frames(reversed(places), left_out, snapshot)


def trim(data: Plain, frames: int) -> Plain:
    """Return exception data (or a stack) with fewer frames, the innermost kept."""
    if not isinstance(data, dict):
        return data
    trimmed = dict(data)
    found = trimmed.get("frames")
    if isinstance(found, list) and len(found) > frames:
        before = trimmed.get("frames_left_out")
        kept = found[-frames:]
        left_out = (before if isinstance(before, int) else 0) + len(found) - len(kept)
        del trimmed["frames"]
        trimmed.pop("frames_left_out", None)
        trimmed = {**trimmed, "frames": kept, "frames_left_out": left_out}
    for link in ("cause", "context"):
        if link in trimmed:
            trimmed[link] = trim(trimmed[link], frames)
    group = trimmed.get("exceptions")
    if isinstance(group, list):
        trimmed["exceptions"] = [trim(member, frames) for member in group]
    return trimmed


class _Chain:
    """Captures one exception with those it stems from or holds, each once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._seen: set[int] = set()

    def capture(
        self, error: BaseException, traceback: TracebackType | None, depth: int
    ) -> dict[str, Plain]:
        self._seen.add(id(error))
        snapshot = self._snapshot
        kind = type_of(error)
        data: dict[str, Plain] = {
            "type": snapshot.text(qualified_name(kind)),
            "message": _message(error, snapshot),
        }
        notes, count = _contents(_get(error, "__notes__"), MAX_NOTES)
        if notes:
            data["notes"] = [snapshot.text(note) for note in notes]
        if count > len(notes):
            data["notes_left_out"] = count - len(notes)
        if traceback is not None:
            data.update(_frames(*_places(traceback), snapshot))
        self._add_members(data, error, depth)
        self._add_origin(data, error, depth)
        return data

    def _add_origin(self, data: dict[str, Plain], error: BaseException, depth: int) -> None:
        link, origin = "cause", _get(error, "__cause__")
        if origin is None and _get(error, "__suppress_context__") is not True:
            link, origin = "context", _get(error, "__context__")
        if origin is None or not issubclass(type_of(origin), BaseException):
            return
        if self._may_go_on(origin, depth):
            data[link] = self.capture(origin, _get(origin, "__traceback__"), depth + 1)
        else:
            data["chain_cut"] = True

    def _add_members(self, data: dict[str, Plain], error: BaseException, depth: int) -> None:
        if not issubclass(type_of(error), BaseExceptionGroup):
            return
        members, count = _contents(_get(error, "exceptions"), MAX_EXCEPTIONS)
        taken: list[Plain] = [
            self.capture(member, _get(member, "__traceback__"), depth + 1)
            for member in members
            if issubclass(type_of(member), BaseException) and self._may_go_on(member, depth)
        ]
        data["exceptions"] = taken
        if len(taken) < count:
            data["exceptions_left_out"] = count - len(taken)

    def _may_go_on(self, error: BaseException, depth: int) -> bool:
        return (
            depth + 1 < MAX_CHAIN
            and len(self._seen) < MAX_EXCEPTIONS
            and id(error) not in self._seen
        )


def _places(
    traceback: TracebackType | None,
) -> tuple[Iterator[tuple[CodeType, int | None]], int]:
    """Return where a traceback passed through, outermost first, and how much is left out."""
    innermost: deque[TracebackType] = deque(maxlen=MAX_FRAMES)
    count = 0
    while traceback is not None:
        innermost.append(traceback)
        count += 1
        traceback = traceback.tb_next
    return ((part.tb_frame.f_code, part.tb_lineno) for part in innermost), count - len(innermost)


def _frames(
    places: Iterator[tuple[CodeType, int | None]], left_out: int, snapshot: Snapshot
) -> dict[str, Plain]:
    frames: list[Plain] = [
        {
            "file": snapshot.text(code.co_filename),
            "line": line,
            "function": snapshot.text(code.co_qualname),
        }
        for code, line in places
    ]
    return {"frames": frames, "frames_left_out": left_out} if left_out else {"frames": frames}


def _is_own(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return type(module) is str and module.partition(".")[0] in OWN_PACKAGES


def _contents(value: Any, limit: int) -> tuple[list[Any], int]:
    """Return the first items of a list or tuple, past its overrides, and how many there are."""
    kind = type_of(value)
    for base in (_TUPLE, _LIST):
        if issubclass(kind, base):
            return list(islice(base.__iter__(value), limit)), base.__len__(value)
    return [], 0


def _message(error: BaseException, snapshot: Snapshot) -> str:
    try:
        return snapshot.text(str(error))
    except BaseException as failed:
        return failure(type_of(error), failed)


def _get(error: BaseException, name: str) -> Any:
    """Return an attribute that a subclass may have replaced by something that raises."""
    try:
        return getattr(error, name, None)
    except BaseException as failed:
        failure(type_of(error), failed)
        return None


def _classic(error: BaseException, traceback: TracebackType | None, snapshot: Snapshot) -> str:
    from traceback import format_exception

    try:
        own = traceback or error.__traceback__
        return snapshot.text("".join(format_exception(type(error), error, own)))
    except BaseException as failed:
        return failure(type_of(error), failed)
