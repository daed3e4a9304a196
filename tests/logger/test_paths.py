"""The short cuts to a line differ from the line encoder in speed only."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars

from asynclog._line.encoder import LineEncoder
from asynclog._logger import fastpath as _fastpath
from asynclog._logger import front as _front
from asynclog._logger.bound import BoundLogger
from asynclog._logger.front import KEPT_LENGTH, KEPT_TEXTS
from asynclog._logger.system import LogSystem

MakeSystem = Callable[..., LogSystem]
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@contextmanager
def only_fast() -> Iterator[None]:
    """Fail the block when a call takes the ordinary path."""

    def refuse(self: Any, *args: Any) -> None:
        raise KeyboardInterrupt("ordinary path taken")

    original = BoundLogger._log
    BoundLogger._log = refuse
    try:
        yield
    finally:
        BoundLogger._log = original


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=20),
)
VALUES = st.one_of(
    PLAIN,
    st.recursive(
        PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
    ),
    st.sampled_from(
        [
            2**70,
            b"bytes",
            dt.datetime(2026, 1, 31, 12),
            uuid.UUID(int=1),
            {1, 2},
            object,
            ValueError("x"),
            "\ud800",
            "x" * 700,
            "",
            "info",
            "msg",
            "notset",
            "2026-01-31T12:00:00Z",
            "a\x7fb",
            'a"b',
            enum.Enum("Colour", "RED").RED,
            (1, 2),
            OrderedDict(a=1),
            type("Text", (str,), {})("text"),
        ]
    ),
)
KEYS = st.one_of(
    st.sampled_from(["a", "b", "null", "event", "level", "timestamp", "logger", "kind"]),
    st.text(max_size=5),
)
FIELDS = st.dictionaries(KEYS, VALUES, max_size=5)


def keep(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Do nothing, as a processor."""
    return event_dict


@given(
    event=st.one_of(st.text(), st.none(), st.just("\ud800"), st.integers()),
    context=FIELDS,
    fields=FIELDS,
    bound=st.dictionaries(st.sampled_from(["a", "c", "d", "level"]), PLAIN, max_size=2),
    name=st.one_of(st.none(), st.just("app"), st.text(max_size=5)),
    twice=st.booleans(),
)
def test_all_paths_make_the_line_of_the_encoder(
    event: Any,
    context: dict[str, Any],
    fields: dict[str, Any],
    bound: dict[str, Any],
    name: str | None,
    twice: bool,
    make_system: MakeSystem,
):
    """The short cuts differ from the line encoder in speed only, never in a byte."""
    encoder = LineEncoder()
    expected: dict[str, Any] = {**context, **fields}
    if event is None:
        event_dict = expected
    else:
        if "event" in expected:
            expected["event_"] = expected["event"]
        event_dict = {**expected, "event": event}
    for key, value in bound.items():
        event_dict.setdefault(key, value)
    reference = json.loads(encoder.encode(event_dict, level="info", logger=name or None))
    reference.pop("timestamp")
    with bound_contextvars(**bound):
        for processors in (None, [keep], [lambda _l, _m, event: dict(event)]):
            log = make_system(processors).get_logger(name).bind(**context)
            for _ in range(1 + twice):
                log.info(event, **fields)
            for line in log._logger.target.lines:
                assert line.endswith(b"}\n")
                assert line.count(b"\n") == 1
                pairs = json.loads(line, object_pairs_hook=list)
                names = [key for key, _ in pairs]
                assert len(names) == len(set(names))
                assert names[:3] == ["timestamp", "level", "event"]
                written = json.loads(line)
                if "timestamp" not in event_dict:
                    assert STAMP.fullmatch(written["timestamp"])
                written.pop("timestamp")
                assert written == reference


@pytest.mark.parametrize(
    ("context", "fields"),
    [
        ({}, {}),
        ({}, {"a": 1}),
        ({"a": "x", "b": 1.5}, {}),
        ({"a": "x", "b": 2, "c": True, "d": None}, {"e": 1.5, "f": "ü", "g": None, "h": [1, {}]}),
        ({"tags": ["a", "b"]}, {"null": "null"}),
    ],
)
def test_plain_records_take_the_specialised_path(
    make_system: MakeSystem, context: dict[str, Any], fields: dict[str, Any]
):
    """What most records are made of does not leave the fast path."""
    log = make_system().get_logger("app").bind(**context)
    with only_fast():
        for _ in range(2):
            log.info("hello", **fields)
        with bound_contextvars(request=7):
            log.info("hello", **fields)
    written = [json.loads(line) for line in log._logger.target.lines]
    assert [list(event) for event in written] == [
        ["timestamp", "level", "event", "logger", *context, *extra, *fields]
        for extra in ([], [], ["request"])
    ]


def test_user_processors_take_the_quick_end(
    make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch
):
    """An event dict of plain values does not need the line encoder after a user's chain either."""
    log = make_system([structlog.processors.add_log_level, keep]).get_logger("app").bind(a=1)
    monkeypatch.setattr(LineEncoder, "encode", lambda *_, **__: pytest.fail("encoder used"))
    log.info("hello", b=2)
    assert list(log._logger.target.last) == ["timestamp", "level", "event", "logger", "a", "b"]


