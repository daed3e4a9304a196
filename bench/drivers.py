"""How the calls are made: plainly, or awaited one after the other on an asyncio loop.

The two have the same methods, written twice so that a plain call pays for no branch and no loop.
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter_ns
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from bench.adapters import Adapter, Call
from bench.measure import median, new_samples
from bench.pacing import PERIOD, wait_until

AwaitedCall: TypeAlias = Callable[[int], Awaitable[object]]
T = TypeVar("T")


class Driver(Protocol):
    """Makes the calls of a library; every method returns when its calls have returned."""

    def nothing(self) -> Call:
        """Return a call of the same kind that does nothing."""
        ...

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop that the calls belong to, or on a new one."""
        ...

    def make(self, call: Call, first: int, count: int) -> None:
        """Make so many calls."""
        ...

    def make_until(self, call: Call, first: int, count: int, deadline: int, block: int) -> int:
        """Make calls; look at the clock after each block of them; return how many were made."""
        ...

    def time(self, call: Call, samples: array[int], first: int, deadline: int) -> int:
        """Time each call on its own until the samples are full or time is up; return how many."""
        ...

    def pace(self, call: Call, samples: array[int], first: int, *, busy: bool = False) -> None:
        """Time each call of a fixed timetable; a late one is made at once, none is left out.

        Args:
            call: What to time.
            samples: Takes the nanoseconds of each call; its length is the number of calls.
            first: Running number of the first call.
            busy: Compute between the calls instead of sleeping.
        """
        ...

    def close(self) -> None:
        """End the loop, if there is one."""
        ...


def make_driver(adapter: Adapter) -> Driver:
    """Return the driver that an adapter's calls need."""
    return AwaitingDriver() if adapter.awaited else PlainDriver()


class PlainDriver:
    """Calls functions."""

    def nothing(self) -> Call:
        def nothing(number: int) -> None:
            pass

        return nothing

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def make(self, call: Call, first: int, count: int) -> None:
        for number in range(first, first + count):
            call(number)

    def make_until(self, call: Call, first: int, count: int, deadline: int, block: int) -> int:
        for start in range(0, count, block):
            end = min(start + block, count)
            for number in range(first + start, first + end):
                call(number)
            if perf_counter_ns() > deadline:
                return end
        return count

    def time(self, call: Call, samples: array[int], first: int, deadline: int) -> int:
        clock = perf_counter_ns
        for i in range(len(samples)):
            start = clock()
            call(first + i)
            end = clock()
            samples[i] = end - start
            if end > deadline:
                return i + 1
        return len(samples)

    def pace(self, call: Call, samples: array[int], first: int, *, busy: bool = False) -> None:
        clock = perf_counter_ns
        due = clock()
        for i in range(len(samples)):
            wait_until(due, busy=busy)
            start = clock()
            call(first + i)
            samples[i] = clock() - start
            due += PERIOD

    def close(self) -> None:
        pass


class AwaitingDriver:
    """Awaits coroutine functions, one call after the other, as a handler of a service does."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def nothing(self) -> Call:
        async def nothing(number: int) -> None:
            pass

        return nothing

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def make(self, call: Call, first: int, count: int) -> None:
        awaited = cast("AwaitedCall", call)

        async def make() -> None:
            for number in range(first, first + count):
                await awaited(number)

        self.run(make())

    def make_until(self, call: Call, first: int, count: int, deadline: int, block: int) -> int:
        awaited = cast("AwaitedCall", call)

        async def make_until() -> int:
            for start in range(0, count, block):
                end = min(start + block, count)
                for number in range(first + start, first + end):
                    await awaited(number)
                if perf_counter_ns() > deadline:
                    return end
            return count

        return self.run(make_until())

    def time(self, call: Call, samples: array[int], first: int, deadline: int) -> int:
        awaited = cast("AwaitedCall", call)

        async def time_calls() -> int:
            clock = perf_counter_ns
            for i in range(len(samples)):
                start = clock()
                await awaited(first + i)
                end = clock()
                samples[i] = end - start
                if end > deadline:
                    return i + 1
            return len(samples)

        return self.run(time_calls())

    def pace(self, call: Call, samples: array[int], first: int, *, busy: bool = False) -> None:
        awaited = cast("AwaitedCall", call)

        async def pace() -> None:
            clock = perf_counter_ns
            due = clock()
            for i in range(len(samples)):
                # Not asyncio.sleep, whose grain is twice the period. Nothing else is on the loop.
                wait_until(due, busy=busy)
                start = clock()
                await awaited(first + i)
                samples[i] = clock() - start
                due += PERIOD

        self.run(pace())

    def close(self) -> None:
        self._runner.close()


def overhead_ns() -> int:
    """Return what the clock and the wrapper of a call cost: the median of empty calls."""
    driver = PlainDriver()
    samples = new_samples(20_000)
    driver.time(driver.nothing(), samples, 0, sys.maxsize)
    return int(median(samples))
