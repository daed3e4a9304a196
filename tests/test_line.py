"""Lines: whatever is logged becomes one line of strict JSON of bounded length."""

from __future__ import annotations

import array
import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import gc
import itertools
import json
import pathlib
import signal
import subprocess
import sys
import threading
import time
import types
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asynclog import _json
from asynclog._line import snapshot as _snapshot
from asynclog._line.encoder import RESERVED, Kind, LineEncoder, make_timestamp, timestamp
from asynclog._line.plain import MAX_DEPTH
from asynclog.exceptions import SettingError

LIMIT = 65536
CODECS = {
    codec.name: codec
    for codec in (_json.orjson_codec(), _json.msgspec_codec(), _json.stdlib_codec())
}


@pytest.fixture
def encoder() -> LineEncoder:
    """Return an encoder with a clock that stands still."""
    return LineEncoder(clock=lambda: b"2026-01-31T12:00:00.123456Z")


@pytest.fixture(params=list(CODECS))
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> _json.Codec:
    """Run a test with every JSON library that may be under the encoder."""
    chosen = CODECS[request.param]
    for module in ("_line.encoder", "_line.fit"):
        monkeypatch.setattr(f"asynclog.{module}.dumps", chosen.dumps)
    return chosen


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse JSON objects that hold a key twice."""
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def refuse(constant: str) -> Any:
    """Refuse what is no JSON although Python's parser takes it."""
    raise AssertionError(constant)


def depth_of(value: Any) -> int:
    """Return how many containers lie within each other."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def parse(line: bytes, limit: int = LIMIT) -> dict[str, Any]:
    """Parse a line, checking all that every line must keep."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert len(line) <= limit
    data = json.loads(line.decode(), parse_constant=refuse, object_pairs_hook=unique)
    assert isinstance(data, dict)
    assert depth_of(data) <= MAX_DEPTH
    order = [name for name in data if name in ("timestamp", "kind", "level", "event")]
    assert list(data)[: len(order)] == order
    return data


def encoded(encoder: LineEncoder, value: Any) -> Any:
    """Return what a reader sees of a value; the record around it is always whole."""
    data = parse(
        encoder.encode({"event": "hello", "before": 1, "v": value, "after": 2}, level="info")
    )
    assert (data["event"], data["before"], data["after"]) == ("hello", 1, 2)
    return data["v"]


# The front of a line


def test_order_is_fixed_at_the_front(encoder: LineEncoder) -> None:
    """Readers and filters may rely on where timestamp, level, event and logger stand."""
    line = encoder.encode({"a": 1, "event": "hello", "b": None}, level="info", logger="app")
    assert line == (
        b'{"timestamp":"2026-01-31T12:00:00.123456Z","level":"info","event":"hello",'
        b'"logger":"app","a":1,"b":null}\n'
    )


def test_kind_is_the_second_key(encoder: LineEncoder) -> None:
    """A record that is no plain log event says so at the front."""
    line = encoder.encode({"event": "x", "loss": 0.5, "kind": Kind("metrics")}, level="info")
    assert list(parse(line)) == ["timestamp", "kind", "level", "event", "loss"]
    assert parse(line)["kind"] == "metrics"


def test_a_users_kind_is_only_a_field(encoder: LineEncoder) -> None:
    """Nobody's field turns a log event into a metric."""
    data = parse(encoder.encode({"event": "x", "kind": "metrics"}, level="info"))
    assert "kind" not in data
    assert data["kind_"] == "metrics"


def test_values_of_a_users_chain_are_kept(encoder: LineEncoder) -> None:
    """What structlog's TimeStamper, add_log_level and add_logger_name set stays."""
    data = parse(
        encoder.encode(
            {"event": "x", "level": "warning", "logger": "lib", "timestamp": "2020-02-02"},
            level="info",
        )
    )
    assert data == {"timestamp": "2020-02-02", "level": "warning", "event": "x", "logger": "lib"}
    assert list(data) == ["timestamp", "level", "event", "logger"]


@pytest.mark.parametrize(
    ("level", "written"), [("WARN", "warning"), ("Fatal", "critical"), ("exception", "error")]
)
def test_aliases_of_levels(encoder: LineEncoder, level: str, written: str) -> None:
    """Lines know five levels, whatever a processor calls them."""
    assert parse(encoder.encode({"event": "x", "level": level}, level="info"))["level"] == written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("level", "LOUD"),
        ("level", 5),
        ("level", ["info"]),
        ("timestamp", 1700000000.5),
        ("timestamp", "x" * 1000),
        ("timestamp", 'a"b'),
        ("logger", "other"),
        ("logger", 7),
        ("kind", 0),
    ],
)
def test_values_without_the_names_meaning_move(encoder: LineEncoder, name: str, value: Any) -> None:
    """A field called like one of ours is neither lost nor in the line twice."""
    line = encoder.encode({"event": "x", name: value, "a": 1}, level="info", logger="app")
    data = parse(line)
    assert data[f"{name}_"] == value
    assert (data["level"], data["logger"], data["a"]) == ("info", "app", 1)
    assert data["timestamp"] == "2026-01-31T12:00:00.123456Z"


def test_moved_values_do_not_push_others_out(encoder: LineEncoder) -> None:
    """Even the name behind the name may be taken."""
    data = parse(
        encoder.encode({"level": 1, "level_": 2, "level__": 3, "event": "x"}, level="info")
    )
    assert sorted(value for value in data.values() if type(value) is int) == [1, 2, 3]


