"""What the sink Otlp does when a server is away, busy, silent or unwilling."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner

import asynclog
from asynclog.cli import main
from asynclog.exceptions import SettingError
from asynclog.sinks import JsonlFile, Otlp
from asynclog.sinks.backend import BackendError
from asynclog.sinks.otlp.http import retry_after
from asynclog.sinks.otlp.sink import LONGEST_PAUSE, OtlpSink
from asynclog.typing import Run

from .conftest import OtlpServer, Reply

LINES = [b'{"timestamp":"2026","level":"info","event":"%d"}' % number for number in range(8)]


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def sink(server: OtlpServer, run: Run) -> Any:
    """Return a sink that is open, and spreads its attempts as little as it can."""
    made = OtlpSink(Otlp(server.url, timeout="30 s"), jitter=lambda: 0.0)
    made.open(run)
    yield made
    made.close()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_busy_server_is_asked_again(
    sink: OtlpSink, server: OtlpServer, make_batch: Callable[..., Any], status: int
) -> None:
    """What the specification calls retryable comes again, not before the server has said."""
    server.replies += [Reply(status, {"Retry-After": "30"})]
    batch = make_batch(*LINES)
    with pytest.raises(BackendError, match=str(status)) as caught:
        sink.write_blocking(batch)
    assert caught.value.retry_after == 30
    with pytest.raises(BackendError, match="waits"):
        sink.write_blocking(batch)
    assert len(server.requests) == 1, "asked again before its time"
    sink._resume = 0.0
    sink.write_blocking(batch)
    assert server.bodies() == [str(number) for number in range(8)]
    assert not sink.dropped


def test_pauses_grow(sink: OtlpSink, server: OtlpServer, make_batch: Callable[..., Any]) -> None:
    """Without word from the server the pauses double up to a minute, and begin anew after that."""
    server.always = Reply(503)
    batch, pauses = make_batch(*LINES), []
    for _ in range(9):
        sink._resume = 0.0
        with pytest.raises(BackendError) as caught:
            sink.write_blocking(batch)
        pauses.append(caught.value.retry_after)
    assert pauses == [0.5, 1, 2, 4, 8, 16, LONGEST_PAUSE / 2, LONGEST_PAUSE / 2, LONGEST_PAUSE / 2]
    server.always = None
    sink._resume = 0.0
    sink.write_blocking(batch)
    server.replies += [Reply(503)]
    with pytest.raises(BackendError) as caught:
        sink.write_blocking(make_batch(*LINES))
    assert caught.value.retry_after == 0.5


def test_jitter(server: OtlpServer, run: Run, make_batch: Callable[..., Any]) -> None:
    """Not all clients come again at once."""
    server.always = Reply(503)
    sink = OtlpSink(Otlp(server.url), jitter=lambda: 1.0)
    sink.open(run)
    with pytest.raises(BackendError) as caught:
        sink.write_blocking(make_batch(*LINES))
    sink.close()
    assert caught.value.retry_after == 1.0


def test_retry_after() -> None:
    """Retry-After is seconds or a date, and anything else is nothing."""
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    earlier = format_datetime(now - timedelta(seconds=90), usegmt=True)
    assert retry_after("120") == 120
    assert retry_after(later, now.timestamp()) == 90
    assert retry_after(earlier, now.timestamp()) == 0
    for nothing in (None, "", "soon", "-1", "1e3", "\u0663"):
        assert retry_after(nothing) is None


def test_date_of_a_server(
    sink: OtlpSink, server: OtlpServer, make_batch: Callable[..., Any]
) -> None:
    """A date in Retry-After is waited for."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    server.replies += [Reply(503, {"Retry-After": moment})]
    with pytest.raises(BackendError) as caught:
        sink.write_blocking(make_batch(*LINES))
    assert caught.value.retry_after is not None
    assert 500 < caught.value.retry_after <= 600


