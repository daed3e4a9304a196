"""A server that takes OTLP over HTTP, reads it with OpenTelemetry's own code, and misbehaves."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asynclog import _complain
from asynclog.collector.batch import Batch
from asynclog.typing import Run

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass
class Reply:
    """What the server does with a request.

    Attributes:
        status: Status code.
        headers: Sent along.
        body: Sent along.
        reset: Break the connection off instead.
        hang: Say nothing until the server is closed.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: bool = False
    hang: bool = False

    @property
    def take(self) -> bool:
        """Say whether the records count as taken."""
        return 200 <= self.status < 300 and not self.reset and not self.hang


class OtlpServer:
    """Takes requests; what it is told to reply comes first, then 200."""

    def __init__(
        self, port: int = 0, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        self.replies: list[Reply] = []
        self.always: Reply | None = None
        self.requests: list[dict[str, Any]] = []
        self.taken: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.connections = 0
        self._closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer.connections += 1

            def do_POST(self) -> None:
                outer.serve(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._open: set[socket.socket] = set()
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self._open.add(handler.connection)
        body = handler.rfile.read(int(handler.headers["content-length"]))
        reply = self.replies.pop(0) if self.replies else self.always or Reply()
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append({"path": handler.path, "headers": headers, "size": len(body)})
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = as_request(body, headers["content-type"])
        if reply.take:
            for resource in request.resource_logs:
                attributes = {
                    pair.key: pair.value.string_value for pair in resource.resource.attributes
                }
                for scope in resource.scope_logs:
                    for record in scope.log_records:
                        self.resources.append(attributes)
                        self.taken.append((scope.scope.name, record))
        if reply.hang:
            self._closing.wait(60)
        if reply.hang or reply.reset:
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            handler.connection.close()
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body)

    def bodies(self) -> list[str]:
        """Return what was logged, of all records that were taken."""
        return [record.body.string_value for _, record in self.taken]

    def close(self) -> None:
        """Stop."""
        self._closing.set()
        self._server.shutdown()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._server.server_close()
        self._thread.join()


def as_request(body: bytes, content_type: str) -> Any:
    """Read a request with OpenTelemetry's generated code."""
    from google.protobuf.json_format import Parse
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    if content_type != "application/json":
        return ExportLogsServiceRequest.FromString(body)
    # its identifiers are bytes, which protobuf's JSON has in base64 and OTLP's in hexadecimal
    return Parse(_hex_to_base64(body), ExportLogsServiceRequest())


def _hex_to_base64(body: bytes) -> str:
    import base64
    import json

    request = json.loads(body)
    for resource in request["resourceLogs"]:
        for scope in resource["scopeLogs"]:
            for record in scope["logRecords"]:
                for name in {"traceId", "spanId"} & record.keys():
                    record[name] = base64.b64encode(bytes.fromhex(record[name])).decode()
    return json.dumps(request)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own OpenTelemetry and proxies out."""
    for name in [*os.environ]:
        if name.startswith("OTEL_") or name.lower() in VARIABLES:
            monkeypatch.delenv(name)
    # what one test has complained of, the next may
    monkeypatch.setattr(_complain, "_last", {})


@pytest.fixture
def server() -> Iterator[OtlpServer]:
    """Return a server that takes everything."""
    pytest.importorskip("opentelemetry.proto")
    made = OtlpServer()
    yield made
    made.close()


@pytest.fixture
def run(run_dir: Path) -> Run:
    """Return what a sink is told."""
    return Run(run_dir, "exp1", datetime.now(UTC), "node7", os.getpid())


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Return what makes a batch of lines."""
    return lambda *lines: Batch(b"".join(line + b"\n" for line in lines))
