"""Where the sink Otlp sends to: its settings, and OpenTelemetry's variables."""

from __future__ import annotations

from typing import Any

import pytest

from asynclog.exceptions import SettingError
from asynclog.sinks import Otlp, from_data, to_data
from asynclog.sinks.otlp.settings import Exporter


def _of(environment: dict[str, str], **settings: Any) -> Exporter:
    return Exporter.of(Otlp(**settings), environment)


@pytest.mark.parametrize(
    ("environment", "given", "url"),
    [
        ({}, None, "http://localhost:4318/v1/logs"),
        ({}, "https://otel.example.com", "https://otel.example.com/v1/logs"),
        ({}, "http://loki:3100/otlp/", "http://loki:3100/otlp/v1/logs"),
        ({}, "http://h:4318/v1/logs", "http://h:4318/v1/logs"),
        ({"ENDPOINT": "http://h:4318"}, None, "http://h:4318/v1/logs"),
        ({"ENDPOINT": "http://h:4318/a"}, None, "http://h:4318/a/v1/logs"),
        ({"ENDPOINT": " "}, None, "http://localhost:4318/v1/logs"),
        ({"LOGS_ENDPOINT": "http://l:1/in?x=1", "ENDPOINT": "http://h"}, None, "http://l:1/in?x=1"),
        ({"LOGS_ENDPOINT": "http://l:1"}, None, "http://l:1/"),
        ({"LOGS_ENDPOINT": "http://l:1"}, "http://given", "http://given/v1/logs"),
    ],
)
def test_endpoint(environment: dict[str, str], given: str | None, url: str) -> None:
    """A setting goes before the variables; only that for logs alone is taken as it is."""
    found = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in environment.items()}
    assert _of(found, endpoint=given).url == url


def test_defaults() -> None:
    """Without settings: JSON, compressed, ten seconds, and the service that nobody has named."""
    exporter = _of({})
    assert (exporter.protocol, exporter.gzip, exporter.timeout) == ("http/json", True, 10.0)
    assert exporter.resource == {"service.name": "unknown_service:python"}


def test_variables() -> None:
    """The specification's variables count, those for logs before the general ones."""
    exporter = _of(
        {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=general",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "Authorization=Basic%20eA==, x-tenant = a%2Cb ",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/me.pem",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/me.key",
            "OTEL_SERVICE_NAME": "trainer",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,team=red%20one,zone=eu",
        },
        resource={"zone": "us"},
    )
    assert exporter.protocol == "http/protobuf"
    assert not exporter.gzip
    assert exporter.timeout == 2.5
    assert exporter.headers == {"authorization": "Basic eA==", "x-tenant": "a,b"}
    assert exporter.certificate == "/ca.pem"
    assert (exporter.client_certificate, exporter.client_key) == ("/me.pem", "/me.key")
    assert exporter.resource == {"service.name": "trainer", "team": "red one", "zone": "us"}
    assert _of({"OTEL_SERVICE_NAME": "x"}, service_name="mine").resource["service.name"] == "mine"


@pytest.mark.parametrize(
    ("environment", "settings", "said"),
    [
        ({}, {"endpoint": "localhost:4318"}, "http or https address"),
        ({}, {"endpoint": "http://"}, "http or https address"),
        ({}, {"endpoint": "http://h:x"}, "must be an http or https address|must be an address"),
        ({}, {"endpoint": "http://a b"}, "must be"),
        ({}, {"endpoint": "http://me:hunter2@h"}, "must hold no password"),
        ({}, {"endpoint": ""}, "must be a text"),
        ({}, {"protocol": "grpc"}, "over HTTP.*4318"),
        ({}, {"protocol": "json"}, "must be one of"),
        ({}, {"compression": "zstd"}, "must be one of"),
        ({}, {"timeout": 0}, "must be positive"),
        ({}, {"level": "loud"}, "level"),
        ({}, {"resource": {"a": 1}}, "must map names to texts"),
        ({"PROTOCOL": "grpc"}, {}, "OTEL_EXPORTER_OTLP_PROTOCOL must be a protocol over HTTP"),
        ({"TIMEOUT": "10s"}, {}, "OTEL_EXPORTER_OTLP_TIMEOUT must be a number of milliseconds"),
        ({"HEADERS": "hunter2"}, {}, "OTEL_EXPORTER_OTLP_HEADERS must be a list of headers"),
        ({"HEADERS": "a=b,c=hunter2%0a"}, {}, "entry 2, which is none"),
        ({"HEADERS": "content-type=hunter2"}, {}, "exporter's own"),
        ({"LOGS_ENDPOINT": "ftp://h"}, {}, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT must be"),
    ],
)
def test_bad_settings_are_refused_at_once(
    environment: dict[str, str],
    settings: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What breaks its rule is an error of the declaration, whose text holds no secret."""
    for name, value in environment.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    with pytest.raises(SettingError, match=said) as caught:
        Otlp(**settings)
    assert "hunter2" not in str(caught.value)


def test_it_goes_to_another_process_without_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The declaration is plain data; keys stay in the environment and are never shown."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2")
    declaration = Otlp("http://h", service_name="s", resource={"a": "b"}, timeout="3 s")
    assert from_data(to_data(declaration)) == declaration
    shown = f"{declaration!r}{to_data(declaration)}{Exporter.of(declaration)!r}"
    assert "hunter2" not in shown
