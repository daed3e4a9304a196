"""Clocks, percentiles, processor time of the process tree, memory from a sampler of its own."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import subprocess
import sys
from array import array
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from bench.procfs import cpu_seconds, descendants


def new_samples(count: int) -> array[int]:
    """Return room for so many nanosecond samples, touched now and not while measuring."""
    return array("q", bytes(8 * count))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values; ``share`` between 0 and 1."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """Return the median, the mean of the middle two for an even count."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return float("nan")
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def quartile(values: Sequence[float], share: float) -> float:
    """Return a quantile, linear between the neighbours (numpy's default)."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def latencies(samples: array[int], count: int, overhead: int) -> dict[str, float]:
    """Return p50, p99, p99.9 and the greatest, in ns, without the cost of measuring."""
    ordered = sorted(max(0, value - overhead) for value in samples[:count])
    return {
        "p50_ns": percentile(ordered, 0.50),
        "p99_ns": percentile(ordered, 0.99),
        "p999_ns": percentile(ordered, 0.999),
        "max_ns": ordered[-1],
    }


def tree_cpu_seconds(*, own_first: bool = False) -> float:
    """Return user + system seconds of this process, its dead children and its living ones.

    Looking through /proc costs time itself: at the end of a measurement ask ``own_first``.
    """
    own = _own_cpu_seconds() if own_first else 0.0
    children = sum(cpu_seconds(pid) for pid in descendants(os.getpid()))
    return children + (own if own_first else _own_cpu_seconds())


def _own_cpu_seconds() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def settle() -> None:
    """Start every measurement from the same state of the garbage collector, which stays on."""
    gc.collect()
    gc.enable()


class MemorySampler:
    """Watches the PSS of this process and its descendants from another process.

    A thread of this process would wait for the GIL exactly when memory grows.
    """

    def __init__(self, interval: float) -> None:
        program = Path(__file__).with_name("_pss.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(program), str(os.getpid()), str(interval)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str) -> dict[str, Any]:
        """Send one of ``once``, ``watch`` and ``peak`` and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


@contextlib.contextmanager
def memory_sampler(interval: float = 0.02) -> Generator[MemorySampler, None, None]:
    """Run a sampler for the time of the block."""
    sampler = MemorySampler(interval)
    try:
        yield sampler
    finally:
        sampler.close()
