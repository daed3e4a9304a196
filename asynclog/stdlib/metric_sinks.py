"""What the metric handlers declare: the project's sinks, with files outside the run directory.

The run directory of such a handler is hidden and goes at the end; what is to stay lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sinks import JsonlFile, TensorBoard, Wandb
from ..typing import Batch, Run

if TYPE_CHECKING:
    from ..sinks.rotation import RotatingFile


@dataclass(frozen=True)
class NamedFile(JsonlFile):
    """A file beside the run directory that has one name, whatever the rank."""

    def file(self, run: Run) -> RotatingFile:
        """Return the file of a run."""
        return super().file(replace(run, directory=run.directory.parent, rank=None))


@dataclass(frozen=True)
class TensorBoardBeside(TensorBoard):
    """TensorBoard whose ``path`` counts from the directory beside the run directory."""

    def make(self) -> Any:
        """Make the sink."""
        return Elsewhere(super().make(), "")


@dataclass(frozen=True)
class WandbBeside(Wandb):
    """W&B with its files in a directory beside the run directory."""

    directory: str = "wandb"

    def make(self) -> Any:
        """Make the sink."""
        return Elsewhere(super().make(), self.directory)


class Elsewhere:
    """Hands on everything to a sink of a backend, under another run directory.

    Args:
        sink: The sink.
        directory: Its run directory, from the directory that holds the real one.
    """

    def __init__(self, sink: Any, directory: str) -> None:
        self._sink = sink
        self._directory = directory
        self.kinds: frozenset[str] = sink.kinds

    def open(self, run: Run) -> None:
        """Open the sink."""
        directory: Path = run.directory.parent / self._directory
        self._sink.open(replace(run, directory=directory, name=directory.name))

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on where the state says; without one, beside what is there already."""
        if state is not None:
            self._sink.restore(state)

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs."""
        return self._sink.state()

    def write_blocking(self, batch: Batch) -> None:
        """Send what a batch holds."""
        self._sink.write_blocking(batch)

    def flush(self) -> None:
        """Flush the sink, if that has a meaning for it."""
        flush = getattr(self._sink, "flush", None)
        if flush is not None:
            flush()

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()
