"""The call side of the ring: early records, full rings, forks, the end."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from asynclog.intake import overflow as overflow_module
from asynclog.intake.overflow import Overflow
from asynclog.intake.producer import EARLY_RING_SIZE, WAKE_ALWAYS, Producer, make_producer
from asynclog.intake.ring import TAIL, Origin, Ring
from asynclog.intake.spool import Spool

SIZE = 1 << 16
LINE = b"x" * 99 + b"\n"
HERE = Origin("here", 1)


def attached(producer: Producer, size: int = SIZE) -> Ring:
    """Attach a private ring that somebody is said to collect."""
    ring = Ring.private(size, HERE, producer.next_base)
    producer.wake = producer.wake or (lambda: None)
    producer.attach(ring)
    return ring


def content(ring: Ring) -> bytes:
    """Return what is in a ring."""
    return ring.read(ring.tail, ring.head)


def fill(producer: Producer, level: int = 20) -> int:
    """Put until nothing more is accepted; return how many were."""
    before = producer.accepted
    while producer.put(LINE, level):
        pass
    return producer.accepted - before


def test_early_records_come_out_first() -> None:
    """What was logged before the start is in front of what comes after it, in order."""
    producer = make_producer()
    for number in range(100):
        assert producer.put(b"%d\n" % number, 20)
    ring = attached(producer)
    for number in range(100, 200):
        assert producer.put(b"%d\n" % number, 20)
    assert content(ring) == b"".join(b"%d\n" % number for number in range(200))
    assert producer.accepted == ring.accepted == 200


def test_early_records_while_another_thread_logs() -> None:
    """Nothing is lost or reordered when the ring changes under a thread that logs."""
    producer = make_producer()
    go, stop = threading.Event(), threading.Event()
    counted: list[int] = []

    def work() -> None:
        number = 0
        while not stop.is_set() and number < 2000:
            assert producer.put(b"%d\n" % number, 20)
            number += 1
            go.set()
        counted.append(number)

    thread = threading.Thread(target=work)
    thread.start()
    go.wait()
    ring = attached(producer, 1 << 20)
    stop.set()
    thread.join()
    assert content(ring) == b"".join(b"%d\n" % number for number in range(counted[0]))


def test_too_much_before_the_start_is_counted() -> None:
    """The early ring is bounded; what does not fit there is counted, not lost silently."""
    producer = make_producer()
    accepted = sum(producer.put(LINE, 20) for _ in range(2 * EARLY_RING_SIZE // len(LINE)))
    calls = 2 * EARLY_RING_SIZE // len(LINE)
    ring = attached(producer, SIZE)
    kept = content(ring).count(b"\n")
    assert 0 < kept < accepted < calls
    assert kept + sum(ring.dropped.values()) == calls
    assert producer.accepted == ring.accepted == kept


def test_bad_news_has_room_left() -> None:
    """The last eighth of the ring is for warnings and worse; drops are counted per level."""
    producer = make_producer(Overflow(wait=False))
    ring = attached(producer)
    infos = fill(producer, 20)
    warnings = fill(producer, 30)
    assert infos == SIZE * 7 // 8 // len(LINE)
    assert infos + warnings == SIZE // len(LINE)
    assert ring.dropped == {(20, "full"): 1, (30, "full"): 1}


def test_a_plain_thread_waits_for_room_up_to_the_timeout() -> None:
    """One wait in vain, then drops at once until there is room again."""
    producer = make_producer(Overflow(timeout=0.05))
    ring = attached(producer)
    start = time.monotonic()
    fill(producer)
    waited = time.monotonic() - start
    assert waited >= 0.05
    assert ring.dropped == {(20, "timeout"): 1}
    for _ in range(1000):
        assert not producer.put(LINE, 20)
    assert ring.dropped == {(20, "timeout"): 1, (20, "full"): 1000}
    ring.words[TAIL] = ring.head
    assert fill(producer) > 0
    assert ring.dropped[20, "timeout"] == 2, "there was room, so waiting made sense again"


def test_a_waiting_thread_goes_on_when_there_is_room() -> None:
    """The wait ends as soon as the collector has made room."""
    producer = make_producer(Overflow(timeout=30))
    ring = attached(producer)

    def make_room() -> None:
        ring.words[TAIL] = ring.head

    producer.wake = make_room
    for _ in range(5000):
        assert producer.put(LINE, 20)
    assert not ring.dropped


def test_a_signal_handler_inside_a_wait_does_not_wait() -> None:
    """A handler that logs while its own thread waits for room drops at once."""
    producer = make_producer(Overflow(wait=False))
    ring = attached(producer)
    fill(producer)
    producer.overflow.wait_allowed = True
    producer.overflow.timeout = 0.5
    durations: list[float] = []

    def handler(*_: object) -> None:
        start = time.monotonic()
        assert not producer.put(LINE, 20)
        durations.append(time.monotonic() - start)

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert not producer.put(LINE, 20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(durations) == 1
    assert durations[0] < 0.25
    assert ring.dropped == {(20, "full"): 2, (20, "timeout"): 1}


@pytest.mark.anyio
async def test_a_thread_with_an_event_loop_never_waits() -> None:
    """A full ring does not stop the loop: the call drops and counts."""
    producer = make_producer(Overflow(timeout=30))
    ring = attached(producer)
    fill(producer)
    assert ring.dropped == {(20, "full"): 1}


@pytest.mark.anyio
async def test_aput_waits_for_room_and_can_be_cancelled() -> None:
    """A cancelled aput was not accepted; one that gets room is."""
    producer = make_producer()
    ring = attached(producer)
    fill(producer)
    accepted = producer.accepted
    with anyio.move_on_after(0.02) as scope:
        await producer.aput(LINE, 20)
    assert scope.cancelled_caught
    assert producer.accepted == accepted
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(producer.aput, LINE, 20)
        await anyio.wait_all_tasks_blocked()
        ring.words[TAIL] = ring.head
    assert producer.accepted == accepted + 1


def test_a_sleeping_collector_is_woken_once() -> None:
    """The first record wakes it; the next ones do not, until it says that it sleeps again."""
    producer = make_producer()
    wakes: list[int] = []
    producer.wake = lambda: wakes.append(1)
    attached(producer)
    producer.wake_level = WAKE_ALWAYS
    for _ in range(10):
        producer.put(LINE, 20)
    assert len(wakes) == 1


def test_after_the_end_calls_are_counted_and_said_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing raises after stop(), and nothing is silent."""
    monkeypatch.setattr(overflow_module, "_late_call_reported", False)
    producer = make_producer()
    ring = attached(producer)
    assert producer.put(LINE, 20)
    assert producer.detach() is ring
    for _ in range(5):
        assert not producer.put(LINE, 20)
    assert producer.stopped_drops == 5
    assert content(ring) == LINE
    assert capfd.readouterr().err.count("after stop()") == 1


