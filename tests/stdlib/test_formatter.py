"""JSONFormatter: valid JSON whatever the record holds, under the names the user wants."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asynclog
from asynclog.stdlib import JSONFormatter

# The configuration that the formatter's argument is known from.
FMT_KEYS = {
    "level": "levelname",
    "message": "message",
    "timestamp": "timestamp",
    "logger": "name",
    "module": "module",
    "function": "funcName",
    "line": "lineno",
    "thread_name": "threadName",
}


class Written:
    """A logger with a StreamHandler that has the formatter."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(JSONFormatter(*args, **kwargs))
        self.log = logging.Logger("app.db", 10)
        self.log.addHandler(handler)

    @property
    def last(self) -> dict[str, Any]:
        """The last line, which is strict JSON."""
        text = self.stream.getvalue()
        *_, last, rest = text.split("\n")
        assert not rest
        return json.loads(last, parse_constant=refuse)


def refuse(name: str) -> Any:
    """Refuse NaN and Infinity."""
    raise AssertionError(name)


@pytest.fixture
def formatted() -> Callable[..., Written]:
    """Return a function that makes a logger with a formatter."""
    return Written


def test_fmt_keys(formatted: Callable[..., Written]):
    """The user's names in the user's order, then the extra fields."""
    out = formatted(fmt_keys=FMT_KEYS)
    before = datetime.now(UTC)
    out.log.info("hello %s", "x", extra={"request_id": "a1"})
    line = sys._getframe().f_lineno - 1
    result = out.last
    assert list(result) == [*FMT_KEYS, "request_id"]
    stamp = datetime.fromisoformat(result.pop("timestamp"))
    assert before <= stamp <= datetime.now(UTC)
    assert stamp.utcoffset() is not None
    assert result == {
        "level": "INFO",
        "message": "hello x",
        "logger": "app.db",
        "module": "test_formatter",
        "function": "test_fmt_keys",
        "line": line,
        "thread_name": "MainThread",
        "request_id": "a1",
    }


def test_what_is_there_anyway(formatted: Callable[..., Written]):
    """Message and time without being asked for; exception and stack where there are any."""
    out = formatted(fmt_keys={"lvl": "levelname"})
    out.log.info("hello")
    assert list(out.last) == ["lvl", "message", "timestamp"]
    try:
        raise ValueError("bad")
    except ValueError:
        out.log.exception("oh", stack_info=True)
    assert list(out.last) == ["lvl", "message", "timestamp", "exc_info", "stack_info"]
    assert out.last["exc_info"].startswith("Traceback (most recent call last):\n")
    assert out.last["exc_info"].endswith("ValueError: bad")
    assert out.last["stack_info"].startswith("Stack (most recent call last):\n")
    out.log.error("no exception", exc_info=True)
    assert "exc_info" not in out.last


def test_other_names_for_what_is_there_anyway(formatted: Callable[..., Written]):
    """They come under the name that was asked for, once."""
    keys = {"time": "timestamp", "msg": "message", "error": "exc_info", "asc": "asctime"}
    out = formatted(fmt_keys=keys)
    out.log.info("hello")
    assert list(out.last) == ["time", "msg", "error", "asc"]
    assert out.last["error"] is None
    assert len(out.last["asc"]) == len("2026-01-31 12:00:00,123")


def test_attributes_that_do_not_exist(formatted: Callable[..., Written]):
    """Null, as for the task name before Python 3.12; a field given by extra= is found."""
    out = formatted(fmt_keys={"task": "taskName", "nothing": "nothing", "user": "user_id"})
    out.log.info("hello", extra={"user_id": 7})
    assert (out.last["task"], out.last["nothing"], out.last["user"]) == (None, None, 7)
    assert "user_id" not in out.last


def test_names_twice(formatted: Callable[..., Written]):
    """An extra field does not replace what the user's names stand for; nothing is lost."""
    out = formatted(fmt_keys={"level": "levelname"})
    out.log.info("hello", extra={"level": "mine", "timestamp": "mine"})
    assert (out.last["level"], out.last["level_"]) == ("INFO", "mine")
    assert out.last["timestamp_"] == "mine"


