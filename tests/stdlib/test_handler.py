"""Handler: what a record of logging says is in the event, under the names of ours."""

from __future__ import annotations

import importlib
import logging
import logging.handlers
import multiprocessing
import os
import pickle
import queue
import sys
import threading
import time
from collections import UserDict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

import asynclog
from asynclog import Pipeline
from asynclog.stdlib import Handler
from asynclog.stdlib.record import timestamp
from asynclog.testing import RecordingSink

Last = Callable[[], dict[str, Any]]


def new_record(**attributes: Any) -> logging.LogRecord:
    """Return a record as it comes out of a socket."""
    return logging.makeLogRecord(
        {"name": "far.away", "levelno": 20, "levelname": "INFO", "msg": "hello", **attributes}
    )


# What a record says of itself


def test_everything_is_in_the_event(log: logging.Logger, last: Last):
    """Time, level, text, name, extra fields, and where it was logged."""
    before = datetime.now(UTC)
    log.warning("%s of %d", "two", 3, extra={"request_id": "a1", "n": 1.5})
    line = sys._getframe().f_lineno - 1
    after = datetime.now(UTC)
    event = last()
    stamp = event.pop("timestamp")
    assert len(stamp) == len("2026-01-31T12:00:00.123456Z")
    assert before <= datetime.fromisoformat(stamp) <= after
    assert event == {
        "level": "warning",
        "event": "two of 3",
        "logger": "tests.stdlib",
        "request_id": "a1",
        "n": 1.5,
        "file": __file__,
        "line": line,
        "function": "test_everything_is_in_the_event",
        "thread": "MainThread",
        "pid": os.getpid(),
    }


def test_the_records_own_time_counts(handler: Handler, last: Last):
    """A record that waited in a queue or came from afar keeps the time at which it was made."""
    handler.handle(new_record(created=1769860800.123456))
    assert last()["timestamp"] == "2026-01-31T12:00:00.123456Z"


