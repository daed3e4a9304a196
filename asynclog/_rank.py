"""Which rank this process is, told from the environment that its launcher set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

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


def rank_from_environment(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the global rank, None outside a distributed job."""
    return _first_number(environment, RANK_VARIABLES)


def local_rank_from_environment(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the rank on this machine, None outside a distributed job."""
    return _first_number(environment, LOCAL_RANK_VARIABLES)


def _first_number(environment: Mapping[str, str], names: Sequence[str]) -> int | None:
    for name in names:
        text = environment.get(name, "")
        if text.isascii() and text.isdigit():
            return int(text)
    return None
