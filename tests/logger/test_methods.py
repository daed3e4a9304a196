"""Methods and levels: each call is one record of its level, or costs nothing."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from asynclog import lazy
from asynclog._line.problem import PROBLEM_KEY
from asynclog._logger.bound import BoundLogger
from asynclog._logger.system import LogSystem

MakeSystem = Callable[..., LogSystem]


def keep(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Do nothing, as a processor."""
    return event_dict


SYNC_METHODS = {
    "debug": "debug",
    "info": "info",
    "msg": "info",
    "warning": "warning",
    "warn": "warning",
    "error": "error",
    "err": "error",
    "critical": "critical",
    "fatal": "critical",
    "exception": "error",
}
NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

# Methods and levels


@pytest.mark.parametrize(("method", "level"), SYNC_METHODS.items())
def test_every_method_logs_at_its_level(log: BoundLogger, lines: Any, method: str, level: str):
    """A method's record carries its level, in the line and for the producer."""
    getattr(log, method)("hello", a=1)
    assert list(lines.last) == ["timestamp", "level", "event", "logger", "a"]
    assert STAMP.fullmatch(lines.last["timestamp"])
    assert lines.last["level"] == level
    assert lines.levels == [NUMBERS[level]]


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "level"), SYNC_METHODS.items())
async def test_every_async_method_logs_at_its_level(
    log: BoundLogger, lines: Any, method: str, level: str
):
    """The twin of each method, with an a before its name, makes the same record."""
    await getattr(log, f"a{method}")("hello", a=1)
    assert lines.last["level"] == level
    assert lines.last["event"] == "hello"
    assert lines.last["a"] == 1
    assert lines.levels == [NUMBERS[level]]


@pytest.mark.parametrize(
    ("level", "name", "number"),
    [
        (20, "info", 20),
        ("warning", "warning", 30),
        ("FATAL", "critical", 50),
        (25, "info", 25),
        (99, "critical", 99),
    ],
)
def test_log_takes_any_level(
    log: BoundLogger, lines: Any, level: int | str, name: str, number: int
):
    """A level may be a name or a number; in between, the next lower name is written."""
    log.log(level, "hello %s", "you", a=1)
    assert lines.last["level"] == name
    assert lines.last["event"] == "hello you"
    assert lines.levels == [number]


@pytest.mark.anyio
async def test_alog_takes_any_level(log: BoundLogger, lines: Any):
    """The async twin of log does the same."""
    await log.alog("error", "hello", a=1)
    await log.alog(35, "hello")
    assert [event["level"] for event in lines.events] == ["error", "warning"]


def test_a_level_that_does_not_exist_is_named_in_the_record(log: BoundLogger, lines: Any):
    """A misspelt level raises nothing and loses nothing: the record says so, at level info."""
    log.log("LOUD", "hello")
    assert lines.last["level"] == "info"
    assert "LOUD" in lines.last[PROBLEM_KEY]


@pytest.mark.parametrize("processors", [None, [lambda _l, _m, event: event]])
def test_levels_filter_each_name_at_run_time(make_system: MakeSystem, processors: Any):
    """A changed level takes effect at the next call, for the name and all names below it."""
    system = make_system(processors, level=20)
    client, other = system.get_logger("httpx.client"), system.get_logger("app")
    bound = client.bind(a=1)
    system.levels.set_level("httpx", "WARNING")
    for logger in (client, bound, other):
        logger.debug("no")
        logger.info("maybe")
        logger.warning("yes")
        logger.log(25, "maybe")
    assert [event["logger"] for event in system.target.events if event["event"] == "yes"] == [
        "httpx.client",
        "httpx.client",
        "app",
    ]
    assert [e["logger"] for e in system.target.events if e["event"] == "maybe"] == ["app"] * 2
    system.levels.set_level("httpx", "DEBUG")
    bound.debug("now")
    assert system.target.last["event"] == "now"


@pytest.mark.anyio
async def test_levels_filter_async_methods(log: BoundLogger, system: LogSystem, lines: Any):
    """A record below the level is not made, whatever the method."""
    system.levels.set_level("app", 100)
    for name in SYNC_METHODS:
        getattr(log, name)("no")
        await getattr(log, f"a{name}")("no")
    log.log(99, "no")
    await log.alog(99, "no")
    assert lines.lines == []


def test_the_level_can_be_asked_for(log: BoundLogger, system: LogSystem):
    """Both structlog's and logging's names for it work."""
    system.levels.set_level("app", "warning")
    assert log.get_effective_level() == log.getEffectiveLevel() == 30
    assert log.is_enabled_for(30)
    assert log.isEnabledFor("error")
    assert not log.is_enabled_for("info")
    assert not log.isEnabledFor(29)


