"""The pipeline's own troubles: one line on stderr, at most one a second for each kind."""

from __future__ import annotations

import os
import time

from . import _streams

_INTERVAL = 1.0
_last: dict[str, float] = {}


def complain(text: str, kind: str | None = None) -> None:
    """Write ``asynclog: text`` to stderr, past whoever captures it; never raises.

    Args:
        text: One line without its end. It must hold no secret.
        kind: Texts of one kind are said at most once a second; None for always.
    """
    if kind is not None:
        now = time.monotonic()
        if now - _last.get(kind, -_INTERVAL) < _INTERVAL:
            return
        _last[kind] = now
    try:
        os.write(_streams.descriptor(2), f"asynclog: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass
