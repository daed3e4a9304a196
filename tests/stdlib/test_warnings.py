"""capture_warnings: Python's warnings as events, and back again."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import asynclog
from asynclog.stdlib import Handler, capture_warnings

Last = Callable[[], dict[str, Any]]


@pytest.fixture(autouse=True)
def _shown() -> Iterator[None]:
    """Show every warning, instead of raising it; pytest records what is not captured."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # what Python starts with, in the place of pytest's own
        warnings.showwarning = lambda *args: None  # type: ignore[assignment]
        yield


@pytest.fixture
def captured() -> Iterator[None]:
    """Capture warnings into the default pipeline."""
    logger = logging.getLogger("py.warnings")
    logger.addHandler(Handler())
    capture_warnings()
    yield
    capture_warnings(False)


@pytest.mark.usefixtures("captured")
def test_fields(last: Last):
    """Message, category and place are fields of their own."""
    warnings.warn("careful", DeprecationWarning, stacklevel=1)
    line = sys._getframe().f_lineno - 1
    event = last()
    assert event.pop("timestamp")
    assert event.pop("pid")
    assert event == {
        "level": "warning",
        "event": "careful",
        "logger": "py.warnings",
        "category": "DeprecationWarning",
        "file": __file__,
        "line": line,
        "thread": "MainThread",
    }


class OwnWarning(UserWarning):
    """A warning of the program's, whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("broken")


@pytest.mark.usefixtures("captured")
def test_a_warning_that_cannot_be_shown(last: Last):
    """Whoever warns notices nothing."""
    warnings.showwarning(OwnWarning(), OwnWarning, "x.py", 1)
    event = last()
    assert event["category"] == "OwnWarning"
    assert event["event"] == "<OwnWarning whose text cannot be had: ValueError: broken>"


@pytest.mark.usefixtures("captured")
def test_other_handlers(events: list[dict[str, Any]]):
    """They show one line with file, line, category and message."""
    stream = io.StringIO()
    other = logging.StreamHandler(stream)
    logging.getLogger("py.warnings").addHandler(other)
    warnings.warn("careful", stacklevel=1)
    line = sys._getframe().f_lineno - 1
    assert stream.getvalue() == f"{__file__}:{line}: UserWarning: careful\n"
    assert len(events) == 1


@pytest.mark.usefixtures("captured")
def test_levels(events: list[dict[str, Any]]):
    """logging's level and ours apply to the logger py.warnings."""
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    warnings.warn("careful", stacklevel=1)
    logging.getLogger("py.warnings").setLevel(logging.NOTSET)
    asynclog.set_level("py", "ERROR")
    warnings.warn("careful", stacklevel=1)
    assert not events


@pytest.mark.usefixtures("captured")
def test_filters_come_first(events: list[dict[str, Any]]):
    """What is ignored or an error gets nowhere."""
    warnings.simplefilter("ignore")
    warnings.warn("careful", stacklevel=1)
    warnings.simplefilter("error")
    with pytest.raises(UserWarning):
        warnings.warn("careful", stacklevel=1)
    assert not events


@pytest.mark.usefixtures("captured")
def test_warnings_for_a_file(events: list[dict[str, Any]]):
    """What is meant for a file goes there."""
    shown: list[Any] = []
    capture_warnings(False)
    warnings.showwarning = lambda *args: shown.append(args)  # type: ignore[assignment]
    capture_warnings()
    file = io.StringIO()
    warnings.showwarning("careful", UserWarning, "x.py", 1, file)
    assert shown == [("careful", UserWarning, "x.py", 1, file, None)]
    assert not events


def test_back_again(events: list[dict[str, Any]]):
    """Repeated calls change nothing; the end puts back what was there."""
    shown: list[Any] = []

    def show(*args: Any) -> None:
        shown.append(args)

    warnings.showwarning = show  # type: ignore[assignment]
    logging.getLogger("py.warnings").addHandler(Handler())
    for _ in range(2):
        capture_warnings()
        capture_warnings()
        warnings.warn("one", stacklevel=1)
        capture_warnings(False)
        assert warnings.showwarning is show
        capture_warnings(False)
        warnings.warn("two", stacklevel=1)
    assert [str(args[0]) for args in shown] == ["two", "two"]
    assert [event["event"] for event in events] == ["one", "one"]


def test_beside_catch_warnings(events: list[dict[str, Any]]):
    """A block that catches warnings, begun before or after, has its own way."""
    logging.getLogger("py.warnings").addHandler(Handler())
    with warnings.catch_warnings():
        capture_warnings()
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("caught", stacklevel=1)
        assert [str(warning.message) for warning in caught] == ["caught"]
        warnings.warn("one", stacklevel=1)
    warnings.warn("not captured any more", stacklevel=1)
    capture_warnings()
    warnings.warn("two", stacklevel=1)
    capture_warnings(False)
    assert [event["event"] for event in events] == ["one", "two"]


def test_beside_logging(events: list[dict[str, Any]]):
    """Together with logging.captureWarnings: each warning once."""
    logging.getLogger("py.warnings").addHandler(Handler())
    logging.captureWarnings(True)
    capture_warnings()
    warnings.warn("one", stacklevel=1)
    capture_warnings(False)
    warnings.warn("two", stacklevel=1)
    logging.captureWarnings(False)
    one, two = events
    assert one["event"] == "one"
    assert "UserWarning: two" in two["event"]


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_wrong_arguments(value: Any):
    """True or False, nothing else."""
    with pytest.raises(asynclog.SettingError, match="capture must be True or False"):
        capture_warnings(value)
