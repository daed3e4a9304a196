"""Records of `logging` on the launcher: what an event of one of its processes becomes there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from .._node import node_logger
from .._origin import without_origin
from ..sinks.escape import escape
from ..sinks.format import log_record
from ..sinks.render import render_text
from .job_console import PLACE

PRINTED: Final = {"stdout": logging.INFO, "stderr": logging.ERROR}
"""Levels of printed lines by their stream."""


def node_record(event: Mapping[str, Any], host: str) -> logging.LogRecord:
    """Return an event as a record of the logger of its process.

    The message begins with the name of the logger that the process has used, unless it was the
    root logger, and ends with the fields, which are attributes as well. ``hostname`` and
    ``local_rank`` tell the process.

    Args:
        event: The event.
        host: Name of the machine that it comes from.
    """
    record = log_record(event)
    record.hostname = host
    record.local_rank = local_rank = _local_rank(event)
    record.name = node_logger(host, local_rank)
    if event.get("kind") == "output":
        record.levelno = PRINTED.get(str(event.get("stream")), record.levelno)
        record.levelname = logging.getLevelName(record.levelno)
        record.msg = escape(str(event.get("event", "")))
        return record
    plain = without_origin(event)
    said = {key: plain[key] for key in plain if key not in PLACE and key != "logger"}
    record.msg = render_text(said)
    logger = event.get("logger", "root")
    if logger != "root":
        record.msg = f"{escape(str(logger))}:{record.msg}"
    return record


def _local_rank(event: Mapping[str, Any]) -> int | None:
    """Return the rank on its machine; the global one where nobody has told it."""
    for name in ("local_rank", "rank"):
        number = event.get(name)
        if type(number) is int and number >= 0:
            return number
    return None
