"""The ends of a processor chain that are ours: the default chain, and one JSON line."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from ._contextvars import merge_contextvars
from ._front import INFO, LEVEL_OF, quick_line
from ._outlet import Outlet
from ._rendered import as_event, interpolate
from .typing import EventDict


def encode_line(logger: Any, method_name: str, event_dict: EventDict) -> bytes:
    """Return the line of an event; the last processor of every chain.

    Adds what is missing: time stamp, level, logger name. Pipeline and name come from the wrapped
    logger.
    """
    outlet = logger if isinstance(logger, Outlet) else _default_outlet()
    level = LEVEL_OF.get(method_name, INFO)
    record = as_event(event_dict)
    if isinstance(record, dict):
        line = quick_line(record, level, outlet)
        if line is not None:
            return line
    if "positional_args" in record:
        _format(record)
    return outlet.encoder.encode(record, level=level.name, logger=outlet.name)


def default_chain(logger: Any, method_name: str, event_dict: EventDict) -> bytes:
    """Return the line of an event with what is bound to the context: all of the default chain.

    Where it stands first, loggers know that nothing else happens to a record and take a short cut
    to the same line.
    """
    return encode_line(logger, method_name, merge_contextvars(logger, method_name, event_dict))


def _default_outlet() -> Outlet:
    from ._default import default_system

    return default_system().outlet(None)


def _format(event: MutableMapping[str, Any]) -> None:
    """Put the arguments into the text that structlog.stdlib.BoundLogger has left apart."""
    args = event["positional_args"]
    try:
        event["event"] = interpolate(event.get("event"), args)
    except Exception:
        return
    del event["positional_args"]
