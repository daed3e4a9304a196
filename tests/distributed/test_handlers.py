"""The launcher's handlers of logging: filters, redirection to loggers, files of each process."""

from __future__ import annotations

import logging
import os
import pickle
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asynclog.distributed.handlers import (
    RedirectHandler,
    default_handlers,
    file_handlers,
    get_handler_filter,
)
from asynclog.exceptions import SettingError

HOST = os.uname().nodename


def _record(
    text: str = "hello",
    hostname: str = HOST,
    local_rank: int | None = None,
    level: int = logging.INFO,
    name: str = "asynclog.node.here",
) -> logging.LogRecord:
    record = logging.LogRecord(name, level, "", 0, text, None, None)
    record.hostname, record.local_rank = hostname, local_rank
    return record


def _hand(handlers: list[logging.Handler], *records: logging.LogRecord) -> None:
    for record in records:
        for handler in handlers:
            handler.handle(record)
    for handler in handlers:
        handler.close()


def _files(directory: Path) -> dict[str, str]:
    [place] = directory.iterdir()
    return {path.name: path.read_text() for path in place.iterdir()}


class _List(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Return a logger that nobody else has, put back afterwards."""
    found = logging.getLogger("asynclog.node.here")
    yield found
    found.handlers.clear()
    found.filters.clear()
    found.propagate = True
    found.setLevel(logging.NOTSET)


def test_filter() -> None:
    """A filter lets the records of one process pass, from a level on; None is the launcher's."""
    agent = get_handler_filter("node1", None)
    worker = get_handler_filter("node1", 1, "WARNING")
    assert agent(_record(hostname="node1"))
    assert not agent(_record(hostname="node1", local_rank=0))
    assert not agent(_record(hostname="node2"))
    assert worker(_record(hostname="node1", local_rank=1, level=logging.ERROR))
    assert not worker(_record(hostname="node1", local_rank=1))
    assert pickle.loads(pickle.dumps(worker))(_record("x", "node1", 1, logging.ERROR))


def test_filter_of_foreign_records() -> None:
    """A record that names no machine comes from no process of the job."""
    record = logging.LogRecord("app", logging.INFO, "", 0, "hello", None, None)
    assert not get_handler_filter("node1", None)(record)


def test_filter_checks_its_level() -> None:
    """A level that does not exist is refused at once."""
    with pytest.raises(SettingError, match="log_level must be one of"):
        get_handler_filter("node1", 0, "LOUD")


def test_redirect(logger: logging.Logger) -> None:
    """A record goes to the logger of its name, whose level, filters and handlers count."""
    shown = _List()
    logger.addHandler(shown)
    logger.setLevel("WARNING")
    logger.addFilter(lambda record: "secret" not in record.getMessage())
    redirect = RedirectHandler()
    redirect.handle(_record("quiet"))
    redirect.handle(_record("secret", level=logging.ERROR))
    redirect.handle(_record("loud", level=logging.ERROR))
    assert [record.getMessage() for record in shown.records] == ["loud"]


def test_redirect_to_nobody(logger: logging.Logger, capfd: pytest.CaptureFixture[str]) -> None:
    """Where no handler is set up nothing is shown, not even by logging's last resort."""
    logger.propagate = False
    RedirectHandler().handle(_record(level=logging.ERROR))
    assert capfd.readouterr() == ("", "")


def test_files(tmp_path: Path) -> None:
    """Each process has a file, named by machine and rank, in a directory named by the time."""
    handlers = file_handlers(log_dir=tmp_path / "own")
    _hand(handlers, _record("one"), _record("two", local_rank=3), _record("three", "a.b", 0))
    [place] = (tmp_path / "own").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", place.name)
    files = _files(tmp_path / "own")
    assert set(files) == {f"{HOST}.log", f"{HOST}[3].log", "a.b[0].log"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:INFO: two\n", files[f"{HOST}[3].log"])
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} <= {0o640, 0o600}


def test_files_of_chosen_workers(tmp_path: Path) -> None:
    """With machines and their numbers of ranks given, other processes get no file."""
    handlers = file_handlers(["a", "b"], [1, 0], tmp_path / "own")
    records = [_record(hostname=host, local_rank=rank) for host in "abc" for rank in (None, 0, 1)]
    _hand(handlers, *records)
    assert set(_files(tmp_path / "own")) == {"a.log", "a[0].log", "b.log"}


def test_files_have_a_level(tmp_path: Path) -> None:
    """Records below the level are left out, and so are those of other programs."""
    foreign = logging.LogRecord("app", logging.ERROR, "", 0, "foreign", None, None)
    handlers = file_handlers(log_dir=tmp_path / "own", log_level="WARNING")
    _hand(handlers, _record("low"), _record("high", level=logging.ERROR), foreign)
    [text] = _files(tmp_path / "own").values()
    assert text.endswith("ERROR: high\n")
    assert text.count("\n") == 1


def test_files_are_readable_at_once(tmp_path: Path) -> None:
    """What was handed over is in the file, though whoever did it may be killed now."""
    [handler] = file_handlers(log_dir=tmp_path / "own")
    handler.handle(_record("hello"))
    [text] = _files(tmp_path / "own").values()
    handler.close()
    assert text.endswith("hello\n")


def test_file_names_stay_in_the_directory(tmp_path: Path) -> None:
    """A machine's name cannot lead elsewhere, nor can a link in the file's place."""
    handlers = file_handlers(log_dir=tmp_path / "own")
    _hand(handlers, _record(hostname="../../x"), _record(hostname=".."), _record(hostname="/etc/y"))
    assert set(_files(tmp_path / "own")) == {"_.._x.log", "_.log", "_etc_y.log"}


def test_link_in_the_files_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A link where a file should be is not followed, and this is said."""
    handlers = file_handlers(log_dir=tmp_path / "own")
    [place] = (tmp_path / "own").iterdir()
    (place / f"{HOST}.log").symlink_to(tmp_path / "victim")
    _hand(handlers, _record())
    assert not (tmp_path / "victim").exists()
    assert "the record is left out" in capfd.readouterr().err


def test_number_of_files_is_bounded(tmp_path: Path) -> None:
    """Ranks without end, made up by a program's own field, do not use up the descriptors."""
    handlers = file_handlers(log_dir=tmp_path / "own")
    _hand(handlers, *2 * [_record(f"n{rank}", local_rank=rank) for rank in range(300)])
    files = _files(tmp_path / "own")
    assert len(files) == 257
    assert files[f"{HOST}.log"].count("\n") == 2 * 44
    assert files[f"{HOST}[255].log"].count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("node1", [1]), "hostnames must be some names of machines, got: 'node1'"),
        (([], []), "hostnames must be"),
        ((["a"], None), "workers_per_host must be a number for each of hostnames"),
        ((["a"], [1, 2]), "workers_per_host must be"),
        ((["a"], [-1]), "workers_per_host must be"),
        ((["a"], ["2"]), "workers_per_host must be"),
    ],
)
def test_machines_are_checked(arguments: Any, error: str, tmp_path: Path) -> None:
    """Names and numbers that do not fit together are refused, by name."""
    with pytest.raises(SettingError, match=re.escape(error)):
        file_handlers(*arguments, log_dir=tmp_path)
    with pytest.raises(SettingError, match=re.escape(error)):
        default_handlers(*arguments)


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A directory that cannot be made is an error at once, with its name."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(SettingError, match=r"log_dir must be a directory .*taken"):
        file_handlers(log_dir=tmp_path / "taken")


