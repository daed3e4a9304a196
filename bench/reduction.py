"""What one value for all ranks costs: ``python -m bench.reduction [--ranks N] [--steps N]``.

- log_metrics: the call on the training thread, which is all that ``Reduced`` asks of it.
- all_reduce: the same values by torch.distributed over gloo, one call for each of sum, least and
  most of all metrics of a step in one tensor; the best that can be done with collectives.
- collector: CPU time of the reduction for a record of one rank, in the collector.

The ranks do nothing else, so that nobody waits for a slow one; in training, all_reduce does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = [f"metric{number}" for number in range(10)]


def rank(run_dir: str, steps: int) -> None:
    import torch
    import torch.distributed as dist

    import asynclog

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    operations = dist.ReduceOp.SUM, dist.ReduceOp.MIN, dist.ReduceOp.MAX
    values = [0.5 + number for number in range(len(NAMES))]
    calls, reductions = [], []
    sinks = [asynclog.JsonlFile(), asynclog.Reduced(asynclog.MetricsCsv())]
    with asynclog.running(run_dir, sinks=sinks, collector="process"):
        for step in range(steps):
            metrics = dict(zip(NAMES, values, strict=True))
            begun = time.perf_counter()
            asynclog.log_metrics(metrics, step=step, split="train")
            logged = time.perf_counter()
            for operation in operations:
                dist.all_reduce(torch.tensor(values), operation)
            calls.append(logged - begun)
            reductions.append(time.perf_counter() - logged)
    if dist.get_rank() == 0:
        Path(run_dir, "bench.json").write_text(json.dumps([calls, reductions]))
    dist.destroy_process_group()


def of_collector(ranks: int, steps: int) -> float:
    from asynclog._json import loads
    from asynclog.collector.reduce import Reduction
    from asynclog.sinks.reduced import STATISTICS

    reduction = Reduction(60.0, STATISTICS)
    lines = [
        json.dumps(
            {
                "timestamp": f"2026-01-31T12:00:00.{number:06d}Z",
                "kind": "metrics",
                "level": "info",
                "event": "metrics",
                "step": step,
                "split": "train",
                "metrics": dict.fromkeys(NAMES, number + 0.5),
                "rank": number,
                "world_size": ranks,
                "host": "node1",
                "pid": 4711,
            }
        ).encode()
        for step in range(steps)
        for number in range(ranks)
    ]
    begun = time.process_time()
    for line in lines:
        reduction.add(loads(line), 0.0)
    return (time.process_time() - begun) / len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        rank(options.child, options.steps)
        return
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(options.ranks), "-m", "bench.reduction"]
        command += ["--steps", str(options.steps), "--child", f"{directory}/run"]
        subprocess.run(command, check=True)
        calls, reductions = json.loads(Path(directory, "run", "bench.json").read_bytes())
    print("| a step of 10 metrics | median | 99th percentile |\n|---|---|---|")
    for name, found in (("log_metrics", calls), ("all_reduce", reductions)):
        cuts = statistics.quantiles(found, n=100)
        print(f"| {name} | {cuts[49] * 1e6:.1f} us | {cuts[98] * 1e6:.1f} us |")
    print("\n| ranks | CPU of the collector, a record |\n|---|---|")
    for ranks in (8, 64, 1024, 8000):
        print(f"| {ranks} | {of_collector(ranks, max(2, 20_000 // ranks)) * 1e6:.1f} us |")


if __name__ == "__main__":
    main()
