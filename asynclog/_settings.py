"""Settings of a pipeline: where they come from, how they are read, and the rules they keep."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, cast

from ._levels import parse_level
from .exceptions import SettingError
from .typing import BlockingSink, Processor, Sink, SinkDeclaration

Overflow: TypeAlias = Literal["wait", "drop"]
CollectorKind: TypeAlias = Literal["auto", "thread", "process"]
AnySink: TypeAlias = SinkDeclaration | Sink | BlockingSink

DEFAULT_RUN_DIR = "logs"
DEFAULT_LEVEL = "INFO"
DEFAULT_RING_SIZE = "4 MiB"
"""Room for about two seconds of a thread that does nothing but log."""
DEFAULT_CHILD_RING_SIZE = "1 MiB"
"""Forked children are many and log little."""
DEFAULT_MAX_EVENT_BYTES = 64 * 1024
DEFAULT_OVERFLOW: Overflow = "wait"
DEFAULT_OVERFLOW_TIMEOUT = "100 ms"
DEFAULT_LINGER = "50 ms"
"""How long the collector lets records gather, unless an error comes or the ring is half full.

A round costs some 0.3 ms, most of it in the event loop. At 20 ms that is over 1 % of the time, and
the 99th percentile of another loop's lateness shows it."""
DEFAULT_STOP_TIMEOUT = "1.5 s"
"""A process with a hung sink ends within two seconds."""
LONG_STOP_TIMEOUT = "15 s"
"""What sinks that read on from the files may take; the next start sends what is left."""

MIN_RING_SIZE = 64 * 1024
MAX_RING_SIZE = 1 << 30
MIN_EVENT_BYTES = 512
MIN_STATS_INTERVAL = 1.0
"""The collector counts once a second."""

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_DURATION_UNITS = {
    "": 1.0,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "days": 86400.0,
}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", re.ASCII)


class PipelineOptions(TypedDict, total=False):
    """Settings of a pipeline beside its run directory; each is checked at once.

    All but ``sinks``, ``levels`` and ``processors`` can also be given as environment variables,
    ``ASYNCLOG_LEVEL`` and so on; an argument goes before the variable.

    Attributes:
        level: Level of all loggers, a name or number (default ``"INFO"``).
        levels: Levels of single loggers and all below them, by dotted name.
        sinks: Where the records go (default ``[JsonlFile(), Console()]``).
        processors: structlog processors for every record; the last step, one line of JSON, is
            ours. Costs about half as much again per call as the default chain.
        collector: ``"thread"``, ``"process"`` or ``"auto"`` (default): a process when a sink is
            heavy, a thread otherwise.
        ring_size: Bytes of the ring, rounded up to a power of two (default ``"4 MiB"``).
        child_ring_size: The same for forked children (default ``"1 MiB"``).
        max_event_bytes: Longest line; longer ones are truncated and say so (default ``"64 KiB"``).
        overflow: ``"wait"`` (default): a call waits for room up to ``overflow_timeout`` unless its
            thread runs an event loop; ``"drop"``: never.
        overflow_timeout: Seconds, or a text (default ``"100 ms"``).
        linger: How long records gather before they are written (default ``"50 ms"``).
        stop_timeout: How long ``stop()`` waits for sinks (default ``"1.5 s"``, ``"15 s"`` with one
            that reads on from the files, such as W&B or ``MetricsCsv``).
        stats_interval: How often the counters of the run are written as an ``asynclog.stats``
            record, from 1 second; never by default. Each is one line of some 500 bytes.
        spool_dir: Where rings lie instead of ``/dev/shm``: a volume that outlives a container.
        exception_text: Whether lines hold classic traceback texts as well, at the caller's cost.
    """

    level: int | str
    levels: Mapping[str, int | str]
    sinks: Sequence[AnySink]
    processors: Sequence[Processor]
    collector: CollectorKind
    ring_size: int | str
    child_ring_size: int | str
    max_event_bytes: int | str
    overflow: Overflow
    overflow_timeout: float | str
    linger: float | str
    stop_timeout: float | str
    stats_interval: float | str
    spool_dir: str | os.PathLike[str]
    exception_text: bool


