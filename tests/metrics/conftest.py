"""What the tests of metrics share: a pipeline that records, and a device that takes its time."""

from __future__ import annotations

import ctypes
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asynclog import Pipeline
from asynclog.testing import RecordingSink


@pytest.fixture
def sink() -> RecordingSink:
    """Return a sink that keeps what it gets."""
    return RecordingSink()


@pytest.fixture
def pipeline(run_dir: Path, sink: RecordingSink) -> Iterator[Pipeline]:
    """Return a pipeline that runs, with a sink that records."""
    with Pipeline(run_dir, sinks=[sink]) as running:
        yield running


@pytest.fixture
def written(pipeline: Pipeline, sink: RecordingSink) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that flushes and returns what was logged."""

    def flushed() -> list[dict[str, Any]]:
        assert pipeline.flush_sync()
        return sink.events

    return flushed


WAITING = (
    "item",
    "cpu",
    "tolist",
    "numpy",
    "to",
    "__float__",
    "__int__",
    "__bool__",
    "__index__",
    "__complex__",
    "__array__",
    "__eq__",
    "__lt__",
    "__len__",
    "__iter__",
    "__format__",
    "__str__",
    "__repr__",
)
"""Methods of a tensor that wait for its device."""


class Forbidden(Exception):
    """Somebody waits for the device, or would."""


class FakeDevice:
    """A device that does its work when told to, and a ``torch`` that knows it and nothing else.

    Whatever would make the caller wait for the device raises, and is noted with its thread.

    Attributes:
        waits: What was called that waits, and by which thread.
        copies: Copies that were begun.
        broken: What every question to the device raises from now on.
    """

    def __init__(self) -> None:
        self.waits: list[tuple[str, int]] = []
        self.copies = 0
        self.broken: Exception | None = None
        self.capturing = False
        self.streams: dict[str, deque[Callable[[], None]]] = {"default": deque()}
        self.stream = "default"
        self.torch = _torch(self)

    def tensor(self, value: float, dtype: str = "float32", shape: tuple[int, ...] = ()) -> Any:
        """Return a tensor on the device."""
        return self.torch.Tensor(value, getattr(self.torch, dtype), self.torch.DEVICE, shape)

    def set(self, tensor: Any, value: float) -> None:
        """Change a tensor in place, in its turn."""
        self.streams[self.stream].append(lambda: tensor.__dict__.update(value=value))

    def work(self, number: int | None = None, stream: str = "default") -> int:
        """Do some of the work of a stream, all by default; return how much is left."""
        waiting = self.streams[stream]
        for _ in range(len(waiting) if number is None else min(number, len(waiting))):
            waiting.popleft()()
        return len(waiting)

    def waited(self, what: str) -> Any:
        """Note that somebody waits."""
        self.waits.append((what, threading.get_ident()))
        raise Forbidden(what)


def _torch(device: FakeDevice) -> Any:
    class Place:
        def __init__(self, kind: str) -> None:
            self.type = kind

    class Dtype:
        def __init__(self, code: str) -> None:
            self.code = code
            self.is_floating_point = code in "efd"

    class Tensor:
        def __init__(self, value: Any, dtype: Any, place: Any, shape: tuple[int, ...]) -> None:
            self.value = value
            self.dtype = dtype
            self.device = place
            self.shape = shape
            self.layout = torch.strided
            self.memory = ctypes.create_string_buffer(struct.calcsize(dtype.code))

        @property
        def is_cuda(self) -> bool:
            return self.device.type == "cuda"

        def numel(self) -> int:
            count = 1
            for size in self.shape:
                count *= size
            return count

        def detach(self) -> Any:
            return self

        def reshape(self, shape: tuple[int, ...]) -> Any:
            assert shape == ()
            return self

        def element_size(self) -> int:
            return struct.calcsize(self.dtype.code)

        def data_ptr(self) -> int:
            assert self.device.type == "cpu"
            return ctypes.addressof(self.memory)

        def copy_(self, source: Any, non_blocking: bool = False) -> Any:
            assert self.device.type == "cpu"
            if not (non_blocking and self.pinned):
                device.waited("copy_")
            device.copies += 1

            def copy() -> None:
                struct.pack_into(self.dtype.code, self.memory, 0, source.value)

            device.streams[device.stream].append(copy)
            return self

    for name in WAITING:

        def forbidden(self: Any, *args: Any, name: str = name, **kwargs: Any) -> Any:
            return device.waited(name)

        setattr(Tensor, name, forbidden)
    Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]

    class Event:
        def __init__(self) -> None:
            self.reached = False

        def record(self, stream: Any) -> None:
            device.streams[stream].append(lambda: setattr(self, "reached", True))

        def query(self) -> bool:
            if device.broken is not None:
                raise device.broken
            return self.reached

        def synchronize(self) -> None:
            device.waited("synchronize")

    def empty(shape: tuple[int, ...], *, dtype: Any, device: str, pin_memory: bool = False) -> Any:
        made = Tensor(None, dtype, Place(device), shape)
        made.pinned = pin_memory
        return made

    torch: Any = ModuleType("torch")
    torch.strided = object()
    torch.DEVICE = Place("cuda")
    torch.Tensor = Tensor
    torch.nn = ModuleType("torch.nn")
    torch.nn.Parameter = type("Parameter", (Tensor,), {})
    torch.empty = empty
    torch.cuda = ModuleType("torch.cuda")
    torch.cuda.Event = Event
    torch.cuda.current_stream = lambda _device: device.stream
    torch.cuda.is_current_stream_capturing = lambda: device.capturing
    torch.cuda.synchronize = lambda *_: device.waited("synchronize")
    for name, code in (("float16", "e"), ("float32", "f"), ("float64", "d"), ("int64", "q")):
        setattr(torch, name, Dtype(code))
    torch.bool = Dtype("?")
    torch.bfloat16 = Dtype("h")
    return torch


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    """Return a device; afterwards nobody has waited for it."""
    made = FakeDevice()
    monkeypatch.setitem(sys.modules, "torch", made.torch)
    yield made
    assert made.waits == []


@pytest.fixture(scope="session")
def make_device() -> Callable[[], FakeDevice]:
    """Return the class, for tests that make a device for each example."""
    return FakeDevice
