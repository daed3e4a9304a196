"""Redact: what it keeps, what it never lets through, and what it leaves alone."""

from __future__ import annotations

import copy
import json
import logging
import re
import sys
from collections import ChainMap, OrderedDict, UserDict
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import asynclog
from asynclog._levels import LevelTable
from asynclog._line.encoder import Kind, LineEncoder
from asynclog._logger.system import LogSystem
from asynclog._secrets.texts import Texts
from asynclog.processors import Redact, redact_tree
from asynclog.sinks.traceback import render_pretty, render_traceback

SECRET = "hunter2Xq9"
HIDDEN = "[redacted]"


def redacted(processor: Any = None, **event: Any) -> dict[str, Any]:
    """Return what the processor makes of a record of plain structlog."""
    return dict((processor or Redact())(None, "info", event))


class Lines:
    """Takes lines as a producer does."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes, level: int) -> bool:
        """Keep it."""
        self.lines.append(line)
        return True

    def count_drop(self, level: int, reason: str) -> None:
        """Do nothing."""

    @property
    def last(self) -> dict[str, Any]:
        """The last line parsed."""
        return json.loads(self.lines[-1])


def new_system(*processors: Any, **options: Any) -> tuple[Any, Lines]:
    """Return a logger of ours with a chain, and what it logs into."""
    lines = Lines()
    system = LogSystem(lines, LineEncoder(**options), LevelTable(10), processors or [Redact()])  # type: ignore[arg-type]
    return system.get_logger("app"), lines


def test_order_and_other_values_stay() -> None:
    """Only the secret changes, in its place."""
    result = redacted(event="x", a=1, password=SECRET, b=[1.5, None, True], c={"d": "e"})
    assert list(result.items()) == [
        ("event", "x"),
        ("a", 1),
        ("password", HIDDEN),
        ("b", [1.5, None, True]),
        ("c", {"d": "e"}),
    ]


def test_your_objects_are_not_changed() -> None:
    """Neither nested ones nor what is bound to a logger."""
    mine: dict[str, Any] = {"password": SECRET, "a": [{"token": SECRET}, ("api_key", SECRET)]}
    before = copy.deepcopy(mine)
    log, lines = new_system()
    bound = log.bind(mine=mine)
    bound.info("x", again=mine, password=SECRET)
    assert SECRET not in json.dumps(lines.last)
    assert mine == before
    assert bound._context == {"mine": before}


def test_what_is_ours_stays_what_it_is() -> None:
    """Kind, time stamp, level and marks mean the same behind the processor."""
    log, lines = new_system()
    stamp = "2026-01-31T12:00:00.123456Z"
    log.info("x", kind=Kind("metrics"), timestamp=stamp, level="error", quiet=True, token="a")
    assert lines.last == {
        "timestamp": stamp,
        "kind": "metrics",
        "level": "error",
        "event": "x",
        "logger": "app",
        "quiet": True,
        "token": HIDDEN,
    }


def test_what_went_wrong_before_is_looked_at_as_well() -> None:
    """The message of a processor that raised may hold a secret."""

    def fails(*_: Any) -> Any:
        raise ValueError(f"password={SECRET}")

    log, lines = new_system(fails, Redact())
    log.info("x")
    assert lines.last["log_error"].endswith("fails: ValueError: password=[redacted]")


def test_lazy_values_are_worked_out_before() -> None:
    """In our loggers."""
    log, lines = new_system()
    log.info("x", a=asynclog.lazy(lambda: f"password={SECRET}"))
    assert lines.last["a"] == "password=[redacted]"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, None),
        (True, True),
        (0.5, 0.5),
        (1234, HIDDEN),
        ("", HIDDEN),
        ([], HIDDEN),
        ({"a": 1}, HIDDEN),
        (b"x", HIDDEN),
        (object(), HIDDEN),
    ],
)
def test_what_passes_under_a_secret_name(value: Any, seen: Any) -> None:
    """No value, flags and measured values; nothing else."""
    assert redacted(password=value) == {"password": seen}
    assert redacted(a={"b": [{"password": value}]}) == {"a": {"b": [{"password": seen}]}}


def test_chosen_keys() -> None:
    """Names of one's own, besides the default ones, at any depth and in texts."""
    processor = Redact(keys=["card", "employee-id"])
    assert redacted(
        processor,
        event="employee id: 17, cardinal=5",
        cardNumber=4111,
        card_ratio=0.5,
        a={"EMPLOYEE_ID": [1]},
        password="x",
        card=None,
    ) == {
        "event": "employee id: [redacted], cardinal=5",
        "cardNumber": HIDDEN,
        "card_ratio": HIDDEN,
        "a": {"EMPLOYEE_ID": HIDDEN},
        "password": HIDDEN,
        "card": None,
    }