def _quantity(
    value: float | str, units: Mapping[str, float], setting: str, rule: str, hint: str
) -> float:
    if isinstance(value, bool):
        raise SettingError(setting, rule, value, hint)
    if isinstance(value, (int, float)):
        number = float(value)
    else:
        match = _QUANTITY.fullmatch(value) if isinstance(cast(object, value), str) else None
        unit = units.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise SettingError(setting, rule, value, hint)
        number = float(match[1]) * unit
    if not math.isfinite(number) or number < 0:
        raise SettingError(setting, "must be finite and not negative", value, hint)
    return number


def parse_size(value: int | str, setting: str = "size") -> int:
    """Read a size.

    Args:
        value: Bytes as an integer, or a text such as ``"100 MB"`` (10^6) or ``"4 MiB"`` (2^20).
        setting: Name of the setting, for the error.

    Returns:
        Bytes.

    Raises:
        SettingError: It is no size, or negative.
    """
    hint = 'Write bytes as a number, or a text such as "100 MB" (10^6) or "4 MiB" (2^20)'
    return round(_quantity(value, _SIZE_UNITS, setting, "must be a size", hint))


def parse_duration(value: float | str, setting: str = "duration") -> float:
    """Read a length of time.

    Args:
        value: Seconds as a number, or a text such as ``"100 ms"``, ``"2 s"``, ``"5 min"``.
        setting: Name of the setting, for the error.

    Returns:
        Seconds.

    Raises:
        SettingError: It is no length of time, or negative.
    """
    hint = 'Write seconds as a number, or a text such as "100 ms" or "2 s"'
    return _quantity(value, _DURATION_UNITS, setting, "must be a length of time", hint)


def _one_of(value: str, allowed: Sequence[str], setting: str) -> str:
    if value not in allowed:
        choices = ", ".join(repr(item) for item in allowed)
        raise SettingError(setting, f"must be one of {choices}", value)
    return value


def _stats_interval(value: float | str | None, setting: str) -> float | None:
    if value is None:
        return None
    interval = parse_duration(value, setting)
    if interval < MIN_STATS_INTERVAL:
        rule = f"must be at least {MIN_STATS_INTERVAL:g} second"
        raise SettingError(setting, rule, value, "Leave it out for no such records")
    return interval


def _ring_size(value: int | str, setting: str) -> int:
    size = parse_size(value, setting)
    if not MIN_RING_SIZE <= size <= MAX_RING_SIZE:
        raise SettingError(setting, "must lie between 64 KiB and 1 GiB", value)
    return 1 << (size - 1).bit_length()


