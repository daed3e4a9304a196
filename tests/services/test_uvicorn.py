"""uvicorn: what it logs arrives as events, once each, from all its processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from asynclog.stdlib.uvicorn import LOG_CONFIG, LOG_CONFIG_FILE

from .servers import APP, Event, Server, running

pytest.importorskip("uvicorn")

CONFIGURED = ("--log-config", str(LOG_CONFIG_FILE), "--port", "0")
SERVER_LOGGERS = ("uvicorn.error", "uvicorn.access")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with an application in it."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    return tmp_path


def nothing_left(spool_dir: Path) -> bool:
    """Say whether a spool is empty."""
    return not [path for path in spool_dir.rglob("*") if path.is_file()]


def of_server(events: list[Event]) -> Counter[str]:
    """Return how often uvicorn has logged what, numbers of processes and ports aside."""
    return Counter(
        re.sub(r"\d{2,}", "N", event["event"])
        for event in events
        if event.get("logger") in SERVER_LOGGERS
    )


def worker_that_answers(server: Server) -> int:
    """Return the pid of a worker that answers a request."""
    status, body = server.get("/")
    assert status == 200
    return int(body)


def test_the_file_is_the_configuration() -> None:
    """The command line gets the configuration that programs import, from an installed package."""
    printed = subprocess.run(
        [sys.executable, "-m", "asynclog.stdlib.uvicorn"],
        capture_output=True,
        text=True,
        check=True,
    )
    path = Path(printed.stdout.rstrip("\n"))
    assert path == LOG_CONFIG_FILE
    assert json.loads(path.read_text(encoding="utf-8")) == LOG_CONFIG


def test_one_process(directory: Path, run_dir: Path, spool_dir: Path) -> None:
    """Every line is one event, also after the application has stopped the pipeline."""
    environment = {"ASYNCLOG_RUN_DIR": str(run_dir)}
    with running(["uvicorn", "app:app", *CONFIGURED], directory, run_dir, environment) as server:
        server.get("/a%20b?x=1")
        server.get("/broken")
        events = server.stop(signal.SIGTERM)
    assert of_server(events) == {
        "Started server process [N]": 1,
        "Waiting for application startup.": 1,
        "Application startup complete.": 1,
        "Uvicorn running on http://N.0.0.1:N (Press CTRL+C to quit)": 1,
        "request": 2,
        "Exception in ASGI application\n": 1,
        "Shutting down": 1,
        "Waiting for application shutdown.": 1,
        "Application shutdown complete.": 1,
        "Finished server process [N]": 1,
    }
    assert {event["pid"] for event in events if event["logger"] in SERVER_LOGGERS} == {server.pid}
    first, second = (event for event in events if event["logger"] == "uvicorn.access")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", first["client"])
    assert (first["method"], first["path"], first["query"]) == ("GET", "/a%20b", "x=1")
    assert (first["http_version"], first["status"]) == ("1.1", 200)
    assert "query" not in second
    assert second["status"] == 500
    [failure] = [event for event in events if event["level"] == "error"]
    assert failure["exception"]["type"] == "ValueError"
    assert "\x1b" not in json.dumps(events)
    assert "color_message" not in json.dumps(events)
    assert nothing_left(spool_dir)


@pytest.mark.slow
def test_workers_and_their_parent(directory: Path, run_dir: Path, spool_dir: Path) -> None:
    """With a run directory in the environment all processes log into it, each with its pid."""
    environment = {"ASYNCLOG_RUN_DIR": str(run_dir)}
    command = ["uvicorn", "app:app", *CONFIGURED, "--workers", "2"]
    with running(command, directory, run_dir, environment) as server:
        server.wait_for(lambda event: event["event"] == "Application startup complete.", 2)
        killed = worker_that_answers(server)
        server.kill_worker(killed)
        server.wait_for(lambda event: event["event"] == f"Child process [{killed}] died")
        server.wait_for(lambda event: event["event"] == "Application startup complete.", 3)
        server.send(signal.SIGHUP)
        server.wait_for(lambda event: event["event"] == "Application startup complete.", 5)
        server.get("/last")
        events = server.stop(signal.SIGTERM)
    counts = of_server(events)
    assert counts["Started parent process [N]"] == counts["Stopping parent process [N]"] == 1
    assert counts["Received SIGHUP, restarting processes."] == 1
    assert counts["Received SIGTERM, exiting."] == 1
    assert counts["Started server process [N]"] == 5
    assert counts["Application startup complete."] == 5
    assert counts["Finished server process [N]"] == 4
    assert counts["request"] == 2
    parents = {
        event["pid"]
        for event in events
        if "parent process" in event["event"] or "hild process" in event["event"]
    }
    assert parents == {server.pid}
    workers = {event["pid"] for event in events if "Started server" in event["event"]}
    assert len(workers) == 5
    assert killed in workers
    assert server.pid not in workers
    assert server.output.count("Started parent process") <= 1
    assert nothing_left(spool_dir)


@pytest.mark.slow
def test_a_parent_without_a_run(directory: Path, spool_dir: Path) -> None:
    """Without a run directory in the environment the parent's lines are on stderr, at once."""
    run_dir = directory / "logs"
    command = ["uvicorn", "app:app", *CONFIGURED, "--workers", "2"]
    with running(command, directory, run_dir, {}) as server:
        server.wait_until(lambda: "Started parent process" in server.output)
        killed = worker_that_answers(server)
        server.kill_worker(killed)
        server.wait_until(lambda: f"Child process [{killed}] died" in server.output)
        server.get("/last")
        events = server.stop(signal.SIGINT)
    counts = of_server(events)
    assert counts["request"] == 2
    assert not [event for event in counts if "parent" in event]
    assert server.output.count("Stopping parent process") == 1
    assert nothing_left(spool_dir)


