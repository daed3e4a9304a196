"""The event that every library logs: one text, four fields, a bound context of two keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVENT = "request handled"
CONTEXT: dict[str, str] = {"service": "checkout", "request_id": "7f3c9a52-1d0e-4b8e"}
STATUS = 200
PATH = "/v1/orders/items"
DURATION_MS = 12.375
# The fourth field is the running number of the call: it shows lost and doubled events.
SEQUENCE = "seq"

EXPECTED: dict[str, Any] = {
    **CONTEXT,
    "event": EVENT,
    "level": "info",
    "status": STATUS,
    "path": PATH,
    "duration_ms": DURATION_MS,
}
# What the user processors add and hide, for the adapters that have them.
VERSION = "2.4.1"
HIDDEN = "***"
SECRETS = frozenset({"password", "token"})


def add_version(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Add a constant field: the smallest processor that people write."""
    event_dict["version"] = VERSION
    return event_dict


def hide_secrets(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Look through the keys: the second most common processor."""
    for key in SECRETS & event_dict.keys():
        event_dict[key] = HIDDEN
    return event_dict


def is_complete(fields: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Tell whether a written event holds everything that was logged, and a time."""
    return bool(fields.get("timestamp")) and all(
        fields.get(key) == value for key, value in expected.items()
    )
