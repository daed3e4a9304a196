"""TextFile: readable lines in a rotating file, never coloured."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from .settings import FileSettings, check_format

if TYPE_CHECKING:
    from .file_sinks import TextSink
    from .format import Format

DEFAULT_PATH: Final = "events.log"


@dataclass(frozen=True)
class TextFile(FileSettings):
    """Write events as readable lines: ``2025-01-23 14:30:22 - INFO - text  key=value``.

    Times are local. An exception follows its line, indented. The settings are those of
    :class:`FileSettings`, and one more.

    Args:
        format: Function from an event to its text, or a ``logging.Formatter``. Texts in the event
            have their control characters escaped. A Formatter costs 13 us a line, the default 4.
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
        from .file_sinks import TextSink

        return TextSink(self)
