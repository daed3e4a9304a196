"""Processors for ``asynclog.configure(processors=[...])`` and for structlog itself.

Each is an ordinary structlog processor: an object that is called with logger, method name and
event dict. All can be pickled.
"""

from __future__ import annotations

from .callsite import AddCallsite
from .format_dict import FormatDict
from .rank import AddRank
from .rate_limit import RateLimit
from .redact import Redact
from .trace import AddTraceContext

__all__ = [
    "AddCallsite",
    "AddRank",
    "AddTraceContext",
    "FormatDict",
    "RateLimit",
    "Redact",
]