def test_logger_name_twice_is_one(encoder: LineEncoder) -> None:
    """add_logger_name beside our own name adds nothing."""
    data = parse(encoder.encode({"event": "x", "logger": "app"}, level="info", logger="app"))
    assert data["logger"] == "app"
    assert "logger_" not in data


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (None, "None"),
        (12, "12"),
        ((1, "a"), "(1, 'a')"),
        ({"a": 1.5}, "{'a': 1.5}"),
        (ValueError("bad"), "ValueError: bad"),
        (b"abc", "abc"),
    ],
)
def test_event_is_always_text(encoder: LineEncoder, event: Any, text: str) -> None:
    """Readers need not expect anything but a string."""
    assert parse(encoder.encode({"event": event}, level="info"))["event"] == text


def test_event_may_be_missing(encoder: LineEncoder) -> None:
    """An event dict without an event has an empty one."""
    assert parse(encoder.encode({"a": 1}, level="info"))["event"] == ""


def test_event_dict_is_not_changed(encoder: LineEncoder) -> None:
    """Processors and tests may hold on to the dict they gave."""
    event_dict = {"event": "x", "level": 3, "path": pathlib.Path("a"), "exc_info": ValueError()}
    before = dict(event_dict)
    encoder.encode(event_dict, level="info")
    assert event_dict == before


def test_length_is_checked_at_once() -> None:
    """An encoder that could not keep its promise is not made."""
    with pytest.raises(SettingError, match="max_event_bytes must be at least 512 bytes, got: 100"):
        LineEncoder(max_event_bytes=100)


# Values


class Colour(enum.Enum):
    """An ordinary enumeration."""

    RED = "red"


class Number(enum.IntEnum):
    """An enumeration of integers."""

    ONE = 1


class Permission(enum.Flag):
    """Flags."""

    READ = 1
    WRITE = 2


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: float


@dataclasses.dataclass
class Config:
    """A dataclass with a field that hides."""

    rate: float
    inner: Any = None
    password: str = dataclasses.field(default="secret", repr=False)


@attrs.define
class Settings:
    """An attrs class with a field that hides."""

    rate: float
    token: str = attrs.field(default="secret", repr=False)


class Text(str):
    """A subclass of str that lies."""

    __slots__ = ()

    def __str__(self) -> str:
        """Lie."""
        return "lie"

    def __len__(self) -> int:
        """Lie."""
        return 10**12

    def encode(self, *args: Any, **kw: Any) -> bytes:
        """Fail."""
        raise ValueError("no")


class Integer(int):
    """A subclass of int that lies."""

    def __str__(self) -> str:
        """Lie."""
        return "lie"

    def __int__(self) -> int:
        """Lie."""
        return 99


class Float(float):
    """A subclass of float that lies."""

    def __float__(self) -> float:
        """Lie."""
        return 99.0

    def __sub__(self, other: Any) -> Any:
        """Fail."""
        raise ValueError("no")


class LyingDict(dict[Any, Any]):
    """A dict whose methods lie."""

    def __len__(self) -> int:
        """Lie."""
        return 0

    def items(self) -> Any:
        """Fail."""
        raise KeyError("no")

    def __iter__(self) -> Iterator[Any]:
        """Never end."""
        return itertools.count()

    keys = values = items


class LyingList(list[Any]):
    """A list whose methods lie."""

    def __len__(self) -> int:
        """Lie."""
        return 10**9

    def __iter__(self) -> Iterator[Any]:
        """Never end."""
        return itertools.count()

    def __getitem__(self, index: Any) -> Any:
        """Fail."""
        raise IndexError("no")


