"""Many values -> one histogram, at the call: NumPy arrays, PyTorch tensors on the CPU, or a list.

No library is imported: who has such values has imported theirs. Plain Python does the rest.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, cast

from .._line.arrival import is_tensor, on_device
from .._line.plain import type_of
from .._line.untrusted import name_of

MAX_VALUES: Final = 1_000_000
"""Values taken of what is no array: they are converted one by one."""
_BLOCK: Final = 1 << 16
_INFINITY: Final = float("inf")


class NoHistogramError(ValueError):
    """Values have no histogram; its text says why."""


def histogram_of(values: Any, bins: int) -> dict[str, Any]:
    """Return the fields of a histogram record; values that are not finite are only counted.

    Args:
        values: Numbers in an array of any shape, a tensor on the CPU, or any iterable.
        bins: Number of bins, of equal width between the least and the greatest value.

    Raises:
        NoHistogramError: They are no numbers, or on a device.
        Exception: What the values' own code raises.
    """
    kind = type_of(values)
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    numpy = numpy if hasattr(numpy, "ndarray") else None
    if on_device(values, kind, torch):
        raise NoHistogramError("the values are on a device, and not to be had without waiting")
    if is_tensor(kind, torch):
        values = values.detach().reshape(-1)
        if numpy is None:
            values = values[:MAX_VALUES].tolist()
        else:
            # NumPy knows no bfloat16
            values = values.double().numpy() if values.is_floating_point() else values.numpy()
    elif numpy is None or not issubclass(kind, numpy.ndarray):
        if issubclass(kind, (str, bytes, Mapping)) or not issubclass(kind, Iterable):
            raise NoHistogramError(f"a {name_of(type_of(values))} holds no values")
        values = [float(value) for value in islice(values, MAX_VALUES)]
        if numpy is not None:
            values = numpy.array(values, numpy.float64)
    if numpy is None:
        return _of_list(cast("list[float]", values), bins)
    return _of_array(values, bins, numpy)


def _of_array(values: Any, bins: int, numpy: Any) -> dict[str, Any]:
    if values.dtype.kind not in "biuf":
        raise NoHistogramError(f"the values are of type {values.dtype}")
    flat = values.reshape(-1)
    blocks = range(0, flat.size, _BLOCK)

    def block(start: int) -> Any:
        part = flat[start : start + _BLOCK].astype(numpy.float64)
        return part[numpy.isfinite(part)]

    summary = _Summary(bins)
    with numpy.errstate(over="ignore"):
        for start in blocks:
            part = block(start)
            if part.size:
                square = float(numpy.dot(part, part))
                summary.add(part.size, part.min(), part.max(), float(part.sum()), square)
    edges = summary.edges()
    counts = numpy.zeros(bins, numpy.int64)
    for start in blocks:
        counts += numpy.histogram(block(start), edges)[0]
    return summary.fields(edges, counts.tolist(), flat.size)


def _of_list(values: list[float], bins: int) -> dict[str, Any]:
    finite = [value for value in values if math.isfinite(value)]
    summary = _Summary(bins)
    if finite:
        square = sum(value * value for value in finite)
        summary.add(len(finite), min(finite), max(finite), sum(finite), square)
    edges = summary.edges()
    counts = [0] * bins
    for value in finite:
        # the last bin holds the greatest value, too
        counts[min(bisect_right(edges, value), bins) - 1] += 1
    return summary.fields(edges, counts, len(values))


class _Summary:
    """What is known of the finite values."""

    def __init__(self, bins: int) -> None:
        self._bins = bins
        self._number = 0
        self._least, self._greatest = _INFINITY, -_INFINITY
        self._sum = self._sum_squares = 0.0

    def add(self, number: int, least: float, greatest: float, total: float, square: float) -> None:
        self._number += number
        self._least = min(self._least, float(least))
        self._greatest = max(self._greatest, float(greatest))
        self._sum += total
        self._sum_squares += square

    def edges(self) -> list[float]:
        low, high, bins = self._least, self._greatest, self._bins
        if low > high:
            low, high = 0.0, 1.0
        elif low == high:
            wide = max(0.5, abs(low) * 1e-3)
            low, high = max(low - wide, -sys.float_info.max), min(high + wide, sys.float_info.max)
        # neither overflows for the widest range nor goes back for the narrowest
        edges = [low]
        for number in range(1, bins):
            share = number / bins
            edges.append(min(max(low * (1 - share) + high * share, edges[-1]), high))
        return [*edges, high]

    def fields(self, edges: list[float], counts: list[int], given: int) -> dict[str, Any]:
        found = self._number > 0
        fields: dict[str, Any] = {
            "edges": edges,
            "counts": counts,
            "min": self._least if found else 0.0,
            "max": self._greatest if found else 0.0,
            "sum": self._sum,
            "sum_squares": self._sum_squares,
            "num": self._number,
        }
        if given > self._number:
            fields["not_finite"] = given - self._number
        return fields
