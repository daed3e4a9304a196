"""Reduction in a running pipeline: several processes, kills, time-outs, restarts, replay."""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner

import asynclog
from asynclog import JsonlFile, MetricsCsv, Reduced, TensorBoard
from asynclog.cli import main
from asynclog.exceptions import SettingError
from asynclog.sinks import Best, Console, MetricsJsonl, from_data, to_data

from .conftest import Job, lines, rows, until

StartJob: TypeAlias = Callable[[int, int], Job]


def _log(steps: range, ranks: range, world: int) -> None:
    """Log as some ranks of a job would."""
    for step in steps:
        for rank in ranks:
            log = asynclog.get_logger().bind(rank=rank, world_size=world)
            log.log_metrics({"loss": float(step + rank)}, step=step, split="train")


def _means(path: Path) -> list[tuple[int, float]]:
    return [(step, value) for step, _, name, value in rows(path) if name == "loss"]


def _tensorboard(directory: Path) -> list[tuple[int, float]]:
    """Return steps and values of the mean as TensorBoard reads them."""
    loader = importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
    found: list[tuple[int, float]] = []
    for path in sorted(directory.glob("*tfevents*")):
        for event in loader.LegacyEventFileLoader(str(path)).Load():
            found += [
                (event.step, value.simple_value)
                for value in event.summary.value
                if value.tag == "train/loss"
            ]
    return found


def test_ranks_of_a_job(run_dir: Path, start_job: StartJob) -> None:
    """Whichever process collects, and whoever ends first, each step is there once, of all ranks."""
    world, steps = 3, 40
    job = start_job(world, steps)
    for sign in ("begin", "go on"):
        job.reach(sign)
        job.give(sign)
    job.end()
    found = rows(run_dir / "metrics.csv")
    table = {(step, split, name): value for step, split, name, value in found}
    assert len(table) == len(found)
    for step in range(steps):
        assert table[step, "train", "loss"] == step + 1
        assert table[step, "train", "loss/min"] == step
        assert table[step, "train", "loss/max"] == step + 2
        assert table[step, "train", "loss/sum"] == 3 * step + 3
        assert table[step, "train", "loss/std"] == pytest.approx((2 / 3) ** 0.5)
        assert table[step, "train", "loss/count"] == world
        assert table[step, "", "lr"] == 0.5
    assert len(found) == steps * 13
    assert not list(run_dir.glob("metrics_rank*")), "the reduced values belong to no rank"


def test_rank_that_is_killed(run_dir: Path, start_job: StartJob) -> None:
    """A rank that dies, and the collector with it, costs its values; no step comes twice."""
    job = start_job(3, 10)
    job.reach("begin")
    job.give("begin")
    job.reach("go on")
    os.kill(job.collector(), signal.SIGKILL)
    job.ranks[0].kill()
    job.give("go on")
    job.end()
    found = rows(run_dir / "metrics.csv")
    assert len({row[:3] for row in found}) == len(found)
    counts = {step: value for step, _, name, value in found if name == "loss/count"}
    assert counts == {step: 3 if step <= 5 else 2 for step in range(10)}


def test_collector_that_is_killed(run_dir: Path) -> None:
    """Kills of the collector at any time neither lose nor double a reduced value."""
    _kill_collectors(run_dir, 3)


@pytest.mark.faults
def test_collector_that_is_killed_often(run_dir: Path) -> None:
    """The same, 60 times."""
    _kill_collectors(run_dir, 60)


def _kill_collectors(run_dir: Path, times: int) -> None:
    pytest.importorskip("tensorboard")
    sinks = [JsonlFile(), Reduced([MetricsCsv(), TensorBoard()])]
    generator = random.Random(times)
    with asynclog.running(run_dir, sinks=sinks, collector="process"):
        step = 0
        for _ in range(times):
            until(lambda: asynclog.stats().collector_pid is not None)
            killed = asynclog.stats().collector_pid
            assert killed is not None
            for _ in range(generator.randrange(2, 6)):
                _log(range(step, step + 25), range(3), 3)
                step += 25
            os.kill(killed, signal.SIGKILL)
            until(lambda killed=killed: asynclog.stats().collector_pid not in (None, killed))
        _log(range(step, step + 5), range(3), 3)
        step += 5
        assert asynclog.flush_sync(60)
        until(lambda: len(_means(run_dir / "metrics.csv")) >= step)
    expected = [(number, number + 1.0) for number in range(step)]
    assert _means(run_dir / "metrics.csv") == expected
    assert _tensorboard(run_dir / "tb") == expected


def test_time_out_is_a_record(run_dir: Path) -> None:
    """A rank that is waited for in vain is named in the run's own records."""
    sinks = [JsonlFile(), Reduced(MetricsCsv(), timeout="2 s")]
    with asynclog.running(run_dir, sinks=sinks):
        _log(range(1), range(2), 2)
        _log(range(1, 2), range(1), 2)
        until(lambda: "asynclog.ranks_missing" in (run_dir / "events.jsonl").read_text())
        until(lambda: len(_means(run_dir / "metrics.csv")) == 2)
    [note] = [
        line
        for line in lines(run_dir / "events.jsonl")
        if line["event"] == "asynclog.ranks_missing"
    ]
    assert (note["ranks"], note["step"], note["split"]) == ([1], 1, "train")
    assert note["level"] == "warning"
    assert note["waited"] >= 2
    assert _means(run_dir / "metrics.csv") == [(0, 0.5), (1, 1.0)]


