"""`asynclog run --collect`: server and collection of a job on many machines, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("nats")

from asynclog import SettingError
from asynclog.distributed.nats.beside import SHORT_LIFE
from asynclog.distributed.nats.serve import place_to_listen

from .conftest import PATIENCE, SERVER, eventually, records_of

PROGRAM = """
import asynclog, pathlib, sys, time
node, stop, status = int(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
log, number = asynclog.get_logger("app"), 0
while number < 20 or not stop.exists():
    log.info("hello", node=node, n=number)
    log.debug("details")
    number += 1
    time.sleep(0.01)
log.log_metrics({"count": number}, step=node)
sys.exit(status)
"""


class Machines:
    """Machines of a job, one launcher on each; the first one collects."""

    def __init__(self, directory: Path) -> None:
        if SERVER is None:
            pytest.skip("needs nats-server")
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        self._directory = directory
        self.program = directory / "program.py"
        self.program.write_text(PROGRAM)
        self.collected = directory / "collected"
        self.launchers: list[subprocess.Popen[bytes]] = []

    def command(self, node: int, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command line of a launcher."""
        line = [sys.executable, "-W", "error", "-m", "asynclog.cli", "run"]
        line += ["--nats", f"nats://127.0.0.1:{self.port}", "--console-level", "none"]
        if not node:
            line += ["--collect", str(self.collected)]
        return [*line, "--run-dir", str(self.run_dir(node)), *options, "--", *command]

    def run_dir(self, node: int) -> Path:
        """Return a machine's run directory."""
        return self._directory / f"node{node}" / "x"

    def stop(self, node: int) -> Path:
        """Return the file that ends a machine's program."""
        return self._directory / f"stop{node}"

    def start(
        self, node: int, *, status: int = 0, options: tuple[str, ...] = (), **environment: str
    ) -> None:
        """Start a machine's launcher, with a program that logs until it is stopped."""
        program = [sys.executable, str(self.program), str(node), str(self.stop(node)), str(status)]
        with self._said(node).open("wb") as said:
            self.launchers.append(
                subprocess.Popen(
                    self.command(node, *program, options=options),
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stderr=said,
                )
            )

    def said(self, node: int) -> str:
        """Return what a launcher has said."""
        return self._said(node).read_text()

    def numbers(self, node: int, run_dir: Path | None = None) -> list[int]:
        """Return what was collected of a machine."""
        found = records_of(self.collected if run_dir is None else run_dir)
        return [record["n"] for record in found if record.get("node") == node]

    def server(self) -> int:
        """Return the process of the server: a grandchild of the launcher."""
        parents = [self.launchers[0].pid]
        while parents:
            for child in _children(parents.pop()):
                if any(word.endswith(b"/nats-server") for word in _words(child)):
                    return child
                parents.append(child)
        raise AssertionError("there is no server")

    def is_free(self) -> bool:
        """Say whether nobody listens any more."""
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return True
        return False

    def end(self) -> None:
        """Leave nothing behind."""
        for node, launcher in enumerate(self.launchers):
            self.stop(node).touch()
            with suppress(subprocess.TimeoutExpired):
                launcher.wait(PATIENCE)
            launcher.kill()
            launcher.wait()

    def _said(self, node: int) -> Path:
        return self._directory / f"said{node}"


def _words(process: int) -> list[bytes]:
    """Return the command line of a process."""
    return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")


def _children(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Return machines on which nothing runs yet."""
    machines = Machines(tmp_path)
    yield machines
    machines.end()


def test_two_machines(machines: Machines) -> None:
    """The first one waits for the other, has all of both once, and ends as its command has."""
    csv = '{"kind": "metrics_csv", "path": "m.csv"}'
    options = "--sink", csv, "--level", "DEBUG"
    machines.start(0, status=3, options=options, ASYNCLOG_LOG_DIR="texts")
    machines.start(1)
    eventually(lambda: machines.numbers(0) and machines.numbers(1), "a record of both")
    machines.stop(0).touch()
    eventually(lambda: "waiting for" in machines.said(0), "the end of the first")
    machines.stop(1).touch()
    assert [launcher.wait(PATIENCE) for launcher in machines.launchers] == [3, 0]
    assert machines.is_free()
    assert "of 1 machine in" in machines.said(0)
    assert "ended with exit status 3" in machines.said(0)
    for node in (0, 1):
        found = machines.numbers(node)
        assert found == [*range(len(found))] == machines.numbers(node, machines.run_dir(node))
    # sinks and handlers are those of all machines
    assert len((machines.collected / "m.csv").read_text().splitlines()) == 1 + 2
    assert not (machines.run_dir(0) / "m.csv").exists()
    text = "".join(path.read_text() for path in Path("texts").rglob("*.log"))
    assert text.count("hello") == len(machines.numbers(0)) + len(machines.numbers(1))
    assert text.count("details") == len(machines.numbers(0))


def test_interrupt(machines: Machines) -> None:
    """Ctrl-C waits for no other machine: it says so, and leaves what is on its way in the files."""
    for node in (0, 1):
        machines.start(node)
    eventually(lambda: machines.numbers(0) and machines.numbers(1), "a record of both")
    machines.launchers[0].send_signal(signal.SIGINT)
    assert machines.launchers[0].wait(PATIENCE) == 128 + signal.SIGINT
    assert machines.is_free()
    assert "not waited for: " in machines.said(0)
    assert machines.numbers(0) == machines.numbers(0, machines.run_dir(0))
    found = machines.numbers(1)
    assert found == [*range(len(found))]


def test_interrupt_while_others_are_waited_for(machines: Machines) -> None:
    """Ctrl-C after the command has ended waits no longer; the exit status is the command's."""
    for node in (0, 1):
        machines.start(node, status=4)
    eventually(lambda: machines.numbers(0) and machines.numbers(1), "a record of both")
    machines.stop(0).touch()
    eventually(lambda: "waiting for" in machines.said(0), "the end of the first")
    machines.launchers[0].send_signal(signal.SIGINT)
    assert machines.launchers[0].wait(PATIENCE) == 4
    assert machines.is_free()
    assert "not waited for: " in machines.said(0)


def test_kills(machines: Machines) -> None:
    """Whatever is killed is replaced: server, collection, launcher. Each record is there once.

    The collection ends with the job, and the server with it.
    """
    machines.start(0)
    launcher = machines.launchers[0].pid

    def go_on() -> None:
        before = len(machines.numbers(0))
        eventually(lambda: len(machines.numbers(0)) > before, "a record")

    go_on()
    started = time.monotonic()
    os.kill(machines.server(), signal.SIGKILL)
    eventually(lambda: "nats-server has ended, and is started again" in machines.said(0))
    go_on()
    [collection] = [each for each in _children(launcher) if b"collect" in _words(each)]
    # one that lives for a moment only would not be started again
    eventually(lambda: time.monotonic() > started + SHORT_LIFE)
    os.kill(collection, signal.SIGKILL)
    eventually(lambda: "was ended by SIGKILL: started again" in machines.said(0))
    go_on()
    os.kill(launcher, signal.SIGKILL)
    go_on()
    machines.stop(0).touch()
    eventually(lambda: "new records of" in machines.said(0), "the end of the collection")
    eventually(machines.is_free, "the end of the server")
    assert machines.numbers(0) == machines.numbers(0, machines.run_dir(0))


def _own_name() -> str:
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        pytest.skip("needs a machine that knows its own name")
    return name


def _refused(machines: Machines, **environment: str) -> str:
    done = subprocess.run(
        machines.command(0, sys.executable, "-c", "open('started', 'w')"),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert not Path("started").exists()
    return done.stderr


def test_nothing_runs_uncollected(machines: Machines, tmp_path: Path) -> None:
    """Without a server, and where others listen, the command is not started; it says why."""
    assert "nats-server is not installed: take" in _refused(machines, PATH=str(tmp_path))
    with socket.create_server(("127.0.0.1", machines.port)):
        assert f"port {machines.port}: Address already in use" in _refused(machines)
    machines.collected = machines.run_dir(0)
    assert "--collect must be another directory" in _refused(machines)


def test_open_to_everybody(machines: Machines) -> None:
    """A server that others can reach needs a secret."""
    command = machines.command(0, "true")
    command[command.index("--nats") + 1] = f"nats://{_own_name()}:{machines.port}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, machines.collected.exists()) == (2, False)
    assert "Set NATS_TOKEN to a secret" in done.stderr


def test_no_address(machines: Machines) -> None:
    """Where to collect needs a server to collect from."""
    command = machines.command(0, "true")
    at = command.index("--nats")
    del command[at : at + 2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert "--collect needs --nats" in done.stderr


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("nats://localhost:4223", "nats://localhost:4223"),
        ("nats://127.0.0.5:4223", "nats://127.0.0.5:4223"),
        # of networks in examples (RFC 5737)
        ("nats://192.0.2.1:4223", None),
    ],
)
def test_where_to_listen(address: str, place: str | None) -> None:
    """The machine that an address names is the server, and no other."""
    assert place_to_listen(address) == place


def test_where_a_name_listens() -> None:
    """A name stands for all addresses of its machine: it may lead to the loopback alone."""
    assert place_to_listen(f"nats://{_own_name()}:4223") in (
        "nats://0.0.0.0:4223",
        "nats://[::]:4223",
    )


def test_no_machine() -> None:
    """A name that leads nowhere is an error, and so is what any machine would take for itself."""
    with pytest.raises(SettingError, match="must be the address at which other machines"):
        place_to_listen("nats://0.0.0.0:4222")
    with pytest.raises(SettingError, match="server must name a machine"):
        place_to_listen("nats://no-such-machine.invalid:4222", patience=0)
