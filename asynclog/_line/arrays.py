"""Arrays and tensors as values, by libraries that are never imported here, without device work.

Nothing is copied from a GPU: waiting for a device would stop the training loop for milliseconds.
"""

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple

from .untrusted import module_of, name_of

MAX_ELEMENTS: Final = 1000
"""Arrays of up to so many elements are written out."""
SAMPLE: Final = 10
"""Elements shown of a longer one."""
# Libraries whose arrays may live on a device, and whose repr() then copies them.
DEVICE_LIBRARIES: Final = frozenset({"cupy", "jax", "jaxlib", "mlx", "tensorflow"})


class ArrayLike(NamedTuple):
    """What stands for an array.

    Attributes:
        data: A scalar, nested lists, a dict that describes a long array, or a text.
        sampled: Whether elements were left out.
    """

    data: Any
    sampled: bool = False


def array_like(value: Any, kind: type[Any]) -> ArrayLike | None:
    """Return what stands for an array or tensor; None when the value is neither."""
    if _is_cuda(value):
        return ArrayLike(_on_device(value, kind))
    library = module_of(kind).partition(".")[0]
    if library in DEVICE_LIBRARIES and hasattr(value, "dtype"):
        return ArrayLike(_on_device(value, kind))
    torch = sys.modules.get("torch")
    tensor = getattr(torch, "Tensor", None)
    if tensor is not None and issubclass(kind, tensor):
        return _tensor(value, kind, torch)
    numpy = sys.modules.get("numpy")
    if hasattr(numpy, "ndarray") and hasattr(numpy, "generic"):
        if issubclass(kind, numpy.ndarray):  # type: ignore[union-attr]
            return _ndarray(value, kind, numpy)
        if issubclass(kind, numpy.generic):  # type: ignore[union-attr]
            return _scalar(value, kind)
    array = getattr(sys.modules.get("array"), "array", None)
    if array is not None and issubclass(kind, array):
        return _array(value)
    return None


def _is_cuda(value: Any) -> bool:
    try:
        return value.is_cuda is True
    except Exception:  # AttributeError, or whatever its __getattr__ raises
        return False


def _on_device(value: Any, kind: type[Any]) -> str:
    """Describe an array by what the host knows of it."""
    shape = tuple(value.shape)
    return f"<{name_of(kind)} shape={shape} dtype={value.dtype} device={value.device}>"


def _tensor(value: Any, kind: type[Any], torch: Any) -> ArrayLike:
    # The values of other classes (distributed, fake, functional tensors) may be elsewhere.
    exact = kind is torch.Tensor or kind is torch.nn.Parameter
    if not exact or value.device.type != "cpu" or value.layout is not torch.strided:
        return ArrayLike(_on_device(value, kind))
    value = value.detach()
    if value.numel() <= MAX_ELEMENTS:
        return ArrayLike(value.tolist())
    # A tensor that is no contiguous block would have to be copied whole to be cut.
    first = value.view(-1)[:SAMPLE].tolist() if value.is_contiguous() else None
    return ArrayLike(_described(tuple(value.shape), str(value.dtype), first), sampled=True)


def _ndarray(value: Any, kind: type[Any], numpy: Any) -> ArrayLike:
    if kind is not numpy.ndarray:  # memory-mapped arrays would read their file
        return ArrayLike(f"<{name_of(kind)} shape={value.shape} dtype={value.dtype}>")
    if value.size <= MAX_ELEMENTS:
        return ArrayLike(_elements(value))
    first = _elements(value.flat[:SAMPLE])
    return ArrayLike(_described(value.shape, str(value.dtype), first), sampled=True)


def _elements(value: Any) -> Any:
    # tolist() turns times of nanoseconds into bare integers
    return (value.astype(str) if value.dtype.kind in "mM" else value).tolist()


def _scalar(value: Any, kind: type[Any]) -> ArrayLike:
    if value.dtype.kind in "mM":
        return ArrayLike(str(value))
    item = value.item()
    if type(item) is kind:  # longdouble and clongdouble have no Python twins
        return ArrayLike(float(value) if value.dtype.kind == "f" else str(value))
    return ArrayLike(item)


def _array(value: Any) -> ArrayLike:
    if len(value) <= MAX_ELEMENTS:
        return ArrayLike(value.tolist())
    first = value[:SAMPLE].tolist()
    return ArrayLike(_described((len(value),), value.typecode, first), sampled=True)


def _described(shape: tuple[int, ...], dtype: str, first: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"shape": list(shape), "dtype": dtype}
    return described if first is None else {**described, "first": first}
