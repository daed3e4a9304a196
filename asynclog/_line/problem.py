"""Naming in a record what went wrong while it was made."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from .plain import type_of
from .untrusted import name_of

PROBLEM_KEY = "log_error"
"""Field of a record that names what went wrong while it was made."""


def describe(error: BaseException) -> str:
    """Return ``Type: message`` of an exception, whatever its message does."""
    name = name_of(type(error))
    try:
        message = str(error)
    except Exception:
        return name
    return f"{name}: {message}" if message else name


def add_problem(record: MutableMapping[str, Any], where: str, error: BaseException) -> None:
    """Name an error in a record, behind those that it names already."""
    text = f"{where}: {describe(error)}"
    before = record.get(PROBLEM_KEY)
    record[PROBLEM_KEY] = f"{before}; {text}" if isinstance(before, str) else text


def name_of_callable(function: Any) -> str:
    """Return the name under which a user knows a processor."""
    name = getattr(function, "__qualname__", None)
    if isinstance(name, str):
        return name
    return name_of(type_of(function))
