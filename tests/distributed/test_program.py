"""The command under `asynclog run`: exit status, signals, terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

COUNTS_SIGNALS = """
    import signal, sys, time
    got = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
    print("ready")
    while "SIGUSR2" not in got:
        time.sleep(0.01)
    print("got", *got)
"""


@pytest.mark.parametrize("status", [0, 1, 3, 255])
def test_exit_status(job: Any, status: int) -> None:
    """The exit status of the command is the launcher's."""
    assert job.run("sh", "-c", f"exit {status}").returncode == status
    assert (job.run_dir / "crash.json").exists() == (status != 0)


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV", "ABRT"])
def test_ended_by_a_signal(job: Any, name: str) -> None:
    """A command that a signal has ended gives 128 and its number, as in a shell."""
    number = signal.Signals[f"SIG{name}"]
    done = job.run("sh", "-c", f"kill -{name} $$")
    assert done.returncode == 128 + number
    assert f"was killed by SIG{name}" in done.stderr
    assert job.crash()["first"]["status"] == -number


def test_cannot_be_started(job: Any) -> None:
    """Commands that do not exist give 127, others that do not start 126, with one line."""
    text = job.program("no program")
    for command, status, reason in (
        ("no-such-command", 127, "command not found"),
        (str(job.directory / "missing"), 127, "command not found"),
        (text, 126, "permission denied"),
        (str(job.directory), 126, "is a directory"),
    ):
        done = job.run(command)
        assert (done.returncode, done.stderr) == (status, f"asynclog: {command}: {reason}\n")
        assert not job.run_dir.exists()
    os.chmod(text, 0o700)
    done = job.run(text)
    assert (done.returncode, done.stderr) == (126, f"asynclog: {text}: Exec format error\n")


def test_wrong_settings(job: Any) -> None:
    """A wrong setting is one line and status 2; nothing is started."""
    done = job.run("touch", "started", options=("--ranks", "1-"))
    assert done.returncode == 2
    assert "ranks must be" in done.stderr
    assert not (job.directory / "started").exists()


def test_signals_pass(job: Any) -> None:
    """Signals sent to the launcher alone reach the command, each once."""
    names = ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2"]
    launcher = job.start(
        sys.executable,
        job.program(COUNTS_SIGNALS),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    with launcher:
        assert launcher.stdout.readline() == "ready\n"
        for name in names:
            launcher.send_signal(signal.Signals[name])
            time.sleep(0.1)  # two of them at the same moment come in any order
        out = launcher.stdout.read()
    assert launcher.returncode == 0
    assert out == f"got {' '.join(names)}\n"


def _until(descriptor: int, text: str, deadline: float = 20.0) -> str:
    seen = ""
    ends = time.monotonic() + deadline
    while text not in seen and time.monotonic() < ends:
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                seen += os.read(descriptor, 4096).decode()
            except OSError:
                break
    assert text in seen
    return seen


def test_interrupt_on_a_terminal(job: Any) -> None:
    """Ctrl-C reaches the command once, and the launcher waits for what the command makes of it."""
    code = """
        import signal, sys, time
        count = 0
        def note(number, frame):
            global count
            count += 1
        signal.signal(signal.SIGINT, note)
        print("ready")
        ends = None
        while ends is None or time.monotonic() < ends:
            time.sleep(0.01)
            if count and ends is None:
                ends = time.monotonic() + 0.5
        print("interrupted", count)
        sys.exit(7)
    """
    command = job.command(sys.executable, job.program(code))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    try:
        _until(terminal, "ready")
        os.write(terminal, b"\x03")
        _until(terminal, "interrupted 1")
        _until(terminal, "exit status 7")
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 7


def test_reads_from_the_terminal(job: Any) -> None:
    """The command can read what is typed."""
    command = job.command(sys.executable, "-c", "print('got', input('name? '))")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    try:
        _until(terminal, "name? ")
        os.write(terminal, b"Ada\n")
        _until(terminal, "got Ada")
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert status == 0


def test_standard_input(job: Any) -> None:
    """What is piped into the launcher is the command's."""
    done = subprocess.run(
        job.command("cat"), input="one\ntwo\n", capture_output=True, text=True, check=True
    )
    assert done.stdout == "one\ntwo\n"


def test_ignored_signals_stay_ignored(job: Any) -> None:
    """A signal that the launcher was told to ignore, as nohup does, is ignored by the command."""
    code = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    shell = 'trap "" HUP; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *job.command(sys.executable, "-c", code)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"
