"""Access logs of servers: their records become events with fields, whatever is in them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog.stdlib.access import request_record
from asynclog.stdlib.server import ServerHandler
from asynclog.testing import RecordingSink

UVICORN_FORMAT = '%s - "%s %s HTTP/%s" %d'
ATOMS = {
    "h": "10.0.0.1",
    "l": "-",
    "u": "ada",
    "r": "GET /a%20b?x=1 HTTP/1.1",
    "s": "404",
    "m": "GET",
    "U": "/a b",
    "q": "x=1",
    "H": "HTTP/1.1",
    "b": "12",
    "B": 12,
    "f": "-",
    "a": 'x \\"quoted\\" y',
    "D": 1234567,
    "{raw_uri}e": "/a%20b?x=1",
    "{authorization}i": "secret",
}


def made(name: str, message: Any, *args: Any) -> logging.LogRecord:
    """Return a record as a server makes it."""
    return logging.LogRecord(name, logging.INFO, "/lib/server.py", 477, message, args, None, "send")


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record has beside what every record has."""
    usual = vars(made("", "")).keys()
    return {key: value for key, value in vars(record).items() if key not in usual}


def test_uvicorn() -> None:
    """A record of uvicorn has its arguments as fields; the record itself stays as it was."""
    record = made("uvicorn.access", UVICORN_FORMAT, "[::1]:5", "GET", "/a%20b?x=1&y=?", "1.1", 200)
    before = dict(vars(record))
    result = request_record(record)
    assert result.getMessage() == "request"
    assert fields(result) == {
        "client": "[::1]:5",
        "method": "GET",
        "path": "/a%20b",
        "query": "x=1&y=?",
        "http_version": "1.1",
        "status": 200,
    }
    assert vars(record) == before
    assert record.getMessage() == '[::1]:5 - "GET /a%20b?x=1&y=? HTTP/1.1" 200'


def test_what_is_not_there_is_left_out() -> None:
    """A request over a Unix socket has no client, one without a query no query."""
    record = made("uvicorn.access", UVICORN_FORMAT, "", "GET", "/", "1.1", 200)
    assert fields(request_record(record)).keys() == {"method", "path", "http_version", "status"}


def test_gunicorn() -> None:
    """A record of gunicorn has its atoms as fields, without its escapes and without headers."""
    result = request_record(made("gunicorn.access", "%(h)s", ATOMS))
    assert fields(result) == {
        "client": "10.0.0.1",
        "method": "GET",
        "path": "/a%20b",
        "query": "x=1",
        "http_version": "1.1",
        "status": 404,
        "duration_ms": 1234.567,
        "bytes": 12,
        "user": "ada",
        "user_agent": 'x "quoted" y',
    }


@pytest.mark.parametrize("raw", ["http://example.org/a%20b?x=1", "", None])
def test_gunicorn_without_a_path_in_its_request_line(raw: str | None) -> None:
    """What gunicorn has made of the request is taken where the line has no path."""
    result = request_record(made("gunicorn.access", "%(h)s", {**ATOMS, "{raw_uri}e": raw}))
    assert (fields(result)["path"], fields(result)["query"]) == ("/a b", "x=1")


@pytest.mark.parametrize(
    "record",
    [
        made("uvicorn.access", "something else"),
        made("uvicorn.access", "%s %s", 1, 2),
        made("uvicorn.access", UVICORN_FORMAT, "c", "GET", "/", "1.1", "no number"),
        made("gunicorn.access", "%s", 1),
        made("gunicorn.access", "%(h)s", {"h": "c"}),
        made("uvicorn.error", UVICORN_FORMAT, "c", "GET", "/", "1.1", 200),
        made("app", "%(h)s", ATOMS),
    ],
)
def test_anything_else_is_left_as_it_is(record: logging.LogRecord) -> None:
    """What is no access log, or not as expected, is logged as every other record."""
    assert request_record(record) is record


def test_through_the_handler(run_dir: Path) -> None:
    """The event is whole: the record's time, logger and pid, and no place in the server's code."""
    sink = RecordingSink()
    handler = ServerHandler()
    with asynclog.running(run_dir, sinks=[sink]):
        record = made("uvicorn.access", UVICORN_FORMAT, "c:1", "GET", "/a", "1.1", 503)
        record.color_message = "coloured"
        record.request_id = "r1"
        handler.handle(record)
        [event] = sink.wait_for_sync(1)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "level": "info",
        "event": "request",
        "logger": "uvicorn.access",
        "request_id": "r1",
        "client": "c:1",
        "method": "GET",
        "path": "/a",
        "http_version": "1.1",
        "status": 503,
        "thread": record.threadName,
        "pid": record.process,
    }
