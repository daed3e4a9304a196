"""setup_results_logging: a directory of its own for each run."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog.stdlib import setup_results_logging
from asynclog.stdlib.results import NOISY_LOGGERS


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOG_LEVEL", "LOG_JSON"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str]) -> Callable[[Path], list[str]]:
    """Return a function that gives loggers and texts in a directory's file."""

    def logged(directory: Path) -> list[str]:
        asynclog.flush_sync()
        capfd.readouterr()
        text = (directory / "error_log.jsonl").read_text(encoding="utf-8")
        return [f"{e['logger']}: {e['event']}" for e in map(json.loads, text.splitlines())]

    return logged


def test_directory_and_file(tmp_path: Path, logged: Callable[[Path], list[str]]):
    """The directory carries name and time in UTC; the file everything that is logged."""
    before = datetime.now(UTC).replace(microsecond=0)
    directory = setup_results_logging("my-exp")
    assert directory.is_absolute()
    assert directory.parent == tmp_path / "results"
    match = re.fullmatch(r"my-exp_(\d{8}-\d{6})", directory.name)
    assert match
    made = datetime.strptime(match[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert before <= made <= datetime.now(UTC)
    logging.getLogger("app").info("hello")
    logging.getLogger("app").debug("no")
    logging.getLogger("app").error("oh")
    assert logged(directory) == ["app: hello", "app: oh"]
    asynclog.stop_sync()
    assert [path.name for path in directory.iterdir()] == ["error_log.jsonl"]


def test_two_in_one_second(tmp_path: Path, logged: Callable[[Path], list[str]]):
    """Every call has a directory of its own; records go to the last one."""
    directories = [setup_results_logging("x", tmp_path / "base") for _ in range(4)]
    assert len(set(directories)) == 4
    logging.getLogger("app").info("hello")
    assert [logged(directory) for directory in directories] == [[], [], [], ["app: hello"]]


def test_at_the_same_time(tmp_path: Path):
    """From several threads, too."""
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(setup_results_logging("x"))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 5


def test_noisy_clients_are_quiet(logged: Callable[[Path], list[str]]):
    """They log warnings and above; everybody else as before."""
    directory = setup_results_logging("x", level="DEBUG")
    for name in (*NOISY_LOGGERS, "app"):
        logging.getLogger(f"{name}.child").info("info")
    logging.getLogger("httpx").warning("warning")
    assert logged(directory) == ["app.child: info", "httpx: warning"]


def test_unless_told_otherwise(logged: Callable[[Path], list[str]]):
    """A level given for one of them counts; so does quiet=False."""
    directory = setup_results_logging("x", logger_levels={"httpx": "INFO", "app": "ERROR"})
    logging.getLogger("httpx").info("yes")
    logging.getLogger("urllib3").info("no")
    logging.getLogger("app").warning("no")
    assert logged(directory) == ["httpx: yes"]
    directory = setup_results_logging("x", quiet=False)
    logging.getLogger("urllib3").info("yes")
    logging.getLogger("app").warning("yes")
    assert logged(directory) == ["urllib3: yes", "app: yes"]


def test_quiet_does_not_make_louder(logged: Callable[[Path], list[str]]):
    """At level error the clients' warnings stay away as well."""
    directory = setup_results_logging("x", level="ERROR")
    logging.getLogger("httpx").warning("no")
    logging.getLogger("httpx").error("yes")
    assert logged(directory) == ["httpx: yes"]


def test_real_httpx(logged: Callable[[Path], list[str]]):
    """httpx's line for each request is not there."""
    httpx = pytest.importorskip("httpx")
    directory = setup_results_logging("x")
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        client.get("http://localhost/")
    assert logged(directory) == []


@pytest.mark.parametrize(
    "name",
    ["", "..", ".", "../x", "a/b", "/a", "a\\b", ".hidden", "-x", "a..b", "a b", "a\n", "a\x00",
     "x" * 101, "ä", 3, None, b"x"],
)  # fmt: skip
def test_wrong_names(name: Any, tmp_path: Path):
    """Nothing that leads elsewhere or is hard to type; nothing is made."""
    with pytest.raises(asynclog.SettingError, match=r"^name must be 1 to 100 letters"):
        setup_results_logging(name)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base": ""}, "base must be the path of a directory"),
        ({"base": 3}, "base must be the path of a directory"),
        ({"base": "/proc/none"}, "base must be a directory that can be made and written"),
        ({"quiet": "yes"}, "quiet must be True or False"),
        ({"level": "LOUD"}, "level must be one of"),
        ({"logger_levels": {"a": "LOUD"}}, r"logger_levels\['a'\] must be one of"),
        ({"use_json": 1}, "use_json must be True or False"),
    ],
)
def test_wrong_arguments(arguments: Any, message: str, tmp_path: Path):
    """The error names the argument; nothing is made."""
    with pytest.raises(asynclog.SettingError, match=f"^{message}"):
        setup_results_logging("x", **arguments)
    assert not (tmp_path / "results").exists()


def test_nothing_is_left_when_it_cannot_start(tmp_path: Path):
    """The directory goes when the program has a pipeline of its own."""
    running = asynclog.running(tmp_path / "run", sinks=[asynclog.JsonlFile()])
    with running, pytest.raises(asynclog.AlreadyStartedError):
        setup_results_logging("x")
    assert list((tmp_path / "results").iterdir()) == []
