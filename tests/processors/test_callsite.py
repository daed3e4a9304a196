"""AddCallsite: where a record was made."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

import asynclog
from asynclog.processors import AddCallsite
from asynclog.testing import capture_events


def line_here() -> int:
    """Return the number of the caller's line."""
    return sys._getframe(1).f_lineno


class Loader:
    """Logs in a method."""

    def open(self, log: Any, **fields: Any) -> int:
        """Log and return the line of it."""
        log.info("x", **fields); return line_here()  # fmt: skip # noqa: E702


@pytest.fixture
def events() -> Any:
    """Collect what is logged through a chain with the processor only."""
    asynclog.configure(processors=[AddCallsite()])
    with capture_events() as collected:
        yield collected
    asynclog.configure(processors=[])


def test_file_line_and_function_of_the_call(events: list[dict[str, Any]]) -> None:
    """The function with its class, by our loggers and by structlog's."""
    for log in (asynclog.get_logger("app"), structlog.get_logger("app")):
        line = Loader().open(log)
        event = events.pop()
        assert event["file"] == __file__
        assert event["line"] == line
        assert event["function"] == "Loader.open"


@pytest.mark.anyio
async def test_awaited_calls(events: list[dict[str, Any]]) -> None:
    """The frame that awaits, on every event loop."""
    log = asynclog.get_logger("app")
    await log.ainfo("x")
    await anyio.lowlevel.checkpoint()
    await log.alog(20, "y")
    assert [event["line"] for event in events] == [line_here() - 3, line_here() - 1]
    assert {event["function"] for event in events} == {test_awaited_calls.__qualname__}


def test_every_method_is_looked_through(events: list[dict[str, Any]]) -> None:
    """However many frames of ours are in between."""
    log = asynclog.get_logger("app")
    try:
        raise ValueError
    except ValueError:
        log.exception("x")
    log.log(30, "x")
    log.bind(a=1).error("x")
    log.critical("x")
    assert {event["function"] for event in events} == {
        test_every_method_is_looked_through.__qualname__
    }


def test_a_record_that_has_a_place_keeps_it(events: list[dict[str, Any]]) -> None:
    """Whole: the line of one file with the name of another helps nobody."""
    asynclog.get_logger("app").info("x", file="data.csv")
    assert events[0]["file"] == "data.csv"
    assert "line" not in events[0]
    assert "function" not in events[0]


def test_records_of_logging_bring_their_own(events: list[dict[str, Any]]) -> None:
    """The place of the call in the library, not that of the handler."""
    stdlib = pytest.importorskip("asynclog.stdlib")
    logger = logging.Logger("library")
    logger.addHandler(stdlib.Handler())
    logger.warning("x")
    assert (events[0]["file"], events[0]["line"]) == (__file__, line_here() - 1)


def test_thread_process_and_module_are_there_for_the_asking() -> None:
    """The main process has no name worth a field."""
    processor = AddCallsite(["module", "thread", "pid", "process"])
    seen: list[Any] = []

    def work() -> None:
        seen.append(dict(processor(None, "info", {})))

    thread = threading.Thread(target=work, name="worker-7")
    thread.start()
    thread.join()
    assert seen == [{"module": __name__, "thread": "worker-7", "pid": os.getpid()}]
    multiprocessing.current_process().name = "Loader-1"
    try:
        work()
    finally:
        multiprocessing.current_process().name = "MainProcess"
    assert seen[1]["process"] == "Loader-1"
    assert processor(None, "info", {"thread": "mine"})["thread"] == "mine"


def test_code_without_a_module_is_somebodys() -> None:
    """Executed text whose globals name no module, or something else."""
    processor = AddCallsite(["file", "module"])
    for name in ({}, {"__name__": None}, {"__name__": 7}):
        scope: dict[str, Any] = {"run": lambda: processor(None, "info", {}), **name}
        exec(compile("result = run()", "<here>", "exec"), scope)
        assert scope["result"]["file"] == __file__


def test_a_formatter_finds_it(run_dir: Path) -> None:
    """Under the names that a logging.Formatter knows."""
    formatter = logging.Formatter(
        "%(pathname)s|%(filename)s|%(module)s|%(lineno)d|%(funcName)s|%(threadName)s|%(process)d"
    )
    processor = AddCallsite(["file", "line", "function", "thread", "pid"])
    sink = asynclog.TextFile(format=formatter)
    with asynclog.Pipeline(run_dir, sinks=[sink], processors=[processor]) as pipeline:
        line = Loader().open(pipeline.get_logger("app"))
    path = Path(__file__)
    assert (run_dir / "events.log").read_text() == (
        f"{path}|{path.name}|{path.stem}|{line}|Loader.open|MainThread|{os.getpid()}\n"
    )


def test_under_plain_structlog() -> None:
    """structlog's frames are none of the user's."""
    structlog.configure(
        processors=[AddCallsite(), structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.testing.CapturingLoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    log = structlog.get_logger()
    line = Loader().open(log)
    [call] = log.bind()._logger.calls
    assert call.kwargs["extra"]["line"] == line


@pytest.mark.parametrize("fields", [[], ["lineno"], "thread name", [3]])
def test_unknown_fields_are_refused(fields: Any) -> None:
    """With what there is to choose from."""
    with pytest.raises(asynclog.SettingError, match="fields must name some of file, line, "):
        AddCallsite(fields)


def test_one_field_may_be_given_as_it_is() -> None:
    """A text is not taken for a list of letters."""
    assert AddCallsite("line").fields == ("line",)
