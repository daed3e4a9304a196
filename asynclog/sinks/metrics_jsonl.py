"""MetricsJsonl: the records of metrics and hyperparameters as they are, in a file of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from .template import check_template

if TYPE_CHECKING:
    from .metric_sinks import MetricsJsonlSink

DEFAULT_PATH: Final = "metrics.jsonl"


@dataclass(frozen=True)
class MetricsJsonl:
    """Write metrics and hyperparameters as JSON, one record a line, as in the main file.

    Beside a :class:`JsonlFile` that takes every line, each record is in the file exactly once,
    whatever is killed when. The file is not rotated.

    Args:
        path: File, relative to the run directory, as for :class:`JsonlFile`; ranks above 0 get
            ``metrics_rank1.jsonl`` and so on.
    """

    path: str = DEFAULT_PATH
    name: ClassVar[str] = "metrics_jsonl"
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: The path breaks its rule.
        """
        object.__setattr__(self, "path", check_template(self.path))

    def make(self) -> MetricsJsonlSink:
        """Make the sink."""
        from .metric_sinks import MetricsJsonlSink

        return MetricsJsonlSink(self.path)
