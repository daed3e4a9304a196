"""JsonlFile: the lines as they are, in a rotating file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from ..typing import Batch
from .file import FileSettings, FileSink

DEFAULT_PATH: Final = "events.jsonl"


@dataclass(frozen=True)
class JsonlFile(FileSettings):
    """Write events as JSON, one a line.

    The first one in ``sinks`` that has neither ``level`` nor ``filter`` gets every line exactly
    once, whatever is killed when. The settings are those of :class:`FileSettings`.
    """

    path: str = DEFAULT_PATH
    name: ClassVar[str] = "jsonl"

    def make(self) -> JsonlSink:
        """Make the sink."""
        return JsonlSink(self)


class JsonlSink(FileSink):
    """Appends lines as they are."""

    def _content(self, batch: Batch) -> bytes:
        return self._selector.raw(batch)
