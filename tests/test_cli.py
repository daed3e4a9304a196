"""The command line: help with examples, exit codes, errors as one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import asynclog
from asynclog.cli import main

KILLED = """
import os, signal, sys
import asynclog
asynclog.start_sync(sys.argv[1], sinks=[asynclog.JsonlFile()], linger=60)
log = asynclog.get_logger("victim")
log.info("wakes the collector")
assert asynclog.flush_sync(5)
for number in range(1000):
    log.info("last words", number=number)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def kill_a_logging_process(run_dir: Path) -> None:
    """Let a process log a thousand events and be killed right after."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(run_dir)], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL


def last_words(run_dir: Path) -> list[int]:
    """Return the numbers of the events in the run's file."""
    lines = (run_dir / "events.jsonl").read_bytes().splitlines()
    events = [json.loads(line) for line in lines]
    return [event["number"] for event in events if event["event"] == "last words"]


def test_version():
    """--version names program and version."""
    done = run("--version")
    assert (done.exit_code, done.output) == (0, f"asynclog {asynclog.__version__}\n")


@pytest.mark.parametrize("command", [(), ("demo",), ("recover",)], ids=["main", "demo", "recover"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_examples(command: tuple[str, ...], option: str):
    """The help of each command has examples that can be copied."""
    done = run(*command, option)
    assert done.exit_code == 0
    assert "Examples:\n    asynclog " in done.output
    assert all(len(line) <= 80 for line in done.output.splitlines())


def test_the_program_and_the_module_are_the_same():
    """python -m asynclog.cli does what asynclog does."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "asynclog.cli", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("Usage: asynclog ")


def test_help_is_light():
    """The help of the demo imports nothing that the demo needs."""
    code = (
        "import sys\n"
        "from asynclog.cli import main\n"
        "main(['demo', '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'uvicorn', 'httpx', 'trio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, timeout=60, check=True)


class TestRecover:
    """`asynclog recover` brings back what killed processes have logged, and says so."""

    def test_last_words_come_back_once(self, run_dir: Path):
        """Everything is in the file after it, in order; a second recovery has nothing to do."""
        kill_a_logging_process(run_dir)
        assert len(last_words(run_dir)) < 1000
        done = run("recover", run_dir)
        assert done.exit_code == 0, done.output
        assert "lines of 1 killed process brought back" in done.output
        assert last_words(run_dir) == list(range(1000))
        again = run("recover", run_dir)
        assert (again.exit_code, again.output) == (0, f"nothing to recover in {run_dir}\n")
        assert last_words(run_dir) == list(range(1000))

    def test_from_another_spool(self, run_dir: Path, spool_dir: Path, tmp_path: Path):
        """--spool-dir says where the rings are."""
        kill_a_logging_process(run_dir)
        place = os.environ.pop("ASYNCLOG_SPOOL_DIR")
        assert place == str(spool_dir)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        assert "nothing to recover" in run("recover", run_dir, "--spool-dir", elsewhere).output
        done = run("recover", run_dir, "--spool-dir", place)
        assert "brought back" in done.output
        assert last_words(run_dir) == list(range(1000))

    def test_what_is_no_json_is_set_aside(self, run_dir: Path, spool_dir: Path):
        """Damage in a ring costs the damaged line and is told by the exit code."""
        kill_a_logging_process(run_dir)
        [ring] = [
            path for path in spool_dir.rglob("*") if path.is_file() and path.stat().st_size > 2**20
        ]
        content = bytearray(ring.read_bytes())
        at = content.rindex(b'"event":"last words"')
        content[at] = 0
        with ring.open("r+b") as file:
            file.seek(at)
            file.write(b"\0")
        done = run("recover", run_dir)
        assert done.exit_code == 1
        assert "1 line could not be read: see quarantine.log" in done.output
        assert len(last_words(run_dir)) == 999

    def test_a_running_process_is_left_alone(self, run_dir: Path):
        """While a collector runs the run is in use, and nothing is touched."""
        with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
            asynclog.get_logger().info("alive")
            done = run("recover", run_dir)
        assert done.exit_code == 0
        assert "is in use" in done.output

    def test_no_such_run(self, run_dir: Path):
        """A directory that is not there is refused, with one line."""
        done = run("recover", run_dir)
        assert done.exit_code == 2
        assert done.output.startswith(f"Error: {run_dir} is no run directory")

    def test_an_unsafe_spool(self, run_dir: Path, spool_dir: Path):
        """A spool that others may write is refused, with one line."""
        kill_a_logging_process(run_dir)
        [place] = [path.parent for path in spool_dir.rglob("*") if path.stat().st_size > 2**20]
        place.chmod(0o777)
        try:
            done = run("recover", run_dir)
        finally:
            place.chmod(0o700)
        assert done.exit_code == 2
        assert done.output.startswith("Error: spool ")
        assert len(done.output.splitlines()) == 1
        run("recover", run_dir)

    @pytest.mark.parametrize("arguments", [(), ("a", "b"), ("--spool-dir",)])
    def test_usage(self, arguments: tuple[str, ...]):
        """Wrong arguments are exit code 2."""
        assert run("recover", *arguments).exit_code == 2
