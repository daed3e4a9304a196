"""Which rank this process is, told from the environment that its launcher set, or from torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

RANK_VARIABLES: Final = (
    "RANK",
    "SLURM_PROCID",
    "PMI_RANK",
    "OMPI_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",
)
"""Where launchers tell the global rank; the first that is set counts."""
LOCAL_RANK_VARIABLES: Final = (
    "LOCAL_RANK",
    "SLURM_LOCALID",
    "MPI_LOCALRANKID",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
)
"""Where launchers tell the rank on this machine; the first that is set counts."""
WORLD_SIZE_VARIABLES: Final = (
    "WORLD_SIZE",
    "SLURM_NTASKS",
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "JSM_NAMESPACE_SIZE",
)
"""Where launchers tell the number of ranks; the first that is set counts."""


class RankInfo(NamedTuple):
    """Which process of a distributed job this is.

    Attributes:
        rank: Global rank, None outside a distributed job.
        local_rank: Rank on this machine, None where it is not told.
        world_size: Number of ranks, None where it is not told.
        host: Name of this machine.
    """

    rank: int | None
    local_rank: int | None
    world_size: int | None
    host: str


def rank_info(environment: Mapping[str, str] = os.environ) -> RankInfo:
    """Return which process of a distributed job this is.

    Told by the environment, as torchrun, Slurm, MPICH, Open MPI, MVAPICH and LSF set it, else by
    ``torch.distributed`` where the program has imported and initialised it.
    """
    rank = rank_from_environment(environment)
    world_size = world_size_from_environment(environment)
    local_rank = local_rank_from_environment(environment)
    if rank is None:
        found = rank_and_size_from_torch()
        if found is None:
            # a local rank or a size alone makes no rank: notebooks and job scripts have them, too
            local_rank = world_size = None
        else:
            rank, world_size = found
    return RankInfo(rank, local_rank, world_size, os.uname().nodename)


def rank_from_environment(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the global rank, None outside a distributed job."""
    return _first_number(environment, RANK_VARIABLES)


def local_rank_from_environment(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the rank on this machine, None outside a distributed job."""
    return _first_number(environment, LOCAL_RANK_VARIABLES)


def world_size_from_environment(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the number of ranks, None outside a distributed job."""
    return _first_number(environment, WORLD_SIZE_VARIABLES)


def rank_and_size_from_torch() -> tuple[int, int] | None:
    """Return global rank and number of ranks as ``torch.distributed`` knows them.

    None unless the program has imported it, and initialised its process group.
    """
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None:
        return None
    try:
        if distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank()), int(distributed.get_world_size())
    except Exception:  # in the middle of its import, or of its end
        pass
    return None


def _first_number(environment: Mapping[str, str], names: Sequence[str]) -> int | None:
    for name in names:
        text = environment.get(name, "")
        if text.isascii() and text.isdigit():
            return int(text)
    return None
