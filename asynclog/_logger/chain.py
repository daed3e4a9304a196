"""The end of every processor chain: event dict -> one line. The default chain is nothing else."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from ..typing import EventDict
from .front import INFO, LEVEL_OF
from .lazy import Lazy, resolve
from .outlet import Outlet
from .rendered import as_event, interpolate


def encode_line(logger: Any, method_name: str, event_dict: EventDict) -> bytes:
    """Return the line of an event; the last processor of every chain.

    Adds what is missing: time stamp, level, logger name. Pipeline and name come from the wrapped
    logger. Our own loggers know what it does and mostly do it themselves.
    """
    outlet = logger if isinstance(logger, Outlet) else _default_outlet()
    level = LEVEL_OF.get(method_name, INFO)
    record = as_event(event_dict)
    if Lazy.in_use:
        resolve(record)
    if "positional_args" in record:
        _format(record)
    return outlet.encoder.encode(record, level=level.name, logger=outlet.name)


def _default_outlet() -> Outlet:
    from .default import default_system

    return default_system().outlet(None)


def _format(event: MutableMapping[str, Any]) -> None:
    """Put the arguments into the text that structlog.stdlib.BoundLogger has left apart."""
    args = event["positional_args"]
    try:
        event["event"] = interpolate(event.get("event"), args)
    except Exception:
        return
    del event["positional_args"]
