"""ProcessFields: says in each record of a job's processes which of them it comes from."""

from __future__ import annotations

import os
import sys
from typing import Any

from .._rank import RankInfo, rank_info
from ..typing import EventDict


class ProcessFields:
    """Adds rank, host and pid in a distributed job, and the pid in processes that joined a run.

    What a record has already is left alone. The environment is read once per process.

    Args:
        joined: Whether this process is not the one that started the run.
    """

    __slots__ = ("_fields", "_pid", "joined")

    def __init__(self, *, joined: bool) -> None:
        self.joined: bool = joined
        self._pid = 0
        self._fields: dict[str, Any] = {}

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        """Add the fields."""
        if self._pid != os.getpid():
            self._look()
        for name, value in self._fields.items():
            if name not in event_dict:
                event_dict[name] = value
        if self.joined and "worker" not in event_dict:
            worker = _worker()
            if worker is not None:
                event_dict["worker"] = worker
        return event_dict

    def _look(self) -> None:
        found = rank_info()
        pid = os.getpid()
        fields: dict[str, Any] = {}
        if found.rank is not None:
            fields = {"rank": found.rank, **_known(found), "host": found.host, "pid": pid}
        elif self.joined:
            fields = {"pid": pid}
        self._fields = fields
        self._pid = pid


def _known(found: RankInfo) -> dict[str, int]:
    numbers = {"local_rank": found.local_rank, "world_size": found.world_size}
    return {name: number for name, number in numbers.items() if number is not None}


def _worker() -> int | None:
    """Return the number of this DataLoader worker, None in other processes."""
    data: Any = sys.modules.get("torch.utils.data")
    if data is None:
        return None
    try:
        info = data.get_worker_info()
        return None if info is None else int(info.id)
    except Exception:
        # in the middle of its import
        return None
