"""Processors: whatever they do, the record is kept and the next one is unaffected."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

import asynclog
from asynclog import lazy
from asynclog._line.encoder import LineEncoder
from asynclog._line.problem import PROBLEM_KEY
from asynclog._logger.bound import BoundLogger
from asynclog._logger.chain import encode_line
from asynclog._logger.system import LogSystem

MakeSystem = Callable[..., LogSystem]


def keep(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Do nothing, as a processor."""
    return event_dict


def test_the_default_chain_is_used_as_long_as_nobody_gives_another(system: LogSystem):
    """The list keeps its identity; none, an empty list and None are the default."""
    processors = system.processors
    system.set_processors([keep])
    assert system.processors is processors
    assert processors == [keep, encode_line]
    system.set_processors(None)
    assert processors == [encode_line]
    system.set_processors([])
    assert processors == [encode_line]


@pytest.mark.parametrize("bad", [["name"], [keep, None], [3]])
def test_what_is_no_processor_is_refused(system: LogSystem, bad: Any):
    """Before anything changes, naming setting, rule and value."""
    with pytest.raises(asynclog.SettingError, match="processors must hold callables, got: "):
        system.set_processors(bad)
    assert system.processors == [encode_line]


def test_processors_see_what_structlog_shows_them(system: LogSystem):
    """Wrapped logger, method name, and an event dict of context, context variables and fields."""
    seen: list[Any] = []

    def look(logger: Any, method: str, event: Any) -> Any:
        seen.append((logger.name, method, dict(event)))
        return event

    system.set_processors([look])
    log = system.get_logger("app").bind(a=1)
    with bound_contextvars(c=3):
        log.warn("hello", b=2)
        log.exception("oh", exc_info=False)
        log.log(45, "hello")
    everything = {"a": 1, "c": 3}
    assert seen == [
        ("app", "warning", {**everything, "b": 2, "event": "hello"}),
        ("app", "error", {**everything, "event": "oh", "exc_info": False}),
        ("app", "error", {**everything, "event": "hello"}),
    ]


def test_processors_may_change_everything(system: LogSystem):
    """Also what the line would have had by itself, and by another dict."""

    def change(_logger: Any, _method: str, event: Any) -> Any:
        return {"event": "changed", "level": "error", "timestamp": "yesterday", "logger": "app"}

    system.set_processors([change])
    system.get_logger("app").info("hello", a=1)
    assert system.target.last == {
        "timestamp": "yesterday",
        "level": "error",
        "event": "changed",
        "logger": "app",
    }


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_processor_that_raises_is_named_and_the_rest_goes_on(make_system: MakeSystem, where: int):
    """The record is kept with the error named; the next one is unaffected."""
    fail = True

    def sometimes(_logger: Any, _method: str, event: Any) -> Any:
        if fail:
            raise LookupError("no such thing")
        return event

    def first(_logger: Any, _method: str, event: Any) -> Any:
        event["first"] = True
        return event

    def second(_logger: Any, _method: str, event: Any) -> Any:
        event["second"] = True
        return event

    chain = [first, second]
    chain.insert(where, sometimes)
    log = make_system(chain).get_logger().bind(a=1)
    log.info("hello", b=2)
    fail = False
    log.info("hello", b=2)
    bad, good = log._logger.target.events
    error = bad.pop(PROBLEM_KEY)
    assert error.endswith("sometimes: LookupError: no such thing")
    assert {**bad, "timestamp": ""} == {**good, "timestamp": ""}
    assert good["first"]
    assert good["second"]


def test_what_a_processor_takes_away_stays_away(make_system: MakeSystem):
    """A secret that was bound to the context does not come back on any path."""

    def redact(_logger: Any, _method: str, event: Any) -> Any:
        event.pop("token", None)
        return event

    log = make_system([redact]).get_logger()
    with structlog.contextvars.bound_contextvars(token="hunter2", user=3):
        log.info("hello")
        log.info("hello", raw=b"not plain")
        log.exception("hello")
        log.info("hello %s", "you", tags=["a"])
    assert b"hunter2" not in b"".join(log._logger.target.lines)
    assert [event["user"] for event in log._logger.target.events] == [3] * 4


def test_all_that_went_wrong_is_named(make_system: MakeSystem):
    """One failing processor does not hide another one."""

    class Strange:
        def __call__(self, *_: Any) -> Any:
            raise ValueError

    def forgets(_logger: Any, _method: str, event: Any) -> Any:
        event["seen"] = True

    log = make_system([Strange(), forgets]).get_logger()
    log.info("hello")
    last = log._logger.target.last
    assert last["seen"]
    assert last[PROBLEM_KEY].startswith("Strange: ValueError; ")
    assert last[PROBLEM_KEY].endswith("forgets: TypeError: returned None")


