"""What an OpenTelemetry server gets of a line: the same in both encodings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog

import asynclog
from asynclog.processors import AddCallsite
from asynclog.sinks import JsonlFile, Otlp
from asynclog.sinks.otlp.records import nanoseconds
from asynclog.typing import Run

from .conftest import OtlpServer

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

pytestmark = pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])


def _plain(value: Any) -> Any:
    """Return an AnyValue of the generated code as data."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "array_value":
        return [_plain(item) for item in found.values]
    if kind == "kvlist_value":
        return {pair.key: _plain(pair.value) for pair in found.values}
    return found


def _attributes(record: Any) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in record.attributes}


@pytest.fixture
def send(
    server: OtlpServer, run: Run, make_batch: Callable[..., Any], protocol: str
) -> Callable[..., list[Any]]:
    """Send lines and return what the server has got, each with its scope."""

    def send(*lines: bytes, **settings: Any) -> list[Any]:
        sink = Otlp(server.url, protocol=protocol, **settings).make()
        sink.open(run)
        sink.write_blocking(make_batch(*lines))
        sink.close()
        return server.taken

    return send


def test_record(send: Callable[..., list[Any]], server: OtlpServer) -> None:
    """Time, severity, body, scope and fields arrive with their types."""
    line = (
        b'{"timestamp":"2026-01-31T12:00:00.123456Z","level":"warning","event":"slow \\u00e9",'
        b'"logger":"app.db","ms":1.5,"rows":3,"big":18446744073709551615,"ok":true,"none":null,'
        b'"tags":["a",1,null],"net":{"a":{"b":-1}},"empty":{},"nan":"NaN","rank":3}'
    )
    [(scope, record)] = send(line)
    assert scope == "app.db"
    assert record.time_unix_nano == 1769860800123456000
    assert record.observed_time_unix_nano > record.time_unix_nano
    assert (record.severity_number, record.severity_text) == (13, "warning")
    assert record.body.string_value == "slow é"
    assert _attributes(record) == {
        "ms": 1.5,
        "rows": 3,
        "big": "18446744073709551615",
        "ok": True,
        "tags": ["a", 1, None],
        "net": {"a": {"b": -1}},
        "empty": {},
        "nan": "NaN",
        "rank": 3,
    }
    assert not record.trace_id
    [resource] = server.resources
    assert resource["host.name"] == "node7"
    assert resource["asynclog.run"] == "exp1"
    assert resource["service.name"] == "unknown_service:python"
    [request] = server.requests
    assert request["path"] == "/v1/logs"
    assert request["headers"]["content-encoding"] == "gzip"


def test_severities(send: Callable[..., list[Any]]) -> None:
    """Each level has the number that the specification gives it."""
    levels = ["debug", "info", "warning", "error", "critical"]
    lines = [b'{"level":"%b","event":"x"}' % level.encode() for level in levels]
    taken = send(*lines)
    assert [record.severity_number for _, record in taken] == [5, 9, 13, 17, 21]


def test_level(send: Callable[..., list[Any]]) -> None:
    """A level keeps what is below it here."""
    lines = [
        b'{"timestamp":"2026","level":"%b","event":"x"}' % level for level in (b"info", b"error")
    ]
    assert len(send(*lines, level="warning")) == 1


def test_trace(send: Callable[..., list[Any]]) -> None:
    """The fields that AddTraceContext adds become the record's own identifiers."""
    ids = f'"trace_id":"{TRACE}","span_id":"{SPAN.upper()}","trace_flags":"01"'.encode()
    bad = b'"trace_id":"xyz","span_id":"%b"' % SPAN.encode()
    taken = send(b'{"event":"a",%b}' % ids, b'{"event":"b",%b}' % bad)
    record, other = (record for _, record in taken)
    assert (record.trace_id.hex(), record.span_id.hex(), record.flags) == (TRACE, SPAN, 1)
    assert _attributes(record) == {}
    assert not other.trace_id
    assert _attributes(other) == {"trace_id": "xyz", "span_id": SPAN}


def test_hosts_have_resources_of_their_own(
    send: Callable[..., list[Any]], server: OtlpServer
) -> None:
    """A record of a job, or a note, that names its machine is that machine's."""
    send(
        b'{"event":"a","host":"example.com"}',
        b'{"kind":"note","event":"b","host":"node8","pid":7}',
        b'{"event":"c","rank":9,"host":"node9","pid":7}',
    )
    assert [resource["host.name"] for resource in server.resources] == ["node7", "node8", "node9"]
    first, second, third = (_attributes(record) for _, record in server.taken)
    assert first == {"host": "example.com"}
    assert second["process.pid"] == 7
    assert third == {"rank": 9, "process.pid": 7}


def test_whole_pipeline(server: OtlpServer, protocol: Any, run_dir: Any) -> None:
    """What a program logs, exceptions, metrics and places in the code, arrives by its names."""
    sinks = [JsonlFile(), Otlp(server.url, protocol=protocol, service_name="trainer")]
    with asynclog.running(run_dir, sinks=sinks, processors=[AddCallsite()]) as pipeline:
        log = structlog.get_logger("app")
        log.info("hello", user="x")
        try:
            raise ValueError("bad")
        except ValueError:
            log.exception("failed")
        asynclog.log_metrics({"loss": 0.5}, step=3, split="train")
    assert pipeline.report.sinks["otlp"].dropped == {}
    records = {record.body.string_value: record for _, record in server.taken}
    assert server.resources[0]["service.name"] == "trainer"
    hello, failed = _attributes(records["hello"]), _attributes(records["failed"])
    assert hello["user"] == "x"
    assert hello["code.file.path"] == __file__
    assert hello["code.function.name"] == "test_whole_pipeline"
    assert type(hello["code.line.number"]) is int
    assert failed["exception.type"] == "ValueError"
    assert failed["exception.message"] == "bad"
    assert failed["exception.stacktrace"].startswith("Traceback (most recent call last):\n")
    assert failed["exception.stacktrace"].endswith("\nValueError: bad")
    metrics = _attributes(records["metrics"])
    assert metrics["kind"] == "metrics"
    assert metrics["metrics"] == {"loss": 0.5}
    assert (metrics["step"], metrics["split"]) == (3, "train")


def test_times(protocol: str) -> None:
    """Any time stamp of ISO 8601 counts; what is none gets the present."""
    del protocol
    assert nanoseconds("1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert nanoseconds("1970-01-01T01:00:00+01:00") == 0
    assert nanoseconds("1970-01-01T00:00:00") == 0
    assert nanoseconds("yesterday") > 10**18
    assert nanoseconds(None) > 10**18