def test_end_of_a_run(run_dir: Path) -> None:
    """What still waits when the last process ends goes out then; the next start goes on behind."""
    sinks = [JsonlFile(), Reduced([MetricsCsv(), Best()])]
    with asynclog.running(run_dir, sinks=sinks) as run:
        _log(range(2), range(1), 2)
    assert run.report.sinks["metrics_csv"].dropped == {}
    assert _means(run_dir / "metrics.csv") == [(0, 0.0), (1, 1.0)]
    with asynclog.running(run_dir, sinks=sinks):
        _log(range(2, 4), range(2), 2)
        assert asynclog.flush_sync(60)
        assert _means(run_dir / "metrics.csv")[2:] == [(2, 2.5), (3, 3.5)]
    assert len(_means(run_dir / "metrics.csv")) == 4


def test_flush_waits_for_the_reduced_values(run_dir: Path) -> None:
    """After a flush, what all ranks have reported is in the files."""
    with asynclog.running(run_dir, sinks=[JsonlFile(), Reduced(MetricsCsv())]):
        for step in range(5):
            _log(range(step, step + 1), range(4), 4)
            assert asynclog.flush_sync(60)
            assert len(_means(run_dir / "metrics.csv")) == step + 1


@pytest.mark.parametrize("broken", [None, [], {"world": "x"}, {"waiting": [[1]]}])
def test_cursor_that_is_damaged(run_dir: Path, broken: Any) -> None:
    """What waited for ranks is lost with it, and said; all that comes is reduced."""
    sinks = [JsonlFile(), Reduced(MetricsCsv())]
    with asynclog.running(run_dir, sinks=sinks):
        _log(range(2), range(2), 2)
    cursor = run_dir / ".asynclog" / "cursors" / "reduced.json"
    saved = json.loads(cursor.read_bytes())
    state = saved["state"]["reduction"]
    saved["state"]["reduction"] = state | broken if isinstance(broken, dict) else broken
    cursor.write_text(json.dumps(saved))
    with asynclog.running(run_dir, sinks=sinks):
        _log(range(2, 4), range(2), 2)
    assert _means(run_dir / "metrics.csv") == [(step, step + 0.5) for step in range(4)]


def test_other_records_go_along(run_dir: Path) -> None:
    """Sinks inside get parameters and the like as well, and process records stay out."""
    with asynclog.running(run_dir, sinks=[JsonlFile(), Reduced(MetricsJsonl())]):
        asynclog.log_params({"lr": 0.1})
        asynclog.get_logger().info("hello")
        asynclog.log_metrics({"loss": 1.0}, step=1)
    kinds = [line["kind"] for line in lines(run_dir / "metrics.jsonl")]
    assert kinds == ["hparams", "metrics"]


def test_replay(run_dir: Path) -> None:
    """What a killed run had not reduced, and a sink had not got, `asynclog replay` brings."""
    sinks = [JsonlFile(), Reduced(MetricsCsv())]
    with asynclog.running(run_dir, sinks=sinks):
        _log(range(5), range(2), 2)
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        _log(range(5, 8), range(2), 2)
        _log(range(8, 9), range(1), 2)
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "metrics_csv"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("4 records of ")
    assert _means(run_dir / "metrics.csv") == [(step, step + 0.5) for step in range(8)] + [(8, 8.0)]
    (run_dir / "metrics.csv").unlink()
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "metrics_csv", "--all"])
    assert result.output.startswith("9 records of ")
    assert len(_means(run_dir / "metrics.csv")) == 9
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "reduced"])
    assert result.output.startswith("0 records of ")
    result = CliRunner().invoke(main, ["replay", str(run_dir), "--sink", "reduced", "--all"])
    assert result.exit_code == 2
    assert "must not be asked for" in result.output


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Reduced([]), "must not be empty"),
        (lambda: Reduced(Console()), "must be sinks of metrics"),
        (lambda: Reduced(MetricsCsv), "must be sinks of metrics"),
        (lambda: Reduced([Reduced(MetricsCsv())]), "must be sinks of metrics"),
        (lambda: Reduced(asynclog.Otlp()), "must be sinks of metrics"),
        (lambda: Reduced(MetricsCsv(), timeout=0), "timeout must be positive"),
        (lambda: Reduced(MetricsCsv(), statistics=["median"]), "must be some of min, max"),
        (lambda: Reduced(MetricsCsv(), world_size=0), "world_size must be a positive number"),
        (lambda: from_data({"kind": "reduced"}), "needs the setting sinks"),
    ],
)
def test_bad_settings(make: Callable[[], Any], said: str) -> None:
    """A setting that breaks its rule is an error at once, which says what to write."""
    with pytest.raises(SettingError, match=said):
        make()


def test_it_needs_the_file(run_dir: Path) -> None:
    """Without a file of all lines there is nothing to read, and start() says so."""
    with pytest.raises(SettingError, match="needs a JsonlFile"):
        asynclog.start_sync(run_dir, sinks=[Reduced(MetricsCsv())], collector="thread")


def test_it_goes_to_another_process() -> None:
    """The declaration is plain data, the sinks inside included."""
    declaration = Reduced([MetricsCsv("a.csv"), TensorBoard()], timeout="5 s", statistics=["min"])
    assert from_data(to_data(declaration)) == declaration
    written = {"kind": "reduced", "sinks": ["tensorboard", {"kind": "best", "path": "b.json"}]}
    assert from_data(written) == Reduced([TensorBoard(), Best("b.json")])
    assert declaration.heavy
    assert not Reduced(MetricsCsv()).heavy
