"""What a collector is to do, as data, and the assembly of one from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .._complain import complain
from .._settings import AnySink, Settings
from ..intake.locks import FileLock
from ..intake.media import MediaSpool
from ..intake.producer import Producer
from ..intake.ring import Origin, Ring
from ..intake.spool import Spool
from ..sinks import JsonlFile, from_data, to_data
from ..typing import Run
from .durable import DurableFile
from .ends import ends, named
from .files import FileWriter
from .media import MediaWriter
from .notes import Notes
from .published import read_tally
from .pump import Collector
from .rings import RingSet
from .tally import Tally
from .trail import Followed

RUN_LOCK = ".asynclog.lock"
"""File in the run directory that tells collectors of different machines from each other."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a collector is to do; plain data unless a sink is a live object.

    Attributes:
        run_dir: Absolute path of the run directory.
        spool_dir: Place of the spools, None for shared memory.
        started: When the run was started, UTC.
        sinks: Declarations or live sinks.
        linger: Seconds to let records gather.
        stop_timeout: Seconds the sinks have to finish.
        stats_interval: Seconds between records of the counters, None for never.
    """

    run_dir: Path
    spool_dir: Path | None
    started: datetime
    sinks: tuple[AnySink, ...]
    linger: float
    stop_timeout: float
    stats_interval: float | None = None

    @classmethod
    def begin(cls, settings: Settings) -> Plan:
        """Return the plan of a run that begins now."""
        return cls(
            run_dir=settings.run_dir,
            spool_dir=settings.spool_dir,
            started=datetime.now(UTC),
            sinks=settings.sinks,
            linger=settings.linger,
            stop_timeout=settings.stop_timeout,
            stats_interval=settings.stats_interval,
        )

    def as_data(self) -> dict[str, Any]:
        """Return the plan as plain data, for a collector process.

        Raises:
            SettingError: A sink cannot be made by another process.
        """
        return self._data([to_data(sink) for sink in self.sinks])

    def recovery_data(self) -> dict[str, Any]:
        """Return as plain data what a recovery needs: where every line has to go."""
        durable = self.durable()
        return self._data([] if durable is None else [to_data(durable)])

    def _data(self, sinks: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "run_dir": str(self.run_dir),
            "spool_dir": None if self.spool_dir is None else str(self.spool_dir),
            "started": self.started.isoformat(),
            "sinks": sinks,
            "linger": self.linger,
            "stop_timeout": self.stop_timeout,
            "stats_interval": self.stats_interval,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Plan:
        """Read what :meth:`as_data` gave.

        Raises:
            SettingError: A sink is unknown or its data breaks a rule.
        """
        spool_dir = data["spool_dir"]
        return cls(
            run_dir=Path(data["run_dir"]),
            spool_dir=None if spool_dir is None else Path(spool_dir),
            started=datetime.fromisoformat(data["started"]),
            sinks=tuple(from_data(sink) for sink in data["sinks"]),
            linger=data["linger"],
            stop_timeout=data["stop_timeout"],
            stats_interval=data.get("stats_interval"),
        )

    @classmethod
    def for_recovery(cls, spool: Spool, spool_dir: Path | None) -> Plan:
        """Return the plan that a run left in its spool; the default files when it left none."""
        data = spool.read_settings()
        if data is not None:
            try:
                return cls.from_data({**data, "run_dir": str(spool.run_dir)})
            except (KeyError, TypeError, ValueError):
                pass
        return cls(spool.run_dir, spool_dir, datetime.now(UTC), (JsonlFile(),), 0.02, 2.0)

    def durable(self) -> JsonlFile | None:
        """Return the file that gets every line exactly once: the first that takes all lines."""
        for sink in self.sinks:
            if isinstance(sink, JsonlFile) and sink.level is None and sink.filter is None:
                return sink
        return None

    def run(self, origin: Origin, suffix: str = "") -> Run:
        """Return what the sinks are told about the run."""
        return Run(
            directory=self.run_dir,
            name=self.run_dir.name,
            started=self.started,
            host=origin.host,
            pid=origin.pid,
            rank=origin.rank,
            local_rank=origin.local_rank,
            suffix=suffix,
        )


class Claim:
    """A collector's claim on the files of a run directory.

    Two machines, or two containers, may share a run directory and not each other's shared memory.
    The second one then writes files with a suffix of its own.
    """

    def __init__(self, run_dir: Path, origin: Origin) -> None:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = FileLock(run_dir / RUN_LOCK)
        self.suffix: str = ""
        if not self._lock.acquire(create=True):
            self.suffix = f".{origin.host}-{os.getpid()}"
            complain(
                f"a collector that we cannot see writes into {run_dir} as well: "
                f"our files there are named with {self.suffix}"
            )

    def release(self) -> None:
        """Give it up."""
        self._lock.release(unlink=True)


class Assembly(NamedTuple):
    """A collector with the parts that have to be closed after it."""

    collector: Collector
    rings: RingSet
    files: FileWriter | None

    def close(self, then: Callable[[], None]) -> None:
        """Let go of rings and files; ``then`` is called once no thread writes any more."""

        def close_rings() -> None:
            self.rings.close()
            then()

        if self.files is None:
            close_rings()
        else:
            self.files.close(close_rings)


def assemble(
    plan: Plan,
    spool: Spool,
    run: Run,
    origin: Origin,
    *,
    producers: Sequence[Producer] = (),
    private: Sequence[Ring] = (),
    publish: Callable[[Tally], None],
) -> Assembly:
    """Make a collector with its sinks; nothing is opened yet."""
    rings = RingSet(spool, private, read_tally(spool))
    durable = plan.durable()
    files = FileWriter(DurableFile(durable.file, run), rings) if durable is not None else None
    written: Callable[[], Sequence[Followed]] = tuple if files is None else files.written
    writers, followers = ends(plan.sinks, run, durable, written, partial(_alive, rings))
    collector = Collector(
        rings,
        files,
        writers,
        followers,
        Notes(
            spool,
            rings,
            origin,
            plan.stats_interval,
            deaths=any(follower.asks_for("note") for follower in followers),
        ),
        producers=producers,
        linger=plan.linger,
        stop_timeout=plan.stop_timeout,
        publish=publish,
        media=MediaWriter(MediaSpool(spool), plan.run_dir),
    )
    return Assembly(collector, rings, files)


def sink_names(plan: Plan) -> set[str]:
    """Return the names of a plan's sinks, as in reports: all but the durable file."""
    durable = plan.durable()
    return {name for name, sink, _ in named(plan.sinks) if sink is not durable}


def _alive(rings: RingSet) -> bool:
    """Say whether any process may still log; may be called from any thread."""
    return any(not source.ended and not source.notes for source in rings)