def test_mappings(formatted: Callable[..., Written]):
    """A mapping as message becomes fields."""
    out = formatted(fmt_keys={"level": "levelname"})
    out.log.info({"loss": 0.5, "message": "trained"})
    assert (out.last["message"], out.last["loss"]) == ("trained", 0.5)


def test_without_fmt_keys(formatted: Callable[..., Written], events: list[dict[str, Any]]):
    """The line is the one that our handler makes."""
    out = formatted()
    out.log.addHandler(asynclog.stdlib.Handler())
    try:
        raise ValueError("bad")
    except ValueError:
        out.log.exception("hello %d", 1, extra={"a": [1], "level": "mine", "event": "mine"})
    out.log.info({"a": 1, "event": {"b": 2}})
    out.log.info("%d", "x")
    lines = [json.loads(line) for line in out.stream.getvalue().splitlines()]
    assert lines == events
    assert [list(line) for line in lines] == [list(event) for event in events]


@pytest.mark.parametrize("keys", [None, {"level": "levelname"}])
def test_values(formatted: Callable[..., Written], keys: Any):
    """NaN, dates, bytes, sets, cycles, huge texts, lone surrogates, what raises: valid JSON."""

    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    cycle: list[Any] = []
    cycle.append(cycle)
    out = formatted(fmt_keys=keys)
    out.log.info(
        "hello \udcff",
        extra={
            "nan": float("nan"),
            "when": datetime(2026, 1, 31, tzinfo=UTC),
            "raw": b"\xff",
            "some": {1},
            "cycle": cycle,
            "big": "x" * 10**6,
            "broken": Broken(),
            "keys": {(1, 2): 3, None: 4},
            "huge": 10**400,
        },
    )
    result = out.last
    assert result["nan"] == "NaN"
    assert result["when"] == "2026-01-31T00:00:00+00:00"
    assert result["broken"] == "<unprintable Broken: ValueError>"
    assert result["keys"] == {"(1, 2)": 3, "None": 4}
    assert result["truncated"] is True
    assert len(out.stream.getvalue()) <= 65536


@pytest.mark.parametrize("keys", [None, {"level": "levelname"}])
def test_wrong_formats(formatted: Callable[..., Written], keys: Any):
    """A format that does not fit its arguments is named; nothing is raised or printed."""
    out = formatted(fmt_keys=keys)
    out.log.info("%d items", "many")
    assert out.last["log_error"].startswith("formatting: TypeError")
    assert out.last["positional_args"] == ["many"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.integers(), children),
    max_leaves=20,
)
NAMES = st.text(min_size=1).filter(lambda name: name not in vars(logging.makeLogRecord({})))


@pytest.mark.slow
@given(
    st.text() | st.dictionaries(st.text(), VALUES),
    st.dictionaries(NAMES.filter(lambda n: n not in ("message", "asctime")), VALUES),
    st.none() | st.dictionaries(st.text(), st.text()),
)
def test_any_record(message: Any, extra: Any, keys: Any):
    """Whatever is logged, under whatever names: one line of strict JSON."""
    out = Written(fmt_keys=keys)
    out.log.info(message, extra=extra)
    assert out.stream.getvalue().count("\n") == 1
    assert isinstance(out.last, dict)


def test_by_dict_config(tmp_path: Any):
    """As ``()`` of a formatter, the way the formatter's argument is known from."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": "asynclog.stdlib.JSONFormatter", "fmt_keys": FMT_KEYS}},
            "handlers": {
                "file": {
                    "class": "logging.handlers.RotatingFileHandler",
                    "formatter": "json",
                    "filename": str(tmp_path / "app.jsonl"),
                    "maxBytes": 10000,
                    "backupCount": 3,
                }
            },
            "loggers": {"tests.config": {"level": "DEBUG", "handlers": ["file"]}},
        }
    )
    logger = logging.getLogger("tests.config")
    logger.warning("hello")
    logger.handlers[0].close()
    [line] = (tmp_path / "app.jsonl").read_text().splitlines()
    assert json.loads(line)["message"] == "hello"


@pytest.mark.parametrize(
    "keys", ["levelname", ["levelname"], 3, {"level": 3}, {3: "levelname"}, {"level": None}]
)
def test_wrong_arguments(keys: Any):
    """What maps no names to names is refused."""
    with pytest.raises(asynclog.SettingError, match="fmt_keys must map names"):
        JSONFormatter(fmt_keys=keys)
