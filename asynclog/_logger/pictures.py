"""An image of any usual kind -> its bytes at the call: arrays, tensors, PIL, files, encoded bytes.

Nothing is encoded here, and no library is imported: who has such an image has imported its library.
"""

from __future__ import annotations

import struct
import sys
from typing import Any, Final

from .._line.arrival import is_tensor, on_device
from .._line.plain import type_of
from .._line.untrusted import name_of
from ..intake.media import MAX_WAITING, Picture

CHANNELS: Final = (1, 2, 3, 4)
"""Samples a pixel may have; a dimension of this size is taken for the channels."""
MAX_SIDE: Final = 1 << 16
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
# Start-of-frame markers (ITU-T T.81, table B.1); others between them are no frames.
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALPHA: Final = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


class NoPictureError(ValueError):
    """A value is no image; its text says why."""


def picture_of(image: Any) -> Picture:
    """Return a copy of an image.

    Args:
        image: A NumPy array or PyTorch tensor of height x width (x channels), channels first or
            last, of integers 0 to 255, of floats 0 to 1 or of truth values; a PIL image; a PNG or
            JPEG file as bytes, or its path.

    Raises:
        NoPictureError: It is none of these.
        Exception: What the image's own code raises.
    """
    kind = type_of(image)
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return _file(bytes(image))
    if issubclass(kind, str) or hasattr(kind, "__fspath__"):
        return _file(_read(image))
    torch = sys.modules.get("torch")
    if on_device(image, kind, torch):
        raise NoPictureError("it is on a device, and not to be had without waiting")
    if is_tensor(kind, torch):
        return _tensor(image.detach(), torch)
    numpy = sys.modules.get("numpy")
    if hasattr(numpy, "ndarray") and issubclass(kind, numpy.ndarray):  # type: ignore[union-attr]
        return _array(image, numpy)
    pil = getattr(sys.modules.get("PIL.Image"), "Image", None)
    if pil is not None and issubclass(kind, pil):
        return _pil(image)
    raise NoPictureError(f"a {name_of(kind)} is no image")


def _array(image: Any, numpy: Any) -> Picture:
    height, width, channels, first = _layout(image.shape, prefer_first=False)
    if first:
        image = numpy.moveaxis(image, 0, -1)
    kind = image.dtype.kind
    if kind == "b":
        image = image.astype(numpy.uint8) * numpy.uint8(255)
    elif kind == "f":
        scaled = image.astype(numpy.float32)
        # fmax and fmin take the number where there is a NaN
        numpy.fmax(scaled, 0.0, out=scaled)
        numpy.fmin(scaled, 1.0, out=scaled)
        scaled *= 255
        scaled += 0.5
        image = scaled.astype(numpy.uint8)
    elif kind in "iu":
        image = image.clip(0, 255).astype(numpy.uint8)
    else:
        raise NoPictureError(f"its samples are of type {image.dtype}")
    # always a copy: what was given may be changed before it is written
    return Picture("raw", width, height, channels, image.tobytes())


def _tensor(image: Any, torch: Any) -> Picture:
    from ctypes import string_at

    height, width, channels, first = _layout(tuple(image.shape), prefer_first=True)
    if image.dtype == torch.bool:
        image = image.to(torch.uint8) * 255
    elif image.dtype.is_floating_point:
        image = torch.nan_to_num(image.to(torch.float32), posinf=1.0, neginf=0.0)
        image = image.clamp(0, 1) * 255 + 0.5
    elif image.dtype.is_complex:
        raise NoPictureError(f"its samples are of type {image.dtype}")
    else:
        image = image.clamp(0, 255)
    image = image.to(torch.uint8)
    # last, when a sample is one byte
    image = (image.permute(1, 2, 0) if first else image).contiguous()
    # PyTorch goes without NumPy as well
    return Picture("raw", width, height, channels, string_at(image.data_ptr(), image.numel()))


def _pil(image: Any) -> Picture:
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode not in _ALPHA:
        transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
        image = image.convert("RGBA" if transparent else "RGB")
    width, height = image.size
    _check(height, width)
    return Picture("raw", width, height, _ALPHA[image.mode], image.tobytes())


def _layout(shape: tuple[int, ...], *, prefer_first: bool) -> tuple[int, int, int, bool]:
    """Return height, width, channels, and whether the channels come first.

    Args:
        shape: Of the array.
        prefer_first: Which it is where both ends look like channels.
    """
    if len(shape) == 2:
        height, width, channels, first = *shape, 1, False
    elif len(shape) == 3:
        first, last = shape[0] in CHANNELS, shape[2] in CHANNELS
        first = first and (prefer_first or not last)
        if not (first or last):
            raise NoPictureError(f"shape {shape} has no dimension of 1 to 4 channels")
        channels, height, width = shape if first else (shape[2], *shape[:2])
    else:
        raise NoPictureError(f"shape {shape} is not height x width (x channels)")
    _check(height, width)
    return height, width, channels, first


def _check(height: int, width: int) -> None:
    if not (0 < height < MAX_SIDE and 0 < width < MAX_SIDE):
        raise NoPictureError(f"{width} x {height} pixels")


def _read(path: Any) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_WAITING + 1)
    if len(data) > MAX_WAITING:
        raise NoPictureError(f"the file is longer than {MAX_WAITING} bytes")
    return data


def _file(data: bytes) -> Picture:
    """Return an encoded image as it is."""
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        # PNG specification (third edition), 11.2.1: width and height come first in IHDR
        width, height = struct.unpack(">II", data[16:24])
        return Picture("png", width, height, 0, data)
    if data.startswith(_JPEG):
        return Picture("jpg", *_jpeg_size(data), 0, data)
    raise NoPictureError("the bytes are neither PNG nor JPEG")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height: they are in the frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD9:  # without a length
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise NoPictureError("the JPEG has no frame header")
