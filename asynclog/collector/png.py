"""Pixels -> a PNG file: what the collector writes images with, and nothing more of the format."""

from __future__ import annotations

import struct
import zlib
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES: Final = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's number for so many 8-bit samples a pixel: grey, grey and alpha, RGB, RGBA."""


def png(width: int, height: int, channels: int, samples: bytes | memoryview) -> bytes:
    """Return a PNG file, after the PNG Specification (Third Edition), W3C 2025.

    Signature: section 5.2; chunks: 5.3; IHDR: 11.2.1; a filter byte before each row: 9.2; the rows
    deflated: 10.

    Args:
        width: Pixels.
        height: Pixels.
        channels: Samples of 8 bits for each pixel, 1 to 4.
        samples: Rows from the top, without gaps.
    """
    row = width * channels
    lines = b"".join(b"\0" + samples[at : at + row] for at in range(0, height * row, row))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
