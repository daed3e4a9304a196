"""Invitation: how a process that is started later finds the run, by an environment variable.

Whoever finds it logs into the run without starting anything: its records get into a ring of its
own, which the run's collector drains.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

from ._complain import complain

VARIABLE: Final = "ASYNCLOG_JOIN"
"""Where the invitation stands in the environment, as JSON."""


@dataclass(frozen=True)
class Invitation:
    """What a process needs to know to log into a run.

    Attributes:
        run_dir: Absolute path of the run directory.
        spool_dir: Place of the spools, None for shared memory.
        level: Level of all loggers.
        levels: Levels of single loggers.
        ring_size: Bytes of the ring.
        max_event_bytes: Longest line.
        exception_text: Whether lines hold classic traceback texts as well.
        launcher: Whether it comes from a launcher, whose run it is whatever the program says.
    """

    run_dir: str
    spool_dir: str | None
    level: int
    levels: Mapping[str, int]
    ring_size: int
    max_event_bytes: int
    exception_text: bool
    launcher: bool = False

    @property
    def directory(self) -> Path:
        """The run directory."""
        return Path(self.run_dir)

    @property
    def spools(self) -> Path | None:
        """Place of the spools, None for shared memory."""
        return None if self.spool_dir is None else Path(self.spool_dir)

    def publish(self, environment: MutableMapping[str, str] = os.environ) -> str | None:
        """Put it into the environment; return what stood there before."""
        before = environment.get(VARIABLE)
        environment[VARIABLE] = json.dumps(asdict(self))
        return before

    @classmethod
    def found(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Return the invitation in the environment, None without one that can be read."""
        text = environment.get(VARIABLE)
        if not text:
            return None
        try:
            data: Any = json.loads(text)
            if all(fits(data[name]) for name, fits in _FITS.items()):
                return cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        complain(f"{VARIABLE} is no invitation of this version and is not used", kind="invitation")
        return None


def _is_level(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_path(value: object) -> bool:
    return type(value) is str and "\0" not in value and os.path.isabs(value)


_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "run_dir": _is_path,
    "spool_dir": lambda value: value is None or _is_path(value),
    "level": _is_level,
    "levels": lambda value: all(map(_is_level, cast("dict[str, object]", value).values())),
    "ring_size": lambda value: type(value) is int and value > 0 and not value & (value - 1),
    "max_event_bytes": lambda value: type(value) is int and value > 0,
    "exception_text": lambda value: type(value) is bool,
    "launcher": lambda value: type(value) is bool,
}


def withdraw(before: str | None, environment: MutableMapping[str, str] = os.environ) -> None:
    """Put back what stood in the environment before."""
    if before is None:
        environment.pop(VARIABLE, None)
    else:
        environment[VARIABLE] = before