def in_child(work: Any) -> int:
    """Run something in a forked child; return its exit status."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_a_forked_child_makes_its_own_ring_at_its_first_call(
    tmp_path: Path, spool_dir: Path
) -> None:
    """The parent's ring is not touched, and a child that is silent makes none."""
    spool = Spool(tmp_path / "run", spool_dir)
    spool.prepare()
    producer = make_producer()
    ring = spool.create_ring(1 << 20, Origin("here", os.getpid()), producer.next_base)
    producer.renew = lambda base: spool.create_ring(SIZE, Origin("here", os.getpid()), base)
    producer.attach(ring)
    assert producer.put(b"parent\n", 20)

    assert in_child(lambda: None) == 0
    assert spool.rings() == [ring.path]

    def log_twice() -> None:
        assert producer.put(b"child\n", 20)
        assert producer.put(b"again\n", 20)

    assert in_child(log_twice) == 0
    assert content(ring) == b"parent\n"
    (theirs,) = set(spool.rings()) - {ring.path}
    other = Ring.open(theirs)
    assert content(other) == b"child\nagain\n"
    assert other.origin.pid != os.getpid()
    other.close()
    theirs.unlink()
    assert ring.path is not None
    ring.path.unlink()
    producer.detach()
    ring.close()


def test_early_records_stay_with_the_parent() -> None:
    """What was logged before start and fork comes out once, from the parent."""
    producer = make_producer()
    assert producer.put(b"parent\n", 20)

    def start_in_child() -> None:
        assert producer.put(b"child\n", 20)
        ring = attached(producer)
        assert content(ring) == b"child\n"
        assert producer.accepted == 1

    assert in_child(start_in_child) == 0
    assert content(attached(producer)) == b"parent\n"
