"""What a call with two metrics costs the training thread: ``python -m bench.metrics``.

Full speed is a loop that does nothing but log; paced are 200 calls a second, as a training loop
makes them. Every run is a process of its own, the ways take turns, and what each wrote is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple, TypeAlias

Call: TypeAlias = Callable[[int, float], Any]

PACE = 200
"""Calls a second."""
WARM_UP = 100
FULL_SPEED_CALLS = 20_000
FULL_SPEED_SECONDS = 4.0
REFERENCE = "wandb"


class Way(NamedTuple):
    """A way of logging two metrics.

    Attributes:
        title: For the table.
        needs: Package without which it is left out.
    """

    title: str
    needs: str


WAYS = {
    "asynclog": Way("`asynclog.log_metrics`, JSONL", "asynclog"),
    "asynclog-csv": Way("the same, with `MetricsCsv` and `Best`", "asynclog"),
    "asynclog-process": Way("the same, collected by a process, as for W&B", "asynclog"),
    "wandb": Way("`wandb.log`, offline", "wandb"),
    "tensorboard": Way("`SummaryWriter.add_scalar` twice (tensorboardX)", "tensorboardX"),
    "mlflow": Way("`mlflow.log_metrics`, SQLite", "mlflow"),
    "csv": Way("a CSV file opened at each call", "json"),
    "nothing": Way("an empty function: the clock and the machine", "json"),
}


def make_call(way: str, directory: Path, stack: ExitStack) -> Call:
    """Return what is called with step and value; the stack ends what it began."""
    if way == "nothing":
        return lambda step, x: None
    if way.startswith("asynclog"):
        import asynclog

        more = [] if way == "asynclog" else [asynclog.MetricsCsv(), asynclog.Best()]
        place = "process" if way == "asynclog-process" else "thread"
        sinks = [asynclog.JsonlFile(), *more]
        stack.enter_context(asynclog.running(directory, sinks=sinks, collector=place))
        log_metrics = asynclog.log_metrics
        return lambda step, x: log_metrics({"loss": x, "acc": 1 - x}, step=step, split="train")
    if way == "wandb":
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        import wandb

        run = wandb.init(
            dir=directory, settings=wandb.Settings(console="off", x_disable_stats=True)
        )
        stack.callback(run.finish)
        return lambda step, x: run.log({"train/loss": x, "train/acc": 1 - x}, step=step)
    if way == "tensorboard":
        from tensorboardX import SummaryWriter

        writer = SummaryWriter(str(directory))
        stack.callback(writer.close)

        def add(step: int, x: float) -> None:
            writer.add_scalar("train/loss", x, step)
            writer.add_scalar("train/acc", 1 - x, step)

        return add
    if way == "mlflow":
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
        stack.enter_context(mlflow.start_run())
        return lambda step, x: mlflow.log_metrics({"loss": x, "acc": 1 - x}, step=step)
    path = directory / "metrics.csv"

    def append(step: int, x: float) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{step},train,loss,{x},{time.time()}\n{step},train,acc,{1 - x},\n")

    return append


def count_written(way: str, directory: Path) -> int | None:
    """Return how many calls are found in what was written; None where nobody counts."""
    if way.startswith("asynclog"):
        lines = b"".join(path.read_bytes() for path in directory.glob("events.jsonl*"))
        found = [json.loads(line) for line in lines.splitlines()]
        return sum(event.get("kind") == "metrics" for event in found)
    if way == "csv":
        return (directory / "metrics.csv").read_bytes().count(b"\n") // 2
    if way == "mlflow":
        import sqlite3

        with sqlite3.connect(directory / "mlflow.db") as database:
            [(rows,)] = database.execute("select count(*) from metrics")
        database.close()
        return rows // 2
    return None


def measure(way: str, seconds: float) -> dict[str, Any]:
    """Return what the calls took, in microseconds, at full speed and paced."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with ExitStack() as stack:
            call = make_call(way, directory, stack)
            made = 0
            for made in range(1, WARM_UP + 1):
                call(made, 0.5)
            full: list[int] = []
            deadline = perf_counter_ns() + int(FULL_SPEED_SECONDS * 1e9)
            while len(full) < FULL_SPEED_CALLS and perf_counter_ns() < deadline:
                made += 1
                before = perf_counter_ns()
                call(made, 1 / made)
                full.append(perf_counter_ns() - before)
            paced: list[int] = []
            due = perf_counter_ns()
            for _ in range(round(seconds * PACE)):
                due += 1_000_000_000 // PACE
                if (early := due - perf_counter_ns()) > 0:
                    time.sleep(early / 1e9)
                made += 1
                before = perf_counter_ns()
                call(made, 1 / made)
                paced.append(perf_counter_ns() - before)
        written = count_written(way, directory)
    return {
        "full": {"p50": _quantile(full, 0.5), "p99.9": _quantile(full, 0.999)},
        "paced": {"p50": _quantile(paced, 0.5), "p99.9": _quantile(paced, 0.999)},
        "made": made,
        "written": written,
    }


def _quantile(nanoseconds: list[int], share: float) -> float:
    ordered = sorted(nanoseconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e3


def run_all(ways: Sequence[str], rounds: int, seconds: float) -> dict[str, list[Any]]:
    """Run every way in every round, in an order that changes, each in a process of its own."""
    results: dict[str, list[Any]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in random.sample(list(ways), len(ways)):
            print(f"round {number + 1} of {rounds}: {way}", file=sys.stderr, flush=True)
            command = [sys.executable, "-m", "bench.metrics", "--one", way]
            result = subprocess.run(
                [*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, check=True
            )
            results[way].append(json.loads(result.stdout.splitlines()[-1]))
    return results


def table(results: dict[str, list[Any]]) -> str:
    """Return the medians over the rounds, and the ratios to W&B of the same run."""

    def median(way: str, pace: str, figure: str) -> float:
        return statistics.median(result[pace][figure] for result in results[way])

    columns = [(pace, figure) for pace in ("full", "paced") for figure in ("p50", "p99.9")]
    titles = {"full": "full speed", "paced": f"{PACE} calls/s"}
    head = ["two metrics by", *(f"{titles[pace]} {figure}, us" for pace, figure in columns)]
    rows = [[*head, "p50 to wandb.log", "not written"], ["---"] * (len(head) + 2)]
    for way, outcomes in results.items():
        figures = [f"{median(way, pace, figure):,.1f}" for pace, figure in columns]
        ratio = "-"
        if REFERENCE in results:
            ratios = [median(way, p, "p50") / median(REFERENCE, p, "p50") for p in titles]
            ratio = " / ".join(f"{value:.3f}" for value in ratios)
        counted = [each for each in outcomes if each["written"] is not None]
        lost = sum(each["made"] - each["written"] for each in counted)
        rows.append([WAYS[way].title, *figures, ratio, f"{lost:,}" if counted else "not counted"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.metrics", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of paced calls")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one, options.seconds)))
        return 0
    ways = [way for way in options.ways if find_spec(WAYS[way].needs) is not None]
    for way in options.ways:
        if way not in ways:
            print(f"{way} is not installed: left out", file=sys.stderr)
    results = run_all(ways, options.rounds, options.seconds)
    if options.json:
        options.json.write_text(json.dumps(results))
    print(table(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
