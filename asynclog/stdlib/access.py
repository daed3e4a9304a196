"""What servers write into their access logs, as fields of an event.

Knows the records of uvicorn and gunicorn: their arguments, not their texts.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

EVENT: Final = "request"
"""The event of every record that stands for a request."""


def request_record(record: logging.LogRecord) -> logging.LogRecord:
    """Return an access log's record as one with the event ``request`` and fields.

    The fields are ``client``, ``method``, ``path`` (as it was sent, percent-encoded), ``query``,
    ``http_version`` and ``status``; with gunicorn also ``duration_ms``, ``bytes`` (of the body
    that was sent), ``user``, ``referer`` and ``user_agent``. What a server does not know or a
    request has not got is left out. Where the server's code logs is left out as well: it is
    always the same place.

    Args:
        record: Any record; not changed. One that is of no known access log, or not as expected,
            is returned itself.
    """
    reader = _READERS.get(record.name)
    if reader is None:
        return record
    try:
        fields = reader(record.args)
        if fields is None:
            return record
        result = copy.copy(record)
    except Exception:
        # another version of the server: its text is better than nothing
        return record
    result.msg, result.args = EVENT, None
    result.pathname = result.funcName = ""
    for name, value in fields.items():
        if value is not None and value not in ("", "-"):
            setattr(result, name, value)
    return result


def _uvicorn(args: Any) -> dict[str, Any] | None:
    if not isinstance(args, tuple):
        return None
    client, method, target, version, status = args  # pyright: ignore[reportUnknownVariableType]
    path, _, query = str(target).partition("?")  # pyright: ignore[reportUnknownArgumentType]
    return {
        "client": client,
        "method": method,
        "path": path,
        "query": query,
        "http_version": version,
        "status": int(status),  # pyright: ignore[reportUnknownArgumentType]
    }


def _gunicorn(args: Any) -> dict[str, Any] | None:
    """Read gunicorn's atoms, which its access_log_format names by single letters."""
    if not isinstance(args, Mapping):
        return None
    atoms: dict[str, Any] = {
        # gunicorn escapes quotes, for the text between quotes that it makes
        str(key): value.replace('\\"', '"') if isinstance(value, str) else value
        for key, value in args.items()  # pyright: ignore[reportUnknownVariableType]
        if key in _ATOMS
    }
    path, _, query = str(atoms.get("{raw_uri}e") or "").partition("?")
    if not path.startswith("/"):
        # a request with a whole URL, or a worker class that has no RAW_URI
        path, query = atoms["U"], atoms["q"]
    return {
        "client": atoms["h"],
        "method": atoms["m"],
        "path": path,
        "query": query,
        "http_version": str(atoms["H"]).removeprefix("HTTP/"),
        "status": int(atoms["s"]),
        "duration_ms": round(atoms["D"] / 1000, 3),
        "bytes": atoms["B"],
        "user": atoms["u"],
        "referer": atoms["f"],
        "user_agent": atoms["a"],
    }


_ATOMS: Final = frozenset((*"hmUqHsDBufa", "{raw_uri}e"))
_READERS: Final[Mapping[str, Callable[[Any], dict[str, Any] | None]]] = {
    "uvicorn.access": _uvicorn,
    "gunicorn.access": _gunicorn,
}
