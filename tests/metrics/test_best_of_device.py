"""Best values, progress and stages of numbers on a device: nobody waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asynclog import Pipeline
from asynclog.experiment import ExperimentLogger


def test_best_when_it_arrives(
    device: Any, pipeline: Pipeline, written: Callable[[], list[dict[str, Any]]]
) -> None:
    """A value counts once it is there, with the numbers of the same call that were there before."""
    log, best = pipeline.get_logger(), pipeline.loggers.best
    values = [3.0, 1.0, float("nan"), 2.0]
    for step, value in enumerate(values):
        log.log_metrics({"loss": device.tensor(value), "acc": step}, step=step, split="val")
    assert best.get("val/loss") is None
    assert best.get("val/acc") == {"value": 3, "step": 3, "mode": "max"}
    log.log_metrics({"loss": device.tensor(0.5)}, step=9, split="val", track_best=False)
    device.work()
    assert len(written()) == 5
    assert best.get("val/loss") == {"value": 1.0, "step": 1, "mode": "min"}


def test_experiment_logger(device: Any, run_dir: Path) -> None:
    """Values, steps and metadata on a device go through all of an ExperimentLogger's methods."""
    with ExperimentLogger(run_dir, console_output=False) as logger:
        with logger.stage("epoch", lr=device.tensor(0.25)):
            for step in range(3):
                logger.log_metric(step, "val", "loss", device.tensor(1 / (step + 1)), total_steps=2)
            on_device = device.tensor(7, "int64")
            logger.log_metric(on_device, "val", "loss", device.tensor(0.125), total_steps=9)
            logger.log_dict({"x": device.tensor(2.0)})
        device.work()
        assert logger.flush()
        assert logger.get_best_metric("loss") == {"value": 0.125, "step": 7, "mode": "min"}
    rows = (run_dir / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["0", "1", "2", "7"]
    assert json.loads((run_dir / "best.json").read_text())["val/loss"]["value"] == 0.125
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert [event["lr"] for event in events if "lr" in event] == [0.25, 0.25]
