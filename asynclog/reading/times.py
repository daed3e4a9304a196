"""Points in time as people give them: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from .._settings import parse_duration
from ..exceptions import SettingError
from .lines import key_of

When: TypeAlias = datetime | timedelta | str
"""A time; a length of time means so long ago, and so does a text such as ``"10 min"``."""

_MINUTES: Final = re.compile(r"(\d)\s*m", re.ASCII)


def parse_when(value: When, setting: str) -> bytes:
    """Return a point in time as it compares with the times of lines.

    Args:
        value: A datetime; a timedelta before now; or a text: ISO 8601 (``2026-01-31``,
            ``2026-01-31T12:00``, ``2026-01-31 12:00:00+01:00``), local where it names no zone, or
            how long ago (``90 s``, ``10m``, ``2 h``, ``1 day``).
        setting: Name of the setting, for the error.

    Raises:
        SettingError: It is none.
    """
    if isinstance(value, datetime):
        return key_of(value)
    if isinstance(value, timedelta):
        return key_of(datetime.now().astimezone() - value)
    text = value.strip()
    try:
        return key_of(datetime.fromisoformat(text))
    except ValueError:
        pass
    try:
        ago = parse_duration(_MINUTES.sub(r"\1 min", text) if text.endswith("m") else text)
        return key_of(datetime.now().astimezone() - timedelta(seconds=ago))
    except (SettingError, OverflowError):
        raise SettingError(
            setting,
            "must be a time or how long ago",
            value,
            'Write e.g. "2026-01-31 12:00", "10 min" or "2 h"',
        ) from None
