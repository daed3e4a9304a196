"""Events as a table: a column for each field, in Arrow, pandas or polars.

Nested objects become columns of their own, ``metrics.loss``; what has no type of its own in such a
table (arrays, values of several types) becomes JSON in a text. The time stamp is a time in UTC with
microseconds. The whole table is in memory: filter first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from .._flatten import flatten_dict
from .._json import dumps
from ..exceptions import MissingExtraError

Type: TypeAlias = Literal["time", "bool", "int", "float", "text"]
"""What is in a column: datetimes in UTC, or what Python calls so; None where there is no value."""

_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LARGEST: Final = 2**63 - 1
_type_of: Callable[[Any], type[object]] = type


class Column(NamedTuple):
    """One field of all events.

    Attributes:
        type: What is in it.
        values: One for each event, None where it has none.
    """

    type: Type
    values: list[Any]


def columns(events: Iterable[Mapping[str, Any]]) -> dict[str, Column]:
    """Return the fields of some events, in the order in which they first appear."""
    found: dict[str, list[Any]] = {"timestamp": [], "level": [], "event": []}
    count = 0
    for event in events:
        for name, value in flatten_dict(event, ".").items():
            values = found.get(name)
            if values is None:
                values = found[name] = []
            values += [None] * (count - len(values))
            values.append(value)
        count += 1
    table: dict[str, Column] = {}
    for name, values in found.items():
        whole = values + [None] * (count - len(values))
        table[name] = _times(whole) if name == "timestamp" else _typed(whole)
    return table


def to_arrow(events: Iterable[Mapping[str, Any]]) -> Any:
    """Return events as a ``pyarrow.Table``.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    arrow = _need("pyarrow", "arrow")
    types = {
        "time": arrow.timestamp("us", "UTC"),
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "text": arrow.string(),
    }
    return arrow.table(
        {
            name: arrow.array(column.values, types[column.type])
            for name, column in columns(events).items()
        }
    )


def to_pandas(events: Iterable[Mapping[str, Any]]) -> Any:
    """Return events as a ``pandas.DataFrame``.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    pandas = _need("pandas", "pandas")
    types = {
        "time": "datetime64[us, UTC]",
        "bool": "boolean",
        "int": "Int64",
        "float": "float64",
        "text": "object",
    }
    return pandas.DataFrame(
        {
            name: pandas.Series(column.values, dtype=types[column.type])
            for name, column in columns(events).items()
        }
    )


def to_polars(events: Iterable[Mapping[str, Any]]) -> Any:
    """Return events as a ``polars.DataFrame``.

    Raises:
        MissingExtraError: polars is not installed.
    """
    polars = _need("polars", "polars")
    types = {
        "time": polars.Datetime("us", "UTC"),
        "bool": polars.Boolean,
        "int": polars.Int64,
        "float": polars.Float64,
        "text": polars.String,
    }
    return polars.DataFrame(
        [
            polars.Series(name, column.values, dtype=types[column.type])
            for name, column in columns(events).items()
        ]
    )


def _need(package: str, extra: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError("a table of events", package, extra) from error


def _times(values: list[Any]) -> Column:
    times: list[datetime | None] = []
    for value in values:
        try:
            time = datetime.fromisoformat(value)
            times.append(time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC))
        except (TypeError, ValueError):
            times.append(None)
    return Column("time", times)


def _typed(values: list[Any]) -> Column:
    kinds = {_type_of(value) for value in values if value is not None}
    if kinds <= {str}:
        texts = {value for value in values if value is not None}
        if not texts or not texts <= _NOT_FINITE.keys():
            return Column("text", values)
    if kinds == {bool}:
        return Column("bool", values)
    if kinds == {int} and all(value is None or abs(value) <= _LARGEST for value in values):
        return Column("int", values)
    if kinds <= {int, float, str}:
        numbers = [_NOT_FINITE.get(value, value) for value in values]
        if not any(isinstance(number, str) for number in numbers):
            return Column("float", [None if each is None else float(each) for each in numbers])
    return Column("text", [_text(value) for value in values])


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else dumps(value).decode()