class Table(Mapping[str, int]):
    """A mapping that is no dict."""

    def __getitem__(self, key: str) -> int:
        """Return something."""
        return len(key)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys."""
        return iter(("a", "bb"))

    def __len__(self) -> int:
        """Return the number of keys."""
        return 2


def plain_function() -> None:
    """Do nothing."""


NAN, INF = float("nan"), float("inf")
UUID = uuid.UUID(int=5)
UTC = dt.UTC

VALUES: list[tuple[str, Any, Any]] = [
    ("none", None, None),
    ("bools", [True, False], [True, False]),
    ("numbers", [0, -1, 1.5, -0.0, 1e300], [0, -1, 1.5, -0.0, 1e300]),
    ("text", 'a\nb\r\u2028\x00\x1b[31m\x85"\\', 'a\nb\r\u2028\x00\x1b[31m\x85"\\'),
    ("nan", NAN, "NaN"),
    ("infinities", [INF, -INF], ["Infinity", "-Infinity"]),
    ("nan in a dict", {"a": [{"b": NAN}]}, {"a": [{"b": "NaN"}]}),
    ("null and nan", {"a": None, "b": NAN}, {"a": None, "b": "NaN"}),
    ("nan in a dataclass", Config(NAN, {"x": INF}), {"rate": "NaN", "inner": {"x": "Infinity"}}),
    ("lone surrogate", "a\ud800b", "a\\ud800b"),
    ("surrogate in a key", {"\udcff": 1}, {"\\udcff": 1}),
    ("file name of no encoding", pathlib.Path("a\udcffb"), "a\\udcffb"),
    ("bytes", b"abc", "abc"),
    ("bytes of no encoding", b"a\xff\n", "a\\xff\n"),
    ("bytearray", bytearray(b"abc"), "abc"),
    ("memoryview", memoryview(b"abc"), "<memoryview of 3 bytes>"),
    ("tuple keys", {(1, "a"): 2}, {"(1, 'a')": 2}),
    ("plain keys", {None: 1, 2: 3, True: 4, 1.5: 5}, {"None": 1, "2": 3, "True": 4, "1.5": 5}),
    ("keys that collide", {"1": "a", 1: "b", b"1": "c"}, {"1": "a", "1_": "b", "1_2": "c"}),
    ("64 bits", [2**64 - 1, -(2**63)], [2**64 - 1, -(2**63)]),
    ("65 bits", [2**64, -(2**63) - 1], [str(2**64), str(-(2**63) - 1)]),
    ("million bits", 1 << 1_000_000, "<int of 1000001 bits>"),
    ("decimal", decimal.Decimal("1.10"), "1.10"),
    ("decimal nan", decimal.Decimal("NaN"), "NaN"),
    ("fraction", fractions.Fraction(1, 3), "1/3"),
    ("complex", 1 + 2j, "(1+2j)"),
    ("uuid", UUID, "00000000-0000-0000-0000-000000000005"),
    ("datetime", dt.datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006+00:00"),
    ("naive datetime", dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    ("date", dt.date(2026, 1, 2), "2026-01-02"),
    ("time", dt.time(3, 4, 5), "03:04:05"),
    ("timedelta", dt.timedelta(minutes=1.5), 90.0),
    ("path", pathlib.PurePosixPath("/a/b"), "/a/b"),
    ("enum", Colour.RED, "red"),
    ("int enum", Number.ONE, 1),
    ("flag", Permission.READ | Permission.WRITE, 3),
    ("enum key", {Colour.RED: 1}, {"red": 1}),
    ("set", {5}, [5]),
    ("frozenset", frozenset({"a"}), ["a"]),
    ("deque", collections.deque([1, 2], maxlen=5), [1, 2]),
    (
        "dict views",
        [{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()],
        [["a"], [1], [["a", 1]]],
    ),
    ("ordered dict", collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ("default dict", collections.defaultdict(list, a=[1]), {"a": [1]}),
    ("counter", collections.Counter("aab"), {"a": 2, "b": 1}),
    ("chain map", collections.ChainMap({"a": 1}), {"a": 1}),
    ("user dict", collections.UserDict(a=1), {"a": 1}),
    ("user list", collections.UserList([1, 2]), [1, 2]),
    ("mapping proxy", types.MappingProxyType({"a": 1}), {"a": 1}),
    ("mapping", Table(), {"a": 1, "bb": 2}),
    ("range", range(10**9), "range(0, 1000000000)"),
    ("array", array.array("d", [1.0, NAN]), [1.0, "NaN"]),
    ("dataclass", Config(0.1, Config(1)), {"rate": 0.1, "inner": {"rate": 1, "inner": None}}),
    ("attrs class", Settings(0.1), {"rate": 0.1}),
    ("named tuple", Point(1, 2.5), {"x": 1, "y": 2.5}),
    ("exception", KeyError("k"), "KeyError: 'k'"),
    ("exception without text", json.JSONDecodeError, "json.decoder.JSONDecodeError"),
    ("class", dict, "dict"),
    ("function", plain_function, f"{__name__}.plain_function"),
    ("builtin", len, "len"),
    ("module", json, "json"),
    ("lying text", Text("truth"), "truth"),
    ("lying integer", Integer(5), 5),
    ("lying float", Float(2.5), 2.5),
    ("lying dict", LyingDict(a=1), {"a": 1}),
    ("lying list", LyingList([1, 2]), [1, 2]),
    ("text keys that lie", {Text("k"): 1}, {"k": 1}),
]


@pytest.mark.parametrize(
    ("value", "written"), [pytest.param(*row[1:], id=row[0]) for row in VALUES]
)
def test_what_becomes_of_a_value(
    encoder: LineEncoder, codec: _json.Codec, value: Any, written: Any
) -> None:
    """Every kind of value has one form, whichever JSON library is installed."""
    assert encoded(encoder, value) == written
    fields = encoder.fields({"v": value})
    if fields is not None:
        assert parse(b'{"timestamp":0,"level":0,"event":0,' + fields + b"}\n")["v"] == written


@pytest.mark.parametrize("row", VALUES, ids=lambda row: row[0])
def test_values_within_others(encoder: LineEncoder, row: tuple[str, Any, Any]) -> None:
    """What holds at the top holds further down."""
    _, value, written = row
    assert encoded(encoder, [{"a": value}, (value,)]) == [{"a": written}, [written]]
    assert encoded(encoder, Config(1, value)) == {"rate": 1, "inner": written}


def test_generators_are_not_consumed(encoder: LineEncoder) -> None:
    """Logging an iterator must not eat what the program is about to read."""
    generator = (number for number in range(3))
    iterators = [generator, iter([1]), map(int, "12"), zip("ab", "cd", strict=True)]
    assert all(type(text) is str for text in encoded(encoder, iterators))
    assert [list(iterator) for iterator in iterators] == [
        [0, 1, 2],
        [1],
        [1, 2],
        [("a", "c"), ("b", "d")],
    ]


def test_numpy(encoder: LineEncoder) -> None:
    """Scalars and small arrays are numbers, large ones are described."""
    np = pytest.importorskip("numpy")
    assert encoded(encoder, np.float64(1.5)) == 1.5
    assert encoded(encoder, [np.float32(NAN), np.float64(-INF)]) == ["NaN", "-Infinity"]
    assert encoded(encoder, {np.int64(5): np.int64(7)}) == {"5": 7}
    assert encoded(encoder, [np.bool_(True), np.str_("a"), np.bytes_(b"b")]) == [True, "a", "b"]
    assert encoded(encoder, np.longdouble(1.5)) == 1.5
    assert encoded(encoder, np.clongdouble(1)) == "(1+0j)"
    assert encoded(encoder, np.array([[1.0, NAN], [INF, 2.0]])) == [[1.0, "NaN"], ["Infinity", 2.0]]
    assert encoded(encoder, np.array(5)) == 5
    assert encoded(encoder, np.array([1, "a", None], dtype=object)) == [1, "a", None]
    moment = np.datetime64("2026-01-02T03:04:05.000000006")
    assert encoded(encoder, moment) == "2026-01-02T03:04:05.000000006"
    assert encoded(encoder, np.array([moment])) == ["2026-01-02T03:04:05.000000006"]
    large = encoded(encoder, np.arange(10_000_000, dtype="float32").reshape(10, -1))
    assert large == {
        "shape": [10, 1_000_000],
        "dtype": "float32",
        "first": [float(number) for number in range(10)],
    }
    masked = encoded(encoder, np.ma.masked_array([1, 2], mask=[0, 1]))
    assert masked == "<MaskedArray shape=(2,) dtype=int64>"


def test_torch(encoder: LineEncoder) -> None:
    """Tensors on the host are numbers, large and foreign ones are described."""
    torch = pytest.importorskip("torch")
    assert encoded(encoder, torch.tensor(1.5, requires_grad=True)) == 1.5
    assert encoded(encoder, torch.nn.Parameter(torch.ones(2))) == [1.0, 1.0]
    assert encoded(encoder, torch.tensor([[NAN, INF]])) == [["NaN", "Infinity"]]
    assert encoded(encoder, torch.tensor(True)) is True
    large = encoded(encoder, torch.zeros(1000, 1000, dtype=torch.bfloat16))
    assert large == {"shape": [1000, 1000], "dtype": "torch.bfloat16", "first": [0.0] * 10}
    assert "first" not in encoded(encoder, torch.zeros(100, 1000).T)
    meta = encoded(encoder, torch.zeros(3, 2, device="meta"))
    assert meta == "<Tensor shape=(3, 2) dtype=torch.float32 device=meta>"
    sparse = encoded(encoder, torch.eye(3).to_sparse())
    assert sparse == "<Tensor shape=(3, 3) dtype=torch.float32 device=cpu>"


def test_values_on_a_device_are_not_fetched(encoder: LineEncoder) -> None:
    """Logging never waits for a GPU, whoever made the tensor."""

    class Tensor:
        is_cuda = True
        shape = (2, 3)
        dtype = "float32"
        device = "cuda:0"

        def item(self) -> Any:
            raise AssertionError("fetched")

        cpu = numpy = tolist = __float__ = __repr__ = __len__ = item

    text = "<Tensor shape=(2, 3) dtype=float32 device=cuda:0>"
    assert encoded(encoder, Tensor()) == text
    assert encoded(encoder, {"loss": [Tensor()]}) == {"loss": [text]}


def test_pandas(encoder: LineEncoder) -> None:
    """Data frames appear as pandas prints them."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": range(100_000)})
    assert encoded(encoder, frame) == repr(frame)
    assert encoded(encoder, pd.Timestamp("2026-01-02T03:04:05")) == "2026-01-02T03:04:05"
    assert encoded(encoder, pd.NA) == "<NA>"


