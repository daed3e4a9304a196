"""What a run left behind when everything was killed: ring by ring into its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from .._complain import complain
from ..intake.media import MediaSpool
from ..intake.ring import Origin
from ..intake.spool import Spool
from ..sinks import JsonlFile
from .durable import DurableFile
from .media import MediaFiles
from .plan import Claim, Plan
from .rings import RingSet

__all__ = ["Recovered", "recover"]


class Recovered(NamedTuple):
    """What a recovery did.

    Attributes:
        rings: Rings of dead processes that were drained and removed.
        lines: Lines that were brought to the files.
        quarantined: Lines that were no JSON and went to ``quarantine.log``.
        left_alone: Rings of living processes, and files that are no usable ring.
        collected_elsewhere: Whether a living collector does all this already.
        images: Images that were brought to the run directory.
    """

    rings: int = 0
    lines: int = 0
    quarantined: int = 0
    left_alone: int = 0
    collected_elsewhere: bool = False
    images: int = 0


def recover(run_dir: str | os.PathLike[str], spool_dir: Path | None = None) -> Recovered:
    """Write out what dead processes of a run left in their rings.

    It may be killed at any point and run again: every line arrives exactly once.

    Args:
        run_dir: Directory of the run.
        spool_dir: Place of the spools when the run had one of its own; ``ASYNCLOG_SPOOL_DIR`` or
            shared memory by default.

    Returns:
        What was done.

    Raises:
        SpoolError: The spool is not safe to read.
        OSError: A file cannot be written.
    """
    if spool_dir is None and os.environ.get("ASYNCLOG_SPOOL_DIR"):
        spool_dir = Path(os.environ["ASYNCLOG_SPOOL_DIR"])
    spool = Spool(Path(os.path.abspath(run_dir)), spool_dir)
    if not spool.exists():
        return Recovered()
    if not spool.elect():
        return Recovered(left_alone=len(spool.rings()), collected_elsewhere=True)
    plan = Plan.for_recovery(spool, spool_dir)
    origin = Origin(os.uname().nodename, os.getpid())
    claim = Claim(spool.run_dir, origin)
    rings = RingSet(spool)
    declared = plan.durable()
    if declared is None:
        complain("the run had no JSONL file that takes every line: its rings go to events.jsonl")
        declared = JsonlFile()
    durable = DurableFile(declared.file, plan.run(origin, claim.suffix))
    try:
        spool.sweep()
        rings.find()
        rings.look_after(now=True)
        stored_before = rings.tally().written
        sources = list(rings)
        for source in sources:
            durable.redo(source)
        ended = [source for source in sources if source.ended]
        for source in ended:
            source.cursor = source.ring.head
            durable.write(source, source.ring.head)
        rings.bury(publish=lambda: None)
        media = MediaFiles(MediaSpool(spool), spool.run_dir)
        media.bring()
        tally = rings.tally()
        return Recovered(
            rings=len(ended),
            lines=tally.written - stored_before,
            quarantined=tally.dropped["quarantined"],
            left_alone=len(spool.rings()),
            images=media.written,
        )
    finally:
        durable.close()
        rings.close()
        claim.release()
        spool.leave()
