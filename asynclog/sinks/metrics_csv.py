"""MetricsCsv: one row for each value of a metric, for pandas, duckdb and spreadsheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from .template import check_template

if TYPE_CHECKING:
    from .metric_sinks import MetricsCsvSink

DEFAULT_PATH: Final = "metrics.csv"


@dataclass(frozen=True)
class MetricsCsv:
    """Write metrics as CSV with the columns ``step,split,name,value,wall_time``.

    Beside a :class:`JsonlFile` that takes every line, each value is in the file exactly once,
    whatever is killed when. The file is not rotated. ``step`` and ``split`` are empty where none
    was given, ``wall_time`` is the time of the call in seconds since 1970, and values that are no
    numbers are ``NaN``, ``Infinity`` and ``-Infinity``. Quotes are those of RFC 4180; control
    characters in names are spelled out.

    Args:
        path: File, relative to the run directory, as for :class:`JsonlFile`; ranks above 0 get
            ``metrics_rank1.csv`` and so on.
    """

    path: str = DEFAULT_PATH
    name: ClassVar[str] = "metrics_csv"
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: The path breaks its rule.
        """
        object.__setattr__(self, "path", check_template(self.path))

    def make(self) -> MetricsCsvSink:
        """Make the sink."""
        from .metric_sinks import MetricsCsvSink

        return MetricsCsvSink(self.path)
