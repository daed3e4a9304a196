"""One standard stream led into a pipe, at the file descriptor: native code and children, too.

Knows nothing of who reads the pipe.
"""

from __future__ import annotations

import fcntl
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from .. import _streams
from .._complain import complain

if TYPE_CHECKING:
    from .survivor import Survivor

StreamName: TypeAlias = Literal["stdout", "stderr"]
NUMBERS: Final[dict[StreamName, int]] = {"stdout": 1, "stderr": 2}

PIPE_BYTES: Final = 1 << 20
"""Room in the pipe, for native code that prints while it holds the GIL: nobody reads then.
1 MiB is what Linux allows users by default (``/proc/sys/fs/pipe-max-size``)."""


class Diversion:
    """A standard stream that leads into a pipe, from :meth:`start` to :meth:`stop`.

    Attributes:
        name: Name of the stream.
        number: Its descriptor.
        saved: A duplicate of what the descriptor led to.
        pipe: The end of the pipe to read from.
    """

    def __init__(self, name: StreamName) -> None:
        self.name: StreamName = name
        self.number: int = NUMBERS[name]
        self.saved: int = -1
        self.pipe: int = -1
        self._stream: Any = None
        self._buffered_lines = False
        self._inheritable = True
        self._pipe_status: os.stat_result | None = None
        self._survivor: Survivor | None = None

    @staticmethod
    def possible(name: StreamName) -> bool:
        """Say whether there is such a stream.

        Where Python began without it, the descriptor may be any file of the program's by now.
        """
        stream: Any = getattr(sys, f"__{name}__")
        if stream is None or stream.closed:
            return False
        try:
            os.fstat(NUMBERS[name])
        except OSError:
            return False
        return True

    def start(self) -> None:
        """Lead the stream into a pipe.

        Raises:
            OSError: There are no descriptors left.
        """
        stream: Any = getattr(sys, self.name)
        _flush(stream)
        self._inheritable = os.get_inheritable(self.number)
        self.saved = os.dup(self.number)
        try:
            self.pipe, end = os.pipe()
        except OSError:
            os.close(self.saved)
            raise
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._pipe_status = os.fstat(end)
        _streams.divert(self.number, self.saved, stream)
        os.dup2(end, self.number, self._inheritable)
        os.close(end)
        self._prepare(stream)
        self._watch()

    def stop(self) -> None:
        """Lead the stream where it led before, unless somebody else has moved it meanwhile."""
        stream: Any = getattr(sys, self.name)
        _flush(stream)
        if stream is not self._stream:
            _flush(self._stream)
        if self._is_ours():
            os.dup2(self.saved, self.number, self._inheritable)
        self._put_back()

    def close(self) -> bool:
        """Close the duplicate, once nobody writes to it; say whether it is closed."""
        survivor, self._survivor = self._survivor, None
        if survivor is not None:
            survivor.dismiss()
        closed = _streams.restored(self.number)
        if closed:
            os.close(self.saved)
        return closed

    def forget(self) -> None:
        """Close what a forked child has inherited and must not hold.

        A child with the reading end would wait for ever for somebody to read what it prints.
        """
        survivor, self._survivor = self._survivor, None
        if survivor is not None:
            survivor.forget()
        os.close(self.pipe)

    def _watch(self) -> None:
        from subprocess import SubprocessError

        from .survivor import Survivor

        try:
            self._survivor = Survivor(self.pipe, self.saved)
        except (OSError, SubprocessError, RuntimeError) as error:
            # no shell, no process left: nobody shows what is in the pipe when we are killed
            complain(f"nobody watches over what is printed last: {error}", kind="survivor")

    def _is_ours(self) -> bool:
        try:
            status = os.fstat(self.number)
        except OSError:
            return False
        return self._pipe_status is not None and os.path.samestat(status, self._pipe_status)

    def _prepare(self, stream: Any) -> None:
        """Have Python's stream hand on whole lines at once, and tell whose words they are."""
        if type(stream) is not io.TextIOWrapper:
            return
        try:
            if stream.fileno() != self.number:
                return
            self._buffered_lines = stream.line_buffering
            stream.reconfigure(line_buffering=True)
        except (OSError, ValueError):
            return
        self._stream = stream
        number, plain, speaks_aside = self.number, stream.write, _streams.speaks_aside

        def write(text: str, /) -> int:
            shown = speaks_aside()
            if shown is None:
                return plain(text)
            if shown:
                _streams.write(number, text.encode(stream.encoding, "backslashreplace"))
            return len(text)

        # Of the instance: whoever holds the stream, a logging handler for one, keeps holding it.
        stream.write = write

    def _put_back(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with suppress(AttributeError):
            del stream.write
        with suppress(OSError, ValueError):
            stream.reconfigure(line_buffering=self._buffered_lines)


def _flush(stream: Any) -> None:
    """Write out what a Python stream holds back; nobody can be told when that fails."""
    try:
        stream.flush()
    except Exception:
        pass
