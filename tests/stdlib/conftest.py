"""What the tests of the logging bridge share: logging as it was, and a pipeline that records."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import asynclog
from asynclog.stdlib import Handler, install, temporary
from asynclog.testing import RecordingSink, capture_events


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Put logging and warnings back; pytest's own handlers are on the root logger, too."""
    root = logging.getLogger()
    handlers, level, show = root.handlers[:], root.level, warnings.showwarning
    names = logging.getLevelNamesMapping()
    known = set(root.manager.loggerDict)
    states = {
        name: (logger.level, logger.handlers[:], logger.propagate, logger.disabled)
        for name, logger in root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    warnings.showwarning = show
    logging.disable(logging.NOTSET)
    logging.captureWarnings(False)
    for name in logging.getLevelNamesMapping().keys() - names.keys():
        number = logging._nameToLevel.pop(name)
        logging._levelToName.pop(number, None)
    for name, logger in root.manager.loggerDict.items():
        if not isinstance(logger, logging.Logger):
            continue
        if name in states:
            state = states[name]
            logger.setLevel(state[0])
            logger.handlers[:], logger.propagate, logger.disabled = state[1], state[2], state[3]
        elif name not in known:
            logger.setLevel(logging.NOTSET)
            logger.handlers.clear()
            logger.propagate, logger.disabled = True, False
    install._changes.clear()
    install._handler = None
    temporary.leave()


@pytest.fixture
def handler() -> Handler:
    """Return a handler for the default pipeline."""
    return Handler()


@pytest.fixture
def log(handler: Handler) -> logging.Logger:
    """Return a logger of the standard library whose records go to the default pipeline only.

    Not one of getLogger()'s: pytest puts handlers of its own on them, which fail the test where a
    record cannot be formatted.
    """
    logger = logging.Logger("tests.stdlib", logging.DEBUG)
    logger.addHandler(handler)
    return logger


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """Yield what is logged, as a file would have it; nothing is started."""
    with capture_events() as events:
        yield events


@pytest.fixture
def last(events: list[dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Return a function that gives the last event, which must be the only new one."""

    def last() -> dict[str, Any]:
        [event] = events
        events.clear()
        return event

    return last


@pytest.fixture
def sink(tmp_path: Any) -> Iterator[RecordingSink]:
    """Yield the only sink of the default pipeline, which runs at level debug."""
    recorder = RecordingSink()
    with asynclog.running(tmp_path / "run", sinks=[recorder], level="DEBUG"):
        yield recorder


@pytest.fixture
def root_handler(handler: Handler) -> Handler:
    """Return a handler that is on the root logger, whose level is debug, beside pytest's."""
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    return handler


@pytest.fixture
def run_python(tmp_path: Any) -> Callable[..., Any]:
    """Return a function that runs a program of its own and returns what came of it."""

    def run(code: str, *, check: bool = True, timeout: float = 60, **environment: str) -> Any:
        path = tmp_path / "program.py"
        path.write_text(code, encoding="utf-8")
        result = subprocess.run(
            # Python 3.12 warns of every fork in a process with threads
            [sys.executable, "-W", "ignore::DeprecationWarning", str(path)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or result.returncode == 0, result.stderr
        return result

    return run
