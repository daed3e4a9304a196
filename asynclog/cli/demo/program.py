"""The demo's course: start the sources and the client, measure without and with logging, stop."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any, cast

from ... import (
    Best,
    Console,
    JsonlFile,
    MetricsCsv,
    Report,
    TensorBoard,
    Wandb,
    get_logger,
    start_sync,
    stop_sync,
)
from ...exceptions import AsynclogError
from .needs import installed, need
from .service import Service
from .source import Late, Source
from .stream import Stream
from .tally import Journal, Switch, Tally

WITHOUT_LOGGING = 0.15
"""Share of the time that goes into measuring the loops without logging."""
READY_TIMEOUT = 60.0
END_TIMEOUT = 20.0
STOP_TIMEOUT = 30.0
FILE_BYTES = 4_000_000
BACKUPS = 50
FILE_BYTES_PER_SECOND = 500_000
"""So that even 50 times as much a second would all be kept for the counting."""


class DemoError(AsynclogError, RuntimeError):
    """A part of the demo did not work."""


@dataclass
class Outcome:
    """What the demo has seen.

    Attributes:
        run: Marks the events of this demo among older ones in the same files.
        seconds: How long events were logged.
        counts: Calls that returned, counted and timed by the sources themselves.
        lateness: How late the event loops were.
        report: What the pipeline says, None when it was never started.
        client: What the client says, None when it has not come to an end.
        accuracy: Share of held-out digits the model got right, None without torch.
        epochs: Epochs the model was trained.
        best: What ``best.json`` says.
        remarks: What the user should know.
        failed: Whether a part of the demo broke.
    """

    run: str
    seconds: float = 0.0
    counts: dict[str, Tally] = field(default_factory=dict[str, Tally])
    lateness: dict[str, Late] = field(default_factory=dict[str, Late])
    report: Report | None = None
    client: dict[str, Any] | None = None
    accuracy: float | None = None
    epochs: int = 0
    best: dict[str, Any] = field(default_factory=dict[str, Any])
    remarks: list[str] = field(default_factory=list[str])
    failed: bool = False


class Interrupts:
    """Remembers the first Ctrl-C (or SIGTERM); the second one is handled as usual."""

    def __init__(self) -> None:
        self.seen = False

    @contextlib.contextmanager
    def caught(self) -> Generator[Interrupts, None, None]:
        """Catch the signals inside the block."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def handle(number: int, frame: FrameType | None) -> None:
            del frame
            self.seen = True
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, handle)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Demo:
    """One run of the demo.

    Args:
        run_dir: Where the events go.
        seconds: How long it takes, apart from getting ready.

    Raises:
        MissingExtraError: A package of the ``demo`` extra is not installed.
    """

    def __init__(self, run_dir: Path, seconds: float) -> None:
        self.run_dir = run_dir
        self.seconds = seconds
        self.switch: Switch = Switch()
        self.outcome: Outcome = Outcome(uuid.uuid4().hex[:8])
        self._interrupts = Interrupts()
        for package in ("httpx", "uvicorn", "trio", "numpy", "sklearn"):
            need(package)
        digits = need("sklearn.datasets").load_digits()
        images, labels = digits.data, digits.target
        self._main = self._journal("main")
        self._service = Service(images, labels, self._journal("service"))
        self._stream = Stream(images, self._journal("trio"))
        self._sources: list[Source] = [self._service, self._stream]
        self._training = None
        if installed("torch"):
            from .training import Training

            self._training = Training(
                images, labels, self._journal("training"), self._journal("loader")
            )
            self._sources.append(self._training)
        else:
            self.outcome.remarks.append(
                "torch is not installed: no training loop, no DataLoader workers"
            )

    def _journal(self, source: str) -> Journal:
        log = get_logger(f"demo.{source}").bind(demo=self.outcome.run, source=source)
        return Journal(cast("Any", log), Tally(), self.switch)

    def run(self) -> Outcome:
        """Run to the end; Ctrl-C only makes the end come earlier."""
        with self._interrupts.caught(), self._client() as client:
            for source in self._sources:
                source.start()
            try:
                self._get_ready(client)
                self.switch.measuring = True
                self._wait(self.seconds * WITHOUT_LOGGING)
                self._start_pipeline()
                began = time.monotonic()
                self.switch.logging = True
                self._wait(self.seconds * (1 - WITHOUT_LOGGING), self._progress)
                self.outcome.seconds = time.monotonic() - began
            finally:
                self.switch.measuring = False
                self._end_client(client)
                self._end_sources()
                if self.switch.logging:
                    self._progress()
                    self.outcome.report = stop_sync(STOP_TIMEOUT)
            self._count()
        return self.outcome

    @contextlib.contextmanager
    def _client(self) -> Generator[subprocess.Popen[str], None, None]:
        # A session of its own: Ctrl-C must not reach the client, which is told to end.
        with subprocess.Popen(
            [sys.executable, "-m", "asynclog.cli.demo.client", self._service.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as client:
            try:
                yield client
            finally:
                client.kill()

    def _get_ready(self, client: subprocess.Popen[str]) -> None:
        """Wait until the service has answered on every connection and the training runs."""
        if cast("IO[str]", client.stdout).readline() != "ready\n":
            raise DemoError("the demo's client could not reach the demo's service")
        if self._training is not None:
            deadline = time.monotonic() + READY_TIMEOUT
            while not self._training.ready.wait(0.1) and not self._interrupts.seen:
                if time.monotonic() > deadline:
                    raise DemoError(f"the training loop did not start in {READY_TIMEOUT:.0f} s")

    def _start_pipeline(self) -> None:
        start_sync(
            self.run_dir,
            level="DEBUG",
            sinks=[
                JsonlFile(
                    max_bytes=max(FILE_BYTES, round(self.seconds * FILE_BYTES_PER_SECOND)),
                    backups=BACKUPS,
                ),
                # Only the progress is of that level: one line a second.
                Console(level="INFO"),
                *self._metric_sinks(),
            ],
        )

    def _metric_sinks(self) -> list[Any]:
        if self._training is None:
            return []
        sinks: list[Any] = [MetricsCsv(), Best()]
        if installed("tensorboardX"):
            sinks.append(TensorBoard())
        if installed("wandb"):
            sinks.append(Wandb(mode="offline", project="asynclog-demo"))
        return sinks

    def _best(self) -> dict[str, Any]:
        try:
            return json.loads((self.run_dir / "best.json").read_bytes())
        except FileNotFoundError:
            # the demo was ended before its first step
            return {}

    def _wait(self, seconds: float, each_second: Any = None) -> None:
        """Wait until the time is over, something has failed or the user wants an end."""
        began = time.monotonic()
        second = 1
        while (elapsed := time.monotonic() - began) < seconds:
            if self._interrupts.seen or any(source.failure for source in self._sources):
                return
            if each_second and elapsed >= second:
                each_second()
                second += 1
            # An event would be better, but its lock is not safe in a signal handler.
            time.sleep(min(0.05, seconds - elapsed))

    def _progress(self) -> None:
        training = self._training
        model = (
            {"steps": training.steps, "accuracy": round(training.accuracy, 3)} if training else {}
        )
        self._main.info("progress", requests=self._service.app.requests, **model)

    def _end_client(self, client: subprocess.Popen[str]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            output, _ = client.communicate("stop\n", timeout=END_TIMEOUT)
            self.outcome.client = json.loads(output.splitlines()[-1])

    def _end_sources(self) -> None:
        self.switch.stopping = True
        for source in self._sources:
            if not source.join(END_TIMEOUT):
                self.outcome.failed = True
                self.outcome.remarks.append(f"{source.name} did not end")
            elif source.failure is not None:
                self.outcome.failed = True
                self.outcome.remarks.append(f"{source.name} failed: {source.failure!r}")

    def _count(self) -> None:
        outcome = self.outcome
        outcome.counts = {
            "service": self._service.journal.tally,
            "trio": self._stream.journal.tally,
        }
        outcome.lateness = {
            self._service.loop: self._service.lateness,
            "trio": self._stream.lateness,
        }
        if self._training is not None:
            outcome.counts["training"] = self._training.journal.tally
            outcome.counts["loader"] = Tally.total(self._training.worker_tallies())
            outcome.accuracy = self._training.accuracy
            outcome.epochs = self._training.epochs
            outcome.best = self._best()
        outcome.counts["main"] = self._main.tally
        if self._interrupts.seen:
            outcome.remarks.append("ended early on request")
