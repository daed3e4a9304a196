"""Workers killed under load: what a client was told of is in the files, once."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from asynclog.stdlib.uvicorn import LOG_CONFIG_FILE

from .servers import Server, running

WORKERS = 4
CLIENTS = 6
REQUESTS_PER_CONNECTION = 20

APP = """
import itertools, json, os, uuid

import asynclog
from asynclog.stdlib.asgi import AccessLog

log = asynclog.get_logger("web")
life = uuid.uuid4().hex
numbers = itertools.count()


async def respond(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await asynclog.start(sinks=[SINKS])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asynclog.stop()
        await send({"type": "lifespan.shutdown.complete"})
        return
    number = f"{life}-{next(numbers)}"
    log.info("acknowledged", id=number)
    body = json.dumps({"id": number, "pid": os.getpid()}).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = AccessLog(respond)
"""

GUNICORN = [
    *("gunicorn", "app:app", "-b", "127.0.0.1:0", "-w", str(WORKERS)),
    *("--logger-class", "asynclog.stdlib.gunicorn.Logger", "--access-logfile", "-"),
    # a worker that is just booting does not get its SIGTERM; gunicorn kills it after this time
    *("--graceful-timeout", "3"),
]
SINKS = 'asynclog.JsonlFile(max_bytes="300 KB", backups=200)'
CONFIGURATION = f"""
import asynclog

def on_starting(server):
    asynclog.configure(sinks=[{SINKS}])
"""
SERVERS = {
    "uvicorn": [
        *("uvicorn", "app:app", "--port", "0", "--workers", str(WORKERS)),
        *("--log-config", str(LOG_CONFIG_FILE)),
    ],
    "gunicorn with uvicorn workers": [*GUNICORN, "-k", "uvicorn.workers.UvicornWorker"],
    "gunicorn with its asgi workers": [*GUNICORN, "-k", "asgi"],
}


class Load:
    """Clients that ask as fast as they are answered, and keep what they are told.

    Args:
        port: Where to ask.
    """

    def __init__(self, port: int) -> None:
        self.acknowledged: list[str] = []
        self.workers: list[int] = []
        self._port = port
        self._more = threading.Condition()
        self._over = False
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over = True
        for thread in self._threads:
            thread.join()

    def wait_for(self, number: int) -> None:
        """Wait until so many more requests have been answered."""
        with self._more:
            goal = len(self.acknowledged) + number
            assert self._more.wait_for(lambda: len(self.acknowledged) >= goal, timeout=60)

    def some_worker(self) -> int:
        """Return the pid of a worker that has answered lately."""
        return random.choice(self.workers[-5 * CLIENTS :])

    def _ask(self) -> None:
        while not self._over:
            connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                for _ in range(REQUESTS_PER_CONNECTION):
                    if self._over:
                        break
                    connection.request("GET", "/some/where?x=1")
                    answer = json.loads(connection.getresponse().read())
                    with self._more:
                        self.acknowledged.append(answer["id"])
                        self.workers.append(answer["pid"])
                        self._more.notify_all()
            except (OSError, HTTPException, ValueError):
                # killed in the middle of it
                continue
            finally:
                connection.close()


def kill_under_load(server: Server, kills: int) -> tuple[list[str], int]:
    """Kill a random worker so many times; return what was acknowledged, and how many died."""
    killed: set[int] = set()
    with Load(server.port) as load:
        load.wait_for(100)
        while len(killed) < kills:
            pid = load.some_worker()
            if pid not in killed and server.owns(pid):
                server.kill_worker(pid)
                killed.add(pid)
            load.wait_for(random.randint(1, 150))
    return load.acknowledged, len(killed)


def check(name: str, kills: int, tmp_path: Path, run_dir: Path, spool_dir: Path) -> None:
    """Kill workers; nothing acknowledged may be missing, doubled or torn, and nothing be left."""
    (tmp_path / "app.py").write_text(APP.replace("SINKS", SINKS), encoding="utf-8")
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION, encoding="utf-8")
    # so that kills hit a collector at work, not one that lingers
    environment = {"ASYNCLOG_RUN_DIR": str(run_dir), "ASYNCLOG_LINGER": "1 ms"}
    with running(SERVERS[name], tmp_path, run_dir, environment) as server:
        acknowledged, killed = kill_under_load(server, kills)
        events = server.stop()
    assert killed == kills
    assert len(acknowledged) == len(set(acknowledged)) > 10 * kills
    logged = Counter(event["id"] for event in events if event["event"] == "acknowledged")
    assert not [number for number in acknowledged if logged[number] != 1]
    assert not [number for number, times in logged.items() if times > 1]
    # the middleware logs before the client has the whole answer
    requests = [event for event in events if event.get("logger") == "access"]
    assert len(requests) >= len(acknowledged)
    assert len({event["request_id"] for event in requests}) == len(requests)
    assert [event for event in events if event.get("kind") == "note"] == []
    assert len(list(run_dir.glob("events.jsonl*"))) > 1
    assert [path for path in spool_dir.rglob("*") if path.is_file()] == []
    assert not (run_dir / "quarantine.log").exists()


def _skip_without_server(name: str) -> None:
    pytest.importorskip("uvicorn")
    if name.startswith("gunicorn"):
        pytest.importorskip("gunicorn")


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_workers_killed_twenty_times(
    name: str, tmp_path: Path, run_dir: Path, spool_dir: Path
) -> None:
    """Every acknowledged event is there once when four workers are killed again and again."""
    _skip_without_server(name)
    check(name, 20, tmp_path, run_dir, spool_dir)


@pytest.mark.faults
@pytest.mark.parametrize("name", SERVERS)
def test_workers_killed_two_hundred_times(
    name: str, tmp_path: Path, run_dir: Path, spool_dir: Path
) -> None:
    """Every acknowledged event is there once, however often."""
    _skip_without_server(name)
    check(name, 200, tmp_path, run_dir, spool_dir)
