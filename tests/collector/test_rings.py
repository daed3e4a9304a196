"""RingSet: each ring is counted once, also when a collector is killed while it removes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynclog.collector.published import publish_tally, read_tally
from asynclog.collector.rings import RingSet
from asynclog.collector.tally import Tally
from asynclog.intake.overflow import Overflow
from asynclog.intake.producer import make_producer
from asynclog.intake.ring import Origin
from asynclog.intake.spool import Spool


class Killed(BaseException):
    """Ends a collector wherever it is."""


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool with the ring of a process that has logged three lines, and has ended."""
    spool = Spool(tmp_path / "run", tmp_path / "spools")
    spool.prepare()
    ring = spool.create_ring(1 << 16, Origin.here(), 0)
    producer = make_producer(Overflow())
    producer.attach(ring)
    for _ in range(3):
        producer.put(b"{}\n", 20)
    producer.detach()
    ring.close()
    return spool


def drained(spool: Spool, before: Tally | None = None) -> RingSet:
    """Return the rings of a collector that has stored all lines."""
    rings = RingSet(spool, before=before)
    rings.find()
    rings.look_after(now=True)
    for source in rings:
        source.cursor = source.ring.head
        source.ring.stored = source.ring.accepted
        source.ring.tail = source.ring.head
    return rings


@pytest.mark.parametrize("published", [False, True])
def test_killed_while_it_removes_a_ring(spool: Spool, published: bool) -> None:
    """Before its counts are published, or after: the next collector counts the ring once."""
    killed = drained(spool)
    publish_tally(spool, killed.tally())

    def publish() -> None:
        if published:
            publish_tally(spool, killed.tally())
        raise Killed

    with pytest.raises(Killed):
        killed.bury(publish)
    assert len(spool.rings()) == 1

    before = read_tally(spool)
    assert before is not None
    rings = drained(spool, before)
    assert rings.tally().accepted == rings.tally().written == 3
    rings.bury(lambda: publish_tally(spool, rings.tally()))
    assert rings.tally().accepted == rings.tally().written == 3
    assert spool.rings() == []
    rings.close()
    killed.close()


def test_killed_after_it_has_removed_a_ring(spool: Spool) -> None:
    """Its counts were published before: they are not lost with the ring."""
    killed = drained(spool)
    killed.bury(lambda: publish_tally(spool, killed.tally()))
    assert spool.rings() == []
    before = read_tally(spool)
    assert before is not None
    rings = drained(spool, before)
    assert rings.tally().accepted == rings.tally().written == 3
    rings.close()
    killed.close()
