"""TextFile: readable lines in a rotating file, never coloured."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Final

from ..typing import Batch
from .file import FileSettings, FileSink
from .format import Format, check_format, formatter
from .render import render

DEFAULT_PATH: Final = "events.log"
_ANSI: Final = re.compile("\x1b\\[[0-9;]*m")


@dataclass(frozen=True)
class TextFile(FileSettings):
    """Write events as readable lines: ``2025-01-23 14:30:22 - INFO - text  key=value``.

    Times are local. An exception follows its line, indented. The settings are those of
    :class:`FileSettings`, and one more.

    Args:
        format: Function from an event to its text, or a ``logging.Formatter``. Texts in the event
            have their control characters escaped. A Formatter costs 10 us a line, the default 3.
    """

    path: str = DEFAULT_PATH
    _: KW_ONLY
    format: Format | None = None
    name: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        check_format(self.format)

    def make(self) -> TextSink:
        """Make the sink."""
        return TextSink(self)


class TextSink(FileSink):
    """Appends readable lines."""

    def __init__(self, settings: TextFile) -> None:
        super().__init__(settings)
        self._text = formatter(settings.format) if settings.format is not None else render

    def _content(self, batch: Batch) -> bytes:
        text = self._text
        lines = [text(event) for event in self._selector.events(batch)]
        content = "\n".join([*lines, ""])
        if "\x1b" in content:
            # a format may be made for terminals
            content = _ANSI.sub("", content)
        return content.encode(errors="backslashreplace")
