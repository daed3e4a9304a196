"""Kill -9 of a training process, again and again: after a restart nothing is lost or doubled."""

from __future__ import annotations

import csv
import json
import mmap
import os
import random
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclog.experiment import ExperimentLogger

PROGRAM = """
import mmap, struct, sys, time
from asynclog.experiment import ExperimentLogger

number, pause = int(sys.argv[1]), float(sys.argv[2])
with open("acknowledged", "r+b") as file:
    memory = mmap.mmap(file.fileno(), 8)
logger = ExperimentLogger("run", console_output=False)
step = 0
while True:
    with logger.stage("step"):
        logger.log_metric(step, f"run{number}", "loss", 1 / (step + 1), total_steps=10**6)
        logger.info(f"run {number} step {step}")
    step += 1
    memory[:8] = struct.pack("Q", step)
    if pause:
        time.sleep(pause)
"""


def start_and_kill(tmp_path: Path, number: int, pause: float, wanted: int) -> int:
    """Run the training until it has made some steps, kill it, return how many it had made."""
    acknowledged = tmp_path / "acknowledged"
    acknowledged.write_bytes(bytes(8))
    with acknowledged.open("r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        command = [sys.executable, "-c", PROGRAM, str(number), str(pause)]
        # a dropped record would count as lost here
        environment = {**os.environ, "ASYNCLOG_OVERFLOW_TIMEOUT": "1 min"}
        with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
            try:
                deadline = time.monotonic() + 60
                while struct.unpack("Q", memory[:8])[0] < wanted:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.0005)
                time.sleep(random.random() * 0.1)  # somewhere within a round of the collector
            finally:
                process.kill()
        return int(struct.unpack("Q", memory[:8])[0])


def check(found: list[list[int]], made: list[int]) -> None:
    """Each run's steps are there once and in order: all that were made, at most one more."""
    for steps, acknowledged in zip(found, made, strict=True):
        assert steps == list(range(len(steps)))
        assert acknowledged <= len(steps) <= acknowledged + 1


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.001, 0])
def test_killed_again_and_again(
    pause: float, tmp_path: Path, read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    """Table, text, events and best values agree with what the killed processes had done."""
    wanted = [1, 30, 200, 5] if pause else [500, 2000, 1, 1000]
    made = [start_and_kill(tmp_path, number, pause, steps) for number, steps in enumerate(wanted)]
    run = tmp_path / "run"
    with ExperimentLogger(run, console_output=False) as logger:
        logger.info("the end")
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    events = [
        event for path in sorted(run.glob("events.jsonl*"), reverse=True) for event in read(path)
    ]
    texts = (run / "exp.log").read_text().splitlines()
    runs = range(len(made))
    check([[int(row["step"]) for row in rows if row["split"] == f"run{n}"] for n in runs], made)
    metrics = [event for event in events if event.get("kind") == "metrics"]
    check([[e["step"] for e in metrics if e["split"] == f"run{n}"] for n in runs], made)
    for lines in ([event["event"] for event in events], texts):
        said = [re.search(r"run (\d+) step (\d+)", line) for line in lines]
        pairs = [(int(match[1]), int(match[2])) for match in said if match]
        check([[step for number, step in pairs if number == n] for n in runs], made)
    assert texts[-1].endswith("INFO - the end")
    best = json.loads((run / "best.json").read_text())
    for number in runs:
        steps = sum(row["split"] == f"run{number}" for row in rows)
        assert best[f"run{number}/loss"] == {
            "value": 1 / steps,
            "step": steps - 1,
            "mode": "min",
        }
