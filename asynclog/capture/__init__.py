"""What a program prints, warns of and dies of, as records of the default pipeline.

Standard output and error are captured at their file descriptors: what native code and child
processes print is there, too.
"""

from __future__ import annotations

from .session import Capture, capture

__all__ = ["Capture", "capture"]
