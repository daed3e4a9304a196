"""The processor chain as it is for records that come from logging.

Some processors of structlog look at the code that logs, or at the clock. A record was made
elsewhere and earlier, and says so itself.
"""

from __future__ import annotations

import logging
from typing import Any

from structlog.processors import CallsiteParameterAdder, StackInfoRenderer

from .._line.plain import type_of
from .._logger.adoption import UtcStamp
from ..typing import EventDict, Processor


class _WithRecord:
    """Shows a record to a processor in the way of structlog's ProcessorFormatter."""

    __slots__ = ("_processor", "_record")

    def __init__(self, processor: Processor, record: logging.LogRecord) -> None:
        self._processor = processor
        self._record = record

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> Any:
        event_dict["_record"] = self._record
        event_dict["_from_structlog"] = False
        try:
            return self._processor(logger, method_name, event_dict)
        finally:
            del event_dict["_record"], event_dict["_from_structlog"]


def chain_for(record: logging.LogRecord, processors: list[Processor]) -> list[Processor]:
    """Return the chain to use for a record.

    Args:
        record: The record.
        processors: The chain of the pipeline's loggers, returned itself if it will do.
    """
    if len(processors) == 1:
        return processors
    chain: list[Processor] = []
    for processor in processors:
        given: Any = processor
        kind = type_of(given)
        if kind is CallsiteParameterAdder:
            chain.append(_WithRecord(processor, record))
        elif kind is StackInfoRenderer:
            # would show the stack that leads to the handler; the record's own is text already
            continue
        elif kind is UtcStamp and given.key == "timestamp":
            continue
        else:
            chain.append(processor)
    return chain