# Hostile values


def make(name: str, **members: Any) -> Any:
    """Return an instance of a new class."""
    return type(name, (), members)()


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a method that raises."""

    def method(*_args: Any, **_kw: Any) -> Any:
        raise type(error)(*error.args)  # a fresh one: it holds the frames it came through

    return method


class LyingMeta(type):
    """A metaclass whose attributes raise."""

    @property
    def __name__(cls) -> str:
        """Fail."""
        raise ValueError("no")

    __mro__ = __doc__ = __name__  # type: ignore[assignment]

    def __getattribute__(cls, name: str) -> Any:
        """Fail."""
        raise ValueError(name)

    def __repr__(cls) -> str:
        """Fail."""
        raise ValueError("no")


def recurse(self: Any) -> str:
    """Never end."""
    return repr(self)


HOSTILE: list[tuple[Any, str]] = [
    (make("A", __repr__=raising(ValueError("no"))), "<unprintable A: ValueError>"),
    (make("B", __repr__=lambda self: 5), "<unprintable B: TypeError>"),
    (make("C", __repr__=raising(KeyboardInterrupt())), "<unprintable C: KeyboardInterrupt>"),
    (make("D", __repr__=raising(SystemExit(1))), "<unprintable D: SystemExit>"),
    (make("E", __repr__=raising(GeneratorExit())), "<unprintable E: GeneratorExit>"),
    (make("F", __repr__=recurse), "<unprintable F: RecursionError>"),
    (make("G", __class__=property(raising(ValueError())), __repr__=lambda self: "fine"), "fine"),
    (make("H", __getattribute__=raising(ValueError()), __repr__=lambda self: "fine"), "fine"),
    (make("I", __getattr__=raising(ValueError()), __repr__=lambda self: "fine"), "fine"),
    (make("J", __repr__=lambda self: Text("truth")), "truth"),
    (make("K", __repr__=raising(MemoryError())), "<unprintable K: MemoryError>"),
    (make("L", __eq__=raising(ValueError()), __hash__=None, __repr__=lambda s: "fine"), "fine"),
    (make("M", __bool__=raising(ValueError()), __repr__=lambda self: "fine"), "fine"),
    (type("N", (Exception,), {"__str__": raising(ValueError())})(), "<unprintable N: ValueError>"),
    (
        type("O", (dt.datetime,), {"isoformat": lambda self: 5})(2026, 1, 1),
        "<unprintable O: TypeError>",
    ),
    (type("P", (Table,), {"items": raising(OSError())})(), "<unprintable P: OSError>"),
    (type("Q", (Table,), {"__len__": raising(OSError())})(), "<unprintable Q: OSError>"),
    (type("R", (tuple,), {"_fields": 5})(), "<unprintable R: TypeError>"),
    (type("S", (), {"__dataclass_fields__": 5})(), "<unprintable S: AttributeError>"),
    (LyingMeta("T", (), {"__repr__": lambda self: "fine"})(), "<unprintable T: ValueError>"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_value_that_fails_is_named(encoder: LineEncoder, number: int) -> None:
    """One bad value costs its own place in the line, nothing else."""
    value, text = HOSTILE[number]  # not as parameters: pytest prints those
    assert encoded(encoder, value) == text
    assert encoded(encoder, [1, {"a": value}]) == [1, {"a": text}]
    assert encoded(encoder, {"a": Config(1, value)}) == {"a": {"rate": 1, "inner": text}}
    data = parse(encoder.encode({"event": value}, level="info"))
    assert data["event"] == text


def test_keys_that_fail(encoder: LineEncoder) -> None:
    """A key is a value like any other."""
    key = make("Key", __repr__=raising(ValueError()))
    assert encoded(encoder, {key: 1, "b": 2}) == {"<unprintable Key: ValueError>": 1, "b": 2}


def test_classes_that_fail(encoder: LineEncoder) -> None:
    """Not even a class's name can be relied on."""
    assert encoded(encoder, [LyingMeta("X", (), {})])[0].endswith("X")