def test_chosen_patterns() -> None:
    """In all texts and keys; whole matches go."""
    processor = Redact(patterns=[r"\b\d{4}-\d{4}\b", re.compile("bob", re.IGNORECASE)])
    assert redacted(processor, event="pay 1234-5678 now", a=["Bob"], **{"x bob": 1}) == {
        "event": "pay [redacted] now",
        "a": [HIDDEN],
        "x [redacted]": 1,
    }


@pytest.mark.parametrize("replacement", ["", "*", "h", "hunter", "a b", "<secret>", "\\1", ","])
def test_another_replacement(replacement: str) -> None:
    """Any text, also one that secrets may begin with."""
    processor = Redact(replacement=replacement)
    event = f"token={SECRET}, password='{SECRET}' b"
    assert redacted(processor, password=SECRET, event=event) == {
        "password": replacement,
        "event": f"token={replacement}, password='{replacement}' b",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keys": "password"}, r"keys must be a list of names, got: 'password'.*\['password'\]"),
        ({"keys": [1]}, "keys must hold names"),
        ({"keys": ["--"]}, "keys must hold names with letters or digits"),
        ({"patterns": "x"}, "patterns must be a list"),
        ({"patterns": ["hunter2", "("]}, "patterns must hold .*, got: '<number 2>'"),
        ({"patterns": [b"hunter2"]}, "patterns must hold .*, got: '<number 1>'"),
        ({"patterns": ["(hunter2)?"]}, "patterns must hold .* do not match an empty one"),
        ({"replacement": None}, "replacement must be a text"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    """At once; a pattern, which may be the secret itself, is not shown."""
    with pytest.raises(asynclog.SettingError, match=message) as caught:
        Redact(**settings)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Redact(patterns=["hunter2"]))


def test_keys_that_become_the_same_are_kept_apart() -> None:
    """No value is lost because its key was a secret."""
    result = redacted(**{"sk-" + "a1" * 10: 1, "sk-" + "b2" * 10: 2, "a": {"token=x": 1}})
    assert sorted(result) == ["[redacted]", "[redacted]_", "a"]
    nested = redacted(a={"sk-" + "a1" * 10: 1, "sk-" + "b2" * 10: 2})["a"]
    assert sorted(nested) == ["[redacted]", "[redacted]_"]


def fail_with(message: str) -> None:
    """Raise."""
    raise ValueError(message)


def logged_failure(processor: Any, **options: Any) -> dict[str, Any]:
    """Return the line of an exception with a secret in it."""
    log, lines = new_system(processor, **options)
    try:
        fail_with(f"password={SECRET}")
    except ValueError:
        log.exception("failed", stack_info=True)
    assert SECRET not in json.dumps(lines.last)
    return lines.last


def test_exceptions_are_data_as_always() -> None:
    """But for a mark that keeps secrets in the source code from being shown."""
    error = logged_failure(Redact())["exception"]
    plain = logged_failure(lambda _logger, _method, event: {**event, "exc_info": None})
    assert "exception" not in plain
    assert error["type"] == "ValueError"
    assert error["message"] == "password=[redacted]"
    assert [frame["function"] for frame in error["frames"]] == ["logged_failure", "fail_with"]
    assert error["source"] == "redacted"


def test_tracebacks_show_source_through_the_same_rules() -> None:
    """A secret in the code is none of the record's, and not shown either."""
    event = logged_failure(Redact())
    text = render_traceback(event)
    assert 'fail_with(f"password=[redacted]")' in text
    assert "log.exception(" in text, "of the stack"
    assert render_pretty({"exception": event["exception"]}, 100, False) is None


@pytest.mark.parametrize("processor", [Redact(keys=["card"]), Redact(patterns=["card"])])
def test_with_rules_of_ones_own_no_source_is_shown(processor: Redact) -> None:
    """Whoever shows a record does not know them."""
    event = logged_failure(processor)
    assert event["exception"]["source"] is False
    text = render_traceback(event)
    assert "in fail_with" in text
    assert "fail_with(f" not in text


def test_text_of_tracebacks() -> None:
    """Of ``exception_text=True``; source lines in it are looked at as well."""
    event = logged_failure(Redact(keys=["card"]), exception_text=True)
    assert 'fail_with(f"password=[redacted]")' in event["exception"]["text"]
    assert "ValueError: password=[redacted]" in render_traceback(event)


def test_no_exception_is_none() -> None:
    """As without the processor."""
    log, lines = new_system()
    log.info("x", exc_info=True)
    log.info("x", exc_info=False)
    log.info("x", exc_info=(None, None, None))
    assert not any(b"exc" in line for line in lines.lines)


def test_arguments_left_apart_by_structlog() -> None:
    """What belongs together is put together first."""
    given = {"event": "password=%s for %s", "positional_args": (SECRET, "bob")}
    assert redacted(**given) == {"event": "password=[redacted] for bob"}
    named = {"event": "password=%(p)s", "positional_args": ({"p": SECRET},)}
    assert redacted(**named) == {"event": "password=[redacted]"}
    assert redacted(event="100 %", positional_args=()) == {"event": "100 %"}
    broken = redacted(event="password=%s %s", positional_args=(SECRET,))
    assert broken == {"event": "password=[redacted] %s", "positional_args": HIDDEN}
    harmless = redacted(event="%s %s", positional_args=("a",))
    assert harmless == {"event": "%s %s", "positional_args": ["a"]}


class Broken(UserDict[str, Any]):
    """A mapping that cannot be read."""

    def __iter__(self) -> Iterator[str]:
        """Fail."""
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict, ChainMap])
def test_event_dicts_of_any_class(kind: Any) -> None:
    """As context classes may be."""
    event: MutableMapping[str, Any] = kind({"password": SECRET, "a": 1})
    assert dict(Redact()(None, "info", event)) == {"password": HIDDEN, "a": 1}


