"""LogSystem: what the loggers of one pipeline share, and its place in structlog's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from structlog.exceptions import DropEvent

from .._best import BestValues
from .._levels import LevelTable, level_number
from .._line.encoder import LineEncoder
from ..exceptions import SettingError
from ..typing import EventDict, Processor
from .adoption import (
    adapted,
    is_merge_contextvars,
    without_any_renderer,
    without_renderer,
)
from .bound import BoundLogger
from .deferred import Deferred
from .media import MediaStore
from .outlet import LineTarget, Outlet
from .process import ProcessFields

__all__ = [
    "BoundLogger",
    "LogSystem",
    "adopt_user_configuration",
    "configure_structlog",
    "structlog_configuration",
]

# What structlog uses as long as nobody has chosen a wrapper class.
_DEFAULT_WRAPPER = structlog.make_filtering_bound_logger(0)


class LogSystem:
    """The producer, encoder, levels and processors behind the loggers of one pipeline.

    Args:
        target: Takes the lines: the producer.
        encoder: Makes them.
        levels: Levels by logger name.
        processors: What runs before the line is made; none for the default chain.

    Attributes:
        processors: The whole chain. The list stays the same object for ever, because loggers hold
            it and ``structlog.testing.capture_logs`` edits it in place.
        deferred: Lines whose numbers are still on their way from a device.
        best: Best values of the metrics that were logged.
        media: Where images go at the call.
        rank: Rank that records of metrics and the like name; None for what the environment says.
        process_fields: Says which process a record comes from; None where nobody needs to know.
        merges_contextvars: Whether loggers add what structlog has bound to the context before the
            chain runs, because no processor in it does.
    """

    __slots__ = (
        "_outlets",
        "best",
        "deferred",
        "encoder",
        "levels",
        "media",
        "merges_contextvars",
        "process_fields",
        "processors",
        "rank",
        "target",
    )

    def __init__(
        self,
        target: LineTarget,
        encoder: LineEncoder,
        levels: LevelTable,
        processors: Iterable[Processor] | None = None,
    ) -> None:
        self.target: LineTarget = target
        self.encoder: LineEncoder = encoder
        self.best: BestValues = BestValues()
        self.deferred: Deferred = Deferred(target, encoder, self.best)
        self.levels: LevelTable = levels
        self.media: MediaStore = MediaStore()
        self.rank: int | None = None
        self.process_fields: ProcessFields | None = None
        self.processors: list[Processor] = []
        self.merges_contextvars: bool = True
        self._outlets: dict[str | None, Outlet] = {}
        self.set_processors(processors)

    def get_logger(self, name: str | None = None, **context: Any) -> BoundLogger:
        """Return a logger.

        Args:
            name: Dotted name; levels are set per name.
            **context: Bound to every record.
        """
        return BoundLogger(self.outlet(name), self.processors, context)

    def outlet(self, name: object = None, *_: Any) -> Outlet:
        """Return the outlet of a name, the same object each time; structlog's logger factory."""
        key = None if name is None else str(name) or None
        outlet = self._outlets.get(key)
        if outlet is None:
            outlet = self._outlets.setdefault(key, Outlet(self, key))
        return outlet

    def set_processors(self, processors: Iterable[Processor] | None) -> None:
        """Set what runs before the line is made, for existing loggers, too.

        What structlog has bound to the context is merged first, unless the chain merges it itself;
        a renderer at its end is left out.

        Args:
            processors: structlog processors; none or None for the default chain.

        Raises:
            SettingError: One of them cannot be called.
        """
        chain = list(processors or ())
        for processor in chain:
            if not callable(processor):
                raise SettingError("processors", "must hold callables", processor)
        chain = without_renderer(chain)
        self.use_chain(chain, merge=not any(map(is_merge_contextvars, chain)))

    def use_chain(self, chain: list[Processor], *, merge: bool) -> None:
        """Make a chain without renderer the system's.

        Args:
            chain: The processors.
            merge: Whether to merge context variables first even though the chain does not say so.
        """
        if chain and is_merge_contextvars(chain[0]):
            chain, merge = chain[1:], True
        self.merges_contextvars = merge
        first: list[Processor] = [] if self.process_fields is None else [self.process_fields]
        self.processors[:] = [*first, *adapted(chain)]

    def identify(self, process_fields: ProcessFields | None) -> None:
        """Say in all records from now on which process they come from, or no longer."""
        known, self.process_fields = self.process_fields, process_fields
        if known is not None and known in self.processors:
            self.processors.remove(known)
        if process_fields is not None:
            self.processors.insert(0, process_fields)


def structlog_configuration(
    system: LogSystem, user_processors: Iterable[Processor] | None = None
) -> dict[str, Any]:
    """Return the keyword arguments for ``structlog.configure`` that make its loggers ours.

    Args:
        system: What they log into.
        user_processors: Replace the system's chain if given.
    """
    if user_processors is not None:
        system.set_processors(user_processors)
    return {
        "processors": system.processors,
        "wrapper_class": BoundLogger,
        "context_class": dict,
        "logger_factory": system.outlet,
        "cache_logger_on_first_use": True,
    }


def adopt_user_configuration(system: LogSystem) -> None:
    """Keep what the user gave to ``structlog.configure`` but for its renderer and logger factory.

    The processors become the system's. The wrapper class stays; only the one that structlog uses
    when none was chosen is replaced by ours, which has the same methods. Under any other wrapper
    class structlog runs the processors: what they raise is the caller's, and ``a*`` methods work
    as that class has them. The system's levels apply besides.
    """
    config = structlog.get_config()
    chain = without_any_renderer(config["processors"])
    wrapper: Any = config["wrapper_class"]
    if wrapper is _DEFAULT_WRAPPER:
        wrapper = BoundLogger
    elif BoundLogger not in getattr(wrapper, "__mro__", ()):
        chain.insert(0, drop_below_level)
    system.use_chain(chain, merge=False)
    structlog.configure(
        processors=system.processors, wrapper_class=wrapper, logger_factory=system.outlet
    )


def configure_structlog(system: LogSystem, *, chosen: bool = False) -> None:
    """Make structlog's loggers log into a system.

    Args:
        system: What they log into.
        chosen: Whether the user has given the system's processors on purpose: then they go before
            what was given to ``structlog.configure``, which is otherwise kept.
    """
    factory = structlog.get_config()["logger_factory"]
    current = getattr(factory, "__self__", None)
    if chosen or not structlog.is_configured() or isinstance(current, LogSystem):
        if chosen or current is not system:
            structlog.configure(**structlog_configuration(system))
    else:
        adopt_user_configuration(system)


def drop_below_level(logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
    """Drop what the level of the logger's name filters out, before any other processor runs."""
    if isinstance(logger, Outlet) and logger.gate.level > level_number(method_name):
        raise DropEvent
    return event_dict
