"""What each scenario does with a library, and what it measures; the same for every one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from array import array
from time import perf_counter_ns
from typing import cast

from bench import measure
from bench._scenario import Metrics
from bench.adapters import Call
from bench.drivers import AwaitedCall, overhead_ns
from bench.pacing import RATE, cpu_bound_thread
from bench.stage import Stage

WARM_UP = 3_000
SLOW_WRITE = 0.020
OVER_NS = 1_000_000
# A service does not make up for every call it could not make while its loop was blocked: with a
# sink of 20 ms a write in the call, the time owed would grow for ever.
CATCH_UP = 30


def full_speed(stage: Stage) -> Metrics:
    call = stage.start()
    first = stage.warm_up(call, min(WARM_UP, stage.sizes["events"]))
    samples = measure.new_samples(stage.sizes["events"])
    overhead = overhead_ns()
    measure.settle()
    start = perf_counter_ns()
    deadline = start + int(stage.sizes["seconds"] * 1e9)
    count = stage.driver.time(call, samples, first, deadline)
    spent = perf_counter_ns() - start
    stage.made(count)
    figures = measure.latencies(samples, count, overhead)
    return {
        **figures,
        "mean_ns": spent / count - overhead,
        "over_share": _over(samples, count),
        "calls": count,
    }


def paced(stage: Stage) -> Metrics:
    call = stage.start()
    first = stage.warm_up(call, min(WARM_UP, stage.sizes["events"]))
    samples = measure.new_samples(stage.sizes["events"])
    overhead = overhead_ns()
    measure.settle()
    cpu = measure.tree_cpu_seconds()
    start = perf_counter_ns()
    stage.driver.pace(call, samples, first)
    spent = perf_counter_ns() - start
    count = len(samples)
    stage.made(count)
    stage.drain()
    cpu = measure.tree_cpu_seconds(own_first=True) - cpu
    return {
        **measure.latencies(samples, count, overhead),
        "over_share": _over(samples, count),
        "cpu_us": cpu / count * 1e6,
        "rate": count / spent * 1e9,
        "calls": count,
    }


def cpu_beside(stage: Stage) -> Metrics:
    call = stage.start()
    first = stage.warm_up(call, min(WARM_UP, stage.sizes["events"]))
    overhead = overhead_ns()
    metrics: Metrics = {}
    # A caller that sleeps gets the GIL afresh and is rarely interrupted in the call; one that
    # works between the calls loses it at any time, and for whatever lets go of it.
    for name, busy in (("idle", False), ("busy", True)):
        samples = measure.new_samples(stage.sizes["events"])
        measure.settle()
        with cpu_bound_thread():
            stage.driver.pace(call, samples, first, busy=busy)
        count = len(samples)
        stage.made(count)
        first += count
        figures = measure.latencies(samples, count, overhead)
        metrics |= {f"{name}_{key}": value for key, value in figures.items()}
        metrics[f"{name}_over_share"] = _over(samples, count)
        metrics[f"{name}_over_calls"] = sum(1 for value in samples if value > OVER_NS)
        metrics[f"{name}_calls"] = count
    return metrics


def loop(stage: Stage) -> Metrics:
    call = stage.start()
    first = stage.warm_up(call, 200)
    return _loop_lateness(stage, call, first)


def loop_slow(stage: Stage) -> Metrics:
    call = stage.start(SLOW_WRITE)
    first = stage.warm_up(call, 20)
    return _loop_lateness(stage, call, first)


def throughput(stage: Stage) -> Metrics:
    threads = stage.sizes["threads"]
    per_thread = stage.sizes["events"] // threads
    call = stage.start()
    first = stage.warm_up(call, min(WARM_UP, stage.sizes["events"]))
    lines = stage.count_lines()
    made = [0] * threads
    gate = threading.Barrier(threads + 1)
    deadline = 0

    def work(index: int) -> None:
        number = first + index * per_thread
        gate.wait()
        made[index] = stage.driver.make_until(call, number, per_thread, deadline, 64)

    measure.settle()
    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    cpu = measure.tree_cpu_seconds()
    deadline = perf_counter_ns() + int(stage.sizes["seconds"] * 1e9)
    gate.wait()
    start = perf_counter_ns()
    for worker in workers:
        worker.join()
    called = perf_counter_ns() - start
    stage.drain()
    spent = perf_counter_ns() - start
    cpu = measure.tree_cpu_seconds(own_first=True) - cpu
    count = sum(made)
    stage.made(count, numbers=per_thread * threads)
    # What is thrown away is quick: only what is in the file counts.
    written = max(1, min(count, stage.note_drained() - lines))
    return {
        "events_per_s": written / spent * 1e9,
        "calls_per_s": count / called * 1e9,
        "cpu_us": cpu / written * 1e6,
        "calls": count,
    }


def burst(stage: Stage) -> Metrics:
    with measure.memory_sampler() as sampler:
        call = stage.start(SLOW_WRITE)
        first = stage.warm_up(call, 20)
        measure.settle()
        # What the loop itself needs is touched before, so that only the library grows.
        before = sampler.ask("watch")["bytes"]
        start = perf_counter_ns()
        deadline = start + int(stage.sizes["seconds"] * 1e9)
        count = stage.driver.make_until(call, first, stage.sizes["events"], deadline, 4)
        spent = perf_counter_ns() - start
        # The sink is still slow: what is in memory now has to be written first.
        time.sleep(stage.sizes["after"])
        peak = sampler.ask("peak")["bytes"]
    stage.made(count)
    return {
        "growth_mib": max(0, peak - before) / 2**20,
        "before_mib": before / 2**20,
        "seconds": spent / 1e9,
        "share_called": count / stage.sizes["events"],
        "calls": count,
    }


def filtered(stage: Stage) -> Metrics:
    stage.start()
    call = stage.adapter.filtered_call()
    nothing = stage.driver.nothing()
    block = stage.sizes["block"]
    measure.settle()
    measured: list[float] = []
    empty: list[float] = []
    for _ in range(stage.sizes["blocks"]):
        for target, costs in ((nothing, empty), (call, measured)):
            start = perf_counter_ns()
            stage.driver.make(target, 0, block)
            costs.append((perf_counter_ns() - start) / block)
    return {
        "p50_ns": measure.median(measured) - measure.median(empty),
        "min_ns": min(measured) - min(empty),
        "calls": block * stage.sizes["blocks"],
    }


def importing(stage: Stage) -> Metrics:
    command = [sys.executable, "-c", stage.adapter.imports]
    # The first one reads the files from the disk and writes the byte code, as an installation
    # does, also where the environment forbids it.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(command, check=True, cwd=stage.directory, env=environment)
    times: list[float] = []
    for _ in range(stage.sizes["times"]):
        start = perf_counter_ns()
        subprocess.run(command, check=True, cwd=stage.directory)
        times.append((perf_counter_ns() - start) / 1e6)
    return {"wall_ms": measure.median(times), "min_ms": min(times)}


def _over(samples: array[int], count: int) -> float:
    return sum(1 for value in samples[:count] if value > OVER_NS) / count


def _loop_lateness(stage: Stage, call: Call, first: int) -> Metrics:
    interval = 0.001
    seconds = stage.sizes["seconds"]
    late = measure.new_samples(int(seconds / interval) + 1)
    ticks = 0
    made = 0
    clock = perf_counter_ns
    start = 0
    end = 0
    awaited = cast("AwaitedCall", call) if stage.adapter.awaited else None

    async def tick() -> None:
        nonlocal ticks
        step = int(interval * 1e9)
        while clock() < end and ticks < len(late):
            due = clock() + step
            await asyncio.sleep(interval)
            late[ticks] = clock() - due
            ticks += 1

    async def log() -> None:
        nonlocal made
        owed = 0
        while (now := clock()) < end:
            due = (now - start) * RATE // 1_000_000_000
            owed = min(due - owed, CATCH_UP)
            if awaited is None:
                for _ in range(owed):
                    call(first + made)
                    made += 1
            else:
                for _ in range(owed):
                    await awaited(first + made)
                    made += 1
            owed = due
            await asyncio.sleep(interval)

    async def both() -> None:
        nonlocal start, end
        # The first ticks of a new loop are no service at work.
        for _ in range(20):
            await asyncio.sleep(interval)
        measure.settle()
        start = clock()
        end = start + int(seconds * 1e9)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(log())
            tasks.create_task(tick())

    stage.driver.run(both())
    spent = clock() - start
    stage.made(made)
    return {
        **measure.latencies(late, ticks, 0),
        "ticks": ticks,
        "calls": made,
        "calls_per_s": made / spent * 1e9,
    }
