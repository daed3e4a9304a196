"""The limiter: exact whoever asks at once, bounded however many keys there are."""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from asynclog._atomic import LOCK_FREE
from asynclog.processors.limiter import (
    DEFAULT_MAX_KEYS,
    Limiter,
    LockedLimiter,
    make_limiter,
)
from asynclog.processors.policies import (
    EveryN,
    Once,
    Policy,
    TokenBucket,
    at_rate,
    every_seconds,
)

from ..ticks import frequent_collections, ticks

THREADS = 8
CALLS = 6_000
KINDS = [Limiter, LockedLimiter]
SECOND = 1_000_000_000


@pytest.fixture
def busy_interpreter() -> Iterator[None]:
    """Switch threads as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Clock:
    """Nanoseconds that only pass when told to."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        """Return the time."""
        return self.now


class Asker:
    """Asks a limiter and keeps the books."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        # any thread may ask, and be interrupted by one who asks: appending is one step
        self.decisions: list[tuple[Any, Any]] = []

    def ask(self, key: Any) -> None:
        """Ask once."""
        self.decisions.append((key, self.limiter.decide(key)))

    @property
    def asked(self) -> Counter[Any]:
        """How often it has asked, by key."""
        return Counter(key for key, _ in self.decisions)

    @property
    def passed(self) -> Counter[Any]:
        """How often the answer was yes, by key."""
        return Counter(key for key, decision in self.decisions if decision)

    @property
    def told(self) -> int:
        """How many it was told were held back."""
        for _, decision in self.decisions:
            assert decision or (decision.suppressed > 0 and decision.forgotten == 0)
        return sum(d.suppressed + d.forgotten for _, d in self.decisions if d)


class Cycle:
    """Garbage whose finaliser asks."""

    asker: Asker

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        Cycle.asker.ask("finaliser")