@pytest.mark.parametrize("status", [301, 400, 401, 404, 500])
def test_refusal_is_counted(
    sink: OtlpSink,
    server: OtlpServer,
    make_batch: Callable[..., Any],
    status: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What is no use repeating is not repeated: it is counted, and the reason is said."""
    server.replies += [Reply(status, body=b'{"code":3,"message":"no such\\ntenant"}')]
    sink.write_blocking(make_batch(*LINES))
    sink.write_blocking(make_batch(LINES[0]))
    assert sink.dropped == {f"http {status}": 8}
    assert server.bodies() == ["0"]
    assert "no such tenant" in capfd.readouterr().err


def test_partial_success(
    sink: OtlpSink,
    server: OtlpServer,
    make_batch: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Records that a server rejects out of a request are counted; a warning drops nothing."""
    partial = {"rejectedLogRecords": "3", "errorMessage": "too old"}
    warning = {"partialSuccess": {"errorMessage": "deprecated"}}
    server.replies += [
        Reply(body=json.dumps({"partialSuccess": partial}).encode()),
        Reply(body=json.dumps(warning).encode()),
        Reply(body=b"surely"),
    ]
    for _ in range(3):
        sink.write_blocking(make_batch(*LINES))
    assert sink.dropped == {"rejected": 3}
    assert "too old" in capfd.readouterr().err


def test_partial_success_in_protobuf(
    server: OtlpServer, run: Run, make_batch: Callable[..., Any]
) -> None:
    """The same in protobuf."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = 5
    server.replies += [Reply(body=answer.SerializeToString()), Reply(body=b"\xff")]
    sink = Otlp(server.url, protocol="http/protobuf").make()
    sink.open(run)
    sink.write_blocking(make_batch(*LINES))
    sink.write_blocking(make_batch(*LINES))
    sink.close()
    assert sink.dropped == {"rejected": 5}
    assert len(server.taken) == 16


def test_too_large_is_halved(
    sink: OtlpSink, server: OtlpServer, make_batch: Callable[..., Any]
) -> None:
    """A request that is too large goes in halves; nothing of it goes twice, whatever comes then."""
    server.replies += [Reply(413), Reply(), Reply(503)]
    batch = make_batch(*LINES)
    with pytest.raises(BackendError, match="503"):
        sink.write_blocking(batch)
    sink._resume = 0.0
    sink.write_blocking(batch)
    assert server.bodies() == [str(number) for number in range(8)]
    server.always = Reply(413)
    sink.write_blocking(make_batch(*LINES[:2]))
    assert sink.dropped == {"http 413": 2}


def test_connection_is_kept_and_made_anew(
    sink: OtlpSink, server: OtlpServer, make_batch: Callable[..., Any]
) -> None:
    """One connection serves all requests; one that broke off is replaced without a pause."""
    for _ in range(3):
        sink.write_blocking(make_batch(*LINES))
    assert server.connections == 1
    server.replies += [Reply(reset=True)]
    sink.write_blocking(make_batch(*LINES))
    assert server.connections == 2
    assert len(server.taken) == 32


def test_silent_server(server: OtlpServer, run: Run, make_batch: Callable[..., Any]) -> None:
    """A server that says nothing is given up after the timeout, and asked again later."""
    server.replies += [Reply(hang=True)]
    sink = OtlpSink(Otlp(server.url, timeout="100 ms"), jitter=lambda: 0.0)
    sink.open(run)
    batch = make_batch(*LINES)
    with pytest.raises(BackendError, match=r"(?i)timed out"):
        sink.write_blocking(batch)
    sink.close()
    server.replies.clear()
    sink = OtlpSink(Otlp(server.url, timeout="60 s"), jitter=lambda: 0.0)
    sink.open(run)
    sink.write_blocking(batch)
    sink.close()
    assert set(server.bodies()) == {str(number) for number in range(8)}


def test_no_server(run: Run, make_batch: Callable[..., Any]) -> None:
    """A server that is not there is named in the error."""
    sink = Otlp("http://127.0.0.1:9").make()
    sink.open(run)
    with pytest.raises(BackendError, match=r"127\.0\.0\.1:9/v1/logs: ConnectionRefusedError"):
        sink.write_blocking(make_batch(*LINES))
    sink.close()


def test_headers_go_along_and_stay_secret(
    server: OtlpServer,
    run: Run,
    make_batch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Headers of the environment are sent; a server that repeats them does not get them shown."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer hunter2")
    server.replies += [Reply(401, body=b'{"message":"bad token hunter2"}')]
    sink = Otlp(server.url).make()
    sink.open(run)
    sink.write_blocking(make_batch(*LINES))
    sink.close()
    assert server.requests[0]["headers"]["authorization"] == "Bearer hunter2"
    said = capfd.readouterr().err
    assert "bad token ***" in said
    assert "hunter2" not in said + repr(sink) + repr(vars(sink)["_exporter"])


def test_http_proxy(
    server: OtlpServer, run: Run, make_batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment is used, with its password."""
    monkeypatch.setenv("http_proxy", server.url.replace("//", "//me:hunter2@"))
    sink = Otlp("http://otel.invalid:4318").make()
    sink.open(run)
    sink.write_blocking(make_batch(*LINES))
    sink.close()
    [request] = server.requests
    assert request["path"] == "http://otel.invalid:4318/v1/logs"
    assert request["headers"]["proxy-authorization"] == "Basic bWU6aHVudGVyMg=="


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_certificates(
    run: Run, make_batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server is trusted by the certificate in the environment, and by no other."""
    pytest.importorskip("opentelemetry.proto")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    server = OtlpServer(certificate=certificate, key=key)
    try:
        url = f"https://localhost:{server.port}"
        with pytest.raises(BackendError, match="certificate verify failed"):
            _send(url, run, make_batch(*LINES))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate))
        _send(url, run, make_batch(*LINES))
        assert len(server.taken) == 8
    finally:
        server.close()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "none.pem"))
    with pytest.raises(SettingError, match="OTEL_EXPORTER_OTLP_CERTIFICATE must name a file"):
        _send(url, run, make_batch(*LINES))


def _send(url: str, run: Run, batch: Any) -> None:
    sink = Otlp(url).make()
    try:
        sink.open(run)
        sink.write_blocking(batch)
    finally:
        sink.close()


def _log(numbers: range) -> None:
    log = structlog.get_logger("app")
    for number in numbers:
        log.info("event", number=number)


def _numbers(server: OtlpServer) -> list[int]:
    return [
        pair.value.int_value
        for _, record in server.taken
        for pair in record.attributes
        if pair.key == "number"
    ]


def test_outage_loses_nothing(run_dir: Path) -> None:
    """Records of an outage, and of starts that never saw the server, come when it is back."""
    pytest.importorskip("opentelemetry.proto")
    first = OtlpServer()
    sinks = [JsonlFile(), Otlp(first.url)]
    with asynclog.running(run_dir, sinks=sinks):
        _log(range(5))
        asynclog.flush_sync()
        _until(lambda: len(_numbers(first)) == 5)
        first.close()
        _log(range(5, 10))
    with asynclog.running(run_dir, sinks=sinks) as away:
        _log(range(10, 15))
    assert away.report.sinks["otlp"].dropped == {"unsent": 10}
    second = OtlpServer(first.port)
    with asynclog.running(run_dir, sinks=sinks) as back:
        _log(range(15, 20))
    second.close()
    assert back.report.sinks["otlp"].dropped == {}
    assert _numbers(first) + _numbers(second) == list(range(20))


def test_refused_records_are_in_the_report(server: OtlpServer, run_dir: Path) -> None:
    """What a server refuses is counted as dropped, and saying so does not go round in circles."""

    def noted() -> int:
        lines = (run_dir / "events.jsonl").read_text().splitlines()
        notes = [json.loads(line) for line in lines if "asynclog.dropped" in line]
        return sum(note["dropped"]["http 400"] for note in notes)

    server.always = Reply(400)
    with asynclog.running(run_dir, sinks=[JsonlFile(), Otlp(server.url)]) as pipeline:
        _log(range(5))
        asynclog.flush_sync()
        _until(lambda: noted() == 5)
    assert pipeline.report.sinks["otlp"].dropped == {"http 400": 5}
    assert noted() == 5


def test_replay(server: OtlpServer, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that had no such sink is sent afterwards, to where the environment says."""
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        _log(range(5))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "otlp"])
    assert result.exit_code == 0, result.output
    assert _numbers(server) == list(range(5))
    server.always = Reply(403)
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "otlp", "--all"])
    assert result.exit_code == 1
    assert "0 records of" in result.output
    assert "refused: 5 (http 403)" in result.output
