"""What a pipeline says about itself: counters, and the report of a run that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

Scope: TypeAlias = Literal["run", "process"]
"""Whose counters: those of all processes of the run on this machine, or this process's own."""
CollectorPlace: TypeAlias = Literal["thread", "process", "elsewhere", "none"]


class SinkReport(NamedTuple):
    """What became of the lines that were offered to one sink.

    Attributes:
        written: Lines the sink took.
        dropped: Lines it did not take, by reason: ``lagged`` (its stream was full), ``failed`` (it
            raised), ``suspended`` (it had failed so often that it was left alone for a while),
            ``abandoned`` (not written when the time to stop was over), ``unsent`` (a sink that
            reads the files had not taken them; the next start or ``asynclog replay`` sends them),
            and what a server has refused for good, such as ``http 400`` or ``rejected``.
    """

    written: int
    dropped: dict[str, int]


class SinkStats(NamedTuple):
    """How one sink is doing; counted since the collector that feeds it was started.

    Attributes:
        written: Lines the sink took, the pipeline's own notes included.
        dropped: As in :class:`SinkReport`.
        waiting_bytes: Bytes of lines that wait in its stream or are with it just now. Beyond 2 MiB
            it loses what comes: it is ``lagged``. 0 for a sink that reads the files.
        suspended: Whether it is left alone for a while because it failed again and again.
        error: Class of the exception its last write raised, None once a write has worked. The
            text is on stderr only, since it may hold an address with a password.
    """

    written: int
    dropped: dict[str, int]
    waiting_bytes: int = 0
    suspended: bool = False
    error: str | None = None


class Stats(NamedTuple):
    """Counters of a pipeline since its start.

    With ``scope="run"``, of all processes of the run on this machine since the first of them
    started: exact where the collector is a thread of this process, else as it published them last,
    which it does every second and with every flush. With ``scope="process"``, and before the start,
    they are this process's own. After ``stop()`` they stay as they were at the end.

    Attributes:
        accepted: Log calls that passed their level and the processors, including those dropped
            afterwards.
        written: Lines in the durable file (without one: lines handed to the sinks).
        dropped: Calls that were not accepted or lines that were not written, by reason: ``full``
            (no room and no waiting), ``timeout`` (waited for room in vain), ``failed`` (broke on
            the way), ``stopped`` (after ``stop()``), ``quarantined`` (no JSON, found in the ring of
            a dead process), ``unwritten`` (still in the ring when the time to stop was over; a
            recovery brings them back).
        waiting: Lines in rings, not yet written.
        sinks: How the sinks are doing, by name; all but the durable file. With
            ``scope="process"`` empty unless this process has the collector.
        ring_bytes: Bytes of the rings that are counted.
        ring_used: Bytes of them in use.
        ring_peak: Largest share of any ring, counted or gone, that was ever in use, from 0 to 1.
        rings: How many are counted: one for each process, from its start or first call in a forked
            child, until it has ended and its ring is drained.
        collector: Where the collector is: in a ``"thread"`` of this process, in a ``"process"`` of
            its own that this process has started, ``"elsewhere"`` in another process of the run,
            or ``"none"`` (not started, or stopped).
        collector_pid: Process number of the collector, None when nobody collects.
        heartbeat: When the collector went its round last, in seconds since 1970: it does four
            times a second, and publishes once a second. None when nobody collects.
        last_write: When lines were last written to the durable file, in seconds since 1970; None
            before the first, and without such a file.
    """

    accepted: int
    written: int
    dropped: dict[str, int]
    waiting: int
    sinks: dict[str, SinkStats]
    ring_bytes: int
    ring_used: int
    ring_peak: float = 0.0
    rings: int = 0
    collector: CollectorPlace = "none"
    collector_pid: int | None = None
    heartbeat: float | None = None
    last_write: float | None = None


class Report(NamedTuple):
    """How a run ended: ``accepted == written + sum(dropped.values())``.

    Attributes:
        accepted: As in :class:`Stats`.
        written: As in :class:`Stats`.
        dropped: As in :class:`Stats`.
        sinks: What became of the lines, by name of the sink; all but the durable file. Images are
            counted under ``media``.
        run_dir: Where the files are.
    """

    accepted: int
    written: int
    dropped: dict[str, int]
    sinks: dict[str, SinkReport]
    run_dir: Path
