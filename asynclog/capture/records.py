"""What was captured as records of the default pipeline; nothing in here raises."""

from __future__ import annotations

from typing import Any, Final

from .._lifecycle import default_pipeline
from .._line.encoder import Kind
from .._output_levels import Severity
from .._output_lines import OutputLine
from .divert import StreamName

OUTPUT: Final = Kind("output")
LOGGER: Final = "output"
LAST_WORDS: Final = "asynclog.capture"
"""Logger of exceptions that nobody has caught."""


class OutputRecords:
    """Logs captured lines.

    Args:
        quiet: Whether they are shown already.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._fields: dict[str, Any] = {"quiet": True} if quiet else {}
        self._severity = Severity()

    def take(self, name: StreamName, lines: list[OutputLine]) -> None:
        """Log some lines of a stream."""
        logger = default_pipeline().get_logger(LOGGER)
        for line in lines:
            fields: dict[str, Any] = {"kind": OUTPUT, "stream": name, **self._fields}
            if line.partial:
                fields["partial"] = True
            if name == "stderr" and self._severity.is_error(line.text):
                logger.error(line.text, **fields)
            else:
                logger.info(line.text, **fields)


def log_last_words(level: str, event: str, error: Any, **fields: Any) -> None:
    """Log an exception that nobody has caught.

    Args:
        level: Its level.
        event: What happened.
        error: The exception, or a tuple as of ``sys.exc_info()``.
        **fields: More about it.
    """
    try:
        logger = default_pipeline().get_logger(LAST_WORDS)
        getattr(logger, level)(event, exc_info=error, **fields)
    except Exception:
        # a program that has gone this far: its own hook must still be called
        pass
