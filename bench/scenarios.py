"""The scenarios: their numbers, rounds and limits, and the columns of their tables."""

from __future__ import annotations

from bench import measurements
from bench._scenario import Column, Scenario
from bench.pacing import RATE

_LATENCY = (
    Column("p50_ns", "p50", ratio=True),
    Column("p99_ns", "p99"),
    Column("p999_ns", "p99.9"),
)
_CALLS = Column("calls_per_s", "calls/s", "rate")

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="full_speed",
            title="What a call costs its caller, at full speed",
            about="One thread logs as fast as it can; every call is timed on its own.",
            run=measurements.full_speed,
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
            run=measurements.paced,
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
            run=measurements.cpu_beside,
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
            run=measurements.loop,
            columns=(*_LATENCY, _CALLS),
            rounds=15,
            reference="none",
            full={"seconds": 3.0},
            quick={"seconds": 1.0},
            tiny={"seconds": 0.05},
        ),
        Scenario(
            name="loop_slow",
            title="Lateness of the event loop with a sink that takes 20 ms a write",
            about="The same; after a stall no more than "
            f"{measurements.CATCH_UP} missed calls are made up for.",
            run=measurements.loop_slow,
            columns=(*_LATENCY, _CALLS),
            rounds=15,
            reference="none",
            full={"seconds": 3.0},
            quick={"seconds": 1.0},
            tiny={"seconds": 0.05},
        ),
        *(
            Scenario(
                name=f"throughput_{threads}",
                title=f"Events per second until on disk, {threads} thread{'s'[: threads - 1]}",
                about="From the first call until the library says that all is in the file. "
                "Processor time is user + system of all processes of the library.",
                run=measurements.throughput,
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
            run=measurements.burst,
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
            run=measurements.filtered,
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
            run=measurements.importing,
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