def test_fields_that_fail(encoder: LineEncoder) -> None:
    """The other fields of the object are kept."""

    @dataclasses.dataclass
    class Record:
        good: int = 1
        bad: int = 2

        def __getattribute__(self, name: str) -> Any:
            if name == "bad":
                raise OSError("no")
            return object.__getattribute__(self, name)

    assert encoded(encoder, Record()) == {"good": 1, "bad": "<unprintable Record: OSError>"}


def test_cycles_end(encoder: LineEncoder) -> None:
    """A value that holds itself is cut where it does."""
    cycle: list[Any] = [1]
    cycle.append({"again": cycle})
    assert encoded(encoder, cycle) == [1, {"again": "<list: holds itself>"}]
    config = Config(1)
    config.inner = config
    assert encoded(encoder, config) == {"rate": 1, "inner": "<Config: holds itself>"}
    shared = [1]
    assert encoded(encoder, [shared, shared]) == [[1], [1]]
    mapping: dict[str, Any] = {}
    mapping["own items"] = mapping.values()
    assert encoded(encoder, mapping) == {"own items": ["<dict_values: holds itself>"]}


def test_event_dict_that_holds_itself(encoder: LineEncoder) -> None:
    """Processors do such things."""
    event_dict: dict[str, Any] = {"event": "x", "a": 1}
    event_dict["all"] = event_dict
    assert parse(encoder.encode(event_dict, level="info"))["a"] == 1


def test_depth_is_bounded(encoder: LineEncoder) -> None:
    """A nesting of any depth costs no more than its first levels."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    started = time.thread_time()
    text = json.dumps(encoded(encoder, deep))
    assert "<list: below 32 levels>" in text
    data = parse(encoder.encode({"event": deep, "v": {"a": deep}}, level="info"))
    assert data["truncated"] is True
    assert time.thread_time() - started < 5
    while deep:  # by hand: freeing it in one go takes its toll on the C stack
        deep = deep[0]


def test_values_that_multiply_are_bounded(encoder: LineEncoder) -> None:
    """A small value that unfolds into 10**30 items is sampled."""
    value: Any = "x"
    for _ in range(30):
        value = [value] * 10
    started = time.thread_time()
    assert parse(encoder.encode({"event": "x", "v": value}, level="info"))["truncated"] is True
    assert time.thread_time() - started < 5


MEGABYTES = 100_000_000


@pytest.mark.parametrize(
    ("make_value", "mark"),
    [
        pytest.param(lambda: "x" * MEGABYTES, f"[{MEGABYTES} characters]", id="text"),
        pytest.param(lambda: "\x00" * MEGABYTES, f"[{MEGABYTES} characters]", id="controls"),
        pytest.param(lambda: "\ud800" * 10_000_000, "[10000000 characters]", id="surrogates"),
        pytest.param(lambda: b"x" * MEGABYTES, f"[{MEGABYTES} bytes]", id="bytes"),
        pytest.param(lambda: ValueError("x" * MEGABYTES), "characters]", id="exception"),
        pytest.param(lambda: list(range(10_000_000)), "... 9999", id="list"),
        pytest.param(lambda: dict.fromkeys(range(1_000_000)), "... 999", id="dict"),
        pytest.param(lambda: set(range(1_000_000)), "... 999", id="set"),
        pytest.param(lambda: {"x" * MEGABYTES: 1}, "xxx...", id="key"),
        pytest.param(
            lambda: {f"{n}" * 100: "y" * 10_000 for n in range(1000)}, "more", id="fields"
        ),
    ],
)
def test_large_values_cost_bounded_work(
    encoder: LineEncoder, make_value: Callable[[], Any], mark: str
) -> None:
    """Nobody waits for 100 MB to be encoded; the line says how much there was."""
    value = make_value()
    for event_dict in (
        {"event": "hello", "v": value, "after": 2},
        {"event": "hello", "v": {"a": [value, "y" * 100_000]}, "after": 2},
    ):
        started = time.thread_time()
        line = encoder.encode(event_dict, level="info")
        took = time.thread_time() - started
        data = parse(line)
        assert took < 5
        assert mark in json.dumps(data["v"])
        assert (data["event"], data["after"], data["truncated"]) == ("hello", 2, True)
        assert encoder.fields({"v": event_dict["v"]}) is None


def test_a_large_event(encoder: LineEncoder) -> None:
    """The text of an event is cut like any other."""
    data = parse(encoder.encode({"event": "x" * 1_000_000, "a": 1}, level="info"))
    assert data["event"].endswith("xxx... [1000000 characters]")
    assert data["a"] == 1
    assert data["truncated"] is True


def test_small_fields_stay_whole(encoder: LineEncoder) -> None:
    """Large values share what the small ones leave; the line is filled."""
    fields = {f"small{number}": "s" * 100 for number in range(50)}
    line = encoder.encode(
        {"event": "x", "one": "1" * 500_000, **fields, "two": ["2" * 90_000]}, level="info"
    )
    data = parse(line)
    assert {key: data[key] for key in fields} == fields
    assert len(data["one"]) > 20_000
    assert data["two"][0].endswith("[90000 characters]")
    assert len(line) > LIMIT / 2


def test_what_fits_is_not_cut(encoder: LineEncoder) -> None:
    """A text of 60 kB fits into 64 KiB."""
    data = parse(encoder.encode({"event": "x", "v": "x" * 60_000, "w": [1] * 900}, level="info"))
    assert "truncated" not in data
    assert (len(data["v"]), len(data["w"])) == (60_000, 900)


def test_users_field_named_truncated(encoder: LineEncoder) -> None:
    """The mark is ours, the user's value moves aside."""
    data = parse(encoder.encode({"event": "x" * 100_000, "truncated": "no"}, level="info"))
    assert data["truncated"] is True
    assert data["truncated_"] == "no"


