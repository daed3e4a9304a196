"""Metadata of an experiment as a JSON file for people: strict, whatever the values are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, cast

from .._line.snapshot import Snapshot

_MOST: Final = 1 << 20


def to_json(metadata: Mapping[str, Any]) -> bytes:
    """Return a mapping as indented JSON; what JSON cannot express becomes text.

    Raises:
        RecursionError: It holds itself.
    """
    text = json.dumps(_plain(metadata), indent=2, ensure_ascii=False, allow_nan=False)
    # a lone surrogate becomes the escape that JSON has for it
    return f"{text}\n".encode(errors="backslashreplace")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = cast("Mapping[object, Any]", value).items()
        return {str(key): _plain(item) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("list[Any]", value)]
    if value is None or type(value) in (str, bool, int):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    # once more: a set or a dataclass may hold what is not finite
    plain = Snapshot(_MOST).value(value)
    return plain if not isinstance(plain, (dict, list)) else _plain(plain)
