"""What is measured, the same for every library: each scenario is one function of a stage."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from array import array
from time import perf_counter_ns

from bench import measure
from bench._scenario import Column, Metrics, Scenario
from bench.pacing import RATE, cpu_bound_thread, pace
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
    overhead = measure.overhead_ns()
    measure.settle()
    start = perf_counter_ns()
    count = measure.time_calls(call, samples, first, start + int(stage.sizes["seconds"] * 1e9))
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
    overhead = measure.overhead_ns()
    measure.settle()
    cpu = measure.tree_cpu_seconds()
    start = perf_counter_ns()
    pace(call, samples, first)
    spent = perf_counter_ns() - start
    count = len(samples)
    stage.made(count)
    if stage.adapter.logs:
        stage.adapter.drain()
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
    overhead = measure.overhead_ns()
    metrics: Metrics = {}
    # A caller that sleeps gets the GIL afresh and is rarely interrupted in the call; one that
    # works between the calls loses it at any time, and for whatever lets go of it.
    for name, busy in (("idle", False), ("busy", True)):
        samples = measure.new_samples(stage.sizes["events"])
        measure.settle()
        with cpu_bound_thread():
            pace(call, samples, first, busy=busy)
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
    made = [0] * threads
    gate = threading.Barrier(threads + 1)
    deadline = 0

    def work(index: int) -> None:
        number = first + index * per_thread
        gate.wait()
        for block in range(0, per_thread, 64):
            for i in range(block, min(block + 64, per_thread)):
                call(number + i)
            made[index] = min(block + 64, per_thread)
            if perf_counter_ns() > deadline:
                return

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
    stage.adapter.drain()
    spent = perf_counter_ns() - start
    cpu = measure.tree_cpu_seconds(own_first=True) - cpu
    count = sum(made)
    stage.made(count, numbers=per_thread * threads)
    stage.note_drained()
    return {
        "events_per_s": count / spent * 1e9,
        "calls_per_s": count / called * 1e9,
        "cpu_us": cpu / count * 1e6,
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
        count = 0
        for i in range(stage.sizes["events"]):
            call(first + i)
            count += 1
            if perf_counter_ns() > deadline:
                break
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

    def nothing(number: int) -> None:
        pass

    block = stage.sizes["block"]
    measure.settle()
    measured: list[float] = []
    empty: list[float] = []
    for _ in range(stage.sizes["blocks"]):
        for target, costs in ((nothing, empty), (call, measured)):
            start = perf_counter_ns()
            for number in range(block):
                target(number)
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


def _loop_lateness(stage: Stage, call: measure.Call, first: int) -> Metrics:
    interval = 0.001
    seconds = stage.sizes["seconds"]
    late = measure.new_samples(int(seconds / interval) + 1)
    ticks = 0
    made = 0
    clock = perf_counter_ns
    end = 0

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
        start = clock()
        owed = 0
        while (now := clock()) < end:
            due = (now - start) * RATE // 1_000_000_000
            owed = min(due - owed, CATCH_UP)
            for _ in range(owed):
                call(first + made)
                made += 1
            owed = due
            await asyncio.sleep(interval)

    async def both() -> None:
        nonlocal end
        # The first ticks of a new loop are no service at work.
        for _ in range(20):
            await asyncio.sleep(interval)
        measure.settle()
        end = clock() + int(seconds * 1e9)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(log())
            tasks.create_task(tick())

    asyncio.run(both())
    stage.made(made)
    return {**measure.latencies(late, ticks, 0), "ticks": ticks, "calls": made}


_LATENCY = (
    Column("p50_ns", "p50", ratio=True),
    Column("p99_ns", "p99"),
    Column("p999_ns", "p99.9"),
)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="full_speed",
            title="What a call costs its caller, at full speed",
            about="One thread logs as fast as it can; every call is timed on its own.",
            run=full_speed,
            columns=(*_LATENCY, Column("max_ns", "longest"), Column("mean_ns", "mean")),
            rounds=9,
            full={"events": 100_000, "seconds": 5},
            quick={"events": 20_000, "seconds": 2},
            tiny={"events": 300, "seconds": 2},
        ),
        Scenario(
            name="paced",
            title=f"What a call costs its caller, at {RATE:,} calls a second",
            about="The thread sleeps between the calls; caches are cold, the collector sleeps too. "
            "The processor time includes the pacing itself (see no logging).",
            run=paced,
            columns=(*_LATENCY, Column("cpu_us", "CPU per event", "us")),
            rounds=7,
            full={"events": 6_000},
            quick={"events": 2_000},
            tiny={"events": 50},
        ),
        Scenario(
            name="cpu_beside",
            title="Paced calls beside a thread that computes",
            about="The same pace while a thread of the process runs pure Python: whoever gives up "
            "the GIL in a call waits up to 5 ms to get it back. Once with a caller that sleeps "
            "between its calls, once with one that computes (which the interpreter itself "
            "interrupts now and then, in a call or elsewhere).",
            run=cpu_beside,
            columns=(
                Column("idle_over_share", "over 1 ms, idle caller", "share"),
                Column("idle_p50_ns", "p50"),
                Column("idle_p999_ns", "p99.9"),
                Column("busy_over_share", "over 1 ms, busy caller", "share"),
                Column("busy_p50_ns", "p50"),
                Column("busy_p999_ns", "p99.9"),
            ),
            rounds=9,
            full={"events": 6_000},
            quick={"events": 2_000},
            tiny={"events": 50},
        ),
        Scenario(
            name="loop",
            title=f"Lateness of an event loop that logs {RATE:,} times a second",
            about="asyncio; how late a 1 ms timer comes (the loop's own timers have a grain of "
            "1 ms). The figure to compare with is no logging.",
            run=loop,
            columns=_LATENCY,
            rounds=15,
            reference="none",
            full={"seconds": 3.0},
            quick={"seconds": 1.0},
            tiny={"seconds": 0.05},
        ),
        Scenario(
            name="loop_slow",
            title="Lateness of the event loop with a sink that takes 20 ms a write",
            about=f"The same; after a stall at most {CATCH_UP} missed calls are made up for.",
            run=loop_slow,
            columns=_LATENCY,
            rounds=15,
            reference="none",
            full={"seconds": 3.0},
            quick={"seconds": 1.0},
            tiny={"seconds": 0.05},
            drain_limit=30.0,
        ),
        *(
            Scenario(
                name=f"throughput_{threads}",
                title=f"Events per second until on disk, {threads} thread{'s'[: threads - 1]}",
                about="From the first call until the library says that all is in the file. "
                "Processor time is user + system of all processes of the library.",
                run=throughput,
                columns=(
                    Column("events_per_s", "events/s", "rate", ratio=True),
                    Column("cpu_us", "CPU per event", "us", ratio=True),
                    Column("calls_per_s", "calls/s", "rate"),
                ),
                rounds=7,
                full={"events": 200_000, "seconds": 5, "threads": threads},
                quick={"events": 40_000, "seconds": 2, "threads": threads},
                tiny={"events": 320, "seconds": 2, "threads": threads},
            )
            for threads in (1, 4)
        ),
        Scenario(
            name="burst",
            title="Memory in a burst of a million events on a sink that takes 20 ms a write",
            about="Growth of the PSS of all processes, shared memory included, from the first call "
            "of the burst; the burst is cut off when its time is up.",
            run=burst,
            columns=(
                Column("growth_mib", "growth", "MiB"),
                Column("seconds", "burst took", "s"),
                Column("share_called", "of the burst", "share"),
            ),
            rounds=3,
            full={"events": 1_000_000, "seconds": 10, "after": 1.0},
            quick={"events": 1_000_000, "seconds": 3, "after": 0.5},
            tiny={"events": 2_000, "seconds": 0.3, "after": 0.05},
            drain_limit=20.0,
        ),
        Scenario(
            name="filtered",
            title="A call that the level filters out",
            about="DEBUG while the level is INFO, the same four fields.",
            run=filtered,
            columns=(Column("p50_ns", "p50", ratio=True),),
            rounds=9,
            full={"block": 1_000, "blocks": 200},
            quick={"block": 1_000, "blocks": 40},
            tiny={"block": 50, "blocks": 3},
        ),
        Scenario(
            name="import",
            title="Import",
            about="Wall time of a whole interpreter that does nothing but the import.",
            run=importing,
            columns=(
                Column("wall_ms", "wall", "ms", ratio=True),
                Column("min_ms", "shortest", "ms"),
            ),
            rounds=25,
            reference="dependencies",
            full={"times": 1},
            quick={"times": 1},
            tiny={"times": 1},
        ),
    )
}
