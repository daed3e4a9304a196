"""Handler in logging's own configurations: those of its documentation, with ours put in."""

from __future__ import annotations

import configparser
import io
import logging
import logging.config
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog import JsonlFile, Pipeline
from asynclog.stdlib import Handler
from asynclog.testing import RecordingSink

Last = Callable[[], dict[str, Any]]

# https://docs.python.org/3/howto/logging.html#configuring-logging, the class exchanged and
# ``stream`` left out.
HOWTO = """
version: 1
formatters:
  simple:
    format: '%(asctime)s - %(name)s - %(levelname)s - %(message)s'
handlers:
  console:
    class: asynclog.stdlib.Handler
    level: DEBUG
    formatter: simple
loggers:
  simpleExample:
    level: DEBUG
    handlers: [console]
    propagate: no
root:
  level: DEBUG
  handlers: [console]
"""

# https://docs.python.org/3/library/logging.config.html#logging-config-dict-connections, with our
# handler beside the others.
REFERENCE = """
version: 1
formatters:
  brief:
    format: '%(message)s'
  default:
    format: '%(asctime)s %(levelname)-8s %(name)-15s %(message)s'
    datefmt: '%Y-%m-%d %H:%M:%S'
filters:
  allow_foo:
    name: foo
handlers:
  console:
    class : logging.StreamHandler
    formatter: brief
    level   : INFO
    filters: [allow_foo]
    stream  : ext://sys.stdout
  file:
    class : logging.handlers.RotatingFileHandler
    formatter: default
    filename: logconfig.log
    maxBytes: 1024
    backupCount: 3
  events:
    class: asynclog.stdlib.Handler
    formatter: default
    level: INFO
    filters: [allow_foo]
loggers:
  foo:
    level: DEBUG
    handlers: [console, file, events]
    propagate: no
"""

# The same as a file of logging.config.fileConfig, in the format of the reference.
INI = """
[loggers]
keys=root,simpleExample

[handlers]
keys=consoleHandler

[formatters]
keys=simpleFormatter

[logger_root]
level=DEBUG
handlers=consoleHandler

[logger_simpleExample]
level=DEBUG
handlers=consoleHandler
qualname=simpleExample
propagate=0

[handler_consoleHandler]
class=asynclog.stdlib.Handler
level=DEBUG
formatter=simpleFormatter
args=()

[formatter_simpleFormatter]
format=%(asctime)s - %(name)s - %(levelname)s - %(message)s
"""


def configure(text: str) -> None:
    """Configure logging as the documentation does."""
    yaml = pytest.importorskip("yaml")
    logging.config.dictConfig(yaml.safe_load(text))


def the_example_program() -> None:
    """The example program of the documentation."""
    logger = logging.getLogger("simpleExample")
    logger.debug("debug message")
    logger.info("info message")
    logger.warning("warn message")
    logger.error("error message")
    logger.critical("critical message")


def assert_the_example(events: list[dict[str, Any]]) -> None:
    """Check what the example program logs."""
    assert [(event["level"], event["event"], event["logger"]) for event in events] == [
        ("debug", "debug message", "simpleExample"),
        ("info", "info message", "simpleExample"),
        ("warning", "warn message", "simpleExample"),
        ("error", "error message", "simpleExample"),
        ("critical", "critical message", "simpleExample"),
    ]


def test_the_howto(events: list[dict[str, Any]]):
    """The example of the how-to: each record once, in order."""
    configure(HOWTO)
    the_example_program()
    assert_the_example(events)
    logging.getLogger("tests.howto.new").info("hello")
    assert events[-1]["logger"] == "tests.howto.new"


def test_the_reference(events: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]):
    """Beside a console and a rotating file, with level and filter of its own."""
    configure(REFERENCE)
    logger = logging.getLogger("foo")
    logger.debug("for the file only")
    logger.info("for all", extra={"a": 1})
    logging.getLogger("foo.bar").warning("for all")
    for handler in logger.handlers:
        handler.close()
    assert [event["event"] for event in events] == ["for all", "for all"]
    assert events[0]["a"] == 1
    assert "for the file only" in Path("logconfig.log").read_text()


