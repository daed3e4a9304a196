"""The way from a logger to the default pipeline of this process, for what is restored or implied.

The one place below the lifecycle that asks for it, and only when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .system import LogSystem


def default_system() -> LogSystem:
    """Return what the loggers of the default pipeline share."""
    from .._lifecycle import default_pipeline

    return default_pipeline().loggers
