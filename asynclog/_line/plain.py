"""What a line may hold: plain values, their limits, and the marks for what was left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

Plain: TypeAlias = "str | int | float | bool | dict[str, Plain] | list[Plain] | None"

MAX_DEPTH: Final = 32
"""Containers within each other, the line itself included."""
MAX_ITEMS: Final = 1000
"""Items taken of one collection; more would not fit the default line anyway."""
MAX_KEY: Final = 256
"""Characters of a key."""
LEFT_OUT_KEY: Final = "..."
"""Key under which an object says how many of its items were left out."""

# Items and characters of a container that is worth a look; larger ones are copied piece by piece.
_PLAIN_BUDGET: Final = 8192
# What shortened() puts behind a text, and the most it takes.
_SHORTENED: Final = re.compile(r"\.\.\. \[(\d{1,20}) (characters|bytes)\]\Z")
_MARK_ROOM: Final = 48
_LEFT_OUT: Final = re.compile(r"\A\.\.\. (\d{1,20}) more\Z")

type_of: Callable[[Any], type[object]] = type
"""type() itself, without narrowing what it is asked about."""


def is_plain(value: object) -> bool:
    """Tell whether a container can go to the JSON library as it is, after bounded work.

    That is: of exact built-in types all through, finite, neither deep nor cyclic nor large.
    """
    budget = _PLAIN_BUDGET
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH - 1):
        below: list[Any] = []
        for container in level:
            size = len(container)
            budget -= size
            if size > MAX_ITEMS or budget < 0:
                return False
            items: Iterable[Any] = container
            if type_of(container) is dict:
                for key in container:
                    if type_of(key) is not str or len(key) > MAX_KEY:
                        return False
                items = container.values()
            for item in items:
                kind = type_of(item)
                if kind is float:
                    if item - item != 0.0:
                        return False
                elif kind is str:
                    budget -= len(item)
                    if budget < 0:
                        return False
                elif kind is dict or kind is list or kind is tuple:
                    below.append(item)
                elif kind is not int and kind is not bool and item is not None:
                    return False
        if not below:
            return True
        level = below
    return False


def left_out(count: int) -> str:
    """Return the mark that stands for items that were left out."""
    return f"... {count} more"


def left_out_before(last: Any) -> int:
    """Return what an earlier mark, which is left out itself, says beyond itself.

    Args:
        last: What stands where such a mark would.
    """
    mark = _LEFT_OUT.match(last) if type_of(last) is str else None
    return int(mark[1]) - 1 if mark else 0


def shortened(head: str, total: int, unit: str = "characters") -> str:
    """Return the beginning of a text with the mark that says how long all of it was."""
    return f"{head}... [{total} {unit}]"


def cut(text: str, length: int) -> str:
    """Shorten a text, which may have been shortened before; past what its class overrides."""
    total, unit = str.__len__(text), "characters"
    tail = str.__getitem__(text, slice(max(total - _MARK_ROOM, 0), None))
    if (mark := _SHORTENED.search(tail)) is not None:
        kept = total - len(tail) + mark.start()
        if int(mark[1]) > kept:
            length, total, unit = min(length, kept), int(mark[1]), mark[2]
    return shortened(str.__getitem__(text, slice(0, length)), total, unit)


def free_name(name: str, taken: Mapping[str, Any]) -> str:
    """Return the name, or one like it that is not taken yet."""
    if name not in taken:
        return name
    candidate = name + "_"
    number = len(taken)
    while candidate in taken:
        candidate = f"{name}_{number}"
        number += 1
    return candidate


def without_surrogates(text: str) -> str:
    r"""Return text that UTF-8 can carry: a lone surrogate becomes the six characters ``\udcff``."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text
