"""Making a record fit into one line of limited length; it knows plain values only.

Small fields stay whole, large ones share what is left evenly: one 100 MB text must not cost the
event its request id.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from .._json import dumps
from .exception import trim
from .plain import LEFT_OUT_KEY, MAX_ITEMS, Plain, cut, free_name, left_out, left_out_before

FRONT: Final = ("timestamp", "kind", "level", "event", "truncated")
"""Fields that are shortened if need be, never left out."""
FLOOR: Final = 48
"""Bytes that every kept value gets at least: room for the mark that says how long it was."""
_LEFT_OUT_ROOM: Final = 32
_TELLING_TEXT: Final = 200
_LEAST_TEXT: Final = 24
_Value = TypeVar("_Value")


def put(record: dict[str, _Value], name: str, value: _Value) -> None:
    """Set a field that is ours to set; a user's field of that name moves to ``name_``."""
    if name in record:
        record[free_name(name + "_", record)] = record.pop(name)
    record[name] = value


def mark_truncated(record: dict[str, Any]) -> None:
    """Say in a record that something of it was shortened, unless it says so already."""
    if record.get("truncated") is not True:
        put(record, "truncated", True)


def fit(record: dict[str, Plain], limit: int) -> bytes:
    """Return the record as a line of at most `limit` bytes that says it was truncated.

    Args:
        record: Plain values all through; changed.
        limit: At least a few hundred bytes.
    """
    mark_truncated(record)
    room = limit - 2
    parts, count = _kept({key: (dumps(key), dumps(record[key])) for key in record}, room)
    if count:
        key = free_name(LEFT_OUT_KEY, record)
        parts[key] = (dumps(key), dumps(left_out(count)))
    room -= sum(len(name) + 2 for name, _ in parts.values())
    share = _share([len(value) for _, value in parts.values()], room)
    pieces = [
        name + b":" + (value if len(value) <= share else _shrunk(key, record[key], share))
        for key, (name, value) in parts.items()
    ]
    return b"{" + b",".join(pieces) + b"}\n"


def _kept(
    parts: dict[str, tuple[bytes, bytes]], room: int
) -> tuple[dict[str, tuple[bytes, bytes]], int]:
    """Return the fields there is room for with the least each needs, and how many others."""
    least = {key: len(name) + 2 + min(len(value), FLOOR) for key, (name, value) in parts.items()}
    if sum(least.values()) <= room:
        return parts, 0
    room -= _LEFT_OUT_ROOM + sum(least[key] for key in FRONT if key in parts)
    kept: dict[str, tuple[bytes, bytes]] = {}
    for key, part in parts.items():
        if key in FRONT:
            kept[key] = part
        elif least[key] <= room:
            room -= least[key]
            kept[key] = part
    return kept, len(parts) - len(kept)


def _share(sizes: list[int], room: int) -> int:
    """Return the size up to which values stay whole, so that all of them fit when cut to it."""
    sizes.sort()
    share = room
    for place, size in enumerate(sizes):
        share = room // (len(sizes) - place)
        if size > share:
            return share
        room -= size
    return max(share, sizes[-1])


def _shrunk(key: str, value: Plain, room: int) -> bytes:
    """Return JSON for a value in at most `room` bytes."""
    if isinstance(value, str):
        return _shrunk_text(value, room)
    if key in ("exception", "stack"):
        for frames in (16, 8, 4, 2):  # the outermost go first, and go before the messages
            value = trim(value, frames)
            if len(line := dumps(value)) <= room:
                return line
    text, items = room, MAX_ITEMS
    while items:
        if len(line := dumps(_reduced(value, text, items))) <= room:
            return line
        if text > _TELLING_TEXT:  # many short texts tell more than few long ones
            text //= 2
        else:
            text, items = max(text // 2, _LEAST_TEXT), items // 2
    size = len(value) if isinstance(value, (dict, list)) else 1
    return dumps(f"<{type(value).__name__} of {size} items>")


def _shrunk_text(text: str, room: int) -> bytes:
    """Return the longest beginning of a text whose JSON fits."""
    low, high = 0, min(len(text), room)
    best = dumps(cut(text, 0))
    while low < high:
        middle = (low + high + 1) // 2
        line = dumps(cut(text, middle))
        if len(line) <= room:
            low, best = middle, line
        else:
            high = middle - 1
    return best


def _reduced(value: Plain, text: int, items: int) -> Plain:
    """Return a value with shorter texts and collections."""
    if isinstance(value, str):
        return value if len(value) <= text else cut(value, text)
    if isinstance(value, list):
        head = [_reduced(item, text, items) for item in value[:items]]
        if len(value) > items:
            head.append(left_out(left_out_before(value[-1]) + len(value) - items))
        return head
    if isinstance(value, dict):
        kept = {key: _reduced(value[key], text, items) for key in list(value)[:items]}
        if len(value) > items:
            count = left_out_before(value.get(LEFT_OUT_KEY)) + len(value) - items
            kept[free_name(LEFT_OUT_KEY, kept)] = left_out(count)
        return kept
    return value
