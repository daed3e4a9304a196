"""The launcher's crash report, made ready to be shown; of any shape, since others may write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from .._json import loads
from ..sinks.escape import escape
from ..sinks.render import render

NAME: Final = "crash.json"
_MAX_BYTES: Final = 8 << 20


@dataclass(frozen=True)
class Crash:
    """Why a job failed; all texts are free of control characters, none is escaped for HTML.

    Attributes:
        title: ``"rank 2 was killed by SIGKILL"``.
        error: The exception; empty where it is not known.
        command: What was run, and how it ended.
        first: Which process failed first, and when.
        others: Which ones followed, and how.
        traceback: Of the exception; empty where it is not known.
        records: The last records of the first, as text.
    """

    title: str
    error: str
    command: str
    first: str
    others: list[str]
    traceback: str
    records: list[str]


def read_crash(path: Path) -> Crash | None:
    """Return what is in a run directory's ``crash.json``; None where there is no such thing.

    Args:
        path: The run directory.
    """
    try:
        with open(path / NAME, "rb") as file:
            data: object = loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return None
    return _shown(cast("Mapping[str, Any]", data)) if isinstance(data, Mapping) else None


def _shown(data: Mapping[str, Any]) -> Crash:
    first = _mapping(data.get("first"))
    cause = _text(data.get("cause"))
    traceback = first.get("traceback")
    command = " ".join(_text(word) for word in _list(data.get("command")))
    return Crash(
        title=f"{_who(first)} {_text(first.get('cause')) or cause or 'failed'}",
        error=_text(first.get("error")),
        command=f"{command} {cause}".strip(),
        first=", ".join(_place(first)),
        others=[
            f"{_who(other)} {_text(other.get('cause'))}"
            for other in map(_mapping, _list(data.get("others")))
        ],
        traceback="\n".join(map(escape, traceback.splitlines()))
        if isinstance(traceback, str)
        else "",
        records=[
            render(record, tracebacks="full")
            for record in map(_mapping, _list(data.get("last_records")))
            if record
        ],
    )


def _who(process: Mapping[str, Any]) -> str:
    if "rank" in process:
        return f"rank {_text(process['rank'])}"
    return f"process {_text(process['pid'])}" if "pid" in process else "the command"


def _place(process: Mapping[str, Any]) -> list[str]:
    rank, pid, host, time = (_text(process.get(key)) for key in ("rank", "pid", "host", "time"))
    where = f" on {host}" if host else ""
    return [
        part
        for part in (rank and f"rank {rank}", pid and f"pid {pid}{where}", time and f"at {time}")
        if part
    ]


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _text(value: object) -> str:
    return "" if value is None else escape(str(value))
