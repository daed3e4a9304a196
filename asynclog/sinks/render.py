"""One record as one readable line: ``2025-01-23 14:30:22 - INFO - text  key=value``.

Shared by text files, the console and whatever else shows records to people. Times are local. All
text from the record is escaped, so that the only control characters are the colours put in here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from .._json import dumps
from .console import Tracebacks
from .escape import escape
from .render_kinds import kind_text
from .select import parse
from .traceback import has_traceback, render_traceback

HIDDEN: Final = frozenset(
    ("timestamp", "level", "event", "logger", "kind", "quiet", "exception", "stack")
)
"""Keys that are not shown as ``key=value``: they have a place of their own, or none."""

RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BLUE: Final = "\x1b[34m"
_BOLD: Final = "\x1b[1m"
_NOT_BOLD: Final = "\x1b[22m"

_LABELS: Final = {name: name.upper() for name in ("debug", "info", "warning", "error", "critical")}
_COLORED_LABELS: Final = {
    name: f"\x1b[{code}m{name.upper()}{RESET}"
    for name, code in (
        ("debug", "36"),  # cyan
        ("info", "32"),  # green
        ("warning", "33"),  # yellow
        ("error", "31"),  # red
        ("critical", "1;31"),  # bold red
    )
}
# texts that need no quotes: nothing in them could be taken for the end of a value
_bare: Final = re.compile(r"[\w.,:;/@%+*~#&!?^|<>()$-]+").fullmatch
_STAGE_NAME: Final = re.compile(r"\[([^\]]+)\]")


def render_line(event: Mapping[str, Any], colors: bool = False) -> str:
    """Return a record as one line without a line end; its exception is left out.

    Args:
        event: The record.
        colors: Put ANSI colours around time stamp, level and keys.
    """
    level = event.get("level", "info")
    time = local_time(event.get("timestamp", ""))
    label = _LABELS.get(level) or escape(str(level)).upper()
    text = render_text(event, colors)
    if not colors:
        return f"{time} - {label} - {text}"
    if event.get("kind") == "stage":
        return _stage(f"{time} - {label} - ", text)
    return f"{_DIM}{time}{RESET} - {_COLORED_LABELS.get(level, label)} - {text}"


def render_text(event: Mapping[str, Any], colors: bool = False) -> str:
    """Return what a record says: its text and its fields, without its time and level."""
    text = event.get("event", "")
    text = escape(text) if type(text) is str else _value(text)
    if event.get("kind") == "stage":
        # a stage mark's text says it all
        return text
    key_text = _dim_key if colors else _key
    fields = ""
    hidden = HIDDEN
    if "kind" in event and (shown := kind_text(event, key_text, _value)) is not None:
        text, hidden = shown.text, HIDDEN | shown.fields
    for key, value in event.items():
        if key not in hidden:
            fields += f" {key_text(key)}{value if type(value) is int else _value(value)}"
    if "logger" in event:
        fields += f" {key_text('logger')}{_value(event['logger'])}"
    # two spaces, because a text may well hold "key=value" itself
    return f"{text} {fields}" if fields else text


def render(event: Mapping[str, Any], colors: bool = False, tracebacks: Tracebacks = "short") -> str:
    """Return a record as a line, followed by its exception on lines of their own."""
    line = render_line(event, colors)
    if has_traceback(event):
        line = f"{line}\n{render_traceback(event, tracebacks)}"
    return line


def render_plain(raw: bytes) -> str:
    """Return the records in some whole lines of a log, each as :func:`render` shows it."""
    return "".join(f"{render(parse(line))}\n" for line in raw.splitlines())


def local_time(timestamp: object) -> str:
    """Return a record's time stamp as local time, ``2025-01-23 14:30:22``.

    What is no time stamp of ours (a record may carry its own) is returned as it is.
    """
    if type(timestamp) is not str:
        return _value(timestamp)
    if len(timestamp) == 27 and timestamp[26] == "Z":
        try:
            # only minutes are converted, and those once: time zones differ by whole minutes
            return _local_minute(timestamp[:16]) + timestamp[16:19]
        except ValueError:
            pass
    return escape(timestamp)


@lru_cache(16)
def _local_minute(minute: str) -> str:
    return f"{datetime.fromisoformat(f'{minute}:00+00:00').astimezone():%Y-%m-%d %H:%M}"


@lru_cache(1024)
def _key(key: str) -> str:
    return f"{key if _bare(key) else _quoted(key)}="


@lru_cache(1024)
def _dim_key(key: str) -> str:
    return f"{_DIM}{_key(key)}{RESET}"


def _value(value: Any) -> str:
    if type(value) is str:
        return value if _bare(value) else _quoted(value)
    if isinstance(value, (dict, list)):
        return escape(dumps(value).decode())
    return escape(str(value))


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(text)}"'


def _stage(front: str, text: str) -> str:
    """Return a stage mark in blue, the name of the stage bold."""
    name = _STAGE_NAME.search(text)
    if name:
        text = f"{text[: name.start(1)]}{_BOLD}{name[1]}{_NOT_BOLD}{text[name.end(1) :]}"
    return f"{_DIM}{front}{RESET}{_BLUE}{text}{RESET}"
