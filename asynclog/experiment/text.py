"""What people read of an experiment: its text file, and its lines on the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from ..sinks.metric_sinks import RankedSink
from ..sinks.ranked import rank_of
from ..sinks.render import render
from ..sinks.template import check_template
from ..sinks.terminal import Terminal
from ..typing import Batch

DEFAULT_PATH: Final = "exp.log"
NO_TEXT: Final = frozenset(("metrics", "hparams", "text", "histogram", "image", "artifact"))
"""Kinds of records that have files of their own."""
# Which run and rank it is, the file says already.
_LEFT_OUT: Final = ("run_id", "rank")
# What the text of a progress record says already.
_PROGRESS: Final = ("step", "progress", "eta_seconds", "elapsed_seconds")

_terminal: Final = Terminal("stdout")


@dataclass(frozen=True)
class ExperimentText:
    """Write readable lines: ``2025-01-23 14:30:22 - INFO - text  key=value``; never coloured.

    Beside a :class:`JsonlFile` that takes every line, each is in the file exactly once. The file
    is not rotated. Records of metrics and media are left out.

    Args:
        path: File, relative to the run directory; ranks above 0 get ``exp_rank1.log`` and so on.
    """

    path: str = DEFAULT_PATH
    name: ClassVar[str] = "text"
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: The path breaks its rule.
        """
        object.__setattr__(self, "path", check_template(self.path))

    def make(self) -> ExperimentTextSink:
        """Make the sink."""
        return ExperimentTextSink(self.path)


class ExperimentTextSink(RankedSink):
    """Appends readable lines; a blocking sink."""

    def _content(self, batch: Batch) -> dict[int, bytes]:
        lines: dict[int, list[str]] = {}
        for event in batch.events:
            if event.get("kind") not in NO_TEXT:
                lines.setdefault(rank_of(event), []).append(render(shown(event)))
        return {
            rank: "\n".join([*found, ""]).encode(errors="backslashreplace")
            for rank, found in lines.items()
        }


def shown(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a record people get to see."""
    left_out = _LEFT_OUT + _PROGRESS if "eta_seconds" in event else _LEFT_OUT
    return {key: value for key, value in event.items() if key not in left_out}


def console_text(event: Mapping[str, Any]) -> str:
    """Return a record as the console shows it; a format for :class:`Console`."""
    return render(shown(event), _terminal.colors())


def on_console(event: Mapping[str, Any]) -> bool:
    """Tell whether the console shows a record: those of rank 0; a filter for :class:`Console`."""
    return not rank_of(event)
