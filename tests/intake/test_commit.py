"""The lock-free commit: what makes the ring right without a lock, shown per Python version."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from asynclog._atomic import LOCK_FREE
from asynclog.intake.overflow import Overflow
from asynclog.intake.producer import LockedProducer, Producer, make_producer
from asynclog.intake.ring import TAIL, Origin, Ring

from ..ticks import frequent_collections, ticks

PUTS = 15_000
THREADS = 4


@pytest.fixture
def busy_interpreter() -> Iterator[None]:
    """Switch threads as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Cycle:
    """Garbage whose finaliser logs."""

    producer: Producer
    made = 0

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        number = Cycle.made
        Cycle.made += 1
        Cycle.producer.put(b"finaliser %d\n" % number, 20)


@pytest.mark.parametrize("kind", [Producer, LockedProducer])
def test_every_accepted_line_is_in_the_ring_once_and_whole(
    kind: type[Producer], busy_interpreter: None
) -> None:
    """Threads, signal handlers and finalisers put at once: nothing lost, doubled or torn."""
    producer = kind(Overflow(wait=False))
    ring = Ring.private(32 << 20, Origin("here", 1), producer.next_base)
    producer.attach(ring)
    first = ring.tail
    signals = 0
    Cycle.producer, Cycle.made = producer, 0

    def on_signal() -> None:
        nonlocal signals
        number = signals
        signals += 1
        assert producer.put(b"signal %d\n" % number, 20)

    def work(name: int) -> None:
        for number in range(PUTS):
            assert producer.put(b"%d %d\n" % (name, number) + b"", 20)
            if number % 50 == 0:
                Cycle()

    with frequent_collections(), ticks(on_signal):
        threads = [threading.Thread(target=work, args=(name,)) for name in range(1, THREADS)]
        for thread in threads:
            thread.start()
        work(0)
        for thread in threads:
            thread.join()
    gc.collect()

    lines = ring.read(first, ring.head).split(b"\n")
    assert lines.pop() == b""
    expected = Counter(b"%d %d" % (name, n) for name in range(THREADS) for n in range(PUTS))
    expected.update(b"signal %d" % n for n in range(signals))
    expected.update(b"finaliser %d" % n for n in range(Cycle.made))
    assert Counter(lines) == expected
    assert signals > 10
    assert Cycle.made > 10
    assert producer.accepted == ring.accepted == len(lines)
    for name in range(THREADS):
        own = [line for line in lines if line.startswith(b"%d " % name)]
        assert own == [b"%d %d" % (name, n) for n in range(PUTS)], "order per thread"


def test_lines_that_wrap_around_stay_whole(busy_interpreter: None) -> None:
    """A small ring that is drained all the time: both halves of a line arrive together."""
    producer = make_producer(Overflow(wait=True, timeout=30))
    ring = Ring.private(1 << 16, Origin("here", 1), producer.next_base)
    producer.wake = lambda: None
    producer.attach(ring)
    taken: list[bytes] = []
    done = threading.Event()

    def drain() -> None:
        while not done.is_set() or ring.tail != ring.head:
            head = ring.head
            if head != ring.tail:
                taken.append(ring.read(ring.tail, head))
                ring.words[TAIL] = head

    def work(name: int) -> None:
        for number in range(3000):
            assert producer.put(b"%d %d %s\n" % (name, number, b"x" * (number % 300)), 20)

    drainer = threading.Thread(target=drain)
    drainer.start()
    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    drainer.join()
    lines = b"".join(taken).split(b"\n")[:-1]
    expected = [b"%d %d %s" % (t, n, b"x" * (n % 300)) for t in range(3) for n in range(3000)]
    assert sorted(lines) == sorted(expected)
    assert not ring.dropped


def test_nothing_gets_in_between_when_a_lap_ends(busy_interpreter: None) -> None:
    """Whoever has computed a put for one lap of the ring does not commit it into the next one."""
    producer = make_producer(Overflow(wait=False))
    ring = Ring.private(1 << 15, Origin("here", 1), producer.next_base)
    producer.wake = lambda: None
    producer.attach(ring)
    first = ring.tail
    accepted: list[list[bytes]] = [[] for _ in range(THREADS + 2)]
    taken: list[bytes] = []
    done = threading.Event()

    def put(source: int, number: int) -> bool:
        line = b"%d %d %s\n" % (source, number, b"x" * (number % 400))
        if not producer.put(line, 20):
            return False
        accepted[source].append(line)
        return True

    class Garbage:
        made = 0

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            Garbage.made += 1
            put(THREADS, Garbage.made)

    signals = iter(range(1 << 30))

    def work(source: int) -> None:
        for number in range(4000):
            while not put(source, number):
                time.sleep(0.0001)
            if number % 20 == 0:
                Garbage()

    def drain() -> None:
        while not done.is_set() or ring.tail != ring.head:
            head = ring.head
            assert head - ring.tail <= ring.size
            taken.append(ring.read(ring.tail, head))
            ring.words[TAIL] = head

    def on_signal() -> None:
        put(THREADS + 1, next(signals))

    threads = [threading.Thread(target=work, args=(source,)) for source in range(1, THREADS)]
    drainer = threading.Thread(target=drain)
    try:
        with frequent_collections(), ticks(on_signal):
            for thread in (drainer, *threads):
                thread.start()
            work(0)
            for thread in threads:
                thread.join()
    finally:
        gc.collect()
        done.set()
        drainer.join()
    lines = b"".join(taken).splitlines(keepends=True)
    assert Counter(lines) == Counter(line for source in accepted for line in source)
    assert producer.accepted == ring.accepted == len(lines)
    assert ring.head - first > 10 * ring.size


def test_unknown_interpreters_get_the_lock() -> None:
    """Where the lock-free put was not shown right, the same put runs under a lock."""
    shown = sys.implementation.name == "cpython" and sys.version_info[:2] in LOCK_FREE
    assert isinstance(make_producer(), LockedProducer) is not shown
