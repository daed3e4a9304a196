"""AddCallsite: the place in the code at which a record was made."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from typing import Any, Final

from ..exceptions import SettingError
from ..typing import EventDict
from .caller import find_caller

DEFAULT_FIELDS: Final = ("file", "line", "function")
PLACE_FIELDS: Final = ("file", "line", "function", "module")
"""Fields that belong together: a record has all that were asked for, or none of ours."""
FIELDS: Final = (*PLACE_FIELDS, "thread", "pid", "process")
_FREE: Final = frozenset(PLACE_FIELDS).isdisjoint
_MAIN_PROCESS: Final = "MainProcess"


class AddCallsite:
    """Adds where in the code a record was made: ``file``, ``line`` and ``function``.

    That is the innermost frame outside of asynclog, structlog and logging. A record that has one
    of these fields already keeps what it has and gets no other: records that come from
    :mod:`logging` bring their own.

    Args:
        fields: Which fields to add, of ``file`` (its path), ``line``, ``function`` (with its class,
            as ``Loader.open``), ``module``, ``thread`` (its name), ``pid`` and ``process`` (its
            name in multiprocessing, unless it is the main process).

    Raises:
        SettingError: There is no such field.
    """

    __slots__ = ("_others", "_place", "fields")

    def __init__(self, fields: Iterable[str] = DEFAULT_FIELDS) -> None:
        given: tuple[Any, ...] = (fields,) if isinstance(fields, str) else tuple(fields)
        unknown = [name for name in given if name not in FIELDS]
        if unknown or not given:
            rule = f"must name some of {', '.join(FIELDS)}"
            raise SettingError("fields", rule, unknown[0] if unknown else given)
        self.fields: tuple[str, ...] = tuple(dict.fromkeys(given))
        self._place = tuple(name for name in self.fields if name in PLACE_FIELDS)
        self._others = tuple(name for name in self.fields if name not in PLACE_FIELDS)

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        """Add the fields."""
        place = self._place
        if place and _FREE(event_dict):
            frame = find_caller()
            if frame is not None:
                code = frame.f_code
                for name in place:
                    if name == "file":
                        event_dict[name] = code.co_filename
                    elif name == "line":
                        event_dict[name] = frame.f_lineno
                    elif name == "function":
                        event_dict[name] = code.co_qualname
                    else:
                        event_dict[name] = frame.f_globals.get("__name__")
        for name in self._others:
            if name not in event_dict and (value := _here(name)) is not None:
                event_dict[name] = value
        return event_dict

    def __repr__(self) -> str:
        return f"AddCallsite(fields={self.fields!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return AddCallsite, (self.fields,)


def _here(name: str) -> str | int | None:
    if name == "thread":
        return threading.current_thread().name
    if name == "pid":
        return os.getpid()
    multiprocessing: Any = sys.modules.get("multiprocessing")
    if multiprocessing is None:
        return None
    process: str = multiprocessing.current_process().name
    return None if process == _MAIN_PROCESS else process
