"""RateLimit: drops records that come too often, and says how many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from structlog.exceptions import DropEvent

from .._levels import METHODS, level_number, parse_level
from .._line.encoder import Kind
from .._line.plain import free_name, type_of
from .._line.problem import add_problem
from .._line.snapshot import Snapshot
from .._settings import parse_duration
from ..exceptions import SettingError
from ..typing import EventDict
from .caller import find_caller
from .limiter import DEFAULT_MAX_KEYS, Limiter, make_limiter
from .policies import EveryN, Once, Policy, at_rate, every_seconds

DEFAULT_BELOW: Final = "ERROR"
"""Bad news are few, and each may be the one that explains the others."""
SUPPRESSED: Final = "suppressed"
"""Field with the number of records of this key that were dropped before this one."""
FORGOTTEN: Final = "suppressed_others"
"""Field with the number of records that were dropped of keys which are no longer remembered."""
MAX_KEY_LENGTH: Final = 256
"""Characters of a text that are kept as a key; longer ones are told apart by their hash."""

KeyFunction: TypeAlias = Callable[[EventDict], Hashable]
_KEY_HINT: Final = 'Write key=["user"] for the field user'
_SCALARS: Final = (int, float, bool, type(None))


class RateLimit:
    """Drops records of one key that come too often; the next that passes says how many.

    That record carries ``suppressed``, the number dropped since the last one of its key that
    passed. Exactly one of `rate`, `every`, `seconds` and `once` says what passes. Records at or
    above `below` pass always, and so do those that are no plain log events, as metrics: they are
    neither counted nor do they carry a number.

    Counting is exact in any number of threads and tasks, in signal handlers and finalisers; nothing
    ever waits. It is per process: a forked child goes on from where its parent was, with counts of
    its own. A processor that drops a record behind this one drops the number it carries as well, so
    this one comes behind those that drop, and before those that cost much.

    Args:
        rate: Records a second that pass in the long run, a token bucket for each key.
        burst: How many of them may pass at once, after a pause (default: those of one second, at
            least one).
        every: One of so many passes, the first one included.
        seconds: One passes in so many seconds; a number or a text, as ``"5 min"``.
        once: Only the first one passes.
        key: What is counted together: ``"callsite"`` (default; where in the code the record was
            made), ``"event"`` (its text), the names of fields, or a function of the event dict
            that returns a text, a number or a tuple of such.
        below: Level from which on records always pass, a name or number; None for no such level.
        max_keys: Keys that are remembered (default 4,096, some 1.5 MB). Of more, the one that came
            least recently is forgotten and is as new when it comes again; what was dropped of it
            is told by the next record that passes, as ``suppressed_others``.

    Raises:
        SettingError: A setting breaks its rule.
    """

    __slots__ = ("_below", "_find_key", "_limiter", "_settings")

    def __init__(
        self,
        *,
        rate: float | None = None,
        burst: int | None = None,
        every: int | None = None,
        seconds: float | str | None = None,
        once: bool = False,
        key: Literal["callsite", "event"] | Sequence[str] | KeyFunction = "callsite",
        below: int | str | None = DEFAULT_BELOW,
        max_keys: int = DEFAULT_MAX_KEYS,
    ) -> None:
        policy = _policy(rate, burst, every, seconds, once)
        _check_count("max_keys", max_keys)
        self._below: float = math.inf if below is None else parse_level(below, "below")
        self._find_key: KeyFunction = _key_function(key)
        self._limiter: Limiter = make_limiter(policy, max_keys, time.monotonic_ns)
        given: dict[str, Any] = {
            "rate": rate,
            "burst": burst,
            "every": every,
            "seconds": seconds,
            "once": once or None,
        }
        self._settings: dict[str, Any] = {
            **{name: value for name, value in given.items() if value is not None},
            "key": key if isinstance(key, str) or callable(key) else tuple(key),
            "below": below,
            "max_keys": max_keys,
        }

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        """Let the record pass or drop it.

        Raises:
            structlog.DropEvent: It is dropped.
        """
        level: Any = event_dict.get("level")
        if type_of(level) is not str or level not in METHODS:
            level = method_name
        if level_number(level) >= self._below or type_of(event_dict.get("kind")) is Kind:
            return event_dict
        try:
            decision = self._limiter.decide(self._find_key(event_dict))
        except Exception as error:  # of the user's function, or of a value
            add_problem(event_dict, "RateLimit", error)
            return event_dict
        if not decision.passes:
            raise DropEvent
        if decision.suppressed:
            _put(event_dict, SUPPRESSED, decision.suppressed)
        if decision.forgotten:
            _put(event_dict, FORGOTTEN, decision.forgotten)
        return event_dict

    @property
    def passed(self) -> int:
        """Records of this process that passed; those that are not limited are not counted."""
        return self._limiter.passed

    @property
    def suppressed(self) -> int:
        """Records of this process that were dropped, told or not."""
        return self._limiter.suppressed

    def take_unreported(self) -> list[tuple[str, int]]:
        """Return what was dropped and not told by any record yet, and count it as told.

        Returns:
            Text of the key (secrets in it are redacted) and number of records.
        """
        from .._secrets.texts import redact_text

        return [
            ("other keys" if key is None else redact_text(_key_text(key)), count)
            for key, count in self._limiter.take_unreported()
        ]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._settings.items())
        return f"RateLimit({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        # what was counted stays in this process
        return _restored, (self._settings,)


def _restored(settings: dict[str, Any]) -> RateLimit:
    return RateLimit(**settings)


def _policy(
    rate: float | None,
    burst: int | None,
    every: int | None,
    seconds: float | str | None,
    once: bool,
) -> Policy:
    given: dict[str, Any] = {"rate": rate, "every": every, "seconds": seconds, "once": once or None}
    chosen = {name: value for name, value in given.items() if value is not None}
    if len(chosen) != 1:
        raise SettingError(
            "rate, every, seconds and once", "must be given one of", chosen or "none of them"
        )
    if burst is not None and rate is None:
        raise SettingError("burst", "must come with rate", burst)
    if rate is not None:
        if not _is_number(rate) or not 1e-9 <= rate <= 1e9:
            raise SettingError("rate", "must be a number of records a second", rate)
        _check_count("burst", 1 if burst is None else burst)
        return at_rate(rate, burst or max(1, math.ceil(rate)))
    if every is not None:
        _check_count("every", every)
        return EveryN(every)
    if seconds is not None:
        length = parse_duration(seconds, "seconds")
        if length == 0:
            raise SettingError("seconds", "must be positive", seconds)
        return every_seconds(length)
    return Once()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_count(setting: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingError(setting, "must be a whole number, 1 or more", value)


def _key_function(given: object) -> KeyFunction:
    key: Any = given
    if key == "callsite":
        return _callsite
    if key == "event":
        return _event
    if callable(key):
        return _Function(key)
    if isinstance(key, Sequence) and not isinstance(key, (str, bytes)):
        names: list[Any] = [*cast("Sequence[Any]", key)]
        if names and all(isinstance(name, str) for name in names):
            return _Fields(tuple(names))
    rule = 'must be "callsite", "event", a list of names of fields, or a function'
    raise SettingError("key", rule, given, _KEY_HINT)


def _callsite(event_dict: EventDict) -> Hashable:
    """Return where a record was made: where it says itself, or else the frame that logs."""
    file: Any = event_dict.get("file")
    line: Any = event_dict.get("line")
    if type_of(file) is str and type_of(line) is int:
        return _short(file), line
    frame = find_caller()
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def _event(event_dict: EventDict) -> Hashable:
    return _plain(event_dict.get("event"))


class _Fields:
    """Finds the values of some fields."""

    __slots__ = ("_names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __call__(self, event_dict: EventDict) -> Hashable:
        # the names only serve to tell what the values are, once they are reported
        return tuple((name, _plain(event_dict.get(name))) for name in self._names)


class _Function:
    """Calls the user's function."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, event_dict: EventDict) -> Hashable:
        return _plain(self._function(event_dict))


