"""Who chooses the launcher's handlers, and how they get what a batch holds."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from asynclog.collector.batch import Batch
from asynclog.distributed.node_loggers import NodeLoggers, factory_of, made_by
from asynclog.exceptions import SettingError
from asynclog.typing import Run

FACTORIES = """
import logging

class Holder:
    @staticmethod
    def make():
        return [logging.NullHandler()]

def raises():
    raise ValueError("oh no")

def returns():
    return 5
"""


class _List(logging.Handler):
    def __init__(self, level: str = "NOTSET") -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _Broken(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("disk on fire")


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module in the current directory, which is not on the path."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", ".")])
    (tmp_path / "choice_of_handlers.py").write_text(FACTORIES)
    monkeypatch.delitem(sys.modules, "choice_of_handlers", raising=False)
    return "choice_of_handlers"


def _give(handlers: list[logging.Handler], *lines: str, host: str = "node1") -> None:
    loggers = NodeLoggers(handlers)
    loggers.open(Run(Path("/run"), "run", datetime.now(UTC), host, 1))
    loggers.write_blocking(Batch("".join(f"{line}\n" for line in lines).encode()))
    loggers.close()


def test_factory(factories: str) -> None:
    """A function is found by its place, in a module of the current directory."""
    [handler] = made_by(factory_of(f"{factories}:Holder.make"))
    assert isinstance(handler, logging.NullHandler)


def test_none() -> None:
    """No handlers can be chosen."""
    assert made_by(factory_of("none")) == []


def test_auto_without_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default nothing is handed to loggers that would show nothing."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert made_by(factory_of("auto")) == []
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    assert len(made_by(factory_of("auto"))) == 2


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("sometimes", 'handlers must be "auto", "none" or the place of a function'),
        ("", 'handlers must be "auto"'),
        (":f", 'handlers must be "auto"'),
        ("nowhere:at_all", "ModuleNotFoundError: No module named 'nowhere'"),
        ("{}:missing", "has no attribute 'missing'"),
        ("{}:logging", "must name a function, got"),
        ("{}:raises", "must not raise .ValueError: oh no., got: 'raises'"),
        ("{}:returns", "returns.. must return a list of logging.Handler, got: 5"),
    ],
)
def test_wrong_choice(factories: str, place: str, error: str) -> None:
    """What is no factory, or a bad one, is refused with its name."""
    with pytest.raises(SettingError, match=error):
        made_by(factory_of(place.format(factories)))


def test_raising_handler(capfd: pytest.CaptureFixture[str]) -> None:
    """A handler that raises is named, and the next one gets every record all the same."""
    shown = _List()
    _give([_Broken(), shown], '{"event":"one"}', '{"event":"two"}')
    assert [record.getMessage() for record in shown.records] == ["one", "two"]
    assert "_Broken raised RuntimeError: disk on fire" in capfd.readouterr().err


def test_level_of_a_handler() -> None:
    """A handler's own level counts, as it does in logging."""
    shown = _List("ERROR")
    _give([shown], '{"level":"info","event":"one"}', '{"level":"error","event":"two"}')
    assert [record.getMessage() for record in shown.records] == ["two"]


def test_record() -> None:
    """A record has the worker's time, place and fields, and names its process."""
    shown = _List()
    line = (
        '{"timestamp":"2026-01-31T12:00:00.250000Z","level":"warning","event":"slow","logger":"a.b",'
        '"loss":0.5,"rank":9,"local_rank":1,"world_size":16,"host":"x","pid":7,'
        '"file":"/src/train.py","line":3,"function":"step","thread":"MainThread"}'
    )
    _give([shown], line, host="node1.example.com")
    [record] = shown.records
    assert record.name == "asynclog.node.node1_example_com.1"
    assert record.getMessage() == "a.b:slow  loss=0.5"
    assert (record.levelno, record.levelname) == (logging.WARNING, "WARNING")
    assert record.created == datetime(2026, 1, 31, 12, 0, 0, 250_000, UTC).timestamp()
    assert (record.pathname, record.lineno, record.process) == ("/src/train.py", 3, 7)
    found = vars(record)
    assert (found["hostname"], found["local_rank"], found["rank"]) == ("node1.example.com", 1, 9)
    assert found["loss"] == 0.5


def test_rank_without_a_local_one() -> None:
    """Where nobody tells the local rank, a process is named by the global one."""
    shown = _List()
    _give(
        [shown], '{"event":"one","rank":3}', '{"event":"two","rank":-1}', '{"event":"x","rank":"a"}'
    )
    names = [record.name for record in shown.records]
    assert names == ["asynclog.node.node1.3", "asynclog.node.node1", "asynclog.node.node1"]


def test_a_message_forges_no_line() -> None:
    """Line ends and control characters in texts are spelled out."""
    shown = _List()
    _give(
        [shown], r'{"event":"a\nb\u001b[2J","logger":"x\ny"}', r'{"kind":"output","event":"c\rd"}'
    )
    texts = [record.getMessage() for record in shown.records]
    assert texts == [r"x\ny:a\nb\x1b[2J", r"c\rd"]