def test_where_it_cannot_look_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record says so, and holds nothing else."""
    closed = {"event": HIDDEN, "log_error": "Redact: RuntimeError"}
    assert redacted() == {}
    assert Redact()(None, "info", Broken(a=SECRET)) == closed

    def broken(*_: Any) -> Any:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(Texts, "redact", broken)
    assert redacted(event=f"password={SECRET}", a=SECRET) == closed
    event = {"event": SECRET}
    Redact()(None, "info", event)
    assert event == {}, "also for whoever still holds it"


def test_interrupts_go_through_and_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the program's; the record is not logged."""

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Texts, "redact", interrupted)
    event = {"event": SECRET}
    with pytest.raises(KeyboardInterrupt):
        Redact()(None, "info", event)
    assert event == {}


def test_a_full_call_stack_lets_no_secret_out() -> None:
    """At no depth, whatever can still be called."""
    log, lines = new_system()
    limit = sys.getrecursionlimit()

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        else:
            log.info(f"password={SECRET}", token=SECRET, a={"password": SECRET}, exc_info=True)

    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]
    sys.setrecursionlimit(used + 120)
    try:
        for levels in range(120):
            try:
                deep(levels)
            except RecursionError:
                pass
    finally:
        sys.setrecursionlimit(limit)
    assert len(lines.lines) > 50
    assert SECRET.encode() not in b"".join(lines.lines)


@pytest.mark.parametrize(
    ("result", "seen"),
    [
        (f'{{"password": "{SECRET}"}}', f'{{"password": "{HIDDEN}"}}'),
        (f"token={SECRET} \xff".encode("latin-1"), f"token={HIDDEN} \xff".encode("latin-1")),
        (((SECRET,), {}), HIDDEN),
        (None, HIDDEN),
    ],
)
def test_what_was_rendered_before(result: Any, seen: Any) -> None:
    """It comes too late then, and does what it can."""
    assert Redact()(None, "info", result) == seen


