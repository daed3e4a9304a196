"""The collector's counts in the spool, where the other processes of the run find them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .tally import Tally

if TYPE_CHECKING:
    from ..intake.spool import Spool

STATS_FILE: Final = "collector.json"


def publish_tally(spool: Spool, tally: Tally) -> None:
    """Store the counts where other processes of the run find them."""
    temporary = spool.path / f"{STATS_FILE}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError):
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(tally.as_data(), file)
        temporary.replace(spool.path / STATS_FILE)


def read_tally(spool: Spool) -> Tally | None:
    """Return the counts that the collector of the run published last."""
    try:
        return Tally.from_data(json.loads((spool.path / STATS_FILE).read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
