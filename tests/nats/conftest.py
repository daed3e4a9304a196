"""A real nats-server for each test, and a link to it that can be cut."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from asynclog import Nats, _complain
from asynclog._settings import AnySink
from asynclog.distributed.nats.collect import Collected, Collection

PATIENCE = 60
SERVER = shutil.which("nats-server")


def eventually(condition: Callable[[], Any], what: str = "it") -> Any:
    """Wait until a condition holds; return what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} has not come within {PATIENCE} s"
        time.sleep(0.02)
    return found


class Server:
    """A nats-server with JetStream in files, which can be killed and started again.

    Args:
        directory: For its files.
        config: Further lines of its configuration.
        jetstream: Whether it has JetStream.
    """

    def __init__(self, directory: Path, config: str = "", *, jetstream: bool = True) -> None:
        if SERVER is None:
            pytest.skip("needs nats-server")
        self.directory = directory
        self.log = directory / "server.log"
        self._ports = directory / "ports"
        self._ports.mkdir()
        self._config = directory / "server.conf"
        storage = f'jetstream {{ store_dir: "{directory / "store"}" }}\n' if jetstream else ""
        self._config.write_text(storage + config)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = -1
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; the second time on the same port."""
        assert SERVER is not None
        command = [SERVER, "-c", str(self._config), "-a", "127.0.0.1", "-p", str(self.port)]
        command += ["--ports_file_dir", str(self._ports), "-l", str(self.log)]
        process = self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        ports = self._ports / f"nats-server_{process.pid}.ports"

        def listens() -> bool:
            assert process.poll() is None, self._last_words()
            return ports.exists() and ports.read_text().endswith("}")

        eventually(listens, "the server")
        [address, *_] = json.loads(ports.read_text())["nats"]
        self.port = int(address.rpartition(":")[2])

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, without a warning by default."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def _last_words(self) -> str:
        return self.log.read_text()[-2000:] if self.log.exists() else "the server"


@pytest.fixture(autouse=True)
def _nothing_was_said() -> None:
    """Let each complaint be heard, whatever was complained of in the test before."""
    _complain._last.clear()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return what starts a server with more configuration."""
    started: list[Server] = []

    def start(config: str = "", *, jetstream: bool = True) -> Server:
        directory = tmp_path / f"nats-server-{len(started)}"
        directory.mkdir()
        started.append(Server(directory, config, jetstream=jetstream))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """Return a server that anybody may use."""
    return start_server()


class Link:
    """A way to a server that can be cut: connections end, and new ones are refused.

    Args:
        port: Where the server listens.
        address: Where this end of the way is.
    """

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server((address, 0))
        self.url = f"nats://{address}:{self._listener.getsockname()[1]}"
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._up = True
        self._answers = True
        self._frozen = False
        self._stale = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cut it: connections are closed, and so are new ones."""
        self._up = False

    def keep_answers(self) -> None:
        """Let through what is sent to the server, and nothing that it says."""
        self._answers = False

    def freeze(self) -> None:
        """Let nothing through, and say nothing of it."""
        self._frozen = True

    def restore(self) -> None:
        """Let all through again; what has waited is lost, as it is when a route comes back."""
        if self._frozen:
            self._stale = True
        self._up = self._answers = True
        self._frozen = False

    def close(self) -> None:
        """End it."""
        self._ended = True
        self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            if self._frozen:
                time.sleep(0.02)
                continue
            if self._stale or not self._up:
                self._drop(list(self._pairs))
                self._stale = False
            readers = [end for end in self._pairs if self._answers or end in self._clients]
            for ready in select.select([self._listener, *readers], [], [], 0.02)[0]:
                if ready is self._listener:
                    self._accept()
                elif ready in self._pairs:
                    self._forward(ready)
        self._drop(list(self._pairs))
        self._listener.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            if not self._up:
                raise ConnectionRefusedError
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._clients.add(client)
        self._pairs |= {client: server, server: client}

    def _forward(self, source: socket.socket) -> None:
        try:
            data = source.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            self._pairs[source].sendall(data)
        except OSError:
            self._drop([source, self._pairs[source]])

    def _drop(self, ends: list[socket.socket]) -> None:
        for end in ends:
            self._pairs.pop(end, None)
            end.close()


@pytest.fixture
def link(server: Server) -> Iterator[Link]:
    """Return a way to the server that can be cut."""
    link = Link(server.port)
    yield link
    link.close()


def collect(url: str, run_dir: Path, sinks: Sequence[AnySink] = (), *, run: str = "x") -> Collected:
    """Take what the server has of a run."""
    return anyio.run(Collection(Nats(url), run, run_dir, sinks, once=True).run)


class Command:
    """`asynclog collect` for one run."""

    def __init__(self, url: str, run: str, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._command = [sys.executable, "-W", "error", "-m", "asynclog.cli", "collect", url]
        self._command += ["--run", run, "--run-dir", str(run_dir), "--console-level", "none"]

    def once(
        self, *options: str, status: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Take what there is; return what the command says."""
        done = subprocess.run(
            [*self._command, "--once", *options],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            [*self._command, *options], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )

    def records(self) -> list[dict[str, Any]]:
        """Return what was collected, from the oldest file on."""
        return records_of(self.run_dir)


def records_of(run_dir: Path, name: str = "events.jsonl") -> list[dict[str, Any]]:
    """Return the whole lines of a rotated file."""
    backups = [path for path in run_dir.glob(f"{name}.*") if path.suffix[1:].isdigit()]
    backups.sort(key=lambda path: -int(path.suffix[1:]))
    current = [run_dir / name] if (run_dir / name).exists() else []
    content = b"".join(path.read_bytes() for path in [*backups, *current])
    return [json.loads(line) for line in content.split(b"\n")[:-1]]
