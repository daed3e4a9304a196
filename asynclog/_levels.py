"""Levels: their names and numbers, and which one applies to a dotted logger name.

Knows nothing of loggers; they hold a :class:`Gate` and compare one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .exceptions import SettingError

NOTSET: Final = 0
DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
CRITICAL: Final = 50

LEVELS: Final[Mapping[str, int]] = {
    "debug": DEBUG,
    "info": INFO,
    "warning": WARNING,
    "error": ERROR,
    "critical": CRITICAL,
}
"""The levels that appear in lines, lowest first."""

METHODS: Final[Mapping[str, int]] = {
    **LEVELS,
    "notset": NOTSET,
    "msg": INFO,
    "warn": WARNING,
    "exception": ERROR,
    "err": ERROR,
    "fatal": CRITICAL,
}
"""Every name that is understood: the levels and their aliases, as logger methods have them."""

_NAMES: Final = tuple(LEVELS)


def parse_level(value: int | str, setting: str = "level") -> int:
    """Read a level from a setting.

    Args:
        value: A name in any case, e.g. ``"INFO"``, or a number, also as text; 10 is debug, 20
            info, 30 warning, 40 error, 50 critical.
        setting: What the user calls the setting, for the error.

    Returns:
        The level as a number.

    Raises:
        SettingError: No such level.
    """
    # what comes in is a user's setting, whatever the annotation says
    given: object = value
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return int(given)
    if isinstance(given, str):
        name = given.strip().lower()
        number = METHODS.get(name)
        if number is not None:
            return number
        if len(name) < 10 and name.isascii() and name.isdecimal():
            return int(name)
    raise SettingError(
        setting, f"must be one of {', '.join(LEVELS)} or a number that is not negative", given
    )


def level_number(name: str, default: int = INFO) -> int:
    """Return the number of a level or logger method, e.g. ``"exception"``; never raises."""
    return METHODS.get(name, default)


def level_name(number: int) -> str:
    """Return the name of the nearest level at or below a number, in lower case."""
    return _NAMES[min(max(number // 10, 1), len(_NAMES)) - 1]


class Gate:
    """The level that applies to one logger name now; loggers share and read it at each call.

    Attributes:
        name: Name of the logger, None for the unnamed one.
        level: Records below this number are filtered out.
    """

    __slots__ = ("level", "name")

    def __init__(self, name: str | None, level: int) -> None:
        self.name: str | None = name
        self.level: int = level

    def __repr__(self) -> str:
        return f"<Gate {self.name!r} at {self.level}>"


class LevelTable:
    """Levels by dotted logger name, hierarchical: ``"httpx"`` covers ``"httpx.client"``.

    Without a lock, which a fork or a signal handler could find taken: whoever changes the table
    brings the gates up to date until nobody else has changed it meanwhile.

    Args:
        default: Level of all names that nothing else covers.
    """

    __slots__ = ("_changes", "_gates", "_levels")

    def __init__(self, default: int = INFO) -> None:
        self._levels: dict[str, int] = {"": default}
        self._gates: dict[str, Gate] = {}
        self._changes: object = None

    def gate(self, name: str | None) -> Gate:
        """Return the gate of a name, the same object each time."""
        key = name or ""
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates.setdefault(key, Gate(name or None, self._level_of(key)))
            # a change that came in between did not know of this gate yet
            gate.level = self._level_of(key)
        return gate

    def set_level(self, name: str | None, level: int | str) -> None:
        """Set the level of a name and all below it; takes effect at the next call.

        Args:
            name: Dotted logger name; None or ``""`` sets the default.
            level: Name or number of the level.

        Raises:
            SettingError: No such level.
        """
        self._levels[name or ""] = parse_level(level)
        self._refresh()

    def replace(self, default: int, levels: Mapping[str, int] | None = None) -> None:
        """Forget all levels and set these; the gates stay the same objects.

        Args:
            default: Level of all names that nothing else covers.
            levels: Levels by dotted logger name.
        """
        self._levels = {"": default, **(levels or {})}
        self._refresh()

    def levels(self) -> dict[str, int]:
        """Return a copy of what was set, the default under ``""``."""
        return dict(self._levels)

    def _refresh(self) -> None:
        change = self._changes = object()
        while True:
            for key, gate in list(self._gates.items()):
                gate.level = self._level_of(key)
            if self._changes is change:
                return
            change = self._changes

    def _level_of(self, key: str) -> int:
        levels = self._levels
        while key not in levels:
            key = key.rpartition(".")[0]
        return levels[key]
