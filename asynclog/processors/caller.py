"""The frame of the code that logs: the innermost that is not of a logging library."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Final

from .._line.exception import OWN_PACKAGES

# Whether a module stands between a caller and the processors, by its name.
_own: Final[dict[str, bool]] = {}
_MAX_KNOWN: Final = 1024


def find_caller() -> FrameType | None:
    """Return the innermost frame outside of asynclog, structlog and logging."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        module = frame.f_globals.get("__name__")
        # whoever executes code may put anything there
        if type(module) is not str:
            return frame
        own = _own.get(module)
        if own is None:
            own = module.partition(".")[0] in OWN_PACKAGES
            if len(_own) < _MAX_KNOWN:
                _own[module] = own
        if not own:
            return frame
        frame = frame.f_back
    return None
