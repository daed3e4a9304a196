"""Any Python value -> a tree of plain values, with bounded work; it knows nothing of lines.

Values may lie, raise, recurse, be endless or change meanwhile. So types are asked with ``type``
and ``issubclass`` (``isinstance`` runs a value's ``__class__``), the contents of built-in
containers are taken past their overrides, and whatever is the value's own code runs guarded.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import UserList, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from itertools import islice
from threading import get_ident
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final, cast

from .._json import MAX_INTEGER, MIN_INTEGER
from .arrays import array_like
from .arrival import Arrival
from .plain import (
    LEFT_OUT_KEY,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_KEY,
    Plain,
    cut,
    free_name,
    left_out,
    left_out_before,
    shortened,
    type_of,
    without_surrogates,
)
from .untrusted import failure, name_of, qualified_name

MAX_NODES: Final = 10_000
"""Values taken of one event; what a list of lists of lists can cost at most."""
MAX_INTEGER_BITS: Final = 2048
"""Integers beyond are described only: printing takes quadratic time."""
SPARE_TEXT: Final = 64
"""Characters that every text keeps, however much text came before it in the event."""
_NOT_FINITE: Final = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
# Classes with type parameters, as Any: which ones nobody can know here.
_DICT: Final[Any] = dict
_TUPLE: Final[Any] = tuple
_NOTHING: Final[dict[object, object]] = {}
_DICT_VIEWS: Final = (type(_NOTHING.keys()), type(_NOTHING.values()), type(_NOTHING.items()))
_SEQUENCES: Final[Any] = (list, tuple, set, frozenset, deque, *_DICT_VIEWS)
_COLLECTIONS: Final[Any] = (*_SEQUENCES, UserList, Mapping)
_EXACT: Final[Any] = frozenset((dict, list, tuple))
_NAMED: Final = (type, FunctionType, BuiltinFunctionType, MethodType)
# Classes whose str() is the value; from modules that are not imported for their sake.
_PRINTED_BY_STR: Final = (
    ("pathlib", "PurePath"),
    ("decimal", "Decimal"),
    ("uuid", "UUID"),
    ("fractions", "Fraction"),
    ("ipaddress", "_IPAddressBase"),
)

# (id of the value, thread) of every repr() under way: one that logs its own object ends here.
_printing: set[tuple[int, int]] = set()


class Snapshot:
    """Copies the values of one event, within one budget.

    Args:
        characters: How much text to keep, for one value and (four times as much) for all.
        arrival: Takes numbers that are on a device; without it they are described only.

    Attributes:
        cut: Whether something was shortened, sampled or left out.
    """

    __slots__ = ("_active", "_arrival", "_characters", "_longest", "_nodes", "cut")

    def __init__(self, characters: int, arrival: Arrival | None = None) -> None:
        self.cut = False
        self._arrival = arrival
        self._longest = characters
        self._characters = 4 * characters
        self._nodes = MAX_NODES
        self._active: set[int] = set()

    def value(self, value: Any, depth: int = 1) -> Plain:
        """Copy a value that lies within `depth` containers; never raises for the value's sake."""
        self._nodes -= 1
        kind = type_of(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            return value
        if kind is float:
            return _float(value)
        try:
            return self._integer(value) if kind is int else self._object(value, kind, depth)
        except BaseException as error:
            return failure(kind, error)

    def text(self, value: Any) -> str:
        """Return a value as text: what str() gives for plain ones."""
        plain = self.value(value)
        if type(plain) is str:
            return plain
        if type(value) is tuple and type(plain) is list:
            return self._text(str(tuple(plain)))
        return self._text(str(plain))

    def fields(self, mapping: Mapping[Any, Any]) -> dict[str, Plain]:
        """Copy the fields of the record itself."""
        return self._mapping(_head(mapping.items), len(mapping), 1)

    def _object(self, value: Any, kind: type[Any], depth: int) -> Plain:
        """Copy anything that is no plain scalar; may raise what the value's own code raises."""
        if kind in _EXACT:
            return self._within(self._contents, value, kind, depth)
        if issubclass(kind, Enum):
            return self._within(self._member, value, kind, depth)
        if issubclass(kind, str):
            return self._text(value)
        if issubclass(kind, int):
            return self._integer(int.__int__(value))
        if issubclass(kind, float):
            return _float(float.__float__(value))
        if issubclass(kind, (bytes, bytearray)):
            kept = bytes(memoryview(value)[: self._longest])
            return self._text(kept.decode("utf-8", "backslashreplace"), len(value), "bytes")
        if self._arrival is not None and (token := self._arrival.take(value, kind)) is not None:
            return token
        if (array := array_like(value, kind)) is not None:
            self.cut = self.cut or array.sampled
            return self.value(array.data, depth)
        if _field_names(kind) is not None:
            return self._within(self._attributes, value, kind, depth)
        if issubclass(kind, _COLLECTIONS):
            return self._within(self._contents, value, kind, depth)
        if issubclass(kind, timedelta):
            return timedelta.total_seconds(value)
        if issubclass(kind, BaseException):
            return self._error(value, kind)
        return self._text(_description(value, kind))

    def _within(
        self,
        copy: Callable[[Any, type[Any], int], Plain],
        value: Any,
        kind: type[Any],
        depth: int,
    ) -> Plain:
        """Copy what holds other values, unless it is too deep or holds itself."""
        if depth >= MAX_DEPTH:
            self.cut = True
            return f"<{name_of(kind)}: below {MAX_DEPTH} levels>"
        identity = id(value)
        if identity in self._active:
            return f"<{name_of(kind)}: holds itself>"
        self._active.add(identity)
        try:
            return copy(value, kind, depth + 1)
        finally:
            self._active.discard(identity)

    def _contents(self, value: Any, kind: type[Any], depth: int) -> Plain:
        """Copy a collection, past what its class overrides."""
        if issubclass(kind, _DICT):
            before = left_out_before(_DICT.get(value, LEFT_OUT_KEY))
            total = _DICT.__len__(value)
            return self._mapping(_head(lambda: _DICT.items(value)), total, depth, before)
        for base in _SEQUENCES:
            if issubclass(kind, base):
                head = _head(lambda base=base: base.__iter__(value))
                return self._sequence(head, base.__len__(value), depth, value)
        if issubclass(kind, UserList):
            return self.value(value.data, depth)
        return self._mapping(_head(value.items), len(value), depth)

    def _sequence(self, head: list[Any], total: int, depth: int, whole: Any) -> list[Plain]:
        result: list[Plain] = []
        for item in head:
            if self._nodes <= 0:
                break
            result.append(self.value(item, depth))
        if total > len(result):
            self.cut = True
            before = left_out_before(whole[-1]) if type_of(whole) is list and whole else 0
            result.append(left_out(total - len(result) + before))
        return result

    def _mapping(
        self, head: list[tuple[Any, Any]], total: int, depth: int, before: int = 0
    ) -> dict[str, Plain]:
        result: dict[str, Plain] = {}
        for key, item in head:
            if self._nodes <= 0:
                break
            result[free_name(self._key(key), result)] = self.value(item, depth)
        if total > len(result):
            self.cut = True
            result[free_name(LEFT_OUT_KEY, result)] = left_out(total - len(result) + before)
        return result

    def _key(self, key: Any) -> str:
        """Return the text of a key, which need not be one."""
        text = key if type(key) is str else self.text(key)
        if len(text) > MAX_KEY:
            self.cut = True
            text = text[: MAX_KEY - 3] + "..."
        return text if text.isascii() else without_surrogates(text)

    def _attributes(self, value: Any, kind: type[Any], depth: int) -> Plain:
        """Copy the fields of a dataclass, an attrs class or a named tuple."""
        result: dict[str, Plain] = {}
        for name in islice(_field_names(kind) or (), MAX_ITEMS):
            key = free_name(self._key(name), result)
            try:
                item = getattr(value, name)
            except BaseException as error:
                result[key] = failure(kind, error)
            else:
                result[key] = self.value(item, depth)
        return result

    def _member(self, value: Any, kind: type[Any], depth: int) -> Plain:
        """Copy the value of an enumeration's member."""
        del kind
        return self.value(value._value_, depth - 1)

    def _error(self, value: BaseException, kind: type[BaseException]) -> Plain:
        """Name an exception that is logged as a value: ``"ValueError: bad"``."""
        message = str(value)
        name = qualified_name(kind) + (": " if message else "")
        return self._text(name + message[: self._longest], len(name) + len(message))

    def _integer(self, value: int) -> Plain:
        if MIN_INTEGER <= value <= MAX_INTEGER:
            return value
        bits = value.bit_length()
        if bits > MAX_INTEGER_BITS:
            self.cut = True
            return f"<int of {bits} bits>"
        return str(value)

    def _text(self, text: str, total: int | None = None, unit: str = "characters") -> str:
        """Return a text, shortened to what the budget leaves, without lone surrogates."""
        length = str.__len__(text)
        room = min(self._longest, max(self._characters, SPARE_TEXT))
        self._characters -= min(length, room)
        if total is not None and max(total, length) > room:
            self.cut = True
            text = shortened(str.__getitem__(text, slice(0, room)), total, unit)
        elif length > room:
            self.cut = True
            text = cut(text, room)
        elif type(text) is not str:
            text = str.__getitem__(text, slice(0, room))
        return text if text.isascii() else without_surrogates(text)


def as_dict(mapping: Any) -> dict[Any, Any]:
    """Return the first items of a mapping of any class as a plain dict.

    Raises:
        Exception: What the mapping's own code raises.
    """
    if issubclass(type_of(mapping), _DICT):
        head, total = dict(_head(lambda: _DICT.items(mapping))), _DICT.__len__(mapping)
    else:
        head, total = dict(_head(mapping.items)), len(mapping)
    if total > MAX_ITEMS:
        head[LEFT_OUT_KEY] = left_out(total - MAX_ITEMS)
    return head


def _description(value: Any, kind: type[Any]) -> str:
    """Return the text that stands for a value without a JSON form of its own."""
    if issubclass(kind, (datetime, date, time)):
        return value.isoformat()
    if issubclass(kind, _NAMED):
        return qualified_name(value)
    if issubclass(kind, ModuleType):
        return value.__name__
    if kind is memoryview:
        return f"<memoryview of {value.nbytes} bytes>"
    for module, name in _PRINTED_BY_STR:
        known = getattr(sys.modules.get(module), name, None)
        if known is not None and issubclass(kind, known):
            return str(value)
    mark = (id(value), get_ident())
    if mark in _printing:
        return f"<{name_of(kind)}: its repr() logs itself>"
    try:
        _printing.add(mark)
        return repr(value)
    finally:
        _printing.discard(mark)


def _field_names(kind: type[Any]) -> list[str] | None:
    """Return the fields that a dataclass, attrs class or named tuple shows in its repr()."""
    if hasattr(kind, "__dataclass_fields__"):
        return [field.name for field in dataclasses.fields(kind) if field.repr]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__ if field.repr]
    if issubclass(kind, _TUPLE) and hasattr(kind, "_fields"):
        return list(cast("Any", kind)._fields)
    return None


def _head(iterate: Callable[[], Iterable[Any]]) -> list[Any]:
    """Take the first items of what may be changed meanwhile, by another thread or a finaliser."""
    for _ in range(2):
        try:
            return list(islice(iterate(), MAX_ITEMS))
        except RuntimeError:
            continue
    return list(islice(iterate(), MAX_ITEMS))


def _float(value: float) -> float | str:
    return value if value - value == 0.0 else _NOT_FINITE[repr(value)]
