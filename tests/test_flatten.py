"""flatten_dict: nested mappings as one flat dict."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog._flatten import MAX_DEPTH, flatten_dict


@pytest.mark.parametrize(
    ("nested", "flat"),
    [
        ({}, {}),
        ({"a": 1, "b": {"c": 2, "d": {"e": 3}}}, {"a": 1, "b/c": 2, "b/d/e": 3}),
        ({"a": {}, "b": {"c": {}}}, {}),
        ({1: {None: 2}}, {"1/None": 2}),
        ({"a": [{"b": 1}], "c": None}, {"a": [{"b": 1}], "c": None}),
        ({"a": UserDict(b=1)}, {"a/b": 1}),
        ({"a/b": 1, "a": {"b": 2}}, {"a/b": 2}),
    ],
)
def test_names_tell_the_way(nested: Any, flat: dict[str, Any]) -> None:
    """In the order of the mapping; sequences are values."""
    assert flatten_dict(nested) == flat
    assert list(flatten_dict(nested)) == list(flat)


def test_separator_and_prefix() -> None:
    """The prefix comes before every name as it is."""
    assert flatten_dict({"a": {"b": 1}, "c": 2}, sep=".", prefix="train-") == {
        "train-a.b": 1,
        "train-c": 2,
    }


def test_a_mapping_that_holds_itself_ends() -> None:
    """There it stays a value; the same mapping twice is no circle."""
    cyclic: dict[str, Any] = {"a": 1}
    cyclic["b"] = {"c": cyclic}
    assert flatten_dict(cyclic) == {"a": 1, "b/c": cyclic}
    twice = {"x": 1}
    assert flatten_dict({"a": twice, "b": twice}) == {"a/x": 1, "b/x": 1}


def test_very_deep_ones_end() -> None:
    """What is deeper than a line holds stays a value."""
    deep: dict[str, Any] = {"x": 1}
    for _ in range(10_000):
        deep = {"d": deep}
    [(name, value)] = flatten_dict(deep).items()
    assert name == "/".join(["d"] * MAX_DEPTH)
    assert isinstance(value, dict)


@given(
    st.recursive(
        st.integers(),
        lambda inner: st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
        max_leaves=20,
    ).filter(lambda value: isinstance(value, dict))
)
def test_no_value_is_lost(nested: Any) -> None:
    """Where no two ways have one name, which names without the separator see to."""

    def leaves(mapping: dict[str, Any]) -> list[int]:
        found: list[int] = []
        for value in mapping.values():
            found += leaves(value) if isinstance(value, dict) else [value]
        return found

    assert list(flatten_dict(nested).values()) == leaves(nested)
