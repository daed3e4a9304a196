"""A training loop on a real GPU that logs its loss each step: ``python -m bench.cuda``.

What a way of logging costs is not what its call takes: a call that waits for the GPU (``.item()``,
``wandb.log`` of a tensor) lets it run dry, since nothing more is queued meanwhile. So the time of
a step is taken on the GPU, between events in its own queue, and over the whole loop.

Every run is a process of its own; the ways take turns, so that a clock that changes hits all.
"""

from __future__ import annotations

import argparse
import json
import logging
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
from itertools import pairwise
from pathlib import Path
from typing import Any

WAYS = ("none", "item", "wandb", "asynclog")
NEEDS = {"wandb": "wandb"}
WARM_UP = 50
TITLES = {
    "none": "no logging",
    "item": "`loss.item()` into a JSON file",
    "wandb": "`wandb.log`, offline",
    "asynclog": "`asynclog.log_metrics`",
}


def make_log(way: str, directory: Path, stack: ExitStack) -> Callable[[int, Any], None]:
    """Return what is called with step and loss; the stack ends what it began."""
    if way == "item":
        file = stack.enter_context((directory / "metrics.jsonl").open("w", encoding="utf-8"))

        def log_item(step: int, loss: Any) -> None:
            file.write(json.dumps({"step": step, "loss": loss.item()}) + "\n")

        return log_item
    if way == "wandb":
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        import wandb

        run = wandb.init(
            dir=directory, settings=wandb.Settings(console="off", x_disable_stats=True)
        )
        stack.callback(run.finish)
        return lambda step, loss: run.log({"loss": loss}, step=step)
    if way == "asynclog":
        import asynclog

        stack.enter_context(asynclog.running(directory, sinks=[asynclog.JsonlFile()]))
        return lambda step, loss: asynclog.log_metrics({"loss": loss}, step=step, split="train")
    return lambda _step, _loss: None


class HostClock:
    """Takes the time of steps on the host, to try the program out where there is no GPU."""

    def __init__(self) -> None:
        self._marks: list[float] = []

    def mark(self) -> None:
        self._marks.append(time.perf_counter())

    def steps(self) -> list[float]:
        return [1e3 * (end - start) for start, end in pairwise(self._marks)]


class DeviceClock:
    """Takes the time of steps in the GPU's own queue, in milliseconds."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._marks: list[Any] = []

    def mark(self) -> None:
        event = self._torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append(event)

    def steps(self) -> list[float]:
        self._torch.cuda.synchronize()
        return [start.elapsed_time(end) for start, end in pairwise(self._marks)]


def train(way: str, steps: int, width: int, device: str = "cuda") -> dict[str, Any]:
    """Train for some steps and return what they and the log calls took.

    Returns:
        ``wall`` (milliseconds a step over the whole loop), ``steps`` (milliseconds of each, by the
        device), ``calls`` (microseconds of each log call on the host).
    """
    import torch

    torch.manual_seed(0)
    nn = torch.nn
    # many small kernels, as real models have them: the host has to keep ahead of the device
    layers = [layer for _ in range(12) for layer in (nn.Linear(width, width), nn.LayerNorm(width))]
    model = nn.Sequential(*layers).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)
    batch = torch.randn(1024 if device == "cuda" else 8, width, device=device)
    clock: Any = DeviceClock(torch) if device == "cuda" else HostClock()
    calls: list[float] = []
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        log = make_log(way, Path(directory), stack)
        began = 0.0
        for step in range(-WARM_UP, steps):
            if step == 0:
                if device == "cuda":
                    torch.cuda.synchronize()
                calls.clear()
                clock.mark()
                began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss = (model(batch) - batch).square().mean()
            loss.backward()
            optimizer.step()
            before = time.perf_counter()
            log(step + WARM_UP, loss)
            calls.append(1e6 * (time.perf_counter() - before))
            if step >= 0:
                clock.mark()
        if device == "cuda":
            torch.cuda.synchronize()
        wall = 1e3 * (time.perf_counter() - began) / steps
    return {"wall": wall, "steps": clock.steps(), "calls": calls}


def run_all(ways: Sequence[str], rounds: int, steps: int, width: int) -> dict[str, list[Any]]:
    """Run every way in every round, in an order that changes, each in a process of its own."""
    results: dict[str, list[Any]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in random.sample(list(ways), len(ways)):
            print(f"round {number + 1} of {rounds}: {way}", file=sys.stderr, flush=True)
            arguments = ["--one", way, "--steps", str(steps), "--width", str(width)]
            result = subprocess.run(
                [sys.executable, "-m", "bench.cuda", *arguments],
                stdout=subprocess.PIPE,
                check=True,
            )
            results[way].append(json.loads(result.stdout.splitlines()[-1]))
    return results


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(results: dict[str, list[Any]]) -> str:
    """Return the medians over the rounds: times of a step as ratios to those without logging."""

    def median(way: str, figure: Callable[[Any], float]) -> float:
        return statistics.median(figure(result) for result in results[way])

    figures: dict[str, Callable[[Any], float]] = {
        "step, whole loop": lambda result: result["wall"],
        "step, p50 on the GPU": lambda result: quantile(result["steps"], 0.5),
        "step, p99 on the GPU": lambda result: quantile(result["steps"], 0.99),
        "spread (p99 - p50)": lambda result: (
            quantile(result["steps"], 0.99) - quantile(result["steps"], 0.5)
        ),
    }
    base = {name: median("none", figure) for name, figure in figures.items()}
    head = ["way", *figures, "log call p50", "p99"]
    rows = [head, ["---"] * len(head)]
    for way in results:
        ratios = [
            f"{median(way, figure) / max(base[name], 1e-9):.2f}" for name, figure in figures.items()
        ]
        p50 = median(way, lambda result: quantile(result["calls"], 0.5))
        p99 = median(way, lambda result: quantile(result["calls"], 0.99))
        rows.append([TITLES[way], *ratios, f"{p50:.1f} us", f"{p99:.1f} us"])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    unit = ", ".join(f"{name} {value:.3f} ms" for name, value in base.items())
    return "\n".join([*lines, "", f"1 is: {unit}."])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cuda", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--width", type=int, default=1024, help="of the model's layers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if find_spec("torch") is None:
        print("bench.cuda: PyTorch is not installed, so there is nothing to measure")
        return 0
    import torch

    if not torch.cuda.is_available():
        print("bench.cuda: there is no CUDA device here, so there is nothing to measure")
        return 0
    logging.getLogger("wandb").setLevel(logging.ERROR)
    if options.one:
        print(json.dumps(train(options.one, options.steps, options.width)))
        return 0
    ways = [way for way in WAYS if find_spec(NEEDS.get(way, "json")) is not None]
    for way in WAYS:
        if way not in ways:
            print(f"{way} is not installed: left out", file=sys.stderr)
    results = run_all(ways, options.rounds, options.steps, options.width)
    if options.json:
        options.json.write_text(json.dumps(results))
    name = torch.cuda.get_device_name()
    print(
        f"{name}, PyTorch {torch.__version__}, {options.rounds} rounds of {options.steps} steps\n"
    )
    print(table(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