def everybody_asks(limiter: Limiter, key_of: Callable[[int, int], Any]) -> Asker:
    """Ask from threads, a signal handler and finalisers at once; return the books of all."""
    handler = Asker(limiter)
    Cycle.asker = Asker(limiter)
    askers = [Asker(limiter) for _ in range(THREADS)]

    def work(number: int) -> None:
        asker = askers[number]
        for call in range(CALLS):
            asker.ask(key_of(number, call))
            if call % 50 == 0:
                Cycle()

    with frequent_collections(), ticks(lambda: handler.ask("signal")):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, THREADS)]
        for thread in threads:
            thread.start()
        work(0)
        for thread in threads:
            thread.join()
    gc.collect()
    total = Asker(limiter)
    for asker in (*askers, handler, Cycle.asker):
        total.decisions += asker.decisions
    assert total.asked["signal"] > 5
    assert total.asked["finaliser"] > 5
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (EveryN(7), lambda asked: math.ceil(asked / 7)),
        (Once(), lambda asked: min(asked, 1)),
        (TokenBucket(SECOND, 500), lambda asked: min(asked, 500)),
    ],
    ids=["every", "once", "bucket"],
)
def test_counts_are_exact(
    kind: type[Limiter],
    policy: Policy,
    expected: Callable[[int], int],
    busy_interpreter: None,
) -> None:
    """As many pass of each key as the policy says, and each one held back is told once."""
    limiter = kind(policy, clock=Clock())
    books = everybody_asks(limiter, lambda _, call: ("key", call % 3))
    assert dict(books.passed) == {key: expected(asked) for key, asked in books.asked.items()}
    assert limiter.passed == books.passed.total()
    assert limiter.passed + limiter.suppressed == books.asked.total()
    assert books.told + sum(count for _, count in limiter.take_unreported()) == limiter.suppressed
    assert limiter.take_unreported() == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_when_keys_are_forgotten(
    kind: type[Limiter], busy_interpreter: None
) -> None:
    """Ten places for three hundred keys: every record is still counted, and told, once."""
    limiter = kind(EveryN(3), max_keys=10, clock=Clock())
    books = everybody_asks(limiter, lambda number, call: (number * 7 + call // 5) % 300)
    assert limiter.passed == books.passed.total()
    assert limiter.passed + limiter.suppressed == books.asked.total()
    assert limiter.suppressed > CALLS
    assert books.told + sum(count for _, count in limiter.take_unreported()) == limiter.suppressed
    assert len(limiter) <= 10


@pytest.mark.parametrize("kind", KINDS)
def test_taking_what_was_not_told_loses_nothing(
    kind: type[Limiter], busy_interpreter: None
) -> None:
    """Also while others ask."""
    limiter = kind(EveryN(5), max_keys=4, clock=Clock())
    taken: list[int] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            taken.extend(count for _, count in limiter.take_unreported())

    taker = threading.Thread(target=take)
    taker.start()
    try:
        books = everybody_asks(limiter, lambda number, call: (number + call) % 9)
    finally:
        done.set()
        taker.join()
    taken.extend(count for _, count in limiter.take_unreported())
    assert books.told + sum(taken) == limiter.suppressed
    assert limiter.passed + limiter.suppressed == books.asked.total()


def test_unknown_interpreters_get_the_lock() -> None:
    """Where the lock-free commit was not shown right, the same one runs under a lock."""
    shown = sys.implementation.name == "cpython" and sys.version_info[:2] in LOCK_FREE
    assert isinstance(make_limiter(Once()), LockedLimiter) is not shown


def test_the_default_number_of_keys_takes_two_megabytes() -> None:
    """With keys of some fifty characters, all of them suppressed at least once."""
    tracemalloc.start()
    try:
        limiter = make_limiter(Once())
        for number in range(10_000):
            key = f"a key that has about fifty characters in all {number:8}"
            assert limiter.decide(key)
            assert not limiter.decide(key)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert len(limiter) == DEFAULT_MAX_KEYS


@pytest.mark.slow
def test_a_million_keys_take_no_more_than_the_first_few_thousand() -> None:
    """And none is miscounted."""
    limiter = make_limiter(Once())
    told = blocks = 0
    for number in range(1_000_000):
        key = f"a key that has about fifty characters in all {number:8}"
        told += limiter.decide(key).forgotten
        if not number % 2:
            limiter.decide(key)
        if number == 10_000:
            gc.collect()
            blocks = sys.getallocatedblocks()
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 1000
    assert len(limiter) == DEFAULT_MAX_KEYS
    assert (limiter.passed, limiter.suppressed) == (1_000_000, 500_000)
    assert told + sum(count for _, count in limiter.take_unreported()) == 500_000


def test_the_key_asked_for_least_recently_is_forgotten() -> None:
    """What was held back of it is told to the next record that passes."""
    limiter = Limiter(Once(), max_keys=2, clock=Clock())
    assert limiter.decide("a") == (True, 0, 0)
    assert limiter.decide("b") == (True, 0, 0)
    assert limiter.decide("b") == (False, 1, 0)
    assert limiter.decide("a") == (False, 1, 0)
    assert limiter.decide("c") == (True, 0, 1), "b was forgotten"
    assert limiter.decide("b") == (True, 0, 1), "a was forgotten"
    assert limiter.decide("c") == (False, 1, 0), "c was not"
    assert limiter.take_unreported() == [("c", 1)]


def test_unreported_names_the_forgotten_without_a_key() -> None:
    """None stands for all of them."""
    limiter = Limiter(Once(), max_keys=1, clock=Clock())
    for key in ("a", "a", "a", "b", "b"):
        limiter.decide(key)
    assert limiter.take_unreported() == [("b", 1)]
    limiter.decide("b")
    limiter.decide("b")
    limiter._enter("c", limiter._tally)
    assert limiter.take_unreported() == [(None, 2)]
    assert limiter.take_unreported() == []


def test_a_decision_is_true_when_it_passes() -> None:
    """So that ``if limiter.decide(key)`` does what it says."""
    limiter = Limiter(Once())
    assert limiter.decide("a")
    assert not limiter.decide("a")


class BucketModel(RuleBasedStateMachine):
    """The token bucket against the textbook: fractions of tokens, added up as time passes."""

    interval = 1
    burst = 1

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.limiter = Limiter(TokenBucket(self.interval, self.burst), clock=self.clock)
        self.tokens: dict[str, tuple[Fraction, int]] = {}
        self.held_back: Counter[str] = Counter()
        self.passed = 0
        self.suppressed = 0

    @rule(length=st.integers(0, 3_000_000_000))
    def wait(self, length: int) -> None:
        """Let time pass."""
        self.clock.now += length

    @rule()
    def wait_for_one(self) -> None:
        """Let just the time for one token pass."""
        self.clock.now += self.interval

    @rule(key=st.sampled_from("abc"), times=st.integers(1, 4))
    def ask(self, key: str, times: int) -> None:
        """Ask and compare."""
        for _ in range(times):
            now = self.clock.now
            tokens, then = self.tokens.get(key, (Fraction(self.burst), now))
            tokens = min(Fraction(self.burst), tokens + Fraction(now - then, self.interval))
            passes = tokens >= 1
            self.tokens[key] = (tokens - 1 if passes else tokens, now)
            decision = self.limiter.decide(key)
            assert decision.passes == passes
            if passes:
                self.passed += 1
                assert decision.suppressed == self.held_back.pop(key, 0)
            else:
                self.suppressed += 1
                self.held_back[key] += 1
                assert decision.suppressed == self.held_back[key]

    @rule()
    def take(self) -> None:
        """Take what was not told."""
        assert dict(self.limiter.take_unreported()) == dict(self.held_back)
        self.held_back.clear()

    @invariant()
    def counters_agree(self) -> None:
        """At any time."""
        assert (self.limiter.passed, self.limiter.suppressed) == (self.passed, self.suppressed)


class SmallBucket(BucketModel):
    """One at a time, one in a second."""

    interval, burst = SECOND, 1


class LargeBucket(BucketModel):
    """Five at once, three in a second: an interval that is no round number."""

    interval, burst = round(SECOND / 3), 5


TestSmallBucket = SmallBucket.TestCase
TestLargeBucket = LargeBucket.TestCase
for _case in (TestSmallBucket, TestLargeBucket):
    _case.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@given(
    steps=st.lists(st.tuples(st.integers(0, 5 * SECOND), st.integers(1, 20)), max_size=30),
    rate=st.floats(0.01, 1e6),
    burst=st.integers(1, 10),
)
def test_a_bucket_never_gives_more_than_its_rate(
    steps: list[tuple[int, int]], rate: float, burst: int
) -> None:
    """In any stretch of time at most the burst and what its length allows."""
    clock = Clock()
    limiter = Limiter(at_rate(rate, burst), clock=clock)
    interval = max(1, round(SECOND / rate))
    passes: list[int] = []
    for length, times in steps:
        clock.now += length
        passes += [clock.now for _ in range(times) if limiter.decide("k")]
    for first in range(len(passes)):
        for last in range(first, len(passes)):
            allowed = burst + (passes[last] - passes[first]) // interval
            assert last - first + 1 <= allowed


def test_every_seconds() -> None:
    """One passes when the last one that did is long enough ago."""
    clock = Clock()
    limiter = Limiter(every_seconds(2.5), clock=clock)
    results: list[bool] = []
    for length in (0, SECOND, 3 * SECOND // 2 - 1, 1, 0, 10 * SECOND, SECOND, 2 * SECOND):
        clock.now += length
        results.append(bool(limiter.decide("k")))
    assert results == [True, False, False, True, False, True, False, True]


def test_every_n() -> None:
    """The first, and then each n-th."""
    limiter = Limiter(EveryN(3))
    assert [limiter.decide("k") for _ in range(7)] == [
        (True, 0, 0),
        (False, 1, 0),
        (False, 2, 0),
        (True, 2, 0),
        (False, 1, 0),
        (False, 2, 0),
        (True, 2, 0),
    ]
    assert all(Limiter(EveryN(1)).decide("k") for _ in range(5))


def test_a_clock_that_goes_backwards_holds_nobody_up() -> None:
    """Monotonic clocks do not; threads may read them in one order and commit in another."""
    clock = Clock()
    limiter = Limiter(TokenBucket(SECOND, 2), clock=clock)
    assert limiter.decide("k")
    clock.now -= SECOND // 2
    assert not limiter.decide("k")
    clock.now += SECOND
    assert limiter.decide("k")


def test_a_forked_child_counts_for_itself() -> None:
    """It remembers what passed, and reports nothing that its parent reports as well."""
    limiter = make_limiter(Once(), clock=Clock())
    for key in ("a", "a", "a", "b"):
        limiter.decide(key)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        seen = [
            limiter.passed,
            limiter.suppressed,
            limiter.take_unreported(),
            limiter.decide("a"),
            limiter.decide("c"),
            limiter.decide("c"),
            limiter.passed,
            limiter.suppressed,
            limiter.take_unreported(),
        ]
        os.write(writing, json.dumps(seen).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        assert json.load(pipe) == [
            *(0, 0, []),
            [False, 1, 0],
            [True, 0, 0],
            [False, 1, 0],
            *(1, 2, [["a", 1], ["c", 1]]),
        ]
    os.waitpid(child, 0)
    assert limiter.take_unreported() == [("a", 2)]


def test_forks_while_threads_ask() -> None:
    """No child finds a lock taken or a half-made decision."""
    limiter = LockedLimiter(EveryN(2))
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            limiter.decide("k")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            child = os.fork()
            if child == 0:
                for _ in range(10):
                    limiter.decide("k")
                os._exit(0 if limiter.passed + limiter.suppressed == 10 else 1)
            _, status = os.waitpid(child, 0)
            assert status == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()
