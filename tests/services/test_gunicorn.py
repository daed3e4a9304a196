"""gunicorn: the master's and the workers' lines arrive as events, once each, however it is run."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .servers import APP, WSGI_APP, Event, read_events, running

pytest.importorskip("gunicorn")

BIND = ("-b", "127.0.0.1:0", "--graceful-timeout", "5")
LOGGER = ("--logger-class", "asynclog.stdlib.gunicorn.Logger")
ACCESS_LOG = ("--access-logfile", "-")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with applications in it."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "wsgi.py").write_text(WSGI_APP, encoding="utf-8")
    return tmp_path


def nothing_left(spool_dir: Path) -> bool:
    """Say whether a spool is empty."""
    return not [path for path in spool_dir.rglob("*") if path.is_file()]


def of_server(events: list[Event]) -> Counter[str]:
    """Return how often gunicorn has logged what, numbers of processes and ports aside."""
    return Counter(
        re.sub(r"\d{2,}", "N", event["event"])
        for event in events
        if event.get("logger") == "gunicorn.error"
    )


def booted(event: Event) -> bool:
    """Say whether an event tells of a worker that begins."""
    return str(event["event"]).startswith("Booting worker")


@pytest.mark.slow
def test_everything_that_gunicorn_does(directory: Path, run_dir: Path, spool_dir: Path) -> None:
    """Sync workers forked by a master that collects: a kill, a reload, a graceful end."""
    command = ["gunicorn", "wsgi:app", *BIND, *LOGGER, *ACCESS_LOG, "-w", "2"]
    with running(command, directory, run_dir, {"ASYNCLOG_RUN_DIR": str(run_dir)}) as server:
        status, body = server.get("/a%20b?x=1", {"User-Agent": 'a "test"'})
        killed = int(body)
        assert status == 200
        # gunicorn logs a request when it has been answered
        server.wait_for(lambda event: event.get("logger") == "gunicorn.access")
        server.kill_worker(killed)
        server.wait_for(booted, 3)
        server.get("/broken")
        server.send(signal.SIGHUP)
        server.wait_for(lambda event: event["event"] == "Handling signal: hup")
        server.wait_for(booted, 5)
        server.get("/last")
        events = server.stop(signal.SIGTERM)
    counts = of_server(events)
    expected = {
        "Listening at: http://N.0.0.1:N (N)": 1,
        "Using worker: sync": 1,
        "Booting worker with pid: N": 5,
        "Worker (pid:N) was sent SIGKILL! Perhaps out of memory?": 1,
        "Handling signal: hup": 1,
        "Hang up: Master": 1,
        "Worker exiting (pid: N)": 4,
        "Handling signal: term": 1,
        "Shutting down: Master": 1,
    }
    assert {text: counts[text] for text in expected} == expected
    by_pid = {int(event["event"].split(": ")[1]): event["pid"] for event in events if booted(event)}
    assert len(by_pid) == 5
    assert all(named == pid for named, pid in by_pid.items())
    masters = [event for event in events if "aster" in event["event"] or "sent" in event["event"]]
    assert {event["pid"] for event in masters} == {server.pid}
    # where gunicorn logs, not where its logger's methods are
    assert {Path(event["file"]).name for event in masters} == {"arbiter.py"}
    requests = [event for event in events if event.get("logger") == "gunicorn.access"]
    assert [(event["path"], event["status"]) for event in requests] == [
        ("/a%20b", 200),
        ("/broken", 500),
        ("/last", 200),
    ]
    first = requests[0]
    assert (first["event"], first["pid"], first["bytes"]) == ("request", killed, len(body))
    assert (first["query"], first["user_agent"]) == ("x=1", 'a "test"')
    assert 0 < first["duration_ms"] < 10_000
    [failure] = [event for event in events if "exception" in event]
    assert failure["exception"]["type"] == "ValueError"
    # the lines for people are the pipeline's, not gunicorn's
    assert server.output.count("Shutting down: Master") == 1
    assert nothing_left(spool_dir)


CONFIGURE = """
import asynclog

