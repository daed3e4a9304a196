"""Levels: names, numbers, and the hierarchy of dotted logger names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog._levels import LEVELS, LevelTable, level_name, level_number, parse_level
from asynclog.exceptions import SettingError


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("debug", 10),
        ("INFO", 20),
        (" Warning ", 30),
        ("warn", 30),
        ("error", 40),
        ("exception", 40),
        ("critical", 50),
        ("FATAL", 50),
        ("notset", 0),
        ("25", 25),
        (0, 0),
        (35, 35),
    ],
)
def test_levels_are_read_from_names_and_numbers(value: int | str, number: int):
    """Names in any case, their aliases and numbers are understood."""
    assert parse_level(value) == number


@pytest.mark.parametrize("value", ["LOUD", "", "-1", "1.5", "²", -1, True, None, 1.0, [10]])
def test_what_is_no_level_is_refused_with_setting_rule_and_value(value: Any):
    """The error names the setting, the rule and the value."""
    with pytest.raises(SettingError) as info:
        parse_level(value, "levels['httpx']")
    text = str(info.value)
    assert text.startswith("levels['httpx'] must be one of debug, info, warning, error, critical")
    assert text.endswith(f"got: {value!r}")


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (-5, "debug"),
        (0, "debug"),
        (10, "debug"),
        (19, "debug"),
        (20, "info"),
        (35, "warning"),
        (40, "error"),
        (50, "critical"),
        (999, "critical"),
    ],
)
def test_a_number_is_named_after_the_nearest_level_at_or_below(number: int, name: str):
    """Every number has a name that readers know."""
    assert level_name(number) == name


def test_names_and_numbers_go_back_and_forth():
    """Each level's number leads back to its name."""
    for name, number in LEVELS.items():
        assert level_name(number) == name
        assert level_number(name) == number
    assert level_number("no such method") == LEVELS["info"]


def test_the_same_name_has_the_same_gate():
    """Loggers of one name share their gate; None and the empty name are one."""
    table = LevelTable()
    assert table.gate("a.b") is table.gate("a.b")
    assert table.gate(None) is table.gate("")
    assert table.gate("a.b").name == "a.b"


def test_a_level_covers_the_names_below_it_at_once():
    """set_level changes existing and future gates of the name and those below it, no others."""
    table = LevelTable()
    below, beside = table.gate("httpx.client.pool"), table.gate("httpxy")
    table.set_level("httpx", "WARNING")
    assert below.level == table.gate("httpx").level == table.gate("httpx.late").level == 30
    assert beside.level == table.gate(None).level == 20


def test_the_nearest_level_wins():
    """A level nearer to the name goes before one further up, in whatever order they were set."""
    table = LevelTable()
    table.set_level("a.b", "debug")
    table.set_level("a", "error")
    table.set_level(None, "critical")
    assert [table.gate(name).level for name in ("a.b.c", "a.b", "a.x", "a", "x")] == [
        10,
        10,
        40,
        40,
        50,
    ]


def test_a_bad_level_changes_nothing():
    """A refused level leaves the table as it was."""
    table = LevelTable()
    with pytest.raises(SettingError):
        table.set_level("a", "LOUD")
    assert table.levels() == {"": 20}


def test_replacing_the_table_keeps_the_gates():
    """Loggers that hold a gate follow a table that is filled anew."""
    table = LevelTable()
    table.set_level("a", "error")
    gate, other = table.gate("a.b"), table.gate("b")
    table.replace(10, {"b": 30})
    assert (gate.level, other.level) == (10, 30)
    assert table.gate("a.b") is gate


NAMES = st.lists(st.sampled_from("abc"), max_size=4).map(".".join)


@given(st.lists(st.tuples(NAMES, st.integers(0, 60)), max_size=8), NAMES)
def test_the_hierarchy_matches_its_definition(settings: list[tuple[str, int]], name: str):
    """The level of a name is that of its longest dotted prefix that was set."""
    table = LevelTable(20)
    early = table.gate(name)
    for key, level in settings:
        table.set_level(key, level)
    parts = name.split(".")
    prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)] + [""]
    known = {"": 20, **dict(settings)}
    expected = next(known[prefix] for prefix in prefixes if prefix in known)
    assert early.level == table.gate(name).level == expected
