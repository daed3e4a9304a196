"""Which lines of a program's stderr are errors: tracebacks and the last words of runtimes.

Most of what programs print there is none: progress, warnings, logs.
"""

from __future__ import annotations

import re
from typing import Final

_TRACEBACK: Final = "Traceback (most recent call last):"
_GROUP: Final = "Exception Group Traceback (most recent call last):"
_BETWEEN: Final = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_RANK: Final = re.compile(r"\[rank\d+\]: ?")
"""What torch puts before each line of a traceback in a process group."""
_FATAL: Final = re.compile(
    r"Fatal Python error: |terminate called |\*\*\* [\w ]+ \*\*\*: |Segmentation fault"
    r"|Aborted|Out of memory|Killed\b|[\w-]+: .*Assertion .* failed|free\(\): |malloc\(\): "
)


class Severity:
    """Tells line after line of one stream whether it is an error."""

    __slots__ = ("_within",)

    def __init__(self) -> None:
        # what ends the traceback that we are in: a line that is not indented, or the one after it
        self._within = ""

    def is_error(self, text: str) -> bool:
        """Say whether the next line of the stream belongs to an error."""
        text = _RANK.sub("", text, count=1) if text.startswith("[rank") else text
        if text.endswith(_TRACEBACK):
            self._within = "group" if text.endswith(_GROUP) else "single"
            return True
        if self._within:
            if text[:1] in (" ", "\t"):
                return True
            within, self._within = self._within, ""
            if within == "single":
                # type and message of the exception
                return True
        return text.startswith(_BETWEEN) or _FATAL.match(text) is not None