def _plain(value: Any) -> Hashable:
    """Return a value as a small key whose comparison runs no code of the user's."""
    kind = type_of(value)
    if kind is str:
        return _short(value)
    if kind in _SCALARS:
        # a NaN is like no other
        return value if value == value else "NaN"
    if kind is tuple:
        return tuple(_plain(item) for item in value)
    return _short(Snapshot(MAX_KEY_LENGTH * 4).text(value))


def _short(text: str) -> str:
    if len(text) <= MAX_KEY_LENGTH:
        return text
    return f"{text[: MAX_KEY_LENGTH - 20]}... {hash(text):x}"


def _key_text(key: Any) -> str:
    """Return the text under which a key is reported."""
    if isinstance(key, tuple):
        parts = cast("tuple[Any, ...]", key)
        if len(parts) == 2 and type_of(parts[1]) is int and type_of(parts[0]) is str:
            return f"{parts[0]}:{parts[1]}"
        if parts and all(type_of(part) is tuple and len(part) == 2 for part in parts):
            return ", ".join(f"{name}={value}" for name, value in parts)
    return str(cast("object", key))


def _put(event_dict: EventDict, name: str, count: int) -> None:
    """Set a number; a field of that name that the record has moves to ``name_``."""
    if name in event_dict:
        event_dict[free_name(f"{name}_", event_dict)] = event_dict.pop(name)
    event_dict[name] = count
