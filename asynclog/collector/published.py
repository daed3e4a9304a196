"""The collector's counts in the spool, where the other processes of the run find them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .tally import Tally

if TYPE_CHECKING:
    from ..intake.spool import Spool

STATS_FILE: Final = "collector.json"


def publish_tally(spool: Spool, tally: Tally) -> None:
    """Store the counts where other processes of the run find them."""
    temporary = spool.path / f"{STATS_FILE}.tmp"
    with suppress(OSError):
        temporary.write_text(json.dumps(tally.as_data()))
        temporary.replace(spool.path / STATS_FILE)


def read_tally(spool: Spool) -> Tally | None:
    """Return the counts that the collector of the run published last."""
    try:
        return Tally.from_data(json.loads((spool.path / STATS_FILE).read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
