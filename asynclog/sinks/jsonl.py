"""JsonlFile: the lines as they are, in a rotating file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from .settings import FileSettings

if TYPE_CHECKING:
    from .file_sinks import JsonlSink

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
        from .file_sinks import JsonlSink

        return JsonlSink(self)
