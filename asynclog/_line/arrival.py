"""Tensors on their way from a device to the host; nobody ever waits for the device here.

A tensor is copied into pinned memory behind the work that makes it, and an event tells later
whether the copy is there. The line holds a token until then. PyTorch is never imported: who has
such a tensor has imported it.
"""

from __future__ import annotations

import os
import struct
import sys
import weakref
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final, NamedTuple

from .._json import dumps
from .plain import without_surrogates
from .problem import PROBLEM_KEY, describe

# How the bytes of a dtype become a number; others cannot be told without PyTorch's help.
_FORMATS: Final = {
    "bool": "=?",
    "uint8": "=B",
    "int8": "=b",
    "uint16": "=H",
    "int16": "=h",
    "uint32": "=I",
    "int32": "=i",
    "uint64": "=Q",
    "int64": "=q",
    "float16": "=e",
    "float32": "=f",
    "float64": "=d",
}
_NOT_FINITE: Final = {"inf": b"Infinity", "-inf": b"-Infinity", "nan": b"NaN"}
PENDING: Final = "pending"
"""Field that holds the token of a whole tensor, until the fields made of it are there."""
MAX_ARRAY_BYTES: Final = 64 << 20
"""Bytes of whole tensors that may be under way in a process."""
_LINE_END: Final = b"}\n"
_PROBLEM: Final = b'"%b":' % PROBLEM_KEY.encode()

_numbers = count(1)
_with_arrays: weakref.WeakSet[Arrival] = weakref.WeakSet()
_readers: dict[Any, dict[Any, Callable[[bytes], Any]]] = {}


class _Copy(NamedTuple):
    """One number under way.

    Attributes:
        token: What stands for it in the line.
        host: The pinned memory it is copied to, kept alive.
        address: Where that is.
        size: Bytes of it.
        read: Makes a number of them.
    """

    token: bytes
    host: Any
    address: int
    size: int
    read: Callable[[bytes], Any]

    def fill(self, line: bytes, *, metrics: bool) -> bytes:
        """Return the line with the number in the place of the token."""
        from ctypes import string_at

        number = self.read(string_at(self.address, self.size))
        return _replaced(line, self.token, number, metrics=metrics)

    def give_up(self, line: bytes) -> bytes:
        """Return the line with a NaN in the place of the token."""
        return _replaced(line, self.token, float("nan"))


class _Array(NamedTuple):
    """One whole tensor under way.

    Attributes:
        token: What stands for it in the field :data:`PENDING`.
        host: The pinned memory it is copied to.
        make: Makes fields of it, in the place of that field.
        lost: The fields when it never arrives.
    """

    token: bytes
    host: Any
    make: Callable[[Any], Mapping[str, Any]]
    lost: Mapping[str, Any]

    def fill(self, line: bytes, *, metrics: bool) -> bytes:
        """Return the line with the fields."""
        del metrics  # is about numbers
        return self._put(line, self.make(self.host))

    def give_up(self, line: bytes) -> bytes:
        """Return the line with what is to be said without the tensor."""
        return self._put(line, self.lost)

    def _put(self, line: bytes, fields: Mapping[str, Any]) -> bytes:
        kept = {key: fields[key] for key in fields if key != PROBLEM_KEY or _PROBLEM not in line}
        return line.replace(b'"%b":"%b"' % (PENDING.encode(), self.token), dumps(kept)[1:-1])


