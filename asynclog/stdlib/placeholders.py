"""Placeholders in the names of runs: ``{time}``, ``{utc_time}``, ``{rank}``, ``{local_rank}``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from .._rank import local_rank_from_environment, rank_info

DEFAULT_TEMPLATE: Final = "{time}_rank{rank}"


def substitute_placeholders(name: str | None, default_template: str = DEFAULT_TEMPLATE) -> str:
    """Return a name with its placeholders replaced; other braces are left as they are.

    ``{time}`` is the local time, ``{utc_time}`` that of UTC, both in the basic form of ISO 8601
    with microseconds, which every file system takes: ``20260131T120000.123456`` and
    ``20260131T120000.123456Z``. ``{rank}`` and ``{local_rank}`` are told by the launcher's
    environment (``RANK``, ``SLURM_PROCID``, ``LOCAL_RANK``, ...), the rank also by
    ``torch.distributed`` once it is initialised; 0 where nobody tells.

    Args:
        name: Text that may hold placeholders; None for the default template.
        default_template: Stands in for None.
    """
    text = substitute_times(default_template if name is None else name, datetime.now(UTC))
    text = text.replace("{rank}", str(rank_info().rank or 0))
    return text.replace("{local_rank}", str(local_rank_from_environment() or 0))


def substitute_times(text: str, now: datetime) -> str:
    """Return a text with the placeholders of the two times replaced.

    Args:
        text: Text that may hold placeholders.
        now: The time, UTC.
    """
    text = text.replace("{time}", f"{now.astimezone():%Y%m%dT%H%M%S.%f}")
    return text.replace("{utc_time}", f"{now:%Y%m%dT%H%M%S.%fZ}")