@pytest.mark.parametrize("limit", [512, 513, 600, 1000, 4096])
@pytest.mark.parametrize("character", ["x", "\x00", "é", "\U0001f600", '"', "\ud800"])
def test_the_limit_is_kept(limit: int, character: str) -> None:
    """A line of any allowed length is never exceeded, whatever the escapes."""
    encoder = LineEncoder(max_event_bytes=limit)
    for size in (100, limit - 150, limit, 10_000):
        text = character * size
        for value in (text, [text] * 20, {text: text}, {"a": {"b": [text, 1]}}):
            line = encoder.encode(
                {"event": text, "v": value, **{f"{character}{n}": n for n in range(60)}},
                level="critical",
                logger=text,
            )
            data = parse(line, limit)
            assert data["event"].startswith(character[:1] if character != "\ud800" else "\\")


def test_many_fields() -> None:
    """Fields that do not fit are counted."""
    encoder = LineEncoder(max_event_bytes=4096)
    data = parse(encoder.encode({"event": "x", **{f"f{n}": n for n in range(900)}}, level="info"))
    kept = [name for name in data if name.startswith("f")]
    assert data["..."] == f"... {900 - len(kept)} more"
    assert len(kept) > 200


def test_front_is_kept_whatever_comes(encoder: LineEncoder) -> None:
    """An event dict that cannot even be read still gives a line."""

    class Broken(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            if key == "event":
                return "hello\ud800"
            raise OSError("no")

        __len__ = __iter__ = raising(OSError("no"))

    data = parse(encoder.encode(Broken(), level="error"))
    assert data["event"] == "hello\\ud800"
    assert (data["level"], data["log_error"], data["truncated"]) == ("error", "OSError", True)


@pytest.mark.parametrize(
    "event_dict", [{1: 2}, {None: 1, "None": 2}, {Text("a"): 1}, {"x" * 300: 1}, {("a",): 1}]
)
def test_keys_of_the_event_dict(encoder: LineEncoder, event_dict: dict[Any, Any]) -> None:
    """Processors may put anything there."""
    data = parse(encoder.encode(event_dict, level="info"))
    assert len(data) >= 3 + len(event_dict)


def test_names_of_objects_are_short(encoder: LineEncoder) -> None:
    """A class name of a megabyte is cut."""
    value = make("X" * 1_000_000, __repr__=raising(ValueError()))
    assert len(encoded(encoder, value)) < 300


def test_stack_that_is_full(encoder: LineEncoder) -> None:
    """Where no Python function can be called any more, a line comes out all the same."""
    lines: list[bytes] = []

    def descend() -> None:
        lines.append(encoder.encode({"event": "deep", "v": {"a": {1: [object()]}}}, level="info"))
        descend()

    with pytest.raises(RecursionError):
        descend()
    assert len(lines) > 100
    for line in lines:
        assert parse(line)["event"] == "deep"


# Snapshots


def test_later_changes_do_not_show(encoder: LineEncoder) -> None:
    """A line holds what was true at the call."""
    value: dict[str, Any] = {"list": [1], "set": {1}, "config": Config(1)}
    line = encoder.encode({"event": "x", "v": value}, level="info")
    fields = encoder.fields({"v": value})
    before = bytes(line), fields
    value["list"].append(2)
    value["set"].clear()
    value["config"].rate = 5
    assert (line, fields) == before
    assert parse(line)["v"]["list"] == [1]


def test_values_are_not_kept_alive(encoder: LineEncoder) -> None:
    """What was logged can be freed at once."""

    class Thing:
        pass

    thing = Thing()
    alive = weakref.ref(thing)
    failing = make("Failing", __repr__=raising(ValueError()))
    failed = weakref.ref(failing)
    encoder.encode({"event": "x", "v": [thing], "w": failing}, level="info")
    del thing, failing
    assert alive() is None
    gc.collect()
    assert failed() is None


def test_dict_that_changes_meanwhile(encoder: LineEncoder) -> None:
    """A value that another one changes while it is printed costs nothing but itself."""
    shared: dict[Any, Any] = {}

    def grow(self: Any) -> str:
        shared[len(shared)] = 1
        shared.pop("x", None)
        return "grown"

    shared.update({"x": make("Grow", __repr__=grow), "y": make("Grow", __repr__=grow)})
    assert encoded(encoder, shared) == {"x": "grown", "y": "grown"}


def test_threads_that_change_values(encoder: LineEncoder) -> None:
    """Lines stay valid while other threads change what is logged."""
    value: dict[Any, Any] = {"a": {}, "b": [], "c": set()}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 500
            value["a"][number] = number
            value["a"].pop(number - 20, None)
            value["b"].append(number)
            del value["b"][:-20]
            value["c"].add(number)
            value["c"].discard(number - 20)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(500):
            parse(encoder.encode({"event": "x", "v": value}, level="info"))
    finally:
        stop.set()
        thread.join()


# Re-entrance


def test_repr_that_logs(encoder: LineEncoder) -> None:
    """A line may be made while another is."""
    inner: list[bytes] = []

    def log(self: Any) -> str:
        inner.append(encoder.encode({"event": "inner", "self": self}, level="info"))
        inner.append(encoder.encode({"event": "inner", "self": self}, level="info"))
        return "outer"

    assert encoded(encoder, make("Chatty", __repr__=log)) == "outer"
    assert [parse(line)["self"] for line in inner] == ["<Chatty: its repr() logs itself>"] * 2


def test_no_mark_is_left_behind(encoder: LineEncoder) -> None:
    """An object that failed once is printed next time."""
    calls = itertools.count()

    def sometimes(self: Any) -> str:
        if next(calls) == 0:
            raise ValueError("no")
        return "fine"

    value = make("Sometimes", __repr__=sometimes)
    assert encoded(encoder, value) == "<unprintable Sometimes: ValueError>"
    assert encoded(encoder, value) == "fine"
    assert not _snapshot._printing


def test_signal_handler_that_logs(encoder: LineEncoder) -> None:
    """A handler may come in the middle of a line."""
    lines: list[bytes] = []

    def handle(*_args: Any) -> None:
        lines.append(encoder.encode({"event": "signal", "v": [object()]}, level="info"))

    value = make("Signalling", __repr__=lambda self: signal.raise_signal(signal.SIGUSR1) or "sent")
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        assert encoded(encoder, value) == "sent"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [parse(line)["event"] for line in lines] == ["signal"]


def interrupt(self: Any) -> str:
    """Send a SIGINT to oneself and wait for it."""
    signal.raise_signal(signal.SIGINT)
    return "not reached"


def test_control_c_goes_through(encoder: LineEncoder) -> None:
    """A Ctrl-C that lands in a value's own code is meant for the program."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            encoder.encode({"event": "x", "v": make("V", __repr__=interrupt)}, level="info")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not _snapshot._printing


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_from_a_signal_handler_goes_through(
    encoder: LineEncoder, error: type[BaseException]
) -> None:
    """A handler that ends the program ends it, wherever it came in."""

    def handle(*_args: Any) -> None:
        raise error

    before = signal.signal(signal.SIGINT, handle)
    try:
        with pytest.raises(error):
            encoder.encode({"event": "x", "v": [make("V", __repr__=interrupt)]}, level="info")
    finally:
        signal.signal(signal.SIGINT, before)


# The specialised path


def test_fields_of_a_call(encoder: LineEncoder) -> None:
    """Fields come out ready to stand between others."""
    assert (
        encoder.fields({"a": 1, "b": "x", "c": None, "d": 1.5}) == b'"a":1,"b":"x","c":null,"d":1.5'
    )
    assert encoder.fields({}) == b""
    assert encoder.fields({"v": {"a": [1, (2, 3)]}}) == b'"v":{"a":[1,[2,3]]}'


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_fields_with_a_meaning_take_the_ordinary_path(encoder: LineEncoder, name: str) -> None:
    """No key gets into a line twice."""
    assert encoder.fields({"a": 1, name: 1}) is None
    assert encoder.fields({"a": 1}, frozenset({"a"})) is None


@pytest.mark.parametrize(
    "mapping",
    [
        {"a": "x" * 100_000},
        {"a": "\ud800"},
        {"a": 2**64},
        {1: 2},
        {Text("a"): 1},
        {"a": list(range(5000))},
    ],
    ids=lambda mapping: repr(mapping)[:20],
)
def test_fields_that_take_the_ordinary_path(encoder: LineEncoder, mapping: dict[Any, Any]) -> None:
    """What is doubtful is left to the path that copies."""
    assert encoder.fields(mapping) is None
    parse(encoder.encode(mapping, level="info"))


def test_event_dicts_that_lie(encoder: LineEncoder) -> None:
    """Not even the event dict need be one."""
    assert parse(encoder.encode(LyingDict(event="x", a=1), level="info"))["a"] == 1
    assert parse(encoder.encode(Table(), level="info"))["bb"] == 2
    many = collections.OrderedDict((str(number), number) for number in range(5000))
    assert parse(encoder.encode(many, level="info"))["truncated"] is True


# Anything at all


class Bomb:
    """An object whose repr() fails while it is armed: Hypothesis prints what it makes."""

    armed = False

    def __init__(self, error: type[BaseException] | None) -> None:
        self.error = error

    def __repr__(self) -> str:
        """Fail, or give a text that no line can hold as it is."""
        if not Bomb.armed:
            return f"Bomb({self.error})"
        if self.error is not None:
            raise self.error("no")
        return "\ud800\n" * 100_000


@contextlib.contextmanager
def armed() -> Iterator[None]:
    """Arm the bombs, but not while Hypothesis may look at them."""
    Bomb.armed = True
    try:
        yield
    finally:
        Bomb.armed = False


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.text(st.characters(codec=None, categories=["Cs", "Cc", "Lu"]), max_size=5),
    st.binary(max_size=10),
    st.decimals(),
    st.fractions(),
    st.uuids(),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.dates(),
    st.timedeltas(),
    st.complex_numbers(),
    st.sampled_from([Colour.RED, Number.ONE, Permission.READ, Point(1, NAN), dict, len, json]),
    st.builds(Bomb, st.sampled_from([ValueError, RecursionError, KeyboardInterrupt, None])),
    st.builds(object),
)
KEYS = st.one_of(
    st.text(max_size=5),
    st.text(st.characters(codec=None, categories=["Cs"]), max_size=2),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(),
    st.tuples(st.integers(), st.text(max_size=3)),
    st.binary(max_size=3),
    st.sampled_from(["timestamp", "level", "logger", "kind", "event", "truncated", "..."]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5),
        st.tuples(inner, inner),
        st.builds(Config, inner, inner),
        st.builds(Point, inner, inner),
        st.builds(collections.deque, st.lists(inner, max_size=3)),
        st.builds(types.MappingProxyType, st.dictionaries(KEYS, inner, max_size=3)),
        st.builds(ValueError, inner),
        st.sets(st.integers() | st.text(max_size=3), max_size=3),
    ),
    max_leaves=25,
)
FIELDS = st.dictionaries(
    st.one_of(st.text(max_size=8), st.sampled_from([*sorted(RESERVED), "truncated", "exception"])),
    ANYTHING,
    max_size=8,
)
PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=20),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=5),
    ),
    max_leaves=30,
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda name: name not in RESERVED)
relaxed = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


@relaxed
@given(fields=FIELDS, limit=st.sampled_from([512, 1024, 65536]), logger=st.none() | st.text())
def test_anything_gives_one_valid_line(
    fields: dict[str, Any], limit: int, logger: str | None
) -> None:
    """Whatever is logged: one line, strict JSON, no key twice, not too long, front in order."""
    encoder = LineEncoder(max_event_bytes=limit)
    with armed():
        line = encoder.encode(fields, level="warning", logger=logger)
    data = parse(line, limit)
    assert next(iter(data)) == "timestamp"
    assert data["level"] in ("debug", "info", "warning", "error", "critical")
    assert type(data["event"]) is str


@relaxed
@given(fields=FIELDS)
def test_both_paths_agree(fields: dict[str, Any]) -> None:
    """What the specialised path gives is what the ordinary path would have given."""
    encoder = LineEncoder(clock=lambda: b"T")
    with armed():
        part = encoder.fields(fields)
        line = encoder.encode({"event": "x", **fields}, level="info")
    if part is None:
        return
    joined = parse(
        b'{"timestamp":"T","level":"info","event":"x"' + b"," * bool(part) + part + b"}\n"
    )
    assert joined == parse(line)


@relaxed
@given(
    fields=st.dictionaries(NAMES, PLAIN, max_size=6), event=st.text(st.characters(codec="utf-8"))
)
def test_plain_values_come_back(fields: dict[str, Any], event: str) -> None:
    """What JSON can hold is read back as it was, in its order."""
    encoder = LineEncoder()
    data = parse(encoder.encode({**fields, "event": event}, level="info"))
    assert list(data) == ["timestamp", "level", "event", *fields]
    assert data["event"] == event
    assert {name: data[name] for name in fields} == fields
    assert b'"timestamp":"' in encoder.encode(fields, level="info")


@relaxed
@given(fields=FIELDS)
def test_json_libraries_agree(fields: dict[str, Any]) -> None:
    """A line says the same whichever JSON library is installed."""
    encoder = LineEncoder(clock=lambda: b"T")
    seen: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        for codec in CODECS.values():
            for module in ("_line.encoder", "_line.fit"):
                patch.setattr(f"asynclog.{module}.dumps", codec.dumps)
            with armed():
                line = encoder.encode(fields, level="info")
            seen.append(parse(line))
    assert list(seen[0]) == list(seen[1]) == list(seen[2])
    if "truncated" not in seen[0]:  # 1e16 or 1e+16: what else fits may differ by a character
        assert seen[0] == seen[1] == seen[2]


# JSON libraries


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
def test_json_libraries_keep_the_same_rules(codec: _json.Codec) -> None:
    """What one refuses, all refuse: it would get into the files of some machines only."""
    assert (
        codec.dumps({"a": [1, 2.5, None, True, "é\n"]}) == '{"a":[1,2.5,null,true,"é\\n"]}'.encode()
    )
    for value in ("\ud800", {1: 2}, 2**64, -(2**63) - 1, [{"a": 2**70}], object(), {"\ud800": 1}):
        with pytest.raises((TypeError, ValueError)):
            codec.dumps(value)
    assert codec.loads(b'{"a":[1,null]}') == {"a": [1, None]}
    assert codec.loads('"x"') == "x"
    for text in (b"NaN", b"[Infinity]", b"{", b"", b"\xff", b"[1,]"):
        with pytest.raises(ValueError):  # noqa: PT011
            codec.loads(text)


# The clock


class Clock:
    """Nanoseconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        """Return what was set."""
        return self.now


def expected(now: int) -> bytes:
    """Return a time stamp by way of datetime."""
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=now // 1000)
    return moment.isoformat(timespec="microseconds").encode() + b"Z"


@relaxed
@given(st.lists(st.integers(0, 4102444800 * 10**9), min_size=1, max_size=10))
def test_timestamps_follow_a_clock_that_jumps(times: list[int]) -> None:
    """Forwards or backwards: the stamp is the time of the clock."""
    clock = Clock()
    stamp = make_timestamp(clock)
    for start in times:
        for clock.now in (
            start,
            start + 999,
            start + 1000,
            start + 10**9 - 1,
            start + 10**9,
            start,
        ):
            assert stamp() == expected(clock.now)


def test_timestamps_are_of_now() -> None:
    """The stamp is UTC and between the times around the call."""
    before = time.time_ns()
    stamp = timestamp()
    assert expected(before) <= stamp <= expected(time.time_ns())


def test_threads_share_the_second() -> None:
    """No stamp mixes the second of one thread with another's."""
    second = itertools.cycle([0, 1_000_000_000_000, 5_000_000_000])
    local = threading.local()

    def now() -> int:
        local.now = next(second) + 1_000
        return local.now

    stamp = make_timestamp(now)
    wrong: list[bytes] = []

    def run() -> None:
        for _ in range(20_000):
            text = stamp()
            if text != expected(local.now):
                wrong.append(text)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


# What it does not load


def test_values_of_libraries_without_importing_them() -> None:
    """Encoding imports neither numpy nor torch nor what else it knows by name."""
    code = """
import sys
from asynclog._line.encoder import LineEncoder
encoder = LineEncoder()
try:
    1 / 0
except ZeroDivisionError:
    encoder.encode({"event": "x", "v": [object(), {1: 2}], "exc_info": True}, level="info")
    encoder.encode({"event": "x" * 100_000}, level="info")
bad = {"numpy", "torch", "pandas"} & set(sys.modules)
assert not bad, bad
"""
    subprocess.run([sys.executable, "-c", code], check=True)