def test_nan_and_infinity_are_text(log: BoundLogger, lines: Any):
    """JSON has no such numbers; they are no null either."""
    for value in (math.nan, math.inf, -math.inf, [math.nan]):
        log.info("hello", a=value)
        log.bind(a=value).info("hello")
    assert [event["a"] for event in lines.events] == [
        *("NaN",) * 2,
        *("Infinity",) * 2,
        *("-Infinity",) * 2,
        *(["NaN"],) * 2,
    ]


def test_values_are_snapshots(log: BoundLogger, lines: Any):
    """Bound or given, a mutable value is written as it was at the call."""
    values = [1]
    bound = log.bind(values=values)
    for number in (2, 3):
        bound.info("hello", given=values)
        values.append(number)
    assert [event["values"] for event in lines.events] == [[1], [1, 2]]
    assert [event["given"] for event in lines.events] == [[1], [1, 2]]


def test_a_context_that_was_handed_out_may_change(log: BoundLogger, lines: Any):
    """structlog.get_context returns the context itself; what is changed in it is logged."""
    bound = log.bind(a=1)
    bound.info("hello")
    structlog.get_context(bound)["a"] = 2
    bound.info("hello")
    bound._context["b"] = 3
    bound.info("hello")
    assert [(event["a"], event.get("b")) for event in lines.events] == [
        (1, None),
        (2, None),
        (2, 3),
    ]


def test_long_lines_keep_the_limit(make_system: MakeSystem):
    """max_event_bytes holds on every path, wherever the bytes are."""
    for processors in (None, [keep]):
        log = make_system(processors, max_event_bytes=1000).get_logger("app")
        log.info("x" * 900, a="y" * 900)
        log.bind(a="x" * 900).info("y" * 900)
        log.bind(a="x" * 450).info("y" * 450, b="z" * 450)
        log.info("y", **{f"key{number}": "z" * 50 for number in range(40)})
        assert all(len(line) <= 1000 for line in log._logger.target.lines)
        assert all(event["truncated"] is True for event in log._logger.target.events)


def test_a_limit_that_changes_is_kept(log: BoundLogger, lines: Any, system: LogSystem):
    """The encoder's settings may change after the loggers were made."""
    log.info("x" * 2000)
    system.encoder.max_event_bytes = 600
    log.info("x" * 2000)
    assert [len(line) <= 600 for line in lines.lines] == [False, True]


def test_kept_event_texts_are_bounded(log: BoundLogger, lines: Any):
    """Texts that never come again cost no memory for long."""
    heads = _front.INFO.heads
    for number in range(KEPT_TEXTS * 2 + 10):
        log.info(f"request {number}")
    assert len(heads) <= KEPT_TEXTS
    log.info("x" * (KEPT_LENGTH + 1))
    assert "x" * (KEPT_LENGTH + 1) not in heads
    assert lines.last["event"] == "x" * (KEPT_LENGTH + 1)


def test_the_time_is_right_across_the_second(monkeypatch: pytest.MonkeyPatch):
    """Whatever the clock does, forwards or back, the text is that of the time."""
    now = 0
    monkeypatch.setattr(_front, "time_ns", lambda: now)
    clock = _front.Clock()

    def read() -> str:
        start, front = clock.current
        micros = (_front.time_ns() - start) // 1000
        if not 0 <= micros < 1000:
            micros, front = clock.turn()
        return (front + _front.MICROS[micros]).decode().removeprefix('{"timestamp":"')

    for now in (
        1_769_860_800_000_000_000,
        1_769_860_800_000_999_999,
        1_769_860_800_001_000_000,
        1_769_860_800_999_999_999,
        1_769_860_801_000_000_000,
        1_769_860_799_123_456_789,
        0,
        1_769_860_801_500_000_000,
    ):
        expected = dt.datetime.fromtimestamp(now // 10**9, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        expected += f"{now % 10**9 // 1000:06}Z"
        assert read() == clock.text() == expected


def test_without_orjson_the_lines_are_the_same(
    make_system: MakeSystem, monkeypatch: pytest.MonkeyPatch
):
    """Other JSON libraries get no say in what is plain; the line encoder looks at everything."""
    original = _front.codec
    monkeypatch.setattr(_front, "codec", original._replace(name="msgspec"))
    dumps, _, options = _front._plain_dumps()
    for module in (_front, _fastpath):
        monkeypatch.setattr(module, "plain_dumps", dumps)
        monkeypatch.setattr(module, "PLAIN_OPTIONS", options)
    for processors in (None, [keep]):
        log = make_system(processors).get_logger("app").bind(a=1)
        log.info("hello")
        log.info("hello", b=math.nan, c=None)
        assert [list(event.values())[2:] for event in log._logger.target.events] == [
            ["hello", "app", 1],
            ["hello", "app", 1, "NaN", None],
        ]
