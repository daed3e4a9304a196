"""A trial: a program that logs, what is done to it, and what is on disk in the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from asynclog.collector.recovery import recover

from .board import CALLS, FLUSHED, Board, compare

HERE: Final = Path(__file__).parent
PATIENCE: Final = 60.0
SIGNS: Final = ("Traceback", "Fatal Python error")
"""What stands on the stderr of a program into which something was raised."""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something has come true.

    Raises:
        TimeoutError: It has not within a minute.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


def stands_still(task: Path) -> bool:
    """Say whether a thread is stopped, or gone."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] in "TtXZ"
    except OSError:
        return True


class Trial:
    """A victim in a run directory; it logs inside of the ``with`` block, and is dead behind it.

    Args:
        directory: Where its own files lie.
        run_dir: Where it logs to, in the directory by default.
        threads: How many of its threads log, each as a source of its own.
        habits: Odd places from which it logs as well, see ``victim.HABITS``.
        first: Number of its first source, where several victims share a run.
        around: Command that runs it.
        environment: What is set in its environment.
        leaves: What it does when told to end: ``"by a stop"``, ``"without a stop"``,
            ``"by an exception"``.
        pace: Seconds between two calls of a thread.
        flushes: Whether it flushes after every twenty calls.
        file_size: How large its files may get, 0 for no limit.
        file: Settings of its file.
        **settings: Further settings of its pipeline.
    """

    def __init__(
        self,
        directory: Path,
        *,
        run_dir: Path | None = None,
        threads: int = 2,
        habits: Sequence[str] = (),
        first: int = 0,
        around: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        leaves: str = "by a stop",
        pace: float = 0.001,
        flushes: bool = False,
        file_size: int = 0,
        file: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.run_dir = run_dir or directory / "run"
        self.places = [self.run_dir]
        """Directories with files of the run."""
        self._first = first
        self._threads = threads
        self._around = [*around]
        self._environment = {**os.environ, **(environment or {})}
        self._options = {
            "threads": threads,
            "habits": [*habits],
            "first": first,
            "leaves": leaves,
            "pace": pace,
            "flushes": flushes,
            "file_size": file_size,
            "file": {"max_bytes": None, **(file or {})},
            "settings": {"stop_timeout": "60 s", **settings},
        }
        self.board = Board.make(directory / "board", threads + len(habits))
        self._process: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Start the victim; return when all of its threads log."""
        command = [str(HERE / "victim.py"), str(self.directory / "board"), str(self.run_dir)]
        with (
            (self.directory / "out").open("wb") as out,
            (self.directory / "err").open("wb") as err,
        ):
            self._process = subprocess.Popen(
                [*self._around, sys.executable, *command, json.dumps(self._options)],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        try:
            wait_for(lambda: self.board.pid(0) or not self.alive(), "it does not start")
            self.goes_on(1)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Kill what is left of it."""
        self.kill()
        self.board.close()
        return False

    def alive(self) -> bool:
        """Say whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """Return what it has said on stderr."""
        return (self.directory / "err").read_text()

    def acknowledged(self) -> dict[int, int]:
        """Return how many calls have returned, by source."""
        return {
            self._first + at: self.board.acknowledged(at, CALLS) for at in range(self.board.ranks)
        }

    def goes_on(self, calls: int = 20) -> None:
        """Wait until each thread has made some more calls: nothing holds it up."""
        before = self.acknowledged()

        def gone_on() -> bool:
            if not self.alive():
                raise RuntimeError(f"it has died: {self.said()}")
            now = self.acknowledged()
            return all(
                now[source] >= before[source] + calls
                for source in range(self._first, self._first + self._threads)
            )

        wait_for(gone_on, f"it does not go on: {self.said()}")

    def stored(self) -> None:
        """Wait until all that was acknowledged by now is on disk, while it goes on."""
        now = self.acknowledged()
        wait_for(
            lambda: not self.compare(now)["lost"], f"what it logs is not stored: {self.said()}"
        )

    def complains(self, text: str) -> None:
        """Wait until it has said something on stderr."""
        wait_for(lambda: text in self.said(), f"it says {self.said()!r} and not {text!r}")

    def signal(self, number: signal.Signals) -> None:
        """Send the victim itself a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.board.pid(0), number)

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Let it stand still, all of its threads, for a while."""
        tasks = Path(f"/proc/{self.board.pid(0)}/task")
        self.signal(signal.SIGSTOP)
        try:
            wait_for(lambda: all(map(stands_still, tasks.iterdir())), "it does not stand still")
            yield
        finally:
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it."""
        if self._process is None:
            return
        # what runs it may be something else
        if self._process.poll() is None and self.board.pid(0):
            self.signal(signal.SIGKILL)
        if self._around:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self._process.kill()
        self._process.wait()

    def wait(self) -> None:
        """Wait for its end."""
        assert self._process is not None
        self._process.wait(PATIENCE)

    def report(self) -> tuple[int, int, dict[str, int]]:
        """Tell it to end; wait for what its stop reports: accepted, written and dropped calls."""
        self.board.end()
        out = self.directory / "out"
        wait_for(lambda: out.read_bytes().endswith(b"\n") or not self.alive(), "it does not stop")
        return tuple(json.loads(out.read_bytes())) if out.stat().st_size else (0, 0, {})

    def recover(self) -> None:
        """Bring what is left in rings to the files, when nobody collects any more."""
        wait_for(lambda: not recover(self.run_dir).collected_elsewhere, "somebody still collects")

    def end(self) -> Counter[str]:
        """Tell it to end; return what is wrong then."""
        self.board.end()
        return self.ended()

    def ended(self) -> Counter[str]:
        """Wait for its end, recover; return what is wrong then."""
        assert self._process is not None
        hung = 0
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            hung = 1
            # it shows its stacks
            self.signal(signal.SIGABRT)
            self.kill()
        self.recover()
        accepted, written, dropped = self.report()
        # what its stop has left in a ring was brought by the recovery
        counts = self.compare(
            self.acknowledged(), sum(dropped.values()) - dropped.get("unwritten", 0)
        )
        counts.update(trials=1, hung=hung)
        counts["misreported"] += accepted != written + sum(dropped.values())
        # of one kind, one a second
        counts["misreported"] += self.said().count("asynclog: cannot write the log file") > (
            time.monotonic() - self._began + 1
        )
        return counts

    def files(self) -> list[Path]:
        """Return the files of the run, each once."""
        found: dict[tuple[int, int], Path] = {}
        for place in self.places:
            for path in place.glob("events*"):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found[status.st_dev, status.st_ino] = path
        return [*found.values()]

    def compare(self, acknowledged: Mapping[int, int], dropped: int = 0) -> Counter[str]:
        """Compare the files with some of what was acknowledged."""

        def identify(event: dict[str, Any]) -> tuple[int, int] | None:
            if event.get("logger") == "victim" and event["source"] in acknowledged:
                return event["source"], event["n"]
            return None

        return compare(self.files(), acknowledged, identify, dropped)

    def flushed(self) -> dict[int, int]:
        """Return how many calls of its first source were on disk by its own word."""
        return {self._first: self.board.acknowledged(0, FLUSHED)}