@pytest.mark.parametrize(
    ("created", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (0.9999999, "1970-01-01T00:00:01.000000Z"),
        (-0.5, "1969-12-31T23:59:59.500000Z"),
        (1769860800.0000004, "2026-01-31T12:00:00.000000Z"),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times(created: Any, text: str | None):
    """Microseconds, UTC; what is no time is none."""
    assert timestamp(created) == text


def test_a_record_without_a_time_gets_one(handler: Handler, last: Last):
    """Rather than none, or an invalid one."""
    before = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    handler.handle(new_record(created=float("nan")))
    assert last()["timestamp"] >= before


def test_threads_are_named(log: logging.Logger, last: Last):
    """The thread that logged, by name."""
    thread = threading.Thread(target=log.info, args=("hello",), name="worker-7")
    thread.start()
    thread.join()
    assert last()["thread"] == "worker-7"


def test_other_processes_are_named(handler: Handler, last: Last):
    """The main process is not worth a field."""
    handler.handle(new_record(processName="MainProcess", process=1))
    event = last()
    assert "process" not in event
    assert event["pid"] == 1
    handler.handle(new_record(processName="ForkPoolWorker-3", process=2))
    assert last()["process"] == "ForkPoolWorker-3"


CHILD = """
import logging
import asynclog
from asynclog.stdlib import Handler

def log(path):
    with asynclog.running(path, sinks=[asynclog.JsonlFile()]):
        logger = logging.getLogger("child")
        logger.addHandler(Handler())
        logger.warning("hello")
"""


def test_a_multiprocessing_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A spawned process: its own pid and name."""
    (tmp_path / "logging_child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    process = multiprocessing.get_context("spawn").Process(
        target=importlib.import_module("logging_child").log,
        args=(str(tmp_path / "run"),),
        name="loader-0",
    )
    process.start()
    process.join(30)
    assert process.exitcode == 0
    text = (tmp_path / "run" / "events.jsonl").read_text()
    assert '"process":"loader-0"' in text
    assert f'"pid":{process.pid}' in text


@pytest.mark.parametrize("switch", ["logThreads", "logProcesses", "logMultiprocessing"])
def test_what_logging_was_told_not_to_note(
    log: logging.Logger, last: Last, monkeypatch: pytest.MonkeyPatch, switch: str
):
    """Its optimisations leave out a field each, and nothing else."""
    monkeypatch.setattr(logging, switch, False)
    log.info("hello")
    event = last()
    assert ("thread" in event) == (switch != "logThreads")
    assert ("pid" in event) == (switch != "logProcesses")


def test_unknown_place(log: logging.Logger, last: Last, monkeypatch: pytest.MonkeyPatch):
    """Where logging does not look for the caller, there is no place."""
    monkeypatch.setattr(logging, "_srcfile", None)
    log.info("hello")
    assert not last().keys() & {"file", "line", "function"}


@pytest.mark.anyio
async def test_task_name(log: logging.Logger, last: Last, anyio_backend_name: str):
    """Python 3.12 knows in which asyncio task a record was made."""
    log.info("hello")
    event = last()
    wanted = sys.version_info >= (3, 12) and anyio_backend_name == "asyncio"
    assert ("task" in event) == wanted


# Levels


@pytest.mark.parametrize(
    ("number", "level"),
    [(1, "debug"), (5, "debug"), (10, "debug"), (15, "debug"), (20, "info"), (25, "info"),
     (39, "warning"), (40, "error"), (50, "critical"), (99, "critical")],
)  # fmt: skip
def test_levels(handler: Handler, last: Last, number: int, level: str):
    """A level of the user's own counts as the nearest below; its name is kept."""
    asynclog.set_level(None, 0)
    handler.handle(new_record(levelno=number, levelname=logging.getLevelName(number)))
    event = last()
    assert event["level"] == level
    if number % 10 or number > 50:
        assert event["level_"] == f"Level {number}"
    else:
        assert "level_" not in event


def test_a_named_level(log: logging.Logger, last: Last):
    """The name that addLevelName gave is a field."""
    logging.addLevelName(25, "NOTICE")
    log.log(25, "hello", extra={"level": "mine"})
    event = last()
    assert event["level"] == "info"
    assert event["level_"] == "NOTICE"
    assert event["level__"] == "mine"


def test_both_levels_count(log: logging.Logger, events: list[dict[str, Any]]):
    """A record has to pass logging's level and ours for the logger's name."""
    asynclog.set_level("tests", "WARNING")
    log.info("no")
    log.warning("yes")
    asynclog.set_level("tests.stdlib", "DEBUG")
    log.debug("yes")
    log.setLevel(logging.ERROR)
    log._cache.clear()  # type: ignore[attr-defined]  # which logging only does for its own loggers
    log.warning("no")
    log.error("yes")
    assert [event["event"] for event in events] == ["yes"] * 3


def test_handler_level(events: list[dict[str, Any]]):
    """The handler's own level, in every form."""
    for level in ("WARNING", "warning", 30, "30"):
        handler = Handler(level)
        assert handler.level == 30
    logging.addLevelName(33, "ODD")
    assert Handler("ODD").level == 33
    logger = logging.getLogger("tests.levels")
    logger.setLevel(1)
    logger.addHandler(handler)
    logger.propagate = False
    logger.info("no")
    logger.warning("yes")
    assert [event["event"] for event in events] == ["yes"]


# Messages


@pytest.mark.parametrize("kind", [dict, UserDict])
def test_a_mapping_as_message_becomes_fields(log: logging.Logger, last: Last, kind: Any):
    """Its items are fields; there is no text."""
    log.info(kind({"loss": 0.5, "nested": {"a": [1]}, 3: "three"}), extra={"step": 0})
    event = last()
    assert event["event"] == ""
    assert (event["loss"], event["nested"], event["3"]) == (0.5, {"a": [1]}, "three")
    assert event["step"] == 0


@pytest.mark.parametrize(
    ("mapping", "text", "fields"),
    [
        ({"event": "e", "message": "m"}, "e", {"message": "m"}),
        ({"message": "m", "a": 1}, "m", {"a": 1}),
        ({"event": {"type": "click"}}, "", {"event_": {"type": "click"}}),
        ({"event": 3, "message": "m"}, "m", {"event_": 3}),
        ({}, "", {}),
    ],
)
def test_the_text_of_a_mapping(
    log: logging.Logger, last: Last, mapping: Any, text: str, fields: Any
):
    """Its ``event``, else its ``message``, if that is a text."""
    log.info(mapping)
    event = last()
    assert event["event"] == text
    assert fields.items() <= event.items()


def test_a_mapping_is_copied(log: logging.Logger, last: Last):
    """What is done to it afterwards does not show; it is not changed itself."""
    mapping = {"event": "e", "list": [1]}
    log.info(mapping)
    mapping["list"].append(2)  # type: ignore[union-attr]
    assert last()["list"] == [1]
    assert list(mapping) == ["event", "list"]


class Broken(UserDict):  # type: ignore[type-arg]
    """A mapping that cannot be read."""

    def items(self) -> Any:
        """Fail."""
        raise LookupError("broken")


def test_a_mapping_that_raises(log: logging.Logger, last: Last):
    """The record is kept with the error named."""
    log.info(Broken(), extra={"a": 1})
    event = last()
    assert event["event"] == "<Broken>"
    assert event["log_error"] == "message: LookupError: broken"
    assert event["a"] == 1


def test_what_is_no_text(log: logging.Logger, last: Last):
    """An exception, a number or an object of the user's is its str()."""
    log.error(ValueError("bad"))
    assert last()["event"] == "bad"
    log.error(3)
    assert last()["event"] == "3"


def test_arguments_by_name(log: logging.Logger, last: Last):
    """A single mapping as argument gives names to the places."""
    log.info("%(a)s and %(b)d", {"a": "x", "b": 2})
    assert last()["event"] == "x and 2"


class BraceMessage:
    """A message in braces, as in the logging cookbook."""

    def __init__(self, text: str, *args: Any) -> None:
        self.text, self.args = text, args

    def __str__(self) -> str:
        return self.text.format(*self.args)


def test_messages_of_another_style(log: logging.Logger, last: Last):
    """The cookbook's way to use braces."""
    log.info(BraceMessage("{} of {}", 1, 2))
    assert last()["event"] == "1 of 2"


@pytest.mark.parametrize("raise_exceptions", [True, False])
def test_formatting_errors(
    log: logging.Logger,
    last: Last,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raise_exceptions: bool,
):
    """A wrong format is named in the event, beside the arguments; nothing is printed."""
    monkeypatch.setattr(logging, "raiseExceptions", raise_exceptions)
    log.info("%d items", "many", extra={"a": 1})
    event = last()
    assert event["event"] == "%d items"
    assert event["positional_args"] == ["many"]
    assert event["log_error"].startswith("formatting: TypeError: %d format")
    assert event["a"] == 1
    log.info("no place", 1)  # noqa: PLE1205
    assert last()["log_error"].startswith("formatting: TypeError: not all arguments")
    assert capfd.readouterr() == ("", "")


class Hostile:
    """Raises what is no Exception from its str()."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), SystemExit(), RecursionError(), GeneratorExit()]
)
def test_values_that_raise(log: logging.Logger, last: Last, error: BaseException):
    """Whatever a value raises while it is formatted, the call raises nothing."""
    log.info("hello %s", Hostile(error), extra={"value": Hostile(error)})
    event = last()
    assert event["event"].startswith("hello <")
    assert event["log_error"].startswith(f"formatting: {type(error).__name__}")


def test_strange_fields(log: logging.Logger, last: Last):
    """NaN, cycles, huge texts, lone surrogates, deep nesting: one valid line."""
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    extra = {"nan": float("nan"), "cycle": cycle, "big": "x" * 10**7, "s": "\udcff", "deep": deep}
    log.info("hello", extra=extra)
    event = last()
    assert event["nan"] == "NaN"
    assert event["s"] == "\\udcff"
    assert event["truncated"] is True


# Extra fields


def test_extra_fields_beside_the_records_own(log: logging.Logger, last: Last):
    """A field called like one of ours moves; both are kept."""
    names = ["file", "line", "function", "pid", "timestamp", "logger", "event", "kind"]
    log.info("hello", extra={name: f"my {name}" for name in names})
    event = last()
    assert event["event"] == "hello"
    assert event["kind_"] == "my kind"
    for name in names:
        assert event[f"{name}_"] == f"my {name}"
    names = ["file", "thread", "timestamp", "logger", "exc_info", "stack_info"]
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception({name: f"my {name}" for name in names}, stack_info=True)
    event = last()
    assert event["exception"]["type"] == "ValueError"
    assert event["logger"] == "tests.stdlib"
    assert event["file"] == __file__
    assert event["thread"] == "MainThread"
    for name in names:
        assert event[f"{name}_"] == f"my {name}"


def test_level_and_logger_that_say_the_same(log: logging.Logger, last: Last):
    """Many JSON formatters want them in the mapping as well; once is enough."""
    log.info({"event": "e", "level": "INFO", "logger": "tests.stdlib"})
    assert not last().keys() & {"level_", "logger_"}


def test_adapters_factories_and_filters_add_fields(log: logging.Logger, last: Last):
    """All of logging's ways to add an attribute to a record."""
    log.addFilter(_add_filtered)
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        record.made = "by factory"
        return record

    logging.setLogRecordFactory(factory)
    try:
        logging.LoggerAdapter(log, {"adapted": 1}).info("hello")
    finally:
        logging.setLogRecordFactory(before)
        log.removeFilter(_add_filtered)
    event = last()
    assert (event["adapted"], event["made"], event["filtered"]) == (1, "by factory", True)


def _add_filtered(record: logging.LogRecord) -> bool:
    record.filtered = True
    return True


class OddRecord(logging.LogRecord):
    """A record that has an attribute before all others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.first = 1
        super().__init__(*args, **kwargs)


def test_records_of_another_class(handler: Handler, last: Last):
    """Their attributes are fields wherever they come."""
    handler.handle(OddRecord("odd", 20, "a.py", 1, "hello %d", (1,), None))
    event = last()
    assert (event["event"], event["first"]) == ("hello 1", 1)


def test_another_handlers_formatter_leaves_no_fields(log: logging.Logger, last: Last):
    """``message``, ``asctime`` and ``exc_text``, which formatters put into records, are none."""
    other = logging.StreamHandler(open(os.devnull, "w"))  # noqa: SIM115
    other.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.handlers.insert(0, other)
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("hello")
    other.stream.close()
    event = last()
    assert not event.keys() & {"message", "asctime", "exc_text"}
    assert event["exception"]["type"] == "ValueError"


# Exceptions and stacks


def test_exceptions(log: logging.Logger, last: Last):
    """As data, in each of the forms that exc_info can have."""
    try:
        raise ValueError("bad")
    except ValueError as error:
        for given in (True, error, sys.exc_info()):
            log.error("hello", exc_info=given)
            exception = last()["exception"]
            assert (exception["type"], exception["message"]) == ("ValueError", "bad")
            assert exception["frames"][-1]["function"] == "test_exceptions"
    log.error("hello", exc_info=True)
    assert "exception" not in last()


def test_stacks(log: logging.Logger, last: Last):
    """The stack that logging has noted."""
    log.error("hello", stack_info=True)
    stack = last()["stack"]
    assert stack.startswith("Stack (most recent call last):\n")
    assert "in test_stacks" in stack


def test_records_that_were_pickled(handler: Handler, last: Last):
    """SocketHandler sends the traceback as text, since tracebacks cannot be pickled."""
    sender = logging.handlers.SocketHandler("localhost", 0)
    try:
        raise ValueError("bad")
    except ValueError:
        record = logging.LogRecord("far", 40, "/f.py", 7, "hello %s", ("x",), sys.exc_info(), "f")
    record.stack_info = "Stack (most recent call last):\n  here"
    record.step = 3
    data = pickle.loads(sender.makePickle(record)[4:])
    handler.handle(logging.makeLogRecord(data))
    event = last()
    assert event["event"] == "hello x"
    assert event["exception"].startswith("Traceback (most recent call last):")
    assert event["exception"].endswith("ValueError: bad")
    assert event["stack"].endswith("here")
    assert (event["file"], event["line"], event["function"]) == ("/f.py", 7, "f")
    assert (event["step"], event["pid"]) == (3, os.getpid())


def test_records_from_a_queue(handler: Handler, events: list[dict[str, Any]]):
    """QueueHandler and QueueListener in between: place, thread, time and fields are kept."""
    waiting: queue.Queue[Any] = queue.Queue()
    logger = logging.getLogger("tests.queue")
    logger.setLevel(10)
    logger.propagate = False
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    listener = logging.handlers.QueueListener(waiting, handler)
    logger.info("hello %s", "x", extra={"a": 1})
    before = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    listener.start()
    listener.stop()
    [event] = events
    assert event["timestamp"] <= before
    assert (event["event"], event["a"], event["thread"]) == ("hello x", 1, "MainThread")
    assert event["function"] == "test_records_from_a_queue"


def test_memory_handler(handler: Handler, events: list[dict[str, Any]]):
    """As the target of a MemoryHandler, which keeps records until something bad happens."""
    logger = logging.getLogger("tests.memory")
    logger.setLevel(10)
    logger.propagate = False
    memory = logging.handlers.MemoryHandler(100, target=handler)
    logger.addHandler(memory)
    logger.info("one")
    assert not events
    logger.error("two")
    memory.close()
    assert [event["event"] for event in events] == ["one", "two"]


# structlog through logging


def test_event_dicts_of_structlog(log: logging.Logger, last: Last):
    """What wrap_for_formatter hands to logging is an event dict, not a mapping of the user's."""
    wrapped = structlog.wrap_logger(
        log,
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    wrapped.warning("hello", a=1, exc_info=ValueError("bad"))
    event = last()
    assert (event["event"], event["level"], event["a"]) == ("hello", "warning", 1)
    assert event["exception"]["message"] == "bad"
    assert not any(key.endswith("_") or key.startswith("_") for key in event)


def test_render_to_log_kwargs(log: logging.Logger, last: Last):
    """The other way of structlog to go through logging."""
    wrapped = structlog.wrap_logger(log, processors=[structlog.stdlib.render_to_log_kwargs])
    wrapped.info("hello", a=1)
    event = last()
    assert (event["event"], event["a"]) == ("hello", 1)


# Context, processors


def test_context_of_structlog(log: logging.Logger, last: Last):
    """What is bound to the context is in records of logging, too."""
    with structlog.contextvars.bound_contextvars(request_id="a1"):
        log.info("hello")
    assert last()["request_id"] == "a1"


def test_processors_see_records(log: logging.Logger, events: list[dict[str, Any]]):
    """The pipeline's processors: they may change, drop, or fail."""

    def hide(_logger: Any, method: str, event: Any) -> Any:
        if event["event"] == "drop":
            raise structlog.DropEvent
        if event["event"] == "fail":
            raise LookupError("no such thing")
        event["seen"] = method
        event.pop("password", None)
        return event

    asynclog.testing.default_pipeline().loggers.processors.insert(0, hide)
    log.warning("one", extra={"password": "x"})
    log.warning("drop")
    log.warning("fail")
    one, fail = events
    assert one["seen"] == "warning"
    assert "password" not in one
    assert "hide: LookupError: no such thing" in fail["log_error"]


# Where it goes


def test_before_the_start(log: logging.Logger, tmp_path: Path):
    """Records are kept, and come out after the start, with the time of the call."""
    log.info("early", extra={"a": 1})
    started = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    sink = RecordingSink()
    with asynclog.running(tmp_path / "run", sinks=[sink], level="DEBUG"):
        log.info("late")
        early, late = sink.wait_for_sync(2)
    assert (early["event"], early["a"], late["event"]) == ("early", 1, "late")
    assert early["timestamp"] <= started


def test_a_pipeline_of_its_own(tmp_path: Path, events: list[dict[str, Any]]):
    """Records go to the pipeline that was given and to no other."""
    sink = RecordingSink()
    with Pipeline(tmp_path / "own", sinks=[sink]) as pipeline:
        logger = logging.getLogger("tests.own")
        logger.addHandler(Handler(pipeline=pipeline))
        logger.propagate = False
        logger.warning("hello")
        [event] = sink.wait_for_sync(1)
    assert event["event"] == "hello"
    assert not events


def test_after_the_stop(log: logging.Logger, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Later records raise nothing and are counted."""
    with asynclog.running(tmp_path / "run", sinks=[RecordingSink()]):
        log.info("hello")
    log.info("late")
    assert asynclog.stats().dropped["stopped"] == 1
    # said once in a while; an earlier test may have had its turn
    assert capfd.readouterr().err.count("\n") <= 1


# The handler as logging's machinery sees it


def test_no_lock(handler: Handler):
    """Nothing to wait for, whoever holds what; those who use the lock directly find one."""
    assert handler.lock is not None
    done = threading.Event()

    def hold() -> None:
        handler.acquire()
        done.wait(60)
        handler.release()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        begin = time.monotonic()
        handler.handle(new_record())
        with handler.lock:
            handler.handle(new_record())
        assert time.monotonic() - begin < 60
    finally:
        done.set()
        thread.join()


def test_filters(handler: Handler, log: logging.Logger, events: list[dict[str, Any]]):
    """They drop records; on Python 3.12 and later they replace them."""
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    log.info("secret")
    log.info("public")

    def replace(record: logging.LogRecord) -> Any:
        return new_record(msg="replaced") if sys.version_info >= (3, 12) else True

    handler.addFilter(replace)
    log.info("original")
    texts = [event["event"] for event in events]
    assert texts == ["public", "replaced" if sys.version_info >= (3, 12) else "original"]


def test_a_filter_that_raises(handler: Handler, log: logging.Logger, last: Last):
    """The record is kept with the error named; the caller notices nothing."""

    def fail(record: logging.LogRecord) -> bool:
        raise LookupError("broken")

    handler.addFilter(fail)
    log.info("hello")
    event = last()
    assert event["event"] == "hello"
    assert event["log_error"] == "filter: LookupError: broken"


def test_a_formatter_has_no_effect(handler: Handler, log: logging.Logger, last: Last):
    """The event stays the message."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.info("hello")
    assert last()["event"] == "hello"


def test_a_record_that_is_none(handler: Handler, capfd: pytest.CaptureFixture[str]):
    """What cannot be logged at all is counted and said, not raised."""
    record = new_record()
    record.levelno = None  # type: ignore[assignment]
    handler.handle(record)
    assert asynclog.stats().dropped == {"failed": 1}
    error = capfd.readouterr().err
    assert error.startswith("asynclog: a record of logging was lost: TypeError")
    assert error.count("\n") == 1


def test_flush_waits_for_the_files(log: logging.Logger, handler: Handler, tmp_path: Path):
    """After flush() what was logged is in the file."""
    with asynclog.running(tmp_path / "run", sinks=[asynclog.JsonlFile()]):
        for number in range(100):
            log.info("hello %d", number)
        handler.flush()
        lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
        assert len(lines) == 100


def test_flush_is_bounded(log: logging.Logger, handler: Handler, tmp_path: Path):
    """A hung sink does not hang whoever flushes, logging.shutdown() included."""
    with asynclog.testing.HangingSink() as sink:
        asynclog.start_sync(tmp_path / "run", sinks=[sink], stop_timeout=0.1)
        log.info("hello")
        sink.wait_until_hanging_sync()
        begin = time.monotonic()
        handler.flush()
        assert time.monotonic() - begin < 60
        asynclog.stop_sync()


def test_close_and_go_on(log: logging.Logger, handler: Handler, last: Last):
    """dictConfig and shutdown() close handlers that loggers still have: nothing is lost."""
    handler.set_name("ours")
    assert logging.getHandlerByName("ours") is handler if sys.version_info >= (3, 12) else True
    handler.close()
    handler.close()
    log.info("hello")
    assert last()["event"] == "hello"


def test_shutdown(log: logging.Logger, tmp_path: Path):
    """logging.shutdown() in the middle of a program writes everything and breaks nothing."""
    with asynclog.running(tmp_path / "run", sinks=[asynclog.JsonlFile()]):
        log.info("one")
        logging.shutdown([lambda: log.handlers[0]])  # type: ignore[list-item]
        assert len((tmp_path / "run" / "events.jsonl").read_text().splitlines()) == 1
        log.info("two")
    assert len((tmp_path / "run" / "events.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "LOUD"}, "level must be one of"),
        ({"level": -1}, "level must be one of"),
        ({"level": True}, "level must be one of"),
        ({"level": None}, "level must be one of"),
        ({"level": sys.stdout}, "level must be one of"),
        ({"pipeline": "default"}, "pipeline must be a Pipeline"),
        ({"pipeline": 0}, "pipeline must be a Pipeline"),
    ],
)
def test_wrong_arguments(arguments: Any, message: str):
    """The error names setting, rule and value."""
    with pytest.raises(asynclog.SettingError, match=message):
        Handler(**arguments)
