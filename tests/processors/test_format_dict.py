"""FormatDict: a mapping as event becomes text."""

from __future__ import annotations

import enum
import math
import sys
from collections import UserDict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asynclog
from asynclog.processors import FormatDict
from asynclog.testing import capture_events


def formatted(event: Any) -> Any:
    """Return the event that comes out."""
    return FormatDict()(None, "info", {"event": event})["event"]


class Color(enum.Enum):
    """Neither text nor number."""

    RED = 1


class Rank(enum.IntEnum):
    """A number with a name."""

    FIRST = 1


class Unprintable:
    """Fails when it is looked at."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123, "0.123"),
        (0.1239, "0.124"),
        (0.0001, "1.00e-04"),
        (-0.0001, "-1.00e-04"),
        (0.001, "0.001"),
        (0.000999, "9.99e-04"),
        (1.0, "1.000"),
        (-12.5, "-12.500"),
        (999.0, "999.000"),
        (999.5, "1.00e+03"),
        (1234.5, "1.23e+03"),
        (-1e10, "-1.00e+10"),
        (0.0, "0.000"),
        (-0.0, "0.000"),
        (5e-324, "4.94e-324"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (0, "0"),
        (-7, "-7"),
        (10**12, "1000000000000"),
        pytest.param(10**5000, "<int of 16610 bits>", id="huge"),
        (Rank.FIRST, "1"),
        (True, "True"),
        (False, "False"),
        (None, "None"),
        ("text", "'text'"),
        (b"x", "b'x'"),
        ([1, 0.5], "[1, 0.5]"),
        ((), "()"),
        (Decimal("0.5"), "Decimal('0.5')"),
        (Color.RED, "<Color.RED: 1>"),
        (1 + 2j, "(1+2j)"),
        (Unprintable(), "<unprintable Unprintable: RuntimeError>"),
    ],
)
def test_values(value: Any, text: str) -> None:
    """Floats by their magnitude, whole numbers plainly, all else as repr() has it."""
    assert formatted({"k": value}) == f"k={text}"


@given(st.floats())
def test_floats_can_be_read_back(value: float) -> None:
    """To three digits or decimals; never an empty text or a plain 0 for what is not zero."""
    text = formatted({"k": value}).removeprefix("k=")
    read = float(text)
    if math.isnan(value):
        assert math.isnan(read)
    elif math.isinf(value):
        assert read == value
    elif "e" in text:
        assert not 0.001 <= abs(value) <= 999
        # the least float has one digit only, and what rounds up from the largest is none
        assert math.isclose(read, value, rel_tol=0.005) or not 1e-300 < abs(value) < 1e308
    else:
        assert value == 0 or 0.001 <= abs(value) <= 999
        assert abs(read - value) <= 0.0005000001


def test_nested_mappings_are_flattened() -> None:
    """With slashes, in their order."""
    event = {"epoch": 3, "val": {"loss": 0.12, "f1": {"micro": 0.5}}, "lr": 1e-4, 5: "x"}
    assert formatted(event) == "epoch=3, val/loss=0.120, val/f1/micro=0.500, lr=1.00e-04, 5='x'"


def test_any_mapping_will_do() -> None:
    """Also one that is no dict."""
    assert formatted(UserDict(a=1)) == "a=1"
    assert formatted({}) == ""


@pytest.mark.parametrize("event", ["text", 7, None, ["a"], b"x"])
def test_other_events_are_left_alone(event: Any) -> None:
    """As they are."""
    assert formatted(event) is event
    assert FormatDict()(None, "info", {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_cycles_and_depth_end() -> None:
    """What holds itself is shown by its repr(); what is very deep as well."""
    cyclic: dict[str, Any] = {"a": 1}
    cyclic["me"] = cyclic
    assert formatted(cyclic) == "a=1, me={'a': 1, 'me': {...}}"
    deep: dict[str, Any] = {"x": 1}
    for _ in range(10_000):
        deep = {"d": deep}
    text = formatted(deep)
    assert text.startswith("d/d/d")
    assert len(text) < 100_000


def test_long_ones_are_bounded() -> None:
    """A thousand values are shown."""
    text = formatted({str(number): number for number in range(5000)})
    assert text.startswith("0=0, 1=1, ")
    assert text.endswith("999=999, ...")
    assert len(formatted({"k": "x" * 10_000_000})) < 100_000


def test_a_mapping_that_fails_is_named() -> None:
    """And the record goes on."""

    class Bad(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            raise KeyError(key)

        def __iter__(self) -> Any:
            raise ValueError

        def __len__(self) -> int:
            return 1

    assert formatted(Bad()) == "<unprintable Bad: ValueError>"


def test_numpy() -> None:
    """Scalars are numbers; arrays are shown as NumPy shows them."""
    numpy = pytest.importorskip("numpy")
    event = {
        "a": numpy.float32(0.5),
        "b": numpy.float64(1e-4),
        "c": numpy.int64(7),
        "d": numpy.bool_(True),
        "e": numpy.array(0.25),
        "f": numpy.array([1, 2]),
        "g": numpy.str_("x"),
    }
    assert formatted(event) == (
        "a=0.500, b=1.00e-04, c=7, d=True, e=0.250, f=array([1, 2]), g=" + repr(event["g"])
    )


def test_torch() -> None:
    """Scalars on the CPU are numbers."""
    torch = pytest.importorskip("torch")
    event = {
        "a": torch.tensor(0.5),
        "b": torch.tensor(7),
        "c": torch.tensor([1, 2]),
        "d": torch.tensor(1e-4, requires_grad=True),
        "e": torch.empty((), device="meta"),
    }
    assert formatted(event) == (
        "a=0.500, b=7, c=tensor([1, 2]), d=1.00e-04, "
        "e=<Tensor shape=() dtype=torch.float32 device=meta>"
    )


def test_a_device_is_not_waited_for() -> None:
    """What lies on one is described by what the host knows."""
    touched: list[str] = []

    class Tensor:
        shape = (2, 3)
        dtype = "float32"
        device = "cuda:0"
        is_cuda = True

        def __getattr__(self, name: str) -> Any:
            touched.append(name)
            raise AttributeError(name)

        def __repr__(self) -> str:
            touched.append("repr")
            return "copied"

    assert formatted({"k": Tensor()}) == "k=<Tensor shape=(2, 3) dtype=float32 device=cuda:0>"
    assert not touched


def test_in_our_loggers() -> None:
    """The event is text in the line; fields stay data."""
    asynclog.configure(processors=[FormatDict()])
    with capture_events() as events:
        asynclog.get_logger("train").info({"loss": 0.5, "step": 7}, step=7)
    asynclog.configure(processors=[])
    assert events[0]["event"] == "loss=0.500, step=7"
    assert events[0]["step"] == 7


def test_nothing_is_imported() -> None:
    """Values are told apart by what the program has imported itself."""
    before = set(sys.modules)
    formatted({"a": 0.5, "b": object()})
    assert set(sys.modules) - before == set()