@pytest.mark.parametrize("as_object", [False, True])
def test_file_config(events: list[dict[str, Any]], tmp_path: Path, as_object: bool):
    """The older way, from an .ini file."""
    if as_object:
        parser = configparser.RawConfigParser()
        parser.read_file(io.StringIO(INI))
        logging.config.fileConfig(parser, disable_existing_loggers=False)
    else:
        (tmp_path / "logging.ini").write_text(INI)
        logging.config.fileConfig(tmp_path / "logging.ini", disable_existing_loggers=False)
    the_example_program()
    assert_the_example(events)


def test_configured_again(events: list[dict[str, Any]]):
    """Handlers of the configuration before are closed and gone; nothing comes twice."""
    for _ in range(3):
        configure(HOWTO)
    the_example_program()
    assert_the_example(events)


def test_configured_while_it_runs(tmp_path: Path):
    """dictConfig flushes and closes the old handlers; the pipeline goes on."""
    with asynclog.running(tmp_path / "run", sinks=[JsonlFile()], level="DEBUG"):
        for _ in range(3):
            configure(HOWTO)
            the_example_program()
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    assert len(lines) == 15


def test_incremental(events: list[dict[str, Any]]):
    """A level changed by an incremental configuration."""
    configure(HOWTO)
    logging.config.dictConfig(
        {"version": 1, "incremental": True, "handlers": {"console": {"level": "ERROR"}}}
    )
    the_example_program()
    assert [event["level"] for event in events] == ["error", "critical"]


def test_a_pipeline_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``ext://`` and ``()`` reach our arguments."""
    sink = RecordingSink()
    with Pipeline(tmp_path / "own", sinks=[sink]) as pipeline:
        monkeypatch.setitem(sys.modules, "of_the_test", _Module(pipeline))
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {
                    "a": {"class": "asynclog.stdlib.Handler", "pipeline": "ext://of_the_test.p"},
                    "b": {"()": Handler, "pipeline": pipeline},
                },
                "loggers": {
                    "by.ext": {"handlers": ["a"], "propagate": False},
                    "by.call": {"handlers": ["b"], "propagate": False},
                },
            }
        )
        logging.getLogger("by.ext").warning("one")
        logging.getLogger("by.call").warning("two")
        assert [event["event"] for event in sink.wait_for_sync(2)] == ["one", "two"]


class _Module:
    """Stands for a module of the program."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.p = pipeline


@pytest.mark.skipif(sys.version_info < (3, 12), reason="dictConfig makes no listener before 3.12")
def test_queue_handler(events: list[dict[str, Any]]):
    """Behind dictConfig's QueueHandler, whose listener hands the records on."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "events": {"class": "asynclog.stdlib.Handler", "level": "INFO"},
                "queue": {
                    "class": "logging.handlers.QueueHandler",
                    "handlers": ["events"],
                    "respect_handler_level": True,
                },
            },
            "loggers": {"queued": {"level": "DEBUG", "handlers": ["queue"], "propagate": False}},
        }
    )
    logger = logging.getLogger("queued")
    listener: Any = logger.handlers[0].listener  # type: ignore[attr-defined]
    listener.start()
    logger.debug("no")
    logger.info("hello %s", "x", extra={"a": 1})
    listener.stop()
    [event] = events
    assert (event["event"], event["a"], event["thread"]) == ("hello x", 1, "MainThread")


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ({"level": "LOUD"}, "LOUD"),
        ({"pipeline": "mine"}, "pipeline must be a Pipeline"),
        ({"filename": "x.log"}, "filename"),
    ],
)
def test_wrong_settings(handler: Any, message: str):
    """dictConfig names the handler, and the cause what is wrong with it."""
    with pytest.raises(ValueError, match="Unable to configure handler 'events'") as caught:
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"events": {"class": "asynclog.stdlib.Handler", **handler}},
            }
        )
    assert message in str(caught.value.__cause__)