def _sinks(value: object) -> tuple[AnySink, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise SettingError(
            "sinks", "must be a list of sinks", value, "Write e.g. sinks=[JsonlFile(), Console()]"
        )
    found: list[AnySink] = []
    for item in cast(Sequence[object], value):
        if isinstance(item, type) or not isinstance(item, (SinkDeclaration, Sink, BlockingSink)):
            raise SettingError(
                "sinks",
                "must hold sink declarations or objects with a write() or write_blocking() method",
                item,
                "Write e.g. sinks=[JsonlFile(), Console()]",
            )
        found.append(item)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a pipeline was told, checked; sizes in bytes, times in seconds."""

    run_dir: Path
    level: int
    levels: Mapping[str, int]
    sinks: tuple[AnySink, ...]
    collector: Literal["thread", "process"]
    ring_size: int
    child_ring_size: int
    max_event_bytes: int
    overflow: Overflow
    overflow_timeout: float
    linger: float
    stop_timeout: float
    stats_interval: float | None
    spool_dir: Path | None
    exception_text: bool

    def differ(self, others: Settings) -> list[str]:
        """Return the names of the settings in which these are not like others."""
        return [
            field.name
            for field in fields(self)
            if getattr(self, field.name) != getattr(others, field.name)
        ]

    @classmethod
    def read(
        cls,
        run_dir: str | os.PathLike[str] | None = None,
        *,
        default_sinks: Sequence[AnySink],
        environment: Mapping[str, str] = os.environ,
        **given: Any,
    ) -> Settings:
        """Check settings: keyword arguments go before ``ASYNCLOG_*`` variables and defaults.

        Args:
            run_dir: Directory of the run; relative ones count from the working directory.
            default_sinks: Sinks when none are given.
            environment: Where ``ASYNCLOG_RUN_DIR``, ``ASYNCLOG_LEVEL``, ... are looked up.
            **given: The other settings by name; None means not given.

        Raises:
            SettingError: One of them breaks its rule.
        """

        def pick(name: str, default: Any) -> tuple[Any, str]:
            """Return the value and the name under which the user knows it."""
            if given.get(name) is not None:
                return given[name], name
            variable = f"ASYNCLOG_{name.upper()}"
            if environment.get(variable):
                return environment[variable], variable
            return default, name

        known = PipelineOptions.__annotations__
        for name in given:
            if name not in known:
                import difflib

                close = difflib.get_close_matches(name, known, 1)
                hint = f"Did you mean {close[0]}" if close else f"Known are {', '.join(known)}"
                raise SettingError("a setting", "must have a known name", name, hint)
        directory = run_dir if run_dir is not None else pick("run_dir", DEFAULT_RUN_DIR)[0]
        if not os.fspath(directory):
            raise SettingError("run_dir", "must not be empty", directory)
        spool_dir, _ = pick("spool_dir", None)
        collector, name = pick("collector", "auto")
        kind = _one_of(collector, ("auto", "thread", "process"), name)
        sinks = _sinks(given["sinks"] if given.get("sinks") is not None else default_sinks)
        live = [sink for sink in sinks if not isinstance(sink, SinkDeclaration)]
        if kind == "process" and live:
            raise SettingError(
                "sinks",
                'must be declarations when collector="process", since that process makes them',
                live[0],
                'Use a declaration, or collector="thread"',
            )
        heavy = any(getattr(sink, "heavy", False) for sink in sinks)
        catches_up = heavy or any(getattr(sink, "follows", False) for sink in sinks)
        if kind == "auto":
            kind = "process" if heavy and not live else "thread"
        ring_size = _ring_size(*pick("ring_size", DEFAULT_RING_SIZE))
        child_ring_size = min(
            ring_size, _ring_size(*pick("child_ring_size", DEFAULT_CHILD_RING_SIZE))
        )
        longest = child_ring_size // 8
        max_event, name = pick("max_event_bytes", min(DEFAULT_MAX_EVENT_BYTES, longest))
        max_event_bytes = parse_size(max_event, name)
        if not MIN_EVENT_BYTES <= max_event_bytes <= longest:
            raise SettingError(
                name,
                f"must lie between {MIN_EVENT_BYTES} bytes and an eighth of the smallest ring "
                f"({longest} bytes)",
                max_event,
                "Long lines starve behind short ones in a small ring: give ring_size and "
                "child_ring_size as well",
            )
        overflow, name = pick("overflow", DEFAULT_OVERFLOW)
        _one_of(overflow, ("wait", "drop"), name)
        exception_text, _ = pick("exception_text", False)
        levels: object = given.get("levels") or {}
        if not isinstance(levels, Mapping):
            raise SettingError("levels", "must map logger names to levels", levels)
        return cls(
            run_dir=Path(os.path.abspath(directory)),
            level=parse_level(*pick("level", DEFAULT_LEVEL)),
            levels={
                str(logger): parse_level(level, f"levels[{logger!r}]")
                for logger, level in cast(Mapping[object, Any], levels).items()
            },
            sinks=sinks,
            collector="process" if kind == "process" else "thread",
            ring_size=ring_size,
            child_ring_size=child_ring_size,
            max_event_bytes=max_event_bytes,
            overflow="wait" if overflow == "wait" else "drop",
            overflow_timeout=parse_duration(*pick("overflow_timeout", DEFAULT_OVERFLOW_TIMEOUT)),
            linger=parse_duration(*pick("linger", DEFAULT_LINGER)),
            stop_timeout=parse_duration(
                *pick("stop_timeout", LONG_STOP_TIMEOUT if catches_up else DEFAULT_STOP_TIMEOUT)
            ),
            stats_interval=_stats_interval(*pick("stats_interval", None)),
            spool_dir=Path(os.path.abspath(spool_dir)) if spool_dir else None,
            exception_text=str(exception_text).lower() in ("1", "true", "yes", "on"),
        )
