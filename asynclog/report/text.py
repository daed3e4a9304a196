"""Texts of bounded length."""

from __future__ import annotations

from typing import Final

MAX_NAME: Final = 200
"""Characters of the name of a metric, a stage, a parameter."""


def cut(text: str, limit: int = MAX_NAME) -> str:
    """Return a text, or its beginning and how long all of it is.

    Args:
        text: The text.
        limit: Characters that are kept.
    """
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... [{len(text):,} characters]"
