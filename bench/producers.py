"""Many processes that log at once: ``python -m bench.producers``.

With asynclog they log into one run, whose collector writes one file; with structlog + orjson each
of them writes a file of its own. Two loads: a *burst*, everybody as fast as it can, as much as the
rings hold; and a *steady* load, so many calls a second, in which the collector's own cost shows.

The ways take turns in each round. Every event is counted at the end.
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
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import machine, procfs, workload
from bench.adapters.structlog_direct import StructlogDirect

WAYS = ("structlog", "asynclog")
LOADS = ("burst", "steady")
TITLES = {
    "structlog": "structlog + orjson, a file for each process",
    "asynclog": "asynclog, one run",
}
BURST = 3000
"""Events of a process: what its ring of 1 MiB holds, so that nobody waits for room."""
SAMPLE = 0.05


def paced(count: int, rate: float) -> Callable[[Callable[[int], None]], None]:
    """Return what makes the calls: at full speed, or so many a second."""

    def burst(call: Callable[[int], None]) -> None:
        for number in range(count):
            call(number)

    def steady(call: Callable[[int], None]) -> None:
        began = time.monotonic() + random.random() / rate
        for number in range(count):
            pause = began + number / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            call(number)

    return steady if rate else burst


def produce(way: str, directory: Path, count: int, rate: float) -> None:
    """Be one of the processes: wait for the word on standard input, log, say what it took."""
    if way == "asynclog":
        import asynclog

        info: Any = asynclog.get_logger("bench").bind(**workload.CONTEXT).info

        def call(number: int) -> None:
            info(
                workload.EVENT,
                status=workload.STATUS,
                path=workload.PATH,
                duration_ms=workload.DURATION_MS,
                seq=number,
            )

        def flush() -> object:
            return asynclog.flush_sync(60)
    else:
        adapter = StructlogDirect()
        own = directory / str(os.getpid())
        own.mkdir()
        adapter.start(own)
        call = adapter.call()

        def flush() -> object:
            return True

    call(-1)
    print("ready", flush=True)
    sys.stdin.readline()
    began, used = time.monotonic(), time.process_time()
    paced(count, rate)(call)
    called, cpu = time.monotonic(), time.process_time() - used
    stored = bool(flush())
    figures = {"began": began, "called": called, "ended": time.monotonic()}
    print(json.dumps({**figures, "cpu": cpu, "stored": stored}), flush=True)
    sys.stdin.readline()


class CollectorWatch:
    """Looks at the collector's process now and then: its anonymous memory, and its CPU time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = procfs.cpu_seconds(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.peak = 0
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(SAMPLE):
            status = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
            line = next(line for line in status.splitlines() if line.startswith("RssAnon:"))
            self.peak = max(self.peak, int(line.split()[1]) * 1024)

    def end(self) -> dict[str, float]:
        """Return CPU seconds and the most bytes."""
        self._ended.set()
        self._thread.join()
        cpu = procfs.cpu_seconds(self._pid) - self._before
        return {"collector_cpu": cpu, "collector_bytes": self.peak}


def run_once(way: str, processes: int, count: int, rate: float) -> dict[str, Any]:
    """Run one load in one way; return what it took, over all processes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        directory = Path(name)
        watch: CollectorWatch | None = None
        if way == "asynclog":
            import asynclog

            stack.enter_context(
                asynclog.running(directory, sinks=[asynclog.JsonlFile()], collector="process")
            )
            pid = asynclog.stats().collector_pid
            assert pid is not None
        command = [sys.executable, "-m", "bench.producers", "--one", way, name]
        children = [
            subprocess.Popen(
                [*command, "--events", str(count), "--rate", str(rate)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        if way == "asynclog":
            watch = CollectorWatch(pid)
        _say(children)
        answers: list[dict[str, Any]] = []
        for child in children:
            assert child.stdout is not None
            answers.append(json.loads(child.stdout.readline()))
        watched = watch.end() if watch is not None else {}
        _say(children)
        for child in children:
            child.communicate()
        stack.close()
        found = sum(
            path.read_bytes().count(f'"event":"{workload.EVENT}"'.encode())
            for path in directory.rglob("events*.jsonl")
        )
    began = min(answer["began"] for answer in answers)
    return {
        **watched,
        "called": max(answer["called"] for answer in answers) - began,
        "stored": max(answer["ended"] for answer in answers) - began,
        "cpu": sum(answer["cpu"] for answer in answers),
        # one more of each, before the word
        "missing": processes * (count + 1) - found,
    }


def _say(children: Sequence[subprocess.Popen[str]]) -> None:
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()


def table(results: dict[str, list[dict[str, Any]]], events: int) -> str:
    """Return the medians over the rounds."""
    head = [
        "way",
        "events/s, called",
        "events/s, stored",
        "CPU of a call",
        "collector CPU of an event",
        "collector memory",
        "missing",
    ]
    rows = [head, ["---"] * len(head)]
    for way, rounds in results.items():

        def median(name: str, rounds: list[dict[str, Any]] = rounds) -> float | None:
            found = [one[name] for one in rounds if name in one]
            return statistics.median(found) if found else None

        called, stored, cpu = median("called"), median("stored"), median("cpu")
        collector, memory = median("collector_cpu"), median("collector_bytes")
        assert called is not None
        assert stored is not None
        assert cpu is not None
        rows.append(
            [
                TITLES[way],
                f"{events / called:,.0f}",
                f"{events / stored:,.0f}",
                f"{1e6 * cpu / events:.2f} us",
                "-" if collector is None else f"{1e6 * collector / events:.2f} us",
                "-" if memory is None else f"{memory / 2**20:.0f} MiB",
                f"{sum(one['missing'] for one in rounds)}",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.producers", description=__doc__)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS)
    parser.add_argument("--events", type=int, default=BURST, help="of each process, in a burst")
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second of each, steady")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the steady load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "DIRECTORY"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        way, directory = options.one
        produce(way, Path(directory), options.events, options.rate)
        return 0
    loads = {
        "burst": (options.events, 0.0),
        "steady": (max(1, round(options.rate * options.seconds)), options.rate),
    }
    results: dict[str, dict[str, list[Any]]] = {
        load: {way: [] for way in WAYS} for load in options.loads
    }
    for number in range(options.rounds):
        for load in options.loads:
            for way in random.sample(WAYS, len(WAYS)):
                told = f"round {number + 1} of {options.rounds}: {load}, {way}"
                print(told, file=sys.stderr, flush=True)
                results[load][way].append(run_once(way, options.processes, *loads[load]))
    if options.json:
        where = machine.describe(["asynclog", "structlog", "orjson"], Path(tempfile.gettempdir()))
        options.json.write_text(json.dumps({"machine": where, "results": results}))
    for load in options.loads:
        count, rate = loads[load]
        pace = f"{rate:g} a second each" if rate else "as fast as they can"
        print(f"\n{options.processes} processes, {count} events each, {pace}:\n")
        print(table(results[load], options.processes * count))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
