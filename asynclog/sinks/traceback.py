"""Tracebacks as text, from the data in a record; the source lines come in here.

Every line of it is indented, so that no message of an exception can pass for a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, cast

from .console import Tracebacks
from .escape import escape
from .source import may_read, source_line

SHORT_FRAMES: Final = 8
"""Innermost frames that ``"short"`` shows of each exception."""
INDENT: Final = "    "
MAX_DEPTH: Final = 16
"""Exceptions within each other that are shown; a record holds no more than 8 of them."""

_SOURCE: Final = "source"
_REDACTED: Final = "redacted"
_CAUSE: Final = "The above exception was the direct cause of the following exception:"
_CONTEXT: Final = "During handling of the above exception, another exception occurred:"


def has_traceback(event: Mapping[str, Any]) -> bool:
    """Say whether a record carries an exception or a stack."""
    return "exception" in event or "stack" in event


def render_traceback(event: Mapping[str, Any], style: Tracebacks = "short") -> str:
    """Return the exception and the stack of a record as indented lines without a line end.

    Args:
        event: The record.
        style: ``"short"`` shows the innermost frames, ``"full"`` all that the record has.
            ``"pretty"`` is the same as ``"full"`` here.
    """
    limit = SHORT_FRAMES if style == "short" else None
    lines: list[str] = []
    stack = event.get("stack")
    if stack is not None:
        lines += _stack(stack, limit)
    error = event.get("exception")
    if error is not None:
        lines += _exceptions(error, limit)
    return "\n".join((INDENT + line).rstrip() for line in lines)


def render_pretty(event: Mapping[str, Any], width: int, colors: bool) -> str | None:
    """Return an exception as rich draws it, with code around each frame.

    None where rich is not installed, or cannot draw what there is (stacks, groups, plain text,
    source that may not be shown as it is).
    """
    try:
        from rich.console import Console
        from rich.traceback import Frame, Stack, Trace, Traceback
    except ImportError:
        return None
    chain = _chain(event)
    if not chain:
        return None
    stacks = [
        Stack(
            exc_type=escape(str(data.get("type", ""))),
            exc_value=escape(str(data.get("message", ""))),
            is_cause=is_cause,
            frames=[
                # rich reads no file whose name looks like <this>
                Frame(escape(file) if may_read(file) else f"<{escape(file)}>", line, escape(name))
                for file, line, name in _frames(data)
            ],
        )
        for data, is_cause in chain
    ]
    console = Console(
        width=width,
        force_terminal=colors,
        no_color=not colors,
        color_system="standard" if colors else None,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(Traceback(Trace(stacks)))
    return capture.get().rstrip("\n")


def _chain(event: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], bool]]:
    """Return an exception and what it stems from, and for each whether it is a cause."""
    chain: list[tuple[Mapping[str, Any], bool]] = []
    error = event.get("exception")
    is_cause = False
    while isinstance(error, Mapping) and len(chain) < MAX_DEPTH:
        data = cast(Mapping[str, Any], error)
        if "exceptions" in data or "stack" in event or _SOURCE in data:
            return []
        chain.append((data, is_cause))
        is_cause = "cause" in data
        error = data.get("cause") or data.get("context")
    return chain


def _exceptions(error: Any, limit: int | None, depth: int = 0) -> Iterator[str]:
    """Yield the lines of an exception, what it stems from first."""
    if not isinstance(error, Mapping) or depth > MAX_DEPTH:
        # text by structlog.processors.format_exc_info, or somebody's own shape
        yield from _split(error if isinstance(error, str) else repr(cast(object, error)))
        return
    data = cast(Mapping[str, Any], error)
    if isinstance(text := data.get("text"), str):
        yield from _split(text)
        return
    for link, explanation in (("cause", _CAUSE), ("context", _CONTEXT)):
        if link in data:
            yield from _exceptions(data[link], limit, depth + 1)
            yield from ("", explanation, "")
    frames = _frames(data)
    if frames:
        yield "Traceback (most recent call last):"
        yield from _places(frames, data, limit)
    yield from _message(data)
    members = data.get("exceptions")
    if isinstance(members, list):
        for number, member in enumerate(cast(list[Any], members), 1):
            yield f"  {number}:"
            for line in _exceptions(member, limit, depth + 1):
                yield INDENT + line
    if left_out := data.get("exceptions_left_out"):
        yield f"  ... {escape(str(left_out))} exceptions left out"


def _stack(stack: Any, limit: int | None) -> Iterator[str]:
    if not isinstance(stack, Mapping):
        yield from _split(stack if isinstance(stack, str) else repr(stack))
        return
    data = cast(Mapping[str, Any], stack)
    yield "Stack (most recent call last):"
    yield from _places(_frames(data), data, limit)


def _frames(data: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return the frames that have the shape of ours: file, line and function."""
    found: list[tuple[str, int, str]] = []
    frames = data.get("frames")
    for frame in cast(list[Any], frames) if isinstance(frames, list) else []:
        if isinstance(frame, Mapping):
            place = cast(Mapping[str, Any], frame)
            line = place.get("line")
            found.append(
                (
                    str(place.get("file", "?")),
                    line if isinstance(line, int) else 0,
                    str(place.get("function", "?")),
                )
            )
    return found


def _places(
    frames: list[tuple[str, int, str]], data: Mapping[str, Any], limit: int | None
) -> Iterator[str]:
    left_out = data.get("frames_left_out")
    missing = left_out if isinstance(left_out, int) else 0
    show = _shown_as(data)
    places = [(place, len(list(same))) for place, same in groupby(frames)]
    if limit is not None and len(places) > limit:
        missing += sum(times for _, times in places[:-limit])
        places = places[-limit:]
    if missing:
        yield f"  ... {missing} outer frames left out"
    for (file, line, function), times in places:
        yield f'  File "{escape(file)}", line {line}, in {escape(function)}'
        if show is not None and (source := source_line(file, line)):
            yield f"    {escape(show(source))}"
        if times > 1:
            yield f"  [Previous line repeated {times - 1} more times]"


def _shown_as(data: Mapping[str, Any]) -> Callable[[str], str] | None:
    """Return what to do with source lines, None to leave them out.

    A record without secrets says how they are kept out of the source, which it does not hold.
    """
    if _SOURCE not in data:
        return str
    if data[_SOURCE] != _REDACTED:
        return None
    from .._secrets.texts import redact_text

    return redact_text


def _message(data: Mapping[str, Any]) -> Iterator[str]:
    kind = str(data.get("type", "Exception"))
    message = str(data.get("message", ""))
    yield from _split(f"{kind}: {message}" if message else kind)
    notes = data.get("notes")
    for note in cast(list[Any], notes) if isinstance(notes, list) else []:
        yield from _split(str(note))


def _split(text: str) -> Iterator[str]:
    for line in text.rstrip("\n").split("\n"):
        yield escape(line)