def test_numbers_on_a_device_are_left_to_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied from it, and nothing waited for."""

    class Number:
        def __repr__(self) -> str:
            raise AssertionError

    number = Number()
    monkeypatch.setattr(redact_tree, "on_device", lambda value, *_: type(value) is Number)
    result = redacted(loss=number, metrics={"a": [number], "token": number}, password=[number])
    assert result["loss"] is number
    assert result["metrics"]["a"][0] is number
    assert result["metrics"]["token"] is number
    assert result["password"] == HIDDEN


def test_tensors() -> None:
    """Those on the CPU become numbers, as in the line."""
    torch = pytest.importorskip("torch")
    assert redacted(a=torch.tensor(0.5), b=torch.tensor([1, 2])) == {"a": 0.5, "b": [1, 2]}


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=10), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@given(
    value=plain_values,
    way=st.lists(st.sampled_from(["list", "dict", "tuple", "value", "pair"]), max_size=5),
    name=st.sampled_from(["password", "X-Api-Key", "clientSecret", "session_id", "cookie"]),
)
def test_a_secret_is_found_wherever_it_is(value: Any, way: list[str], name: str) -> None:
    """Under its name, within anything, beside anything."""
    inner: Any = {name: SECRET, "other": value}
    for step in way:
        if step == "list":
            inner = [value, inner]
        elif step == "dict":
            inner = {"a": value, "b": inner}
        elif step == "tuple":
            inner = (inner, value)
        elif step == "pair":
            inner = [(name, SECRET), ("x", inner)]
        else:
            inner = {"name": name, "value": SECRET, "more": inner}
    result = redacted(event="x", field=inner)
    assert SECRET not in repr(result)
    again = redacted(**copy.deepcopy(result))
    assert repr(again) == repr(result), "looked at twice it stays the same"


@pytest.mark.parametrize("renderer", ["json", "console", "logfmt"])
def test_under_plain_structlog(renderer: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exceptions are text there, as structlog's renderers expect."""
    renderers: dict[str, Any] = {
        "json": structlog.processors.JSONRenderer(),
        "console": structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
        "logfmt": structlog.processors.LogfmtRenderer(),
    }
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            Redact(),
            renderers[renderer],
        ],
        logger_factory=structlog.PrintLoggerFactory(),
    )
    log = structlog.get_logger()
    try:
        fail_with(f"password={SECRET}")
    except ValueError:
        log.exception("failed", token=SECRET, stack_info=True, n=5)
    log.info(f"password={SECRET}")
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert "ValueError: password=[redacted]" in shown
    assert "Traceback" in shown


def test_under_structlogs_logging_integration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a ProcessorFormatter, for records of logging, too."""
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            Redact(),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ]
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logger = logging.Logger("library")
    logger.addHandler(handler)
    try:
        fail_with(f"password={SECRET}")
    except ValueError:
        logger.exception("login with password=%s", SECRET)
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert "login with password=[redacted]" in shown


def test_records_of_logging(run_dir: Path) -> None:
    """Arguments, extra fields, messages that are mappings, tracebacks and stacks."""
    stdlib = pytest.importorskip("asynclog.stdlib")
    sinks = [asynclog.JsonlFile(), asynclog.TextFile()]
    with asynclog.Pipeline(run_dir, sinks=sinks, processors=[Redact()]) as pipeline:
        logger = logging.Logger("library")
        logger.addHandler(stdlib.Handler(pipeline=pipeline))
        logger.info("login with password=%s", SECRET)
        logger.info("password=%(p)s", {"p": SECRET})
        logger.info("password=%s %s", SECRET)  # noqa: PLE1206
        logger.info("x", extra={"token": SECRET, "body": {"api_key": SECRET}})
        logger.info({"password": SECRET, "event": f"token={SECRET}"})
        try:
            fail_with(f"password={SECRET}")
        except ValueError:
            logger.exception("failed", stack_info=True)
    written = [(run_dir / name).read_text() for name in ("events.jsonl", "events.log")]
    assert all(SECRET not in text for text in written)
    assert all(text.count("[redacted]") >= 8 for text in written)


def test_with_structlogs_own_wrapper_class(run_dir: Path) -> None:
    """Adopted by a pipeline: arguments are formatted, tracebacks looked at."""
    structlog.configure(
        processors=[Redact()],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    sinks = [asynclog.JsonlFile()]
    with asynclog.running(run_dir, sinks=sinks):
        log = structlog.get_logger("app")
        log.info("password=%s", SECRET, token=SECRET)
        try:
            fail_with(f"password={SECRET}")
        except ValueError:
            log.exception("failed")
    written = (run_dir / "events.jsonl").read_text()
    assert SECRET not in written
    assert written.count("password=[redacted]") == 2


def test_long_values_say_that_they_were_cut() -> None:
    """Once, as lines do, although they were cut twice."""
    log, lines = new_system()
    log.info("x", text="a" * 100_000, items=list(range(5000)), mine="b", truncated="field")
    event = lines.last
    assert event["truncated"] is True
    assert event["truncated_"] == "field"
    assert "truncated__" not in event
    assert event["items"][-1].startswith("... ")
    assert int(event["items"][-1].split()[1]) == 5000 - len(event["items"]) + 1
