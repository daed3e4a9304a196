"""Where lines end up: the declarations that users write, and the sinks made of them."""

from __future__ import annotations

from .console import Console
from .jsonl import JsonlFile
from .registry import from_data, to_data
from .text import TextFile

__all__ = ["Console", "JsonlFile", "TextFile", "from_data", "to_data"]
