"""A process of a few hundred kilobytes that outlives us and shows what is left in a pipe then.

What native code says just before it aborts is in the pipe when we die of it. What children print
that go on without us gets there later.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

SHELL: Final = "/bin/sh"
# Standard input: closed without a line when we die. Standard error: the end of the pipe to read.
# In the background, so that it is no child of ours: a program that waits for all its children
# would wait for ever.
_SCRIPT: Final = 'trap "" INT HUP TERM QUIT; exec 3<&0; (read x <&3 || exec cat <&2 2>&-) 1>&1 &'


class Survivor:
    """Watches over one pipe.

    Args:
        pipe: Its reading end.
        shown: Where to write what comes out of it.

    Raises:
        OSError: It could not be started.
    """

    def __init__(self, pipe: int, shown: int) -> None:
        import subprocess

        watched, self._alive = os.pipe()
        try:
            subprocess.run(
                [SHELL, "-c", _SCRIPT],
                stdin=watched,
                stdout=shown,
                stderr=pipe,
                cwd="/",
                start_new_session=True,
                check=True,
            )
        except BaseException:
            os.close(self._alive)
            raise
        finally:
            os.close(watched)

    def dismiss(self) -> None:
        """Let it end: the pipe has come to its end."""
        with suppress(OSError):
            os.write(self._alive, b"\n")
        self.forget()

    def forget(self) -> None:
        """Close what a forked child has inherited: it would seem that we live on in it."""
        os.close(self._alive)
