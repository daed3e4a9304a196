"""Levels as users of logging give them: numbers, names of ours, and those of addLevelName."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .._levels import parse_level
from .._line.plain import type_of
from ..exceptions import SettingError


def level_number(level: int | str, setting: str = "level") -> int:
    """Return the number of a level.

    Args:
        level: Name or number.
        setting: What the user calls the setting, for the error.

    Raises:
        SettingError: No such level.
    """
    if isinstance(level, str):
        known = logging.getLevelNamesMapping().get(level.strip().upper())
        if known is not None:
            return known
    return parse_level(level, setting)


def logger_levels_of(levels: Mapping[str, int | str] | None) -> dict[str, int]:
    """Return the levels of loggers as numbers.

    Raises:
        SettingError: They do not map logger names to levels.
    """
    if levels is None:
        return {}
    rule = "must map logger names to levels"
    hint = 'Write e.g. logger_levels={"httpx": "WARNING"}'
    if not issubclass(type_of(levels), Mapping):
        raise SettingError("logger_levels", rule, levels, hint)
    result: dict[str, int] = {}
    for name, level in levels.items():
        if type_of(name) is not str or not name:
            raise SettingError("logger_levels", rule, levels, hint)
        result[name] = level_number(level, f"logger_levels[{name!r}]")
    return result
