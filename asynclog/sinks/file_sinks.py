"""The file sinks: what they make of a batch, appended to a rotating file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ..typing import Batch, Run
from .format import formatter
from .render import render
from .rotation import RotatingFile
from .select import Selector
from .settings import FileSettings
from .text import TextFile

_ANSI: Final = re.compile("\x1b\\[[0-9;]*m")


class FileSink:
    """Appends what a subclass makes of a batch to a rotating file; a blocking sink.

    Args:
        settings: What the user wants.
    """

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings
        self._selector = Selector.of(settings.level, settings.filter)
        self._file: RotatingFile | None = None

    @property
    def path(self) -> Path | None:
        """The file, None before :meth:`open`."""
        return None if self._file is None else self._file.path

    def open(self, run: Run) -> None:
        """Open the file, so that what is wrong with it shows at start.

        Raises:
            OSError: It cannot be written.
            SettingError: Its path leads out of the run directory.
        """
        self._file = self._settings.file(run)
        self._file.prepare(0)

    def write_blocking(self, batch: Batch) -> None:
        """Append a batch; after a failure the next one tries anew.

        Raises:
            OSError: It cannot be written; nothing of the batch is in the file.
        """
        if self._file is None:
            raise RuntimeError("open() comes first")
        content = self._content(batch)
        if content:
            self._file.write(content)

    def flush(self) -> None:
        """Have the disk hold what was written, unless ``fsync`` is ``"never"``."""
        if self._file is not None and self._settings.fsync != "never":
            self._file.sync()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _content(self, batch: Batch) -> bytes:
        raise NotImplementedError


class JsonlSink(FileSink):
    """Appends lines as they are."""

    def _content(self, batch: Batch) -> bytes:
        return self._selector.raw(batch)


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