def test_a_processor_may_drop_a_record(system: LogSystem):
    """DropEvent is the user's wish: nothing is written, nothing is counted."""

    def drop(_logger: Any, _method: str, event: Any) -> Any:
        if event["event"] == "secret":
            raise structlog.DropEvent
        return event

    system.set_processors([drop])
    log = system.get_logger()
    log.info("secret")
    log.info("hello")
    assert [event["event"] for event in log._logger.target.events] == ["hello"]
    assert log._logger.target.failed == 0


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("some text", {"event": "some text"}),
        (b"some bytes\n", {"event": "some bytes"}),
        (bytearray(b'{"event":"x","b":2}'), {"event": "x", "b": 2}),
        ('{"event":"x","level":"warning"}', {"event": "x", "level": "warning"}),
        ("{broken", {"event": "{broken"}),
        ((("hello %s", "you"), {"extra": {"b": 2}}), {"event": "hello you", "b": 2}),
        (({"event": "x", "b": 2},), {"event": "x", "b": 2}),
        (((), {"msg": "hello", "extra": {"b": 2}}), {"event": "hello", "b": 2}),
        (OrderedDict(event="x", b=2), {"event": "x", "b": 2}),
        (7, {"event": "7"}),
        ([1], {"event": "[1]"}),
    ],
)
def test_a_chain_may_end_in_anything(
    make_system: MakeSystem, result: Any, expected: dict[str, Any]
):
    """Text, bytes, and arguments for a logger become an event again."""
    log = make_system([lambda *_: result]).get_logger()
    log.info("hello", a=1)
    last = log._logger.target.last
    assert PROBLEM_KEY not in last
    assert {key: last[key] for key in expected} == expected
    assert set(last) == {"timestamp", "level", *expected}


def test_a_broken_encoder_still_leaves_a_line(monkeypatch: pytest.MonkeyPatch, log: BoundLogger):
    """When a whole record cannot be encoded, one that says so is kept."""
    original = LineEncoder.encode

    def break_once(self: LineEncoder, event: Any, **options: Any) -> bytes:
        if PROBLEM_KEY not in event:
            raise RuntimeError("broken")
        return original(self, event, **options)

    monkeypatch.setattr(LineEncoder, "encode", break_once)
    log.info("hello", a=b"bytes")
    assert log._logger.target.last["event"] == "hello"
    assert log._logger.target.last[PROBLEM_KEY].endswith("RuntimeError: broken")
    assert log._logger.target.last["level"] == "info"


@pytest.mark.anyio
async def test_what_cannot_be_kept_is_counted(monkeypatch: pytest.MonkeyPatch, log: BoundLogger):
    """Not even a broken encoder raises into the caller or loses a record silently."""

    def broken(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("broken")

    monkeypatch.setattr(LineEncoder, "encode", broken)
    log.info("hello", a=b"bytes")
    log.exception("hello")
    log.log(20, "hello", a=b"bytes")
    await log.ainfo("hello", a=b"bytes")
    assert log._logger.target.failed == 4
    assert log._logger.target.lines == []


def test_interrupts_go_through(system: LogSystem):
    """KeyboardInterrupt and SystemExit are the program's, also in the middle of a call."""
    for error in (KeyboardInterrupt, SystemExit):

        def interrupted(*_: Any, error: type[BaseException] = error) -> Any:
            raise error

        system.set_processors([interrupted])
        with pytest.raises(error):
            system.get_logger().info("hello")
        with pytest.raises(error):
            system.get_logger().info("hello", a=lazy(interrupted))


def test_logging_inside_of_logging_works(system: LogSystem):
    """From a processor, a lazy value and a __repr__, some levels deep."""
    log = system.get_logger("app")

    class Chatty:
        def __repr__(self) -> str:
            log.info("in repr")
            return "chatty"

    def chatty(_logger: Any, _method: str, event: Any) -> Any:
        if event["event"] == "outer":
            log.info("in processor", b=lazy(lambda: log.info("in lazy")))
        return event

    system.set_processors([chatty])
    log.info("outer", a=Chatty())
    assert sorted(event["event"] for event in log._logger.target.events) == [
        "in lazy",
        "in processor",
        "in repr",
        "outer",
    ]