def on_starting(server):
    asynclog.configure("run", level="INFO", sinks=[asynclog.JsonlFile()])
"""
POST_FORK = f"""{CONFIGURE}
def post_fork(server, worker):
    asynclog.start_sync()
"""
PRELOADED = WSGI_APP.replace("def app", 'asynclog.start_sync("run", level="DEBUG")\n\n\ndef app')
WAYS: dict[str, tuple[str, str, list[str]]] = {
    "started by the logger": (CONFIGURE, WSGI_APP, []),
    "started by the logger, preloaded": (CONFIGURE, WSGI_APP, ["--preload"]),
    "started by a preloaded application": ("", PRELOADED, ["--preload"]),
    "started in each worker as well": (POST_FORK, WSGI_APP, []),
    "threads": (CONFIGURE, WSGI_APP, ["-k", "gthread", "--threads", "4"]),
    "started and stopped in a lifespan": (CONFIGURE, APP, ["-k", "asgi"]),
    "the same in uvicorn workers": (CONFIGURE, APP, ["-k", "uvicorn.workers.UvicornWorker"]),
    "the same, preloaded": (CONFIGURE, APP, ["-k", "uvicorn.workers.UvicornWorker", "--preload"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_ways_to_start(directory: Path, spool_dir: Path, way: str) -> None:
    """Whoever starts the pipeline, master or workers, there is one run with every line once."""
    configuration, app, options = WAYS[way]
    if "uvicorn" in str(options):
        pytest.importorskip("uvicorn")
    run_dir = directory / "run"
    (directory / "service.py").write_text(app, encoding="utf-8")
    (directory / "gunicorn.conf.py").write_text(configuration, encoding="utf-8")
    command = ["gunicorn", "service:app", *BIND, *LOGGER, *ACCESS_LOG, "-w", "2", *options]
    with running(command, directory, run_dir, {}) as server:
        if "uvicorn" in str(options):
            server.wait_for(lambda event: event["event"] == "Application startup complete.", 2)
        answers = {server.get(f"/{number}")[1].decode() for number in range(10)}
        events = server.stop(signal.SIGTERM)
    counts = of_server(events)
    assert counts["Booting worker with pid: N"] == 2
    assert counts["Shutting down: Master"] == 1
    assert [count for text, count in counts.items() if text.startswith("Starting")] == [1]
    assert sum(event["event"] == "handled" for event in events) == 10
    requests = [event for event in events if event["event"] == "request"]
    assert sorted(event["path"] for event in requests) == [f"/{number}" for number in range(10)]
    assert {str(event["pid"]) for event in requests} == answers
    if "uvicorn" in str(options):
        assert sum("Finished server process" in event["event"] for event in events) == 2
    assert not (directory / "logs").exists()
    assert not [event for event in events if event.get("kind") == "note"]
    assert nothing_left(spool_dir)


@pytest.mark.slow
def test_a_changed_configuration(directory: Path, spool_dir: Path) -> None:
    """A reload takes gunicorn's settings from the file, and leaves the pipeline's as they were."""
    run_dir = directory / "run"
    configuration = directory / "gunicorn.conf.py"
    configuration.write_text(f"{CONFIGURE}workers = 1\n", encoding="utf-8")
    with running(["gunicorn", "wsgi:app", *BIND, *LOGGER], directory, run_dir, {}) as server:
        server.get("/")
        changed = CONFIGURE.replace("INFO", "ERROR").replace('"run"', '"other"')
        configuration.write_text(f"{changed}workers = 2\naccesslog = '-'\n", encoding="utf-8")
        server.send(signal.SIGHUP)
        server.wait_for(booted, 3)
        server.wait_for(lambda event: event["event"].startswith("Worker exiting"))
        server.get("/after")
        events = server.stop(signal.SIGTERM)
    assert of_server(events)["Shutting down: Master"] == 1
    requests = [event for event in events if event["event"] == "request"]
    assert [event["path"] for event in requests] == ["/after"]
    assert not (directory / "other").exists()
    assert nothing_left(spool_dir)


@pytest.mark.slow
def test_as_a_daemon(directory: Path, run_dir: Path, spool_dir: Path) -> None:
    """The pipeline is started by the process that remains, not by the one that leaves."""
    pid_file = directory / "pid"
    command = [*("gunicorn", "wsgi:app", *BIND, *LOGGER, "-D"), *("--pid", str(pid_file))]
    with running(command, directory, run_dir, {"ASYNCLOG_RUN_DIR": str(run_dir)}) as server:
        assert server.process.wait(30) == 0
        # it has left the process group, so that nobody else would end it
        server.wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), alive=False)
        master = int(pid_file.read_text())
        try:
            server.wait_until(lambda: any(map(booted, server.events)), alive=False)
            os.kill(master, signal.SIGTERM)
            server.wait_until(lambda: not Path(f"/proc/{master}").exists(), alive=False)
        except BaseException:
            os.killpg(master, signal.SIGKILL)
            raise
    counts = of_server(read_events(run_dir))
    assert counts["Booting worker with pid: N"] == counts["Shutting down: Master"] == 1
    assert nothing_left(spool_dir)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "event"),
    [("asynclog.stdlib.Handler", None), ("asynclog.stdlib.server.ServerHandler", "request")],
)
def test_gunicorns_own_configuration(
    directory: Path, run_dir: Path, spool_dir: Path, handler: str, event: str | None
) -> None:
    """A handler of ours in gunicorn's own log configuration takes each record once."""
    configuration: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"asynclog": {"class": handler}},
        "root": {"level": "INFO", "handlers": ["asynclog"]},
        "loggers": {
            "gunicorn.error": {"level": "INFO", "propagate": True},
            "gunicorn.access": {"level": "INFO", "propagate": True},
        },
    }
    (directory / "log.json").write_text(json.dumps(configuration), encoding="utf-8")
    (directory / "gunicorn.conf.py").write_text(
        f"import asynclog\nwhen_ready = lambda server: asynclog.start_sync({str(run_dir)!r})\n",
        encoding="utf-8",
    )
    command = ["gunicorn", "wsgi:app", *BIND, "--log-config-json", "log.json", "-w", "2"]
    with running(command, directory, run_dir, {}) as server:
        server.get("/one")
        events = server.stop(signal.SIGTERM)
    counts = of_server(events)
    assert counts["Booting worker with pid: N"] == 2
    assert counts["Shutting down: Master"] == 1
    [access] = [each for each in events if each.get("logger") == "gunicorn.access"]
    if event is None:
        assert '"GET /one HTTP/1.1" 200' in access["event"]
    else:
        assert (access["event"], access["path"], access["status"]) == (event, "/one", 200)
    assert nothing_left(spool_dir)


def test_copies_that_were_asked_for(directory: Path, run_dir: Path) -> None:
    """A file named in gunicorn's settings gets its lines; the access log is off unless wanted."""
    command = ["gunicorn", "wsgi:app", *BIND, *LOGGER, "--error-logfile", "errors.txt"]
    with running(command, directory, run_dir, {"ASYNCLOG_RUN_DIR": str(run_dir)}) as server:
        server.get("/")
        events = server.stop()
    assert of_server(events)["Booting worker with pid: N"] == 1
    assert not [event for event in events if event.get("logger") == "gunicorn.access"]
    copy = (directory / "errors.txt").read_text(encoding="utf-8")
    assert copy.count("[INFO] Booting worker") == 1


def test_a_pipeline_that_cannot_start(directory: Path, run_dir: Path) -> None:
    """gunicorn ends at once, and says why."""
    run_dir.write_text("a file")
    command = ["gunicorn", "wsgi:app", *BIND, *LOGGER]
    with running(command, directory, run_dir, {"ASYNCLOG_RUN_DIR": str(run_dir)}) as server:
        assert server.process.wait(30) == 1
    assert "Error: run_dir must be a directory that can be made and written" in server.output
    assert "Traceback" not in server.output
