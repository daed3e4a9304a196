"""FormatDict: a mapping as event becomes a text that people read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, cast

from .._flatten import flat_items
from .._line.arrays import array_like
from .._line.plain import MAX_ITEMS, cut, type_of
from .._line.snapshot import Snapshot
from .._line.untrusted import failure
from ..typing import EventDict

SMALL: Final = 0.001
"""Magnitudes below are written with an exponent, but for zero."""
LARGE: Final = 999
"""Magnitudes above are written with an exponent."""
MAX_TEXT: Final = 65536
"""Characters of one value."""


class FormatDict:
    """Turns a mapping that was logged as event into text: ``loss=0.123, lr=1.00e-04, epoch=3``.

    Nested mappings are flattened, with ``/`` between the keys: ``val/loss=0.120``. Floats have
    three decimals, or an exponent and two where their magnitude is below 0.001 or above 999; zero
    is ``0.000``, and what is no number ``nan``, ``inf`` or ``-inf``. Whole numbers are written
    plainly, all else as ``repr()`` has it. Scalars of NumPy and PyTorch on the CPU are numbers; of
    what lies on a device only shape and type are named, for nothing waits for it.

    Other events, and the fields of a record, are left as they are. For the values as fields, log
    them as such: ``log.info("step", **values)``.
    """

    __slots__ = ()

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        """Format the event if it is a mapping."""
        event: Any = event_dict.get("event")
        if issubclass(type_of(event), Mapping):
            event_dict["event"] = format_mapping(event)
        return event_dict

    def __repr__(self) -> str:
        return "FormatDict()"


def format_mapping(mapping: Mapping[Any, Any]) -> str:
    """Return ``key=value, key=value`` for a mapping; never raises for a value's sake.

    Of more than 1,000 values the first are shown.
    """
    for _ in range(2):
        try:
            items = list(islice(flat_items(mapping), MAX_ITEMS + 1))
        except RuntimeError:  # changed meanwhile, by another thread
            continue
        except Exception as error:
            return failure(type_of(mapping), error)
        parts = [f"{name}={format_value(value)}" for name, value in items[:MAX_ITEMS]]
        return ", ".join(parts if len(items) <= MAX_ITEMS else [*parts, "..."])
    return repr(type_of(mapping))


def format_value(value: Any) -> str:
    """Return a value as :class:`FormatDict` writes it."""
    kind = type_of(value)
    if kind is float:
        return format_float(value)
    if kind is bool or value is None:
        return repr(value)
    try:
        return _format_other(value, kind)
    except BaseException as error:
        return failure(kind, error)


def format_float(value: float) -> str:
    """Return a float with three decimals, or with an exponent where it is small or large."""
    if value - value != 0.0:
        return repr(value)
    if value == 0.0:
        return "0.000"
    return f"{value:.2e}" if not SMALL <= abs(value) <= LARGE else f"{value:.3f}"


def _format_other(value: Any, kind: type[Any]) -> str:
    if issubclass(kind, str):
        return repr(value if len(value) <= MAX_TEXT else cut(value, MAX_TEXT))
    if issubclass(kind, float):
        return format_float(float.__float__(value))
    if issubclass(kind, int):
        plain = Snapshot(MAX_TEXT).value(int.__int__(value))
        return str(plain)
    array = array_like(value, kind)
    if array is None or issubclass(type_of(array.data), (list, dict)):
        text = repr(value)
        return text if len(text) <= MAX_TEXT else cut(text, MAX_TEXT)
    if issubclass(type_of(array.data), str):
        # described only, for it lies on a device; or a time of NumPy's
        return cast("str", array.data)
    return format_value(array.data)
