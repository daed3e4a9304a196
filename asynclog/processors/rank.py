"""AddRank: which process of a distributed job a record comes from."""

from __future__ import annotations

import os
from typing import Any, Final

from .._rank import (
    local_rank_from_environment,
    rank_and_size_from_torch,
    rank_from_environment,
    world_size_from_environment,
)
from ..typing import EventDict

_NOBODY: Final = 0
"""No process has this id."""


class AddRank:
    """Adds ``rank``, ``local_rank`` and ``world_size``, as far as they are known.

    They come from the environment, as torchrun, Slurm, Open MPI, MPICH, MVAPICH and LSF set it; a
    process without such variables is asked for its ``torch.distributed`` process group, once that
    is initialised. Nothing is imported. Outside a distributed job nothing is added, and what a
    record has already is left alone.

    The environment is read once per process, and again after a fork.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # one tuple in one variable: another thread sees the old one or the new one
        self._known: tuple[int, dict[str, int]] = (_NOBODY, {})

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> EventDict:
        """Add the fields."""
        process, fields = self._known
        if process != os.getpid():
            fields = self._look(_from_environment())
        elif not fields:
            # the process group may have been initialised since
            found = _from_torch()
            if not found:
                return event_dict
            fields = self._look(found)
        for name, value in fields.items():
            if name not in event_dict:
                event_dict[name] = value
        return event_dict

    def _look(self, fields: dict[str, int]) -> dict[str, int]:
        fields = fields or _from_torch()
        self._known = (os.getpid(), fields)
        return fields

    def __repr__(self) -> str:
        return "AddRank()"

    def __reduce__(self) -> tuple[Any, ...]:
        return AddRank, ()


def _from_environment() -> dict[str, int]:
    rank = rank_from_environment()
    if rank is None:
        return {}
    local_rank, world_size = local_rank_from_environment(), world_size_from_environment()
    return _fields(rank, local_rank, world_size)


def _from_torch() -> dict[str, int]:
    found = rank_and_size_from_torch()
    if found is None:
        return {}
    rank, world_size = found
    return _fields(rank, local_rank_from_environment(), world_size)


def _fields(rank: int, local_rank: int | None, world_size: int | None) -> dict[str, int]:
    fields = {"rank": rank, "local_rank": local_rank, "world_size": world_size}
    return {name: value for name, value in fields.items() if value is not None}
