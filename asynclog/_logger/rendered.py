"""What a processor chain returned -> an event dict again: text, JSON, or arguments for a logger.

Knows the forms that structlog's own renderers give; it neither encodes nor puts anything.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, cast

from .._json import loads

_FORMATTER_KEYS = ("_record", "_from_structlog", "_logger", "_name")
"""What structlog's ProcessorFormatter passes to itself by way of the event dict."""


def as_event(result: Any) -> MutableMapping[str, Any]:
    """Return an event dict for whatever a processor may return.

    Args:
        result: An event dict, which is returned as it is; text or bytes, which become the event
            unless they hold a JSON object; or a tuple ``(args, kwargs)`` for a logger method.
    """
    if isinstance(result, (dict, MutableMapping)):
        return cast("MutableMapping[str, Any]", result)
    if isinstance(result, Mapping):
        return dict(cast("Mapping[str, Any]", result))
    if isinstance(result, (bytes, bytearray)):
        return _from_text(bytes(result).decode("utf-8", "backslashreplace"))
    if isinstance(result, str):
        return _from_text(result)
    if isinstance(result, tuple):
        parts = cast("tuple[Any, ...]", result)
        if len(parts) == 2 and isinstance(parts[0], tuple) and isinstance(parts[1], Mapping):
            return from_call(*cast("tuple[tuple[Any, ...], Mapping[str, Any]]", parts))
        return from_call(parts, {})
    return {"event": result}


def from_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> MutableMapping[str, Any]:
    """Return an event dict for the arguments that a wrapped logger's method got."""
    event: MutableMapping[str, Any] = dict(as_event(args[0])) if args else {}
    rest = dict(kwargs)
    # as of structlog.stdlib.render_to_log_kwargs
    if not args and "event" not in rest and "msg" in rest:
        event["event"] = rest.pop("msg")
    extra = rest.pop("extra", None)
    if isinstance(extra, Mapping):
        event.update(cast("Mapping[str, Any]", extra))
    elif extra is not None:
        rest["extra"] = extra
    event.update(rest)
    if len(args) > 1:
        event["positional_args"] = args[1:]
    for key in _FORMATTER_KEYS:
        event.pop(key, None)
    if "positional_args" in event:
        positional = event.pop("positional_args")
        try:
            event["event"] = interpolate(event.get("event"), positional)
        except Exception:
            event["positional_args"] = positional
    return event


def interpolate(event: Any, args: Any) -> Any:
    """Return ``event % args`` as structlog does it: a single mapping gives names to the places."""
    if not args:
        return event
    if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
        return event % args[0]
    return event % args


def _from_text(text: str) -> MutableMapping[str, Any]:
    if text.startswith("{"):
        try:
            parsed = loads(text)
        except ValueError:
            pass
        else:
            return parsed
    return {"event": text.removesuffix("\n")}
