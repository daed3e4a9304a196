"""PerRank: every line in the file of its rank, where the main file holds those of all ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from .template import check_template

if TYPE_CHECKING:
    from .metric_sinks import PerRankSink

DEFAULT_PATH: Final = "ranks/rank{rank}.jsonl"


@dataclass(frozen=True)
class PerRank:
    """Write each line, as it is, to the file of its rank; those without a rank to that of rank 0.

    Beside a :class:`JsonlFile` that takes every line, each is there exactly once, whatever is
    killed when. The files are not rotated.

    Args:
        path: File, relative to the run directory, as for :class:`JsonlFile`.
    """

    path: str = DEFAULT_PATH
    name: ClassVar[str] = "per_rank"
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: The path breaks its rule.
        """
        object.__setattr__(self, "path", check_template(self.path))

    def make(self) -> PerRankSink:
        """Make the sink."""
        from .metric_sinks import PerRankSink

        return PerRankSink(self.path)
