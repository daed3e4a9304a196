"""What of a user's structlog configuration is kept, and what stands in for the rest.

A final renderer gives way to our encoder. A few processors of structlog get an equivalent: one
that sees our frames as structlog sees its own, or one that does the same for less.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from structlog.contextvars import merge_contextvars as structlog_merge_contextvars
from structlog.processors import (
    CallsiteParameterAdder,
    StackInfoRenderer,
    TimeStamper,
    add_log_level,
)

from ..typing import EventDict, Processor
from .chain import encode_line
from .contextvars import merge_contextvars
from .front import clock

OUR_FRAMES: Final = "asynclog._"
"""Beginning of the names of our modules that stand between a caller and the processors."""

RENDERER_CLASSES: Final = (
    structlog.processors.JSONRenderer,
    structlog.processors.KeyValueRenderer,
    structlog.processors.LogfmtRenderer,
    structlog.dev.ConsoleRenderer,
)
RENDERER_FUNCTIONS: Final = (
    structlog.stdlib.render_to_log_kwargs,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    getattr(structlog.stdlib, "render_to_log_args_and_kwargs", None),
    encode_line,
)
"""Processors that are known to end a chain."""


class LastOfChain:
    """Stands for the last processor of a chain of which we do not know whether it renders.

    It runs once on a copy. If it gives text or arguments for a logger, it renders, and is left out
    from then on; if it gives an event dict, it is a processor like any other.

    Args:
        processor: The processor.
    """

    __slots__ = ("processor", "renders")

    def __init__(self, processor: Processor) -> None:
        self.processor = processor
        self.renders: bool | None = None

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> Any:
        """Run the processor unless it renders."""
        if self.renders:
            return event_dict
        if self.renders is False:
            return self.processor(logger, method_name, event_dict)
        result: Any = self.processor(logger, method_name, dict(event_dict))
        self.renders = not isinstance(result, Mapping)
        return event_dict if self.renders else result


def without_renderer(processors: Iterable[Processor]) -> list[Processor]:
    """Return a chain without the renderers at its end."""
    chain = list(processors)
    while chain and is_renderer(chain[-1]):
        chain.pop()
    return chain


def without_any_renderer(processors: Iterable[Processor]) -> list[Processor]:
    """Return a chain that was made for structlog without its renderer, be it one we know or not."""
    given = list(processors)
    chain = without_renderer(given)
    if chain and len(chain) == len(given) and not isinstance(chain[-1], LastOfChain):
        chain[-1] = LastOfChain(chain[-1])
    return chain


def is_renderer(processor: Any) -> bool:
    """Tell whether a processor is known to render, ours included."""
    return isinstance(processor, RENDERER_CLASSES) or any(
        processor is function for function in RENDERER_FUNCTIONS
    )


def adapted(processors: Iterable[Processor]) -> list[Processor]:
    """Return a chain for our loggers: equivalents where there are any, and a line at the end.

    What comes last and only adds what every line has anyway is left out.
    """
    chain = list(processors)
    while chain and _adds_front(chain[-1]):
        chain.pop()
    return [*map(equivalent, chain), encode_line]


def equivalent(processor: Processor) -> Processor:
    """Return a processor that does the same in our loggers, or the processor itself."""
    given: Any = processor
    if is_merge_contextvars(given):
        return merge_contextvars
    if _is_iso_stamp(given):
        return UtcStamp(given.key)
    if type(given) in (CallsiteParameterAdder, StackInfoRenderer):
        return _without_our_frames(given)
    return processor


def is_merge_contextvars(processor: Any) -> bool:
    """Tell whether a processor merges context variables, structlog's or ours."""
    return processor is structlog_merge_contextvars or processor is merge_contextvars


class UtcStamp:
    """A processor that does what ``TimeStamper(fmt="iso", utc=True)`` does.

    Args:
        key: Where it puts the time.
    """

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, _logger: Any, _method_name: str, event_dict: EventDict) -> EventDict:
        """Put the time into the event dict."""
        event_dict[self.key] = clock.text()
        return event_dict


def _is_iso_stamp(processor: Any) -> bool:
    return type(processor) is TimeStamper and processor.utc and str(processor.fmt).upper() == "ISO"


def _adds_front(processor: Any) -> bool:
    return processor is add_log_level or (_is_iso_stamp(processor) and processor.key == "timestamp")


def _without_our_frames(processor: Any) -> Any:
    """Return a copy that looks for the caller beyond our frames as well."""
    ignores = getattr(processor, "_additional_ignores", None)
    if not isinstance(ignores, (list, tuple, type(None))) or OUR_FRAMES in (ignores or ()):
        return processor
    result = copy.copy(processor)
    result._additional_ignores = [*(ignores or ()), OUR_FRAMES]
    return result
