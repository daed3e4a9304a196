"""The metric files through a running pipeline: with and without a durable file, and after kills."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import asynclog

SINKS = (asynclog.MetricsCsv(), asynclog.MetricsJsonl(), asynclog.Best())


def rows(path: Path) -> list[tuple[str, str, str]]:
    """Return split, name and value of a table's rows."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["split"], row["name"], row["value"]) for row in csv.DictReader(file)]


@pytest.fixture(params=[True, False], ids=["followed", "from the stream"])
def sinks(request: pytest.FixtureRequest) -> list[Any]:
    """Return the sinks, beside a durable file and alone."""
    return [*([asynclog.JsonlFile()] if request.param else []), *SINKS]


@pytest.mark.anyio
async def test_metrics_end_in_the_files(sinks: list[Any], run_dir: Path) -> None:
    """What is logged is in the files after a flush, and after the end; other records are not."""
    log = asynclog.get_logger("train")
    async with asynclog.running(run_dir, sinks=sinks):
        for step in range(100):
            log.info("step", step=step)
            log.log_metrics({"loss": 1 / (step + 1), "deep": {"acc": step}}, step=step, split="val")
        log.log_params({"lr": 0.1})
        assert await asynclog.flush()
        assert len(rows(run_dir / "metrics.csv")) == 200
        assert asynclog.get_best_metric("deep/acc") == {"value": 99, "step": 99, "mode": "max"}
        log.log_metrics({"loss": 0.001}, step=100, split="val")
    assert rows(run_dir / "metrics.csv")[:2] == [("val", "loss", "1.0"), ("val", "deep/acc", "0")]
    assert rows(run_dir / "metrics.csv")[-1] == ("val", "loss", "0.001")
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["metrics"] * 100 + [
        "hparams",
        "metrics",
    ]
    assert json.loads((run_dir / "best.json").read_text()) == {
        "val/deep/acc": {"value": 99, "step": 99, "mode": "max"},
        "val/loss": {"value": 0.001, "step": 100, "mode": "min"},
    }


def test_restarts(sinks: list[Any], run_dir: Path) -> None:
    """Each start goes on; the best of before is known, that of another run is not."""
    for number in range(3):
        with asynclog.running(run_dir, sinks=sinks):
            asynclog.log_metrics({"loss": 3 - number, "acc": 3 - number}, step=number, split="val")
            assert asynclog.get_best_metric("acc") == {"value": 3, "step": 0, "mode": "max"}
    assert asynclog.get_best_metric("loss") == {"value": 1, "step": 2, "mode": "min"}
    assert [value for _, _, value in rows(run_dir / "metrics.csv")] == [
        "3",
        "3",
        "2",
        "2",
        "1",
        "1",
    ]
    with asynclog.running(run_dir.with_name("other"), sinks=sinks):
        assert asynclog.get_best_metric("loss") is None
        asynclog.log_metrics({"loss": 9}, split="val")
        assert asynclog.get_best_metric("loss") == {"value": 9, "step": None, "mode": "min"}
    asynclog.configure(run_dir, sinks=sinks)
    with asynclog.running():
        assert asynclog.get_best_metric("loss") == {"value": 1, "step": 2, "mode": "min"}


def test_best_values_need_no_sink(run_dir: Path) -> None:
    """The process knows its best values also when no file keeps them."""
    asynclog.log_metrics({"loss": 2.0, "x": float("nan")}, step=0, split="train")
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        asynclog.log_metrics({"loss": 1.0}, step=1, split="train")
        asynclog.log_metrics({"loss": 0.5}, step=2, split="train", track_best=False)
        asynclog.get_logger("x").bind(a=1).log_metrics({"weird": 1}, mode="max")
        asynclog.set_level(None, "ERROR")
        asynclog.log_metrics({"loss": 0.1}, step=3, split="train")
    assert asynclog.get_best_metric("loss", "train") == {"value": 1.0, "step": 1, "mode": "min"}
    assert asynclog.get_best_metric("x", "train") is None
    assert asynclog.get_best_metric("weird", None) == {"value": 1, "step": None, "mode": "max"}


@pytest.mark.slow
def test_the_collector_is_killed(run_dir: Path, wait_for: Callable[..., None]) -> None:
    """However often the collector process is killed: every value once, and the best one right."""
    options: Any = {"sinks": [asynclog.JsonlFile(), *SINKS], "collector": "process"}
    with asynclog.running(run_dir, **options):
        step = 0
        for _ in range(4):
            pid = None
            while pid is None or pid == os.getpid():
                time.sleep(0.01)
                pid = asynclog.stats().collector_pid
            for _ in range(500):
                asynclog.log_metrics({"loss": 1 / (step + 1)}, step=step, split="val")
                step += 1
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: asynclog.stats().collector_pid != pid)
        asynclog.flush_sync(30)
    found = [value for _, _, value in rows(run_dir / "metrics.csv")]
    assert found == [repr(1 / (n + 1)) for n in range(step)]
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(step))
    best = json.loads((run_dir / "best.json").read_text())
    assert best == {"val/loss": {"value": 1 / step, "step": step - 1, "mode": "min"}}


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Return a function that waits until something holds."""

    def wait_for(holds: Callable[[], object], timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait_for


def test_forked_children(run_dir: Path) -> None:
    """What forked processes log is in the same table."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), *SINKS]):
        asynclog.log_metrics({"loss": 0}, split="parent")
        children = []
        for number in range(2):
            child = os.fork()
            if not child:
                asynclog.log_metrics({"loss": number}, split="child")
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
    found = sorted(rows(run_dir / "metrics.csv"))
    assert found == [("child", "loss", "0"), ("child", "loss", "1"), ("parent", "loss", "0")]


@pytest.mark.anyio
async def test_disk_full_and_freed(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the table cannot be written, nothing else stops, and later every row is there once."""
    from asynclog.sinks import metric_sinks

    broken = True
    original = metric_sinks.RankFiles.append

    def append(self: Any, lines: Any) -> None:
        if broken:
            raise OSError(28, "No space left on device")
        original(self, lines)

    monkeypatch.setattr(metric_sinks.RankFiles, "append", append)
    async with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), asynclog.MetricsCsv()]):
        for step in range(10):
            asynclog.log_metrics({"loss": step}, split="val")
        with anyio.fail_after(60):
            while len((run_dir / "events.jsonl").read_text().splitlines()) < 10:
                await anyio.sleep(0.01)
        broken = False
        with anyio.fail_after(60):
            while len(rows(run_dir / "metrics.csv")) < 10:
                await anyio.sleep(0.01)
    assert [value for _, _, value in rows(run_dir / "metrics.csv")] == [str(n) for n in range(10)]
