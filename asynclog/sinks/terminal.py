"""Writes finished text to a standard stream without tearing the progress bars that are on it.

The stream is looked up at each write: tests, notebooks and progress bars replace it. While it is
captured, this goes to where it led before.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import Any, Final

from .. import _streams
from .console import StreamName

PATIENCE: Final = 1.0
"""Seconds to wait for room on a stream that somebody has made non-blocking."""

# the other side is gone for good: a closed pipe, a terminal that hung up, a closed stream
_GONE: Final = frozenset((errno.EPIPE, errno.EBADF, errno.EIO, errno.ENXIO))
_OFF: Final = frozenset(("0", "false", "no", "off"))


class Terminal:
    """A standard stream to write text to.

    Args:
        name: ``"stderr"`` or ``"stdout"``.
        colors: True or False settles it; None asks the stream and the environment.
    """

    def __init__(self, name: StreamName, colors: bool | None = None) -> None:
        self._name = name
        self._wanted = colors
        self._stream: Any = None
        self._dead = False
        self._colors = False

    def colors(self) -> bool:
        """Say whether the stream, as it is now, is to be coloured."""
        self._look_up()
        return self._colors

    def width(self) -> int:
        """Return the width of the terminal in characters."""
        try:
            return os.get_terminal_size(self._look_up().fileno()).columns or 80
        except (AttributeError, OSError, ValueError):
            return 80

    def write(self, text: str) -> None:
        """Write some whole lines at once.

        Raises:
            OSError: It did not work. What is written to a stream whose other side is gone
                vanishes without a further word until there is another stream.
        """
        stream = self._look_up()
        if stream is None or self._dead or not text:
            return
        try:
            with _streams.writing(stream) as captured:
                (_write_out if captured else _write_beside_bars)(stream, text)
        except ValueError as error:
            # what Python says of a closed stream
            self._dead = True
            raise OSError(errno.EBADF, f"sys.{self._name} cannot be written: {error}") from None
        except OSError as error:
            self._dead = error.errno in _GONE
            raise

    def _look_up(self) -> Any:
        stream: Any = _streams.uncaptured(getattr(sys, self._name))
        if stream is not self._stream:
            self._stream = stream
            self._dead = False
            self._colors = _colors(stream) if self._wanted is None else self._wanted
        return stream


def _colors(stream: Any) -> bool:
    """Say whether a stream is to be coloured, by the customs of environment variables."""
    environment = os.environ
    if environment.get("NO_COLOR"):
        return False
    force = environment.get("FORCE_COLOR", "")
    if force:
        return force.lower() not in _OFF
    compatible = environment.get("TTY_COMPATIBLE", "")
    if compatible in ("0", "1"):
        return compatible == "1"
    if environment.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    if sys.platform == "win32" and not (
        environment.get("WT_SESSION") or environment.get("ANSICON")
    ):
        return False
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):
        return False


def _write(stream: Any, text: str) -> None:
    console = _live_console(stream)
    if console is not None:
        _print_above(console, text)
        return
    _write_out(stream, text)


def _write_out(stream: Any, text: str) -> None:
    descriptor = _descriptor(stream)
    if descriptor is None:
        stream.write(text)
        stream.flush()
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    content = memoryview(text.encode(encoding, "backslashreplace"))
    while content:
        try:
            content = content[os.write(descriptor, content) :]
        except BlockingIOError:
            if not select.select([], [descriptor], [], PATIENCE)[1]:
                raise


def _descriptor(stream: Any) -> int | None:
    """Return where to write to at once; None for a stream that is more than its descriptor."""
    if not isinstance(stream, io.TextIOWrapper):
        # a notebook's, rich's and tqdm's stand-ins have a fileno(), and it leads past them
        return None
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _write_beside_bars(stream: Any, text: str) -> None:
    """Write while tqdm's bars, if the process has any, are off the stream."""
    bars: Any = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
    if bars is None or not getattr(bars, "_instances", None):
        _write(stream, text)
        return
    aside = bars.external_write_mode(file=stream)
    try:
        aside.__enter__()
    except Exception:
        # a bar whose own stream is broken
        _write(stream, text)
        return
    try:
        _write(stream, text)
    finally:
        with contextlib.suppress(Exception):
            aside.__exit__(None, None, None)


def _live_console(stream: Any) -> Any:
    """Return the rich console that must do the writing, because something live is on it."""
    if type(stream).__module__ == "rich.file_proxy":
        # a live display has put this stand-in into sys.stderr; its own write() wraps long lines
        return getattr(stream, "_FileProxy__console", None)
    console: Any = getattr(sys.modules.get("rich"), "_console", None)
    if console is None or not isinstance(stream, io.TextIOWrapper):
        return None
    live = getattr(console, "_live_stack", None) or getattr(console, "_live", None)
    return console if live and getattr(console, "is_terminal", False) else None


def _print_above(console: Any, text: str) -> None:
    from rich.text import Text

    console.print(Text.from_ansi(text), soft_wrap=True)
