"""The ends of a processor chain that are ours: merging context variables, and one JSON line."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, cast

from ._contextvars import merge_contextvars
from ._levels import level_name, level_number
from ._outlet import Outlet
from ._rendered import as_event, interpolate
from .typing import EventDict


class EncodeLine:
    """The last processor of every chain: event dict -> one line (bytes).

    Adds what is missing: time stamp, level, logger name. Stateless; pipeline and name come from
    the wrapped logger.
    """

    __slots__ = ()

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> bytes:
        """Return the line of an event."""
        outlet = _outlet_of(logger)
        event = event_dict if isinstance(event_dict, dict) else as_event(event_dict)
        if "positional_args" in event:
            _format(event)
        return outlet.encoder.encode(
            event, level=level_name(level_number(method_name)), logger=outlet.name
        )


class DefaultChain(EncodeLine):
    """The default chain as one processor.

    Where it stands first, loggers know that nothing else happens to a record and take a short cut
    to the same line.
    """

    __slots__ = ()

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> bytes:
        """Return the line of an event with what is bound to the context."""
        merge_contextvars(logger, method_name, event_dict)
        return super().__call__(logger, method_name, event_dict)

    def __reduce__(self) -> str:
        return "DEFAULT_CHAIN"


DEFAULT_CHAIN = DefaultChain()
ENCODE_LINE = EncodeLine()


def _outlet_of(logger: Any) -> Outlet:
    if isinstance(logger, Outlet):
        return logger
    from ._default import default_system

    return default_system().outlet(None)


def _format(event: MutableMapping[str, Any]) -> None:
    """Put the arguments into the text that structlog.stdlib.BoundLogger has left apart."""
    args = event["positional_args"]
    try:
        event["event"] = interpolate(event.get("event"), cast("tuple[Any, ...]", args))
    except Exception:
        return
    del event["positional_args"]