PROGRAM = """
import asynclog
import uvicorn
from asynclog.stdlib.uvicorn import LOG_CONFIG

if __name__ == "__main__":
    with asynclog.running("run"):
        uvicorn.run("app:app", port=0, workers=2, log_config=LOG_CONFIG, use_colors=True)
"""


@pytest.mark.slow
def test_from_a_program(directory: Path, spool_dir: Path) -> None:
    """A program that starts the pipeline around ``uvicorn.run`` has all in one run directory."""
    run_dir = directory / "run"
    (directory / "program.py").write_text(PROGRAM, encoding="utf-8")
    (directory / "app.py").write_text(APP.replace("start()", 'start("run")'), encoding="utf-8")
    with running(["program"], directory, run_dir, {}) as server:
        server.wait_for(lambda event: event["event"] == "Application startup complete.", 2)
        server.get("/")
        events = server.stop(signal.SIGTERM)
    counts = of_server(events)
    assert counts["Started parent process [N]"] == counts["Stopping parent process [N]"] == 1
    assert counts["Finished server process [N]"] == 2
    assert counts["request"] == 1
    assert nothing_left(spool_dir)


@pytest.mark.slow
def test_reload(directory: Path, run_dir: Path, spool_dir: Path) -> None:
    """The process that looks for changed files is a parent like any other."""
    environment = {"ASYNCLOG_RUN_DIR": str(run_dir)}
    command = ["uvicorn", "app:app", *CONFIGURED, "--reload"]
    with running(command, directory, run_dir, environment) as server:
        server.wait_for(lambda event: event["event"] == "Application startup complete.")
        server.get("/")

        def change_is_seen() -> bool:
            # again and again: a change before its first look at the file is none to the reloader
            (directory / "app.py").write_text(f"{APP}\n# changed", encoding="utf-8")
            return any("detected changes" in event["event"] for event in server.events)

        server.wait_until(change_is_seen)
        server.wait_for(lambda event: event["event"] == "Application startup complete.", 2)
        events = server.stop(signal.SIGTERM)
    counts = of_server(events)
    assert counts["Finished server process [N]"] >= 2
    assert len([event for event in counts if event.startswith("Started reloader process")]) == 1
    assert len([event for event in counts if event.startswith("Stopping reloader process")]) == 1
    assert nothing_left(spool_dir)


def test_without_a_configuration(directory: Path, run_dir: Path) -> None:
    """With uvicorn's own configuration its lines stay where they were: on stdout and stderr."""
    environment = {"ASYNCLOG_RUN_DIR": str(run_dir)}
    with running(["uvicorn", "app:app", "--port", "0"], directory, run_dir, environment) as server:
        server.get("/")
        events = server.stop()
    assert of_server(events) == {}
    assert [event["event"] for event in events] == ["handled"]
    assert '"GET / HTTP/1.1" 200 OK' in server.output


BARE_PROGRAM = """
import asynclog
import uvicorn
from asynclog.stdlib import setup_logging

if __name__ == "__main__":
    setup_logging(log_file="events.jsonl")
    uvicorn.run("app:app", port=0, log_config=None)
"""


def test_through_the_root_logger(directory: Path) -> None:
    """With ``log_config=None`` a handler on the root logger takes the lines, as texts, once."""
    (directory / "program.py").write_text(BARE_PROGRAM, encoding="utf-8")
    (directory / "app.py").write_text(
        APP.replace("await asynclog.start()", "").replace("await asynclog.stop()", ""),
        encoding="utf-8",
    )
    with running(["program"], directory, directory, {}) as server:
        server.get("/x")
        events = server.stop(signal.SIGINT)
    counts = Counter(event["event"] for event in events)
    assert counts["Application startup complete."] == 1
    [access] = [event for event in events if event["logger"] == "uvicorn.access"]
    assert access["event"].endswith('"GET /x HTTP/1.1" 200')
