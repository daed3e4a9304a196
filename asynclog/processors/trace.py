"""AddTraceContext: the OpenTelemetry span in which a record was made."""

from __future__ import annotations

import sys
from typing import Any, Final

from .._line.problem import add_problem
from ..typing import EventDict

_FREE: Final = frozenset(("trace_id", "span_id", "trace_flags")).isdisjoint


class AddTraceContext:
    """Adds ``trace_id``, ``span_id`` and ``trace_flags`` of the current OpenTelemetry span.

    As hexadecimal texts of 32, 16 and 2 digits, the way W3C trace context writes them. Nothing is
    added outside a span, in a program that has not imported ``opentelemetry.trace`` (this never
    does), and to a record that has one of these fields already.
    """

    __slots__ = ()

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        """Add the fields."""
        trace: Any = sys.modules.get("opentelemetry.trace")
        if trace is None or not _FREE(event_dict):
            return event_dict
        try:
            context = trace.get_current_span().get_span_context()
            if context.is_valid:
                trace_id = f"{context.trace_id:032x}"
                span_id = f"{context.span_id:016x}"
                trace_flags = f"{int(context.trace_flags):02x}"
                event_dict.update(trace_id=trace_id, span_id=span_id, trace_flags=trace_flags)
        except Exception as error:  # spans may be of the user's own classes
            add_problem(event_dict, "AddTraceContext", error)
        return event_dict

    def __repr__(self) -> str:
        return "AddTraceContext()"
