"""AddTraceContext: the current OpenTelemetry span."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from asynclog.processors import AddTraceContext


def added(**given: Any) -> dict[str, Any]:
    """Return what the processor makes of a record."""
    return dict(AddTraceContext()(None, "info", {**given}))


def test_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without OpenTelemetry gets nothing."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert added(event="x") == {"event": "x"}
    assert "opentelemetry.trace" not in sys.modules


def test_the_current_span_is_named() -> None:
    """By the ids that W3C trace context writes."""
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(
        trace_id=0x1234, span_id=0xAB, is_remote=False, trace_flags=trace.TraceFlags(1)
    )
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert added(event="x") == {
            "event": "x",
            "trace_id": "0" * 28 + "1234",
            "span_id": "0" * 14 + "ab",
            "trace_flags": "01",
        }
    assert added(event="x") == {"event": "x"}, "outside the span"


def test_spans_of_the_sdk() -> None:
    """A real tracer, nested spans: the innermost counts."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("outer"):
        outer = added()
        with tracer.start_as_current_span("inner"):
            inner = added()
    assert outer["trace_id"] == inner["trace_id"]
    assert outer["span_id"] != inner["span_id"]
    assert len(outer["trace_id"]) == 32
    assert len(outer["span_id"]) == 16
    assert int(outer["trace_flags"], 16) & 1, "sampled"


def test_an_invalid_span_is_none() -> None:
    """The span that is there when there is none adds nothing."""
    trace = pytest.importorskip("opentelemetry.trace")
    with trace.use_span(trace.INVALID_SPAN):
        assert added() == {}


def test_what_the_record_has_wins() -> None:
    """Ids are taken together or not at all."""
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(trace_id=1, span_id=2, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert added(trace_id="mine") == {"trace_id": "mine"}


def test_a_span_that_raises_costs_its_ids_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record goes on and names it."""
    broken = SimpleNamespace(get_current_span=lambda: 1 / 0)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", broken)  # type: ignore[arg-type]
    assert added(event="x") == {
        "event": "x",
        "log_error": "AddTraceContext: ZeroDivisionError: division by zero",
    }
