"""JSON in and out: orjson, else msgspec, else the standard library; all three with the same rules.

It knows trees of plain values only (dict with str keys, list, tuple, str, int, float, bool, None);
making anything else plain is the line encoder's work.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, cast

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
"""What orjson writes and every reader of 64 bits takes back unharmed."""


class Codec(NamedTuple):
    """A JSON library behind two functions.

    Attributes:
        name: The library's import name.
        dumps: Compact UTF-8 without a line end. Raises TypeError or ValueError for lone
            surrogates, keys that are no str and integers beyond 64 bits. NaN and Infinity must
            not be handed to it: orjson writes null for them without a word.
        loads: Parses UTF-8 bytes or text. Raises ValueError for what is no strict JSON.
    """

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes | str], Any]


def orjson_codec() -> Codec:
    """Return orjson's codec; ImportError where it is not installed (free-threaded builds)."""
    import orjson

    return Codec("orjson", orjson.dumps, orjson.loads)


def msgspec_codec() -> Codec:
    """Return msgspec's codec; ImportError where it is not installed."""
    msgspec_json = import_module("msgspec.json")
    encode: Callable[[Any], bytes] = msgspec_json.encode

    def dumps(value: Any) -> bytes:
        line = encode(value)
        _refuse(value)
        return line

    return Codec("msgspec", dumps, msgspec_json.decode)


def stdlib_codec() -> Codec:
    """Return the standard library's codec."""
    encode = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    ).encode
    decode = json.JSONDecoder(parse_constant=_refuse_constant).decode

    def dumps(value: Any) -> bytes:
        line = encode(value).encode()
        _refuse(value)
        return line

    def loads(data: bytes | str) -> Any:
        return decode(data if isinstance(data, str) else data.decode())

    return Codec("json", dumps, loads)


def _refuse(value: Any) -> None:
    """Raise for what orjson refuses and the other libraries write (so it is no cycle)."""
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is int:
            if not MIN_INTEGER <= item <= MAX_INTEGER:
                raise TypeError("Integer exceeds 64-bit range")
        elif isinstance(item, dict):
            found = cast("dict[object, object]", item)
            for key in found:
                if type(key) is not str:
                    raise TypeError("Dict key must be str")
            waiting.extend(found.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(cast("list[object]", item))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _choose() -> Codec:
    for make in (orjson_codec, msgspec_codec):
        try:
            return make()
        except ImportError:
            continue
    return stdlib_codec()


codec = _choose()
dumps = codec.dumps
loads = codec.loads
