"""What a metrics call is given -> flat names and numbers; what is none is named, never raised.

Numbers on a device begin their way to the host here. Nothing is imported to find out what a value
is, and no device is ever waited for.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, cast

from .._flatten import flat_items
from .._json import MAX_INTEGER, MIN_INTEGER
from .._line.arrays import DEVICE_LIBRARIES
from .._line.arrival import Arrival, is_tensor, on_device
from .._line.plain import MAX_KEY, type_of, without_surrogates
from .._line.problem import describe
from .._line.snapshot import Snapshot
from .._line.untrusted import module_of, name_of

MAX_METRICS: Final = 10_000
"""Metrics taken of one call."""
_NAMED_PROBLEMS: Final = 5
_SHOWN: Final = 100


class _Never:
    """Stands for a class of a module that nobody has imported."""


class NoNumberError(Exception):
    """A value is no number; its text says what it is."""


class Problems:
    """What a call was given that cannot be kept, for the field ``log_error``."""

    __slots__ = ("_count", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._count = 0

    def add(self, text: str) -> None:
        """Name one more; the first few are kept, the others counted."""
        self._count += 1
        if self._count <= _NAMED_PROBLEMS:
            self._texts.append(text)

    @property
    def found(self) -> bool:
        """Whether there are any."""
        return self._count > 0

    def take(self) -> str | None:
        """Return the text for all of them, None when there were none, and forget them."""
        if not self._count:
            return None
        more = self._count - len(self._texts)
        text = "; ".join(self._texts) + (f"; and {more} more" if more else "")
        self.__init__()
        return text


def plain_numbers(metrics: Any) -> dict[str, int | float] | None:
    """Return a flat dict with its NumPy and PyTorch scalars as numbers, the quick way.

    None when it holds anything else, or something that needs a closer look.
    """
    if type_of(metrics) is not dict:
        return None
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    tensor, generic = getattr(torch, "Tensor", None), getattr(numpy, "generic", _Never)
    plain: dict[str, int | float] = {}
    try:
        for name, value in metrics.items():
            kind = type_of(value)
            if kind is float or kind is int:
                plain[name] = value
            elif (issubclass(kind, generic) and value.dtype.kind in "fiu") or (
                kind is tensor and value.device.type == "cpu" and value.numel() == 1
            ):
                item = value.item()
                if type(item) is not float and type(item) is not int:
                    return None
                plain[name] = item
            else:
                return None
    except Exception:
        return None
    return plain


def number_of(value: Any, arrival: Arrival | None = None) -> int | float | str:
    """Return a value as a number: of Python, NumPy, PyTorch, or anything with ``__float__``.

    Args:
        value: Anything.
        arrival: Takes a number that is on a device; its token is returned.

    Raises:
        NoNumberError: It is none.
        Exception: What the value's own code raises.
    """
    kind = type_of(value)
    if kind is float:
        return value
    if issubclass(kind, int):
        return _integer(int.__int__(value))
    if issubclass(kind, float):
        return float.__float__(value)
    torch = sys.modules.get("torch")
    if on_device(value, kind, torch):
        token = arrival.take(value, kind) if arrival is not None else None
        if token is None:
            raise NoNumberError(_described(value))
        return token
    if is_tensor(kind, torch):
        return _element(value, value.numel())
    if issubclass(kind, _numpy_classes()):
        if value.dtype.kind not in "biuf":
            raise NoNumberError(_described(value))
        return _element(value, value.size)
    # their __float__ would wait for the device
    foreign = module_of(kind).partition(".")[0] in DEVICE_LIBRARIES
    if foreign or not hasattr(kind, "__float__") or _may_be_elsewhere(value, kind, torch):
        raise NoNumberError(_described(value))
    return float(value)


def integer_of(value: Any, arrival: Arrival | None = None) -> int | str:
    """Return a value as an integer, a whole float included.

    Args:
        value: Anything.
        arrival: Takes one that is on a device; its token is returned.

    Raises:
        NoNumberError: It is none.
        Exception: What the value's own code raises.
    """
    kind, torch = type_of(value), sys.modules.get("torch")
    if kind is bool or (on_device(value, kind, torch) and value.dtype.is_floating_point):
        raise NoNumberError(_described(value))
    number = number_of(value, arrival)
    if isinstance(number, float):
        if not number.is_integer():
            raise NoNumberError(_described(value))
        return _exact(int(number), value)
    return number


def names_and_values(metrics: Any, problems: Problems) -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested mappings under flat names, as many as are taken of one call."""
    try:
        if not issubclass(type_of(metrics), Mapping):
            raise NoNumberError(f"{_described(metrics)} is no mapping of names to numbers")
        entries = flat_items(cast("Mapping[Any, Any]", metrics))
        for name, value in islice(entries, MAX_METRICS):
            yield bounded(name), value
        if left := sum(1 for _ in islice(entries, MAX_METRICS)):
            problems.add(f"{left} or more metrics beyond the first {MAX_METRICS} are left out")
    except Exception as error:
        problems.add(problem(error))


def bounded(name: Any) -> str:
    """Return a name as text of limited length."""
    text = name if type_of(name) is str else Snapshot(MAX_KEY).text(name)
    if len(text) > MAX_KEY:
        text = text[: MAX_KEY - 3] + "..."
    return text if text.isascii() else without_surrogates(text)


def problem(error: Exception) -> str:
    """Return what is to be said of an error: in our own words, or named."""
    return str(error) if isinstance(error, NoNumberError) else describe(error)


def _element(value: Any, size: int) -> int | float:
    """Return the only element of an array in the memory of the host."""
    if size != 1:
        raise NoNumberError(_described(value))
    item = value.item()
    if isinstance(item, int):
        return int(item)
    # of another type: complex, which float() refuses, or a long double
    return float(item)


def _integer(value: int) -> int | float:
    if MIN_INTEGER <= value <= MAX_INTEGER:
        return value
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _exact(value: int, given: Any) -> int:
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise NoNumberError(_described(given))
    return operator.index(value)


def _may_be_elsewhere(value: Any, kind: type[Any], torch: Any) -> bool:
    """Tell whether a value of an unknown class may have to be fetched from a device."""
    if hasattr(torch, "Tensor") and issubclass(kind, torch.Tensor):
        return True
    try:
        return value.is_cuda is True
    except Exception:  # AttributeError, or whatever its __getattr__ raises
        return False


def _numpy_classes() -> tuple[type[Any], ...]:
    numpy = sys.modules.get("numpy")
    if hasattr(numpy, "ndarray") and hasattr(numpy, "generic"):
        return (numpy.ndarray, numpy.generic)  # type: ignore[union-attr]
    return ()


def _described(value: Any) -> str:
    """Return text for a value in a message; nothing is copied from a device for it."""
    text = Snapshot(_SHOWN).text(value)
    kind = name_of(type_of(value))
    return text if text.startswith("<") else f"{text} ({kind})" if value is not None else "None"
