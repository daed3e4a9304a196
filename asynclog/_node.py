"""The loggers of `logging` on which a launcher shows what each of its processes says.

Their records come out of a run, and never go into one again.
"""

from __future__ import annotations

from typing import Final

NODE: Final = "asynclog.node"


def node_logger(host: str, local_rank: int | None) -> str:
    """Return the name of a process's logger: ``asynclog.node.<host>.<local_rank>``.

    Args:
        host: Name of the machine; its dots become ``_``, for a dot begins a lower logger.
        local_rank: Rank on this machine, None for the launcher's own and whatever is no rank.
    """
    name = f"{NODE}.{host.replace('.', '_')}"
    return name if local_rank is None else f"{name}.{local_rank}"


def is_node_logger(name: object) -> bool:
    """Say whether records of a logger come out of a run; a record made by hand may name none."""
    return isinstance(name, str) and name.startswith(NODE) and name[len(NODE) :][:1] in ("", ".")
