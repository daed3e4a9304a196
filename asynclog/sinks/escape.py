"""Makes text harmless: what would move the cursor, colour, reorder or end a line is spelled out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

_HARMFUL: Final = re.compile(
    # C0 but tab, DEL, C1, line and paragraph separator, bidirectional overrides and isolates
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
# the same in UTF-8, but for the line ends
_HARMFUL_UTF8: Final = re.compile(
    rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)
_HARMFUL_ASCII: Final = bytes([*range(9), *range(11, 32), 127])
_NAMES: Final = {"\n": "\\n", "\r": "\\r"}


def escape(text: str) -> str:
    r"""Return text with its control characters spelled out: ``\n``, ``\x1b``, ``\u202e``."""
    # one pass in C over what has nothing to escape, which is nearly everything
    if text.isprintable():
        return text
    return _HARMFUL.sub(_spell, text)


def escape_json(lines: bytes) -> bytes:
    r"""Return lines of JSON with the control characters in their texts as ``\u009b``."""
    if lines.isascii() and len(lines.translate(None, _HARMFUL_ASCII)) == len(lines):
        return lines
    return _HARMFUL_UTF8.sub(_spell_json, lines)


def escape_values(value: Any) -> Any:
    """Return a copy of an event or value with all texts in it escaped."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).items()
        return {escape(str(key)): escape_values(item) for key, item in items}
    if isinstance(value, list):
        return [escape_values(item) for item in cast(list[Any], value)]
    return value


def _spell(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _NAMES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _spell_json(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())
