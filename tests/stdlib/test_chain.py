"""Processors of structlog that look at code or clock: for records of logging they look at these."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder

import asynclog

Last = Callable[[], dict[str, Any]]


def keep(_logger: Any, _method: str, event: Any) -> Any:
    """Do nothing, as the last processor."""
    return event


@pytest.fixture
def use() -> Iterator[Callable[..., None]]:
    """Return a function that sets the default pipeline's processors."""
    loggers = asynclog.testing.default_pipeline().loggers

    def use(*processors: Any) -> None:
        last = loggers.processors[-1]
        loggers.set_processors([*processors, keep])
        # what captures the events stays
        loggers.processors[-1] = last

    yield use
    loggers.set_processors(None)


def test_the_call_site_is_the_records(log: logging.Logger, use: Any, last: Last):
    """CallsiteParameterAdder names the line that logged, not our handler's."""
    parameters = [
        CallsiteParameter.PATHNAME,
        CallsiteParameter.LINENO,
        CallsiteParameter.FUNC_NAME,
        CallsiteParameter.THREAD_NAME,
    ]
    use(CallsiteParameterAdder(parameters))
    log.info("hello")
    line = sys._getframe().f_lineno - 1
    event = last()
    assert event["pathname"] == __file__
    assert event["lineno"] == line
    assert event["func_name"] == "test_the_call_site_is_the_records"
    assert event["thread_name"] == "MainThread"
    assert not event.keys() & {"_record", "_from_structlog", "log_error"}
    asynclog.get_logger("ours").info("hello")
    assert last()["lineno"] == line + 8


def test_the_stack_is_the_records(log: logging.Logger, use: Any, last: Last):
    """StackInfoRenderer does not replace the record's stack by that of our handler."""
    use(structlog.processors.StackInfoRenderer())
    log.info("hello", stack_info=True)
    stack = last()["stack"]
    assert "in test_the_stack_is_the_records" in stack
    assert "asynclog/stdlib" not in stack
    log.info("hello")
    assert "stack" not in last()


def test_the_time_is_the_records(handler: Any, use: Any, last: Last):
    """TimeStamper does not replace the record's time; under another key it adds the present."""
    use(
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="seen"),
    )
    record = logging.makeLogRecord({"msg": "hello", "levelno": 20, "created": 86400.5})
    handler.handle(record)
    event = last()
    assert event["timestamp"] == "1970-01-02T00:00:00.500000Z"
    assert event["seen"] > "2026"


def test_names_and_levels(log: logging.Logger, use: Any, last: Last):
    """structlog's processors for logging's loggers work."""
    use(
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_log_level_number,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.UnicodeDecoder(),
        structlog.processors.EventRenamer("message"),
    )
    log.warning("%s of %s", 1, 2, extra={"a": b"bytes"})
    event = last()
    assert (event["message"], event["level_number"]) == ("1 of 2", 30)
    assert (event["logger"], event["level"], event["a"]) == ("tests.stdlib", "warning", "bytes")


def test_exceptions_as_text(log: logging.Logger, use: Any, last: Last):
    """format_exc_info makes a text of the record's exception."""
    use(structlog.processors.format_exc_info)
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("hello")
    assert last()["exception"].endswith("ValueError: bad")


def test_capture_logs(log: logging.Logger):
    """structlog's own capturing of logs sees records of logging as well."""
    asynclog.configure()
    with structlog.testing.capture_logs() as captured:
        log.info("hello %s", "x", extra={"a": 1})
    [event] = captured
    assert (event["event"], event["a"], event["log_level"]) == ("hello x", 1, "info")


def test_redaction(log: logging.Logger, use: Any, events: list[dict[str, Any]]):
    """No secret passes, wherever in a record of logging it is, formatting errors included."""
    from asynclog.processors import Redact

    class Shown:
        def __repr__(self) -> str:
            return f"Shown(password={secret!r})"

    def fail(password: str) -> None:
        raise ValueError(f"password={password}")

    secret = "hunter2hunter2"
    loggers = asynclog.testing.default_pipeline().loggers
    loggers.processors.insert(0, Redact())
    log.info("password=%s", secret)
    log.info("%d token=%s", f"password={secret}", f"api_key={secret}")
    log.info({"password": secret, "nested": [{"api_key": secret}], "event": f"token={secret}"})
    log.info("hello", extra={"authorization": f"Bearer {secret}", "file": f"password={secret}"})
    log.info("%s %r", Shown(), Shown(), extra={"shown": Shown()})
    try:
        fail(secret)
    except ValueError:
        log.exception("oh", stack_info=True)
    pickled = {"exc_text": f"ValueError: password={secret}", "stack_info": f"token={secret}"}
    log.handle(
        logging.makeLogRecord({"msg": "far", "levelno": 40, "levelname": "ERROR", **pickled})
    )
    assert len(events) == 7
    assert secret not in repr(events)


def test_our_call_site(log: logging.Logger, use: Any, last: Last):
    """AddCallsite leaves the record's own place alone."""
    from asynclog.processors import AddCallsite

    use(AddCallsite(["file", "line", "function", "thread", "pid"]))
    log.info("hello")
    event = last()
    assert event["function"] == "test_our_call_site"
    assert not event.keys() & {"file_", "line_", "function_", "thread_", "pid_"}
