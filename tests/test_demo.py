"""The demo: its table is exact, it ends early on request, it says what is missing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

import asynclog
from asynclog.cli.demo.program import Outcome
from asynclog.cli.demo.table import complete, lost, read_back, show
from asynclog.cli.demo.tally import CELLS, Journal, Switch, Tally

DEMO = [sys.executable, "-m", "asynclog.cli", "demo"]
NEEDS = ("httpx", "uvicorn", "trio", "numpy", "sklearn")
"""In the order in which the demo asks for them."""
needs_demo_packages = pytest.mark.skipif(
    any(find_spec(package) is None for package in NEEDS), reason="needs asynclog[demo]"
)
ROW = re.compile(r"^(\S.*?)  +([0-9,]+)  +([0-9,]+)  +(?:([0-9,]+)  +([0-9,]+)  +)?[0-9.,]+  ")


def rows(output: str) -> dict[str, list[int]]:
    """Return the numbers of the first table: logged, written, dropped, lost."""
    found = {}
    for line in output.splitlines():
        if match := ROW.match(line):
            found[match[1]] = [
                int((number or "0").replace(",", "")) for number in match.groups()[1:]
            ]
    return found


def events(run_dir: Path) -> list[dict[str, object]]:
    """Return all events in the files of a run."""
    raw = b"".join(path.read_bytes() for path in run_dir.glob("events.jsonl*"))
    lines = raw.splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    return [json.loads(line) for line in lines]


@needs_demo_packages
@pytest.mark.slow
def test_every_event_of_every_source_is_accounted_for(run_dir: Path):
    """The sources' own counts, the files and the exit code agree, for forked workers as well."""
    done = subprocess.run(
        [*DEMO, "--seconds", "2", "--run-dir", str(run_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = rows(done.stdout)
    names = ["HTTP service", "trio tasks", "main thread"]
    if find_spec("torch"):
        names += ["torch training", "DataLoader workers"]
    else:
        assert "torch is not installed" in done.stdout
    logged, written, dropped, lost = table.pop("all")
    assert sorted(table) == sorted(names)
    assert all(row[0] > 0 for row in table.values())
    assert logged == sum(row[0] for row in table.values()) == written + dropped
    assert lost == 0
    assert written == sum("demo" in event for event in events(run_dir))
    assert "0 failed" in done.stdout
    assert "Traceback" not in done.stderr


@needs_demo_packages
@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(package) is None for package in ("torch", "tensorboardX", "wandb")),
    reason="needs torch, tensorboardX and wandb",
)
def test_training_metrics_reach_the_backends(run_dir: Path):
    """The loss of every step is in metrics.csv, TensorBoard and W&B, the best ones are shown."""
    done = subprocess.run(
        [*DEMO, "--seconds", "3", "--run-dir", str(run_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    logged = [event for event in events(run_dir) if event.get("kind") == "metrics"]
    rows_of_csv = (run_dir / "metrics.csv").read_text().splitlines()[1:]
    assert len(rows_of_csv) == sum(len(event["metrics"]) for event in logged)  # type: ignore[arg-type]
    best = json.loads((run_dir / "best.json").read_bytes())
    assert f"best train/loss: {best['train/loss']['value']:.4g} at step" in done.stdout
    for backend in ("TensorBoard", "W&B"):
        assert re.search(rf"^{backend}: .*\({len(logged):,} records\)$", done.stdout, re.MULTILINE)
    assert list(run_dir.glob("tb/events.out.tfevents.*"))
    assert list(run_dir.glob("wandb/offline-run-*/*.wandb"))
    for command, package in (("tail", "click"), ("plot", "plotext"), ("report", "bokeh")):
        assert f"asynclog {command} {run_dir}\n" in done.stdout
        if find_spec(package):
            look = [sys.executable, "-m", "asynclog.cli", command, str(run_dir)]
            assert subprocess.run(look, capture_output=True, timeout=120, check=True).stdout


@needs_demo_packages
@pytest.mark.slow
def test_an_interrupt_ends_it_early_with_the_table(run_dir: Path):
    """After Ctrl-C to the whole process group the table is printed and the file is complete."""
    with subprocess.Popen(
        [*DEMO, "--seconds", "20", "--run-dir", str(run_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stderr is not None
        overdue = threading.Timer(100, demo.kill)
        overdue.start()
        try:
            # The console shows the first progress a second after logging began.
            told = []
            for line in demo.stderr:
                told.append(line)
                if "progress" in line:
                    break
            assert told, "the demo said nothing"
            os.killpg(demo.pid, signal.SIGINT)
            interrupted = time.monotonic()
            output, rest = demo.communicate()
        finally:
            overdue.cancel()
    assert demo.returncode == 0, output + "".join(told) + rest
    assert time.monotonic() - interrupted < 60
    assert "ended early on request" in output
    logged, written, dropped, lost = rows(output)["all"]
    assert logged == written + dropped
    assert lost == 0
    assert written == sum("demo" in event for event in events(run_dir))


@needs_demo_packages
@pytest.mark.slow
def test_it_runs_without_torch(run_dir: Path):
    """Without torch the other sources run, and the missing one is named."""
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'torch':\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "from asynclog.cli import main\n"
        f"main(['demo', '--seconds', '1', '--run-dir', {str(run_dir)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(rows(done.stdout)) == ["HTTP service", "all", "main thread", "trio tasks"]
    assert "torch is not installed" in done.stdout


@pytest.mark.parametrize("package", NEEDS)
def test_a_missing_package_is_one_line(package: str, run_dir: Path):
    """Without one of its packages the demo names it, says how to install it, and exits with 2."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from asynclog.cli import main\n"
        f"main(['demo', '--run-dir', {str(run_dir)!r}])"
    )
    if missing := [other for other in NEEDS[: NEEDS.index(package)] if find_spec(other) is None]:
        pytest.skip(f"{missing[0]} is missing, too, and is named first")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"Error: asynclog demo needs the package {package}, which is not installed. "
        "Install it with: python -m pip install 'asynclog[demo]'"
    )
    assert "Traceback" not in done.stderr
    assert not run_dir.exists()


class TestTally:
    """A histogram with a known error."""

    @pytest.mark.parametrize(
        "nanoseconds", [0, 1, 31, 32, 63, 64, 65, 1_000, 123_456, 10**9, 10**10]
    )
    def test_a_duration_is_known_to_three_percent(self, nanoseconds: int):
        """What comes out is what went in, within the width of a cell."""
        tally = Tally()
        tally.add(nanoseconds)
        assert tally.quantile(0.5) == pytest.approx(nanoseconds, rel=0.032)
        assert tally.count == 1

    def test_any_duration_is_counted(self):
        """One that is too long, or negative, is counted at the end of the scale."""
        tally = Tally()
        tally.add(10**15)
        tally.add(-5)
        assert tally.count == 2
        assert tally.cells[0] == tally.cells[CELLS - 1] == 1

    def test_quantiles(self):
        """Half of the calls are not above the median; p99.9 sees one in five hundred."""
        tally = Tally()
        for _ in range(499):
            tally.add(10)
        tally.add(60)
        assert tally.quantile(0.5) == 10
        assert tally.quantile(0.99) == 10
        assert tally.quantile(0.999) == 60
        assert Tally().quantile(0.5) == 0

    def test_the_sum_of_tallies(self):
        """A sum has all durations of its parts."""
        one, other = Tally(), Tally([0] * CELLS)
        one.add(5)
        other.add(50)
        whole = Tally.total([one, other])
        assert (whole.count, whole.quantile(0.1), whole.quantile(1)) == (2, 5, 50)


class Log:
    """A logger that remembers, and raises on request."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def bind(self, **_: object) -> Log:
        """Return itself."""
        return self

    def info(self, event: str, **_: object) -> None:
        """Remember the event."""
        if event == "raise":
            raise KeyError(event)
        self.seen.append(event)

    debug = info

    async def adebug(self, event: str, **_: object) -> None:
        """Remember the event."""
        self.info(event)


def test_a_journal_counts_calls_that_returned():
    """Calls count when they have returned, not when they raise, and not while it is silent."""
    log, switch = Log(), Switch()
    journal = Journal(log, Tally(), switch)
    journal.info("silent")
    switch.logging = True
    journal.bind(a=1).info("one")
    with pytest.raises(KeyError):
        journal.info("raise")
    journal.debug("two")
    assert log.seen == ["one", "two"]
    assert journal.tally.count == 2


class TestOutcome:
    """What was logged, what is in the files and what was dropped must add up."""

    @pytest.fixture
    def outcome(self, run_dir: Path) -> Outcome:
        """Return the outcome of a demo that logged ten events and dropped one."""
        tally = Tally()
        for _ in range(10):
            tally.add(1000)
        report = asynclog.Report(10, 9, {"full": 1}, {}, run_dir)
        return Outcome("r1", counts={"service": tally}, report=report)

    def fill(self, run_dir: Path, lines: int, more: bytes = b"") -> None:
        """Write a rotated file with one line and a current one with the others."""
        run_dir.mkdir()
        line = b'{"event":"e","demo":"r1","source":"service"}\n'
        older = b'{"event":"e","demo":"r0","source":"service"}\n'
        (run_dir / "events.jsonl.1").write_bytes(older + line)
        (run_dir / "events.jsonl").write_bytes(line * (lines - 1) + more)

    def test_complete(self, outcome: Outcome, run_dir: Path):
        """Written and dropped events are not lost; events of an older demo do not count."""
        self.fill(run_dir, 9)
        stored = read_back(run_dir, "r1")
        assert stored.lines == {"service": 9}
        assert lost(outcome, stored) == 0
        assert complete(outcome, stored)
        outcome.failed = True
        assert not complete(outcome, stored)

    def test_lost(self, outcome: Outcome, run_dir: Path):
        """An event that is nowhere is lost, a doubled one is an error as well."""
        self.fill(run_dir, 8)
        stored = read_back(run_dir, "r1")
        assert lost(outcome, stored) == 1
        assert not complete(outcome, stored)
        doubled = stored._replace(lines=Counter(service=10))
        assert not complete(outcome, doubled)

    def test_torn(self, outcome: Outcome, run_dir: Path):
        """A line that is no JSON object is an error."""
        self.fill(run_dir, 9, b'{"event":"e","demo":"r1","sou')
        stored = read_back(run_dir, "r1")
        assert stored.torn == 1
        assert not complete(outcome, stored)

    @pytest.mark.parametrize("with_rich", [True, False])
    def test_it_fits_a_terminal(
        self,
        outcome: Outcome,
        run_dir: Path,
        with_rich: bool,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ):
        """The table has the same rows with rich and without, and no row is cut."""
        monkeypatch.setattr("asynclog.cli.demo.table.installed", lambda _: with_rich)
        self.fill(run_dir, 9)
        if with_rich:
            pytest.importorskip("rich")
        outcome.counts["loader"] = Tally([1_234_567] + [0] * (CELLS - 1))
        stored = read_back(run_dir, "r1")
        stored.lines["loader"] = 1_234_567
        show(outcome, stored)
        shown = capsys.readouterr().out
        table = rows(shown)
        assert table["HTTP service"] == [10, 9, 0, 0]
        assert table["all"] == [1_234_577, 1_234_576, 1, 0]
        assert all(len(line) <= 80 for line in shown.splitlines() if str(run_dir) not in line)
