"""Nested mappings as one flat dict: ``{"val": {"loss": 1}}`` is ``{"val/loss": 1}``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

MAX_DEPTH: Final = 32
"""Mappings within each other that are taken apart, as many as a line holds."""

_type_of: Callable[[Any], type[object]] = type


def flatten_dict(d: Mapping[Any, Any], sep: str = "/", prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings under names that tell the way to them.

    Args:
        d: Mapping whose values may be mappings. Keys that are no text become their ``str()``.
        sep: Put between the parts of a name.
        prefix: Put before every name, as it is.

    Returns:
        A flat dict in the order of the mapping. Where two ways give one name, the later value
        counts. An empty mapping gives nothing; one that holds itself stays a value there, and so
        does one that is deeper than 32 others.
    """
    return dict(flat_items(d, sep, prefix))


def flat_items(
    mapping: Mapping[Any, Any],
    sep: str = "/",
    prefix: str = "",
    around: tuple[int, ...] = (),
) -> Iterator[tuple[str, Any]]:
    """Yield what :func:`flatten_dict` returns, one by one.

    Args:
        mapping: As there.
        sep: As there.
        prefix: As there.
        around: Identities of the mappings that this one lies in.
    """
    around = (*around, id(mapping))
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        # not isinstance(), which runs the value's own code
        nested = issubclass(_type_of(value), Mapping)
        if nested and id(value) not in around and len(around) < MAX_DEPTH:
            yield from flat_items(value, sep, f"{name}{sep}", around)
        else:
            yield name, value