class Arrival:
    """The tensors of one record that are still on their way; true while there are any.

    Args:
        metrics: Whether a truth value counts as 0 or 1.

    Attributes:
        array_bytes: Size of the whole tensors among them: making fields of those takes time.
    """

    __slots__ = ("__weakref__", "_copies", "_events", "_metrics", "array_bytes")

    def __init__(self, *, metrics: bool = False) -> None:
        self._metrics = metrics
        self._copies: list[_Copy | _Array] = []
        self._events: list[tuple[Any, Any, Any]] = []
        self.array_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self._copies)

    def take(self, value: Any, kind: type[Any]) -> str | None:
        """Begin to copy a number from its device.

        Args:
            value: Anything.
            kind: Its type.

        Returns:
            The text that is to stand for it in the line; None when it is no number on a device, or
            cannot be copied without waiting (while a CUDA graph is captured, for instance).
        """
        torch = sys.modules.get("torch")
        if not on_device(value, kind, torch):
            return None
        try:
            return self._take(value, torch)
        except Exception:
            return None

    def take_array(
        self,
        value: Any,
        make: Callable[[Any], Mapping[str, Any]],
        lost: Mapping[str, Any],
    ) -> str | None:
        """Begin to copy a whole tensor from its device.

        Args:
            value: The tensor, for which :func:`on_device` holds.
            make: Makes the fields of its record of the copy on the CPU: later, on another thread,
                and without raising.
            lost: The fields when the device fails.

        Returns:
            The text for the field :data:`PENDING`; None when it cannot be copied without waiting,
            or too much is under way.
        """
        torch: Any = sys.modules.get("torch")
        try:
            size = value.numel() * value.element_size()
            under_way = sum(other.array_bytes for other in list(_with_arrays))
            if under_way + size > MAX_ARRAY_BYTES:
                return None
            host = self._copied(value, tuple(value.shape), torch)
        except Exception:
            return None
        if host is None:
            return None
        self.array_bytes += size
        _with_arrays.add(self)
        token = _new_token()
        self._copies.append(_Array(token.encode(), host, make, lost))
        return token

    def _take(self, value: Any, torch: Any) -> str | None:
        read = _reader(value.dtype, torch)
        if read is None or value.numel() != 1:
            return None
        host = self._copied(value, (), torch)
        if host is None:
            return None
        token = _new_token()
        size = host.element_size()
        self._copies.append(_Copy(token.encode(), host, host.data_ptr(), size, read))
        return token

    def _copied(self, value: Any, shape: tuple[int, ...], torch: Any) -> Any:
        """Begin to copy a tensor; return the pinned memory, None when that has to be waited for."""
        device = value.device
        if value.layout is not torch.strided:
            return None
        module = getattr(torch, device.type)
        capturing = getattr(module, "is_current_stream_capturing", None)
        if capturing is not None and capturing():
            return None
        event = None
        if not any(known == device for known, _, _ in self._events):
            event = _event_class(module)()
        # "cpu" said out loud: torch.set_default_device may say otherwise
        host = torch.empty(shape, dtype=value.dtype, device="cpu", pin_memory=True)
        host.copy_(value.detach().reshape(shape), non_blocking=True)
        if event is not None:
            self._events.append((device, module, event))
        return host

    def begin(self, line: bytes) -> bool:
        """Mark the place in the work of each device behind which the copies are there.

        To be called on the thread that has taken the values, right after the line was made.

        Args:
            line: The line that the tokens are in.

        Returns:
            Whether anything has to be waited for: not when all tokens were taken out of the line.
        """
        self._copies = [copy for copy in self._copies if copy.token in line]
        if not self._copies:
            return False
        for device, module, event in self._events:
            stream = getattr(module, "current_stream", None)
            if stream is None:
                event.record()
            else:
                event.record(stream(device))
        return True

    def arrived(self) -> bool:
        """Ask, without waiting, whether all copies are there.

        Raises:
            Exception: A device has failed, what was on it is lost.
        """
        return all(event.query() for _, _, event in self._events)

    def finished(self, line: bytes) -> bytes:
        """Return a line with the numbers, which have arrived, in the place of the tokens."""
        for copy in self._copies:
            line = copy.fill(line, metrics=self._metrics)
        return line

    def failed(self, line: bytes, error: Exception, limit: int) -> bytes:
        """Return a line with NaN for the numbers that were lost, and why, if there is room.

        Args:
            line: The line with the tokens.
            error: What the device says.
            limit: Longest line.
        """
        for copy in self._copies:
            line = copy.give_up(line)
        if _PROBLEM not in line:
            text = without_surrogates(f"lost on its device: {describe(error)}"[:200])
            longer = b"%b,%b%b}\n" % (line.removesuffix(_LINE_END), _PROBLEM, dumps(text))
            if len(longer) <= limit:
                return longer
        return line


def _replaced(line: bytes, token: bytes, number: float, *, metrics: bool = False) -> bytes:
    if number - number != 0.0:
        bare = _NOT_FINITE[repr(number)]
        text = b'"%b"' % bare
    else:
        bare = text = dumps(+number if metrics else number)
    line = line.replace(b'"%b"' % token, text)
    # a processor of the user's may have put it into a text
    return line.replace(token, bare) if token in line else line


def on_device(value: Any, kind: type[Any], torch: Any) -> bool:
    """Tell whether a value is a tensor that lies on a device, and of no class with a say in it.

    Args:
        value: Anything.
        kind: Its type.
        torch: The module, None when nobody has imported it.
    """
    if not is_tensor(kind, torch):
        return False
    return value.device.type not in ("cpu", "meta")


def is_tensor(kind: type[Any], torch: Any) -> bool:
    """Tell whether a class is that of a plain tensor.

    The values of other classes (distributed, fake, functional tensors) may be elsewhere.

    Args:
        kind: The class.
        torch: The module, None when nobody has imported it.
    """
    tensor = getattr(torch, "Tensor", None)
    return tensor is not None and (kind is tensor or kind is torch.nn.Parameter)


def _event_class(module: Any) -> Any:
    found = getattr(module, "Event", None)
    return found if found is not None else module.event.Event  # Apple's devices have it there


def _reader(dtype: Any, torch: Any) -> Callable[[bytes], Any] | None:
    readers = _readers.get(torch)
    if readers is None:
        known = {name: code for name, code in _FORMATS.items() if hasattr(torch, name)}
        readers = {getattr(torch, name): _unpacker(code) for name, code in known.items()}
        readers[torch.bfloat16] = _bfloat16
        _readers[torch] = readers
    return readers.get(dtype)


def _unpacker(code: str) -> Callable[[bytes], Any]:
    unpack = struct.Struct(code).unpack
    return lambda data: unpack(data)[0]


def _bfloat16(data: bytes) -> float:
    # the upper half of a float32
    whole = b"\0\0" + data if sys.byteorder == "little" else data + b"\0\0"
    return struct.unpack("=f", whole)[0]


_nonces: list[str] = []


def _new_token() -> str:
    """Return text that nobody else's line holds by chance."""
    if not _nonces:
        _nonces.append(os.urandom(6).hex())
    return f"<device value {_nonces[0]}-{next(_numbers):x}>"