def test_default_handlers(logger: logging.Logger) -> None:
    """By default the first machine's launcher and rank 0 reach the loggers; no files are made."""
    shown = _List()
    logger.addHandler(shown)
    logger.setLevel("DEBUG")
    handlers = default_handlers(["a", "b"], [2, 2])
    records = [_record(f"{h} {r}", h, r) for h in "ab" for r in (None, 0, 1)]
    _hand(handlers, *records)
    assert [record.getMessage() for record in shown.records] == ["a None", "a 0"]


def test_default_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are made where ASYNCLOG_LOG_DIR says, from ASYNCLOG_LEVEL on; empty is none."""
    records = [_record("low", local_rank=1), _record("high", local_rank=1, level=logging.ERROR)]
    monkeypatch.setenv("ASYNCLOG_LOG_DIR", "")
    assert len(default_handlers()) == 2
    for number, (level, count) in enumerate((("WARNING", 1), ("40", 1), ("info", 2), ("", 2))):
        monkeypatch.setenv("ASYNCLOG_LOG_DIR", str(tmp_path / str(number)))
        monkeypatch.setenv("ASYNCLOG_LEVEL", level)
        _hand(default_handlers(), *records)
        assert _files(tmp_path / str(number))[f"{HOST}[1].log"].count("\n") == count


@pytest.mark.parametrize("level", ["LOUD", "-5", "1.5", "INFO,DEBUG"])
def test_default_level_is_checked(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level in the environment that is none is an error, with or without files."""
    monkeypatch.setenv("ASYNCLOG_LEVEL", level)
    with pytest.raises(SettingError, match="ASYNCLOG_LEVEL must be one of debug, info"):
        default_handlers()
