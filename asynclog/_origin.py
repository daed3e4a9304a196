"""The fields that say where a record was made, under the same names everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ORIGIN_FIELDS: Final = ("file", "line", "function", "thread", "pid", "process", "task")
"""Fields that a record of ``logging`` has beside its own; ``process`` and ``task`` not always."""

_ALWAYS: Final = ("file", "line", "thread", "pid")


def without_origin(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an event without its origin.

    Some fields alone are no origin: an event may well be about a ``file`` and a ``line``.
    """
    for key in _ALWAYS:
        if key not in event:
            return event
    return {key: value for key, value in event.items() if key not in ORIGIN_FIELDS}