def test_a_filtered_call_evaluates_nothing(log: BoundLogger, system: LogSystem, lines: Any):
    """What is filtered out is neither formatted nor encoded."""

    class Never:
        def __str__(self) -> str:
            raise AssertionError

        __repr__ = __str__

    system.levels.set_level(None, "error")
    log.info("%s", Never(), a=Never(), b=lazy(lambda: pytest.fail("evaluated")))
    assert lines.lines == []


def test_no_method_warns(log: BoundLogger):
    """Also the names that logging has deprecated are fine."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log.warn("hello")
        log.fatal("hello")


def test_methods_keep_their_names_and_signatures():
    """Help, debuggers and documentation see ordinary methods."""
    for name in ("debug", "info", "warning", "error", "critical", "exception"):
        method = getattr(BoundLogger, name)
        assert method.__name__ == name
        assert method.__qualname__ == f"BoundLogger.{name}"
        assert method.__module__ == BoundLogger.__module__
        assert method.__doc__
        assert list(inspect.signature(method).parameters) == ["self", "event", "args", "kw"]


# Event texts


@pytest.mark.parametrize("processors", [None, [lambda _l, _m, event: event]])
@pytest.mark.parametrize(
    ("event", "args", "text"),
    [
        ("%s is %d", ("x", 3), "x is 3"),
        ("%(a)s and %(b)s", ({"a": 1, "b": 2},), "1 and 2"),
        ("%s", ({},), "{}"),
        ("100 %", (), "100 %"),
        ("%s", ((1, 2),), "(1, 2)"),
    ],
)
def test_positional_arguments_are_formatted(
    make_system: MakeSystem, processors: Any, event: str, args: tuple[Any, ...], text: str
):
    """As in structlog; a single mapping gives names to the places."""
    log = make_system(processors).get_logger()
    log.info(event, *args, a=1)
    assert log._logger.target.last["event"] == text
    assert PROBLEM_KEY not in log._logger.target.last


@pytest.mark.parametrize(
    ("event", "args"),
    [("%d", ("x",)), ("no place", (1,)), ("%s %s", (1,)), (None, (1,)), (5, (1,))],
)
def test_a_failing_format_keeps_the_record(
    log: BoundLogger, lines: Any, event: Any, args: tuple[Any, ...]
):
    """The text stays as it is, the arguments are kept, and the error is named."""
    log.bind(b=2).warning(event, *args, a=1)
    assert lines.last["event"] == ("" if event is None else str(event))
    assert lines.last["a"] == 1
    assert lines.last["b"] == 2
    assert lines.last["positional_args"] == list(args)
    assert "TypeError" in lines.last[PROBLEM_KEY]


@pytest.mark.parametrize("processors", [None, [keep]])
def test_arguments_are_no_fields(make_system: MakeSystem, processors: Any):
    """A field that is called like structlog's own for arguments is a field."""
    log = make_system(processors).get_logger()
    log.info("%s", positional_args=[1])
    log.info("%s", positional_args=b"x")
    assert [event["event"] for event in log._logger.target.events] == ["%s"] * 2
    assert log._logger.target.last["positional_args"] == "x"


def test_an_argument_that_cannot_be_printed_keeps_the_record(log: BoundLogger, lines: Any):
    """An error inside of __str__ goes no further."""

    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    log.info("%s", Bad())
    assert lines.last["event"] == "%s"
    assert "RuntimeError: no text" in lines.last[PROBLEM_KEY]


def test_the_event_may_be_left_out_or_named(log: BoundLogger, lines: Any):
    """No event is an empty one; event= works, and next to a positional one it is a field."""
    log.info()
    log.info(event="named")
    log.info("first", event="second")
    log.info(a=1)
    assert [event["event"] for event in lines.events] == ["", "named", "first", ""]
    assert lines.events[2]["event_"] == "second"
    assert lines.events[3]["a"] == 1


@pytest.mark.parametrize("event", [3, 1.5, True, b"bytes", ["list"], {"a": 1}, ValueError("x"), ""])
def test_an_event_need_not_be_text(log: BoundLogger, lines: Any, event: Any):
    """Whatever is logged becomes text."""
    log.info(event)
    log.info(event, a=1)
    assert isinstance(lines.last["event"], str)
    assert len(lines.lines) == 2


def test_fields_may_have_any_name(log: BoundLogger, lines: Any):
    """Also those of the parameters of our own functions."""
    fields = {"self": 1, "args": 2, "kw": 3, "method_name": 4, "number": 5}
    log.info("hello", **fields)
    log.bind(**fields).info("hello")
    log.log(20, "hello", **fields)
    assert all({key: event[key] for key in fields} == fields for event in lines.events)
