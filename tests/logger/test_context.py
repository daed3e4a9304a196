"""Bound context, context variables, lazy values, and copies of loggers."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars

import asynclog
from asynclog import lazy
from asynclog._logger.bound import BoundLogger
from asynclog._logger.lazy import Lazy
from asynclog._logger.system import LogSystem

MakeSystem = Callable[..., LogSystem]


def keep(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Do nothing, as a processor."""
    return event_dict


# Context


def test_bind_unbind_and_new(log: BoundLogger, lines: Any):
    """Context is immutable: each of them returns another logger of the same name."""
    first = log.bind(a=1, b=2)
    second = first.bind(b=3)
    third = second.unbind("a")
    fourth = third.try_unbind("b", "missing")
    fifth = first.new(c=4)
    for logger in (log, first, second, third, fourth, fifth):
        logger.info("hello")
    keys = [{k: e[k] for k in e if k in "abc"} for e in lines.events]
    assert keys == [{}, {"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}, {}, {"c": 4}]
    assert all(event["logger"] == "app" for event in lines.events)
    with pytest.raises(KeyError):
        first.unbind("missing")


def test_fields_win_over_context_and_context_over_contextvars(log: BoundLogger, lines: Any):
    """The nearer one wins, and no key appears twice."""
    with bound_contextvars(a="var", b="var", c="var"):
        log.bind(a="bound", b="bound").info("hello", a="given")
    assert lines.lines[0].count(b'"a"') == 1
    assert [lines.last[key] for key in "abc"] == ["given", "bound", "var"]


def test_contextvars_come_and_go(log: BoundLogger, lines: Any):
    """What is unbound, cleared or bound in another context does not appear."""
    bind_contextvars(a=1)
    log.info("hello")
    structlog.contextvars.unbind_contextvars("a")
    log.info("hello")
    bind_contextvars(a=2, b=3)
    thread = threading.Thread(target=log.info, args=("hello",))
    thread.start()
    thread.join()
    log.info("hello")
    clear_contextvars()
    log.info("hello")
    keys = [{k: e[k] for k in e if k in "ab"} for e in lines.events]
    assert keys == [{"a": 1}, {}, {}, {"a": 2, "b": 3}, {}]


def test_reserved_names_in_contextvars_do_no_harm(log: BoundLogger, lines: Any):
    """They end up beside the line's own keys, as fields of that name do."""
    with bound_contextvars(level=5, timestamp=object(), event="x"):
        log.info("hello")
        log.info()
    assert lines.events[0]["level"] == "info"
    assert lines.events[0]["level_"] == 5
    assert lines.events[0]["event"] == "hello"
    assert lines.events[1]["event"] == "x"


def test_a_context_class_of_the_users_works(system: LogSystem):
    """structlog's context_class is kept through bind, unbind and new."""
    log = BoundLogger(system.outlet("app"), system.processors, OrderedDict(a=1))
    for logger in (log, log.bind(b=2), log.bind(b=2).unbind("a"), log.new(c=3)):
        assert type(logger._context) is OrderedDict
        logger.info("hello")
    keys = [{k: e[k] for k in e if k in "abc"} for e in log._logger.target.events]
    assert keys == [{"a": 1}, {"a": 1, "b": 2}, {"b": 2}, {"c": 3}]


def test_equality_is_that_of_structlog(system: LogSystem, log: BoundLogger):
    """Loggers are equal when their context is, whatever else they are."""
    assert log.bind(a=1) == system.get_logger("other").bind(a=1)
    assert log.bind(a=1) != log.bind(a=2)
    assert log != "app"
    assert log.bind(a=1) == structlog.wrap_logger(None, wrapper_class=structlog.BoundLogger, a=1)
    with pytest.raises(TypeError):
        hash(log)


def test_the_repr_shows_no_values(log: BoundLogger):
    """A logger in a traceback or test report gives nothing away."""
    text = repr(log.bind(password="hunter2", user=3))
    assert "hunter2" not in text
    assert "password" in text
    assert "app" in text


def test_a_logger_name_may_come_with_the_context(system: LogSystem):
    """structlog.get_logger(logger_name="x") is the same as the positional name."""
    log = BoundLogger(system.outlet(), system.processors, {"logger_name": "app", "a": 1})
    log.bind(b=2).info("hello")
    assert list(log._logger.target.last) == ["timestamp", "level", "event", "logger", "a", "b"]
    assert log._logger.target.last["logger"] == "app"
    assert log.name == "app"


# Lazy values


@pytest.mark.parametrize("processors", [None, [keep]])
def test_lazy_values_are_worked_out_at_the_call(make_system: MakeSystem, processors: Any):
    """On the calling thread, once a call, before the processors; in fields and in context."""
    calls: list[str] = []

    def value(name: str, *, number: int = 0) -> list[Any]:
        calls.append(threading.current_thread().name)
        return [name, number]

    log = make_system(processors, level=20).get_logger()
    bound = log.bind(a=lazy(value, "a"))
    log.debug("no", b=lazy(value, "b"))
    bound.debug("no")
    assert calls == []
    log.info("yes", b=lazy(value, "b", number=3))
    bound.info("yes")
    thread = threading.Thread(target=bound.info, args=("yes",), name="other")
    thread.start()
    thread.join()
    assert [event.get("a", event.get("b")) for event in log._logger.target.events] == [
        ["b", 3],
        ["a", 0],
        ["a", 0],
    ]
    assert calls == [threading.current_thread().name] * 2 + ["other"]


def test_lazy_values_beside_nan_and_none(log: BoundLogger, lines: Any):
    """What sends a record another way does not leave a lazy value as it is."""
    log.info("hello", a=lazy(lambda: 1), b=math.nan, c=None, d=[1])
    log.bind(a=lazy(lambda: 1), b=math.nan, c=None).info("hello", d=[1])
    assert all([e["a"], e["b"], e["c"], e["d"]] == [1, "NaN", None, [1]] for e in lines.events)


@pytest.mark.parametrize("processors", [None, [keep]])
def test_an_error_in_a_lazy_value_is_named(make_system: MakeSystem, processors: Any):
    """The record is kept, and nothing is raised."""

    def fail() -> None:
        raise ZeroDivisionError("no way")

    log = make_system(processors).get_logger().bind(b=lazy(fail))
    log.info("hello", a=lazy(fail), c=3)
    last = log._logger.target.last
    assert last["a"] == last["b"] == "<lazy: ZeroDivisionError: no way>"
    assert last["c"] == 3


def test_lazy_values_travel(log: BoundLogger):
    """They can be pickled when their function can, and show no arguments."""
    value = pickle.loads(pickle.dumps(lazy(math.hypot, 3, 4)))
    assert type(value) is Lazy
    assert value.value() == 5
    assert repr(value) == "<lazy hypot>"


# Copies


def test_copies_stay_in_their_pipeline(log: BoundLogger, lines: Any):
    """copy and deepcopy give loggers of the same name into the same pipeline."""
    value = [1]
    bound = log.bind(a=value)
    shallow, deep = copy.copy(bound), copy.deepcopy(bound)
    value.append(2)
    shallow.info("hello")
    deep.info("hello")
    assert [event["a"] for event in lines.events] == [[1, 2], [1]]
    assert all(event["logger"] == "app" for event in lines.events)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_unpickled_loggers_belong_to_the_default_pipeline(log: BoundLogger, protocol: int):
    """Name and context travel; the pipeline is that of the process they arrive in."""
    class_kept = pickle.loads(pickle.dumps(log.bind(a=1), protocol))
    assert type(class_kept) is BoundLogger
    assert class_kept == log.bind(a=1)
    assert class_kept.name == "app"
    assert class_kept._logger is asynclog.get_logger("app")._logger
    assert class_kept._processors is asynclog.get_logger()._processors


def test_wrapped_loggers_of_others_get_what_the_chain_returns():
    """structlog.wrap_logger around a foreign logger works with our wrapper class."""
    foreign = structlog.testing.CapturingLogger()
    log = structlog.wrap_logger(
        foreign, processors=[structlog.processors.add_log_level], wrapper_class=BoundLogger
    )
    log.bind(a=1).info("hello", b=2)
    log.warning("%s", "text")
    assert foreign.calls == [
        ("info", (), {"a": 1, "b": 2, "event": "hello", "level": "info"}),
        ("warning", (), {"event": "text", "level": "warning"}),
    ]
    log = structlog.wrap_logger(
        foreign, processors=(structlog.processors.JSONRenderer(),), wrapper_class=BoundLogger
    )
    log.error("hello")
    assert foreign.calls[-1] == ("error", ('{"event": "hello"}',), {})
