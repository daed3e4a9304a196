"""The records of metrics, hyperparameters and texts: their schema, whatever they are given."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

import asynclog
from asynclog import JsonlFile, Pipeline
from asynclog._levels import LevelTable
from asynclog._line.encoder import LineEncoder
from asynclog._logger.numbers import MAX_METRICS
from asynclog._logger.system import LogSystem
from asynclog._this_rank import look_again
from asynclog.testing import RecordingSink

Written = Callable[[], list[dict[str, Any]]]
FRONT = ["timestamp", "kind", "level", "event", "logger"]


class Lines:
    """Takes lines as a producer does."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes, level: int) -> bool:
        """Take a line."""
        assert level == 20
        self.lines.append(line)
        return True

    def count_drop(self, level: int, reason: str) -> None:
        """Refuse to lose anything."""
        raise AssertionError(reason)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All lines parsed."""
        return [json.loads(line) for line in self.lines]


def new_system(processors: Any = None, **options: Any) -> tuple[LogSystem, Lines]:
    """Return loggers without a pipeline, and where they log."""
    lines = Lines()
    target: Any = lines
    return LogSystem(target, LineEncoder(**options), LevelTable(10), processors), lines


def same(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without its time."""
    return {name: value for name, value in record.items() if name != "timestamp"}


def keep(logger: Any, name: str, event: Any) -> Any:
    """Do nothing: a processor that makes records take the ordinary path."""
    return event


def test_a_record_of_metrics(pipeline: Pipeline, written: Written) -> None:
    """Front, bound context and fields come in the order of the schema."""
    log = pipeline.get_logger("train", run="a")
    log.log_metrics({"loss": 0.5, "acc": 1}, step=0, split="train")
    [record] = written()
    assert list(record) == [*FRONT, "run", "step", "split", "metrics", "quiet"]
    assert same(record) == {
        "kind": "metrics",
        "level": "info",
        "event": "metrics",
        "logger": "train",
        "run": "a",
        "step": 0,
        "split": "train",
        "metrics": {"loss": 0.5, "acc": 1},
        "quiet": True,
    }


def test_step_zero_is_a_step_and_none_is_left_out(pipeline: Pipeline, written: Written) -> None:
    """``step=0`` is in the record, ``step=None`` and ``split=None`` are not."""
    log = pipeline.get_logger()
    log.log_metrics({"x": 1}, step=0)
    log.log_metrics({"x": 1})
    first, second = written()
    assert first["step"] == 0
    assert "step" not in second
    assert "split" not in second


def test_options_of_a_record_of_metrics(pipeline: Pipeline, written: Written) -> None:
    """What is not to be tracked, or shown on purpose, says so."""
    log = pipeline.get_logger()
    log.log_metrics({"x": 1}, track_best=False, mode="max", show=True)
    log.log_metrics({"x": float("nan")}, track_best=False, mode="min", show=True)
    first, second = written()
    assert (first["best"], first["mode"]) == (False, "max")
    assert (second["best"], second["mode"]) == (False, "min")
    assert "quiet" not in first
    assert "quiet" not in second


@pytest.mark.parametrize(
    "step", [None, 0, -7, 2**63, -(2**63), pytest.param(10**5000, id="huge"), True, "3"]
)
@pytest.mark.parametrize("split", [None, "train", '"metrics":0', "\ud800", 7, ["x"]])
def test_the_short_way_makes_the_same_records(step: Any, split: Any) -> None:
    """What most calls are given is encoded in parts, and to the byte as all other calls."""
    quick, quick_lines = new_system()
    slow, slow_lines = new_system()
    for track_best, mode, show, rank in product(
        (True, False), (None, "max", "up", []), (True, False), (None, 0, 3)
    ):
        quick.rank = slow.rank = rank
        given = {"step": step, "split": split, "mode": mode, "track_best": track_best, "show": show}
        for context in ({}, {"run": "a"}, {"split": "val"}, {"rank": 9}):
            quick.get_logger("a", **context).log_metrics({"x": 1, "y": 0.5}, **given)
            log = slow.get_logger("a", **context)
            log._log_any_metrics({"x": 1, "y": 0.5}, step, split, track_best, mode, show)
    cut = len('{"timestamp":"2026-01-01T00:00:00.000000Z"')
    assert [line[cut:] for line in quick_lines.lines] == [line[cut:] for line in slow_lines.lines]


def test_nan_and_infinities_are_texts(pipeline: Pipeline, written: Written) -> None:
    """They have names in JSON, which has no numbers for them."""
    numbers = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": Decimal("NaN")}
    pipeline.get_logger().log_metrics(numbers, step=1)
    [record] = written()
    expected = {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": "NaN"}
    assert record["metrics"] == expected
    assert "log_error" not in record


def test_nested_mappings_get_flat_names(pipeline: Pipeline, written: Written) -> None:
    """Names tell the way to the number; keys that are no texts become one."""
    nested = {"val": {"loss": 1.0, "top": {1: 0.5, 5: 0.9}}, "lr": OrderedDict(a=0.1), "e": {}}
    pipeline.get_logger().log_metrics(nested, step=1)
    [record] = written()
    assert record["metrics"] == {"val/loss": 1.0, "val/top/1": 0.5, "val/top/5": 0.9, "lr/a": 0.1}


class Meter:
    """A number of somebody's own."""

    def __float__(self) -> float:
        """Return the number."""
        return 2.5


class Broken:
    """A number that raises."""

    def __float__(self) -> float:
        """Raise."""
        raise ValueError("not yet")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (True, 1),
        (False, 0),
        (2**63, 2**63),
        (2**64, float(2**64)),
        (-(2**64), -float(2**64)),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 4), 0.25),
        (Meter(), 2.5),
    ],
    ids=str,
)
def test_numbers_of_python(value: Any, number: Any) -> None:
    """Whatever is a number becomes one that JSON knows."""
    system, lines = new_system()
    system.get_logger().log_metrics({"x": value}, step=1)
    [record] = lines.events
    assert record["metrics"] == {"x": number}
    assert type(record["metrics"]["x"]) is type(number)
    assert "log_error" not in record


def test_numbers_of_numpy() -> None:
    """Scalars of all sizes and arrays with one element are numbers."""
    numpy = pytest.importorskip("numpy")
    system, lines = new_system()
    log = system.get_logger()
    log.log_metrics(
        {
            "f16": numpy.float16(0.5),
            "f32": numpy.float32(0.5),
            "f64": numpy.float64(0.1),
            "long": numpy.longdouble(0.5),
            "i8": numpy.int8(-3),
            "u64": numpy.uint64(2**64 - 1),
            "bool": numpy.bool_(True),
            "array": numpy.array(1.5),
            "one": numpy.array([[2]]),
            "nan": numpy.float32("nan"),
        },
        step=numpy.int64(3),
    )
    log.log_metrics({"f32": numpy.float32(0.25), "i": numpy.int32(2)}, step=numpy.uint8(4))
    first, second = lines.events
    assert first["metrics"] == {
        "f16": 0.5,
        "f32": 0.5,
        "f64": 0.1,
        "long": 0.5,
        "i8": -3,
        "u64": 2**64 - 1,
        "bool": 1,
        "array": 1.5,
        "one": 2,
        "nan": "NaN",
    }
    assert first["step"] == 3
    assert "log_error" not in first
    assert (second["metrics"], second["step"]) == ({"f32": 0.25, "i": 2}, 4)


def test_numbers_of_torch() -> None:
    """Tensors with one element on the CPU are numbers, with and without gradients."""
    torch = pytest.importorskip("torch")
    system, lines = new_system()
    log = system.get_logger()
    log.log_metrics(
        {
            "loss": torch.tensor(0.5, requires_grad=True) * 2,
            "one": torch.ones(1, 1),
            "half": torch.tensor(0.5, dtype=torch.bfloat16),
            "int": torch.tensor(3),
            "bool": torch.tensor(True),
            "parameter": torch.nn.Parameter(torch.tensor(0.25)),
        },
        step=torch.tensor(7),
    )
    log.log_metrics({"loss": torch.tensor(0.5, requires_grad=True)}, step=8)
    log.log_metrics(
        {"z": torch.tensor(1j), "meta": torch.empty((), device="meta"), "w": torch.ones(3)}
    )
    first, second, third = lines.events
    assert first["metrics"] == {
        "loss": 1.0,
        "one": 1.0,
        "half": 0.5,
        "int": 3,
        "bool": 1,
        "parameter": 0.25,
    }
    assert (first["step"], second["step"]) == (7, 8)
    assert second["metrics"] == {"loss": 0.5}
    assert third["metrics"] == {}
    assert all(f"'{name}' is no number" in third["log_error"] for name in ("z", "meta", "w"))


def test_what_is_no_number_is_named() -> None:
    """The rest is kept, and the call does not raise."""
    numpy = pytest.importorskip("numpy")
    system, lines = new_system()
    system.get_logger().log_metrics(
        {
            "none": None,
            "list": [1, 2],
            "array": numpy.zeros(3),
            "time": numpy.datetime64("2026-01-01", "ns"),
            "complex": 1j,
            "broken": Broken(),
            "object": object(),
            "loss": 0.5,
        },
        step=1,
    )
    [record] = lines.events
    assert record["metrics"] == {"loss": 0.5}
    error = record["log_error"]
    assert "'none' is no number: None" in error
    assert "'list' is no number: [1, 2] (list)" in error
    assert "and 2 more" in error


def test_a_text_among_metrics_is_a_record_of_its_own(pipeline: Pipeline, written: Written) -> None:
    """A text is kept as what it is, at the same step."""
    log = pipeline.get_logger()
    log.log_metrics({"loss": 0.5, "note": "warm-up"}, step=3, split="train")
    log.log_metrics({"note": "texts only"}, step=4)
    metrics, text, only = written()
    assert metrics["metrics"] == {"loss": 0.5}
    assert same(text) == {
        "kind": "text",
        "level": "info",
        "event": "text",
        "name": "note",
        "text": "warm-up",
        "step": 3,
        "split": "train",
        "quiet": True,
    }
    assert (only["kind"], only["step"], only["text"]) == ("text", 4, "texts only")


@pytest.mark.parametrize("metrics", [None, 3, [("a", 1)], "loss"], ids=str)
def test_what_is_no_mapping_is_named(metrics: Any) -> None:
    """A wrong argument raises nothing, and is there to be found."""
    system, lines = new_system()
    system.get_logger().log_metrics(metrics, step=1)
    [record] = lines.events
    assert (record["metrics"], record["step"]) == ({}, 1)
    assert "no mapping" in record["log_error"]


@pytest.mark.parametrize("step", [1.5, "1", True, math.nan, 2**70, Broken(), [1]], ids=repr)
def test_a_step_that_is_none_is_left_out(step: Any) -> None:
    """The numbers are kept, and the record says what was wrong."""
    system, lines = new_system()
    system.get_logger().log_metrics({"x": 1}, step=step)
    [record] = lines.events
    assert "step" not in record
    assert "step must be an integer" in record["log_error"]
    assert record["metrics"] == {"x": 1}


def test_whole_floats_are_steps() -> None:
    """``step=3.0`` is step 3."""
    system, lines = new_system()
    system.get_logger().log_metrics({"x": 1}, step=3.0)  # type: ignore[arg-type]
    assert lines.events[0]["step"] == 3
    assert type(lines.events[0]["step"]) is int


def test_a_mode_that_is_none_is_named() -> None:
    """``mode="best"`` is left out; the record says so."""
    system, lines = new_system()
    system.get_logger().log_metrics({"x": 1}, mode="best")  # type: ignore[arg-type]
    [record] = lines.events
    assert "mode" not in record
    assert 'mode must be "min" or "max"' in record["log_error"]


def test_names_are_bounded() -> None:
    """Long names are cut, lone surrogates spelled out, and any split is a text."""
    system, lines = new_system()
    log = system.get_logger()
    log.log_metrics({"n" * 1000: 1, "\udcff": 2}, split="s" * 1000)
    log.log_metrics({"n" * 500: 1})
    log.log_metrics({"x": 1}, split=7)  # type: ignore[arg-type]
    first, second, third = lines.events
    assert [len(name) for name in first["metrics"]] == [256, 6]
    assert len(first["split"]) == 256
    assert [len(name) for name in second["metrics"]] == [256]
    assert third["split"] == "7"


def test_many_metrics_are_several_records() -> None:
    """Nothing is cut off where they do not fit into one line; all have the same step."""
    system, lines = new_system()
    log = system.get_logger()
    numbers = {f"layer {number}/grad norm": number / 7 for number in range(5000)}
    log.log_metrics(numbers, step=5, split="train")
    records = lines.events
    assert len(records) > 1
    found: dict[str, float] = {}
    for record, line in zip(records, lines.lines, strict=True):
        assert (record["step"], record["split"]) == (5, "train")
        assert "truncated" not in record
        assert len(line) <= system.encoder.max_event_bytes
        found |= record["metrics"]
    assert found == numbers


def test_the_number_of_metrics_of_a_call_is_bounded() -> None:
    """Beyond the bound they are left out, and the last record says so."""
    system, lines = new_system()
    system.get_logger().log_metrics({str(number): 1 for number in range(MAX_METRICS + 5)})
    assert sum(len(record["metrics"]) for record in lines.events) == MAX_METRICS
    assert "5 or more metrics" in lines.events[-1]["log_error"]


def test_mappings_that_hold_themselves_end() -> None:
    """A cycle costs its own value only."""
    system, lines = new_system()
    nested: dict[str, Any] = {"x": 1}
    nested["self"] = nested
    system.get_logger().log_metrics(nested)
    [record] = lines.events
    assert record["metrics"]["x"] == 1
    assert "log_error" in record


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.booleans(),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).filter(lambda d: abs(d) < 1e15),
)
NAMES = st.text(max_size=12)


@settings(deadline=None)
@given(
    st.dictionaries(NAMES, NUMBERS, max_size=8),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(max_size=10),
)
def test_any_numbers_survive(metrics: dict[str, Any], step: Any, split: Any) -> None:
    """Every number is in the record with its value, under its name, on either path."""
    for processors in (None, [keep]):
        system, lines = new_system(processors)
        system.get_logger("app").log_metrics(metrics, step=step, split=split)
        [record] = lines.events
        assert record.get("step") == step
        assert record.get("split") == (None if split is None else spelled(split))
        expected = {spelled(name): value for name, value in metrics.items()}
        assert list(record["metrics"]) == list(expected)
        for name, value in expected.items():
            found = float(record["metrics"][name])
            assert found == float(value) or (math.isnan(found) and math.isnan(value))


def spelled(text: str) -> str:
    """Return a text as a line has it."""
    return text.encode("utf-8", "backslashreplace").decode()


ANYTHING = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=5), st.binary(max_size=5), st.just(Broken())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=3), st.integers(), st.none()), inner, max_size=3
        ),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_anything_else_is_survived(metrics: Any, step: Any, split: Any, mode: Any) -> None:
    """No argument raises, and every record keeps the schema."""
    system, lines = new_system()
    log = system.get_logger()
    log.log_metrics(metrics, step=step, split=split, mode=mode)
    log.log_params(metrics, step)
    log.log_text(metrics, step, step=split, split=mode)
    log.log_image(metrics, step, caption=split)
    log.log_histogram(metrics, step, bins=split)
    log.log_artifact(metrics, step, split, mode)
    assert lines.events
    for record in lines.events:
        if record["kind"] == "metrics":
            for value in record["metrics"].values():
                assert type(value) in (int, float) or value in ("NaN", "Infinity", "-Infinity")
        assert type(record.get("step", 0)) is int
        assert type(record.get("split", "")) is str
        assert record["event"] == record["kind"]


def test_both_paths_write_the_same() -> None:
    """A processor in the chain changes no byte but the time."""
    calls: list[dict[str, Any]] = [
        {"metrics": {"loss": 0.5, "n": 3}, "step": 1, "split": "train"},
        {"metrics": {"é": 1e300}, "mode": "max", "track_best": False},
        {"metrics": {"x": -0.0}, "show": True},
    ]
    texts: list[list[bytes]] = []
    for processors in (None, [keep]):
        system, lines = new_system(processors)
        structlog.contextvars.bind_contextvars(stage="epoch/train")
        log = system.get_logger("app", run=1, name_="b")
        for call in calls:
            log.log_metrics(**call)
        texts.append([line[42:] for line in lines.lines])
    fast = [json.loads(b"{" + line.partition(b",")[2]) for line in texts[0]]
    slow = [json.loads(b"{" + line.partition(b",")[2]) for line in texts[1]]
    assert fast == slow


def test_what_is_bound_is_in_the_record(pipeline: Pipeline, written: Written) -> None:
    """Context variables, a stage among them, and bound steps and splits go along."""
    structlog.contextvars.bind_contextvars(stage="epoch/train")
    log = pipeline.get_logger("app", split="val")
    log.log_metrics({"x": 1}, step=1)
    log.log_metrics({"x": 1}, split="test")
    structlog.contextvars.bind_contextvars(more={"a": [1]}, x=math.nan)
    log.log_metrics({"x": 1}, step=1)
    first, second, third = written()
    assert (first["stage"], first["split"], first["step"]) == ("epoch/train", "val", 1)
    assert second["split"] == "test"
    assert (third["stage"], third["more"], third["x"]) == ("epoch/train", {"a": [1]}, "NaN")


def test_the_values_are_those_of_the_call(pipeline: Pipeline, written: Written) -> None:
    """What is done to the mapping afterwards does not show."""
    metrics = {"x": 1}
    pipeline.get_logger().log_metrics(metrics)
    metrics["x"] = 2
    assert written()[0]["metrics"] == {"x": 1}


def test_levels_apply(pipeline: Pipeline, written: Written) -> None:
    """All records are of level info."""
    pipeline.set_level("quiet", "WARNING")
    log = pipeline.get_logger("quiet")
    log.log_metrics({"x": 1})
    log.log_params({"x": 1})
    log.log_text("x", "y")
    log.log_histogram("x", [1])
    log.log_artifact("x")
    log.log_image("x", b"")
    assert written() == []


def test_processors_see_the_records() -> None:
    """They can change and drop them, and their own errors are named in them."""

    def processor(logger: Any, name: str, event: Any) -> Any:
        assert name == "info"
        if event["metrics"].get("drop"):
            raise structlog.DropEvent
        if event["metrics"].get("fail"):
            raise ValueError("bad")
        event["metrics"] = {f"{key}/new": value for key, value in event["metrics"].items()}
        return event

    system, lines = new_system([processor])
    log = system.get_logger()
    log.log_metrics({"x": 1})
    log.log_metrics({"drop": 1})
    log.log_metrics({"fail": 1})
    first, second = lines.events
    assert (first["kind"], first["metrics"]) == ("metrics", {"x/new": 1})
    assert "ValueError: bad" in second["log_error"]


def test_capture_logs_sees_them() -> None:
    """``structlog.testing.capture_logs`` captures metrics as it does any record."""
    asynclog.configure()
    log = structlog.get_logger()
    with structlog.testing.capture_logs() as captured:
        log.log_metrics({"x": 1}, step=2)
    [record] = captured
    assert (record["event"], record["metrics"], record["step"]) == ("metrics", {"x": 1}, 2)


@dataclass
class Settings:
    """Hyperparameters of a kind."""

    lr: float
    layers: list[int]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lr": 0.1, "model": {"depth": 3}}, {"lr": 0.1, "model": {"depth": 3}}),
        (Settings(0.1, [1, 2]), {"lr": 0.1, "layers": [1, 2]}),
        (argparse.Namespace(lr=0.1, opt="adam"), {"lr": 0.1, "opt": "adam"}),
        ({"path": Path("/x"), "seed": None}, {"path": "/x", "seed": None}),
    ],
    ids=["dict", "dataclass", "namespace", "values"],
)
def test_hyperparameters(
    pipeline: Pipeline, written: Written, params: Any, expected: dict[str, Any]
) -> None:
    """They stay nested, as given; what came of them is flat."""
    pipeline.get_logger("train").log_params(params, {"val": {"acc": 0.9}})
    [record] = written()
    assert same(record) == {
        "kind": "hparams",
        "level": "info",
        "event": "hparams",
        "logger": "train",
        "params": expected,
        "metrics": {"val/acc": 0.9},
        "quiet": True,
    }


class Hostile:
    """An object whose attributes raise."""

    def __getattribute__(self, name: str) -> Any:
        """Raise."""
        raise ValueError(name)


def test_hostile_objects_are_survived() -> None:
    """Whatever an object's own code does, the call does not raise."""
    system, lines = new_system()
    log = system.get_logger()
    hostile: Any = Hostile()
    log.log_params(hostile, hostile)
    log.log_metrics(hostile, step=hostile, split=hostile, mode=hostile)
    log.log_metrics({"x": hostile, "y": 1})
    log.log_image("x", hostile)
    log.log_histogram("x", hostile)
    log.log_artifact(hostile)
    assert len(lines.events) == 6
    assert lines.events[2]["metrics"] == {"y": 1}


def test_hyperparameters_without_metrics() -> None:
    """The field is there only when metrics are given; what is no number is named."""
    system, lines = new_system()
    log = system.get_logger()
    log.log_params({"lr": 0.1})
    log.log_params({"lr": 0.1}, {"acc": None})
    first, second = lines.events
    assert "metrics" not in first
    assert second["metrics"] == {}
    assert "'acc' is no number" in second["log_error"]


def test_a_text(pipeline: Pipeline, written: Written) -> None:
    """Name, text, step and split; what is no text is converted."""
    log = pipeline.get_logger()
    log.log_text("sample", "once upon\na time", step=0, split="val", show=True)
    log.log_text("n", 3)  # type: ignore[arg-type]
    first, second = written()
    assert same(first) == {
        "kind": "text",
        "level": "info",
        "event": "text",
        "name": "sample",
        "text": "once upon\na time",
        "step": 0,
        "split": "val",
    }
    assert second["text"] == "3"


@pytest.mark.parametrize("processors", [None, [keep]], ids=["default", "processors"])
def test_a_rank_is_named(processors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a distributed job name their rank; one that is bound stands."""
    monkeypatch.setenv("RANK", "3")
    look_again()
    try:
        system, lines = new_system(processors)
        system.get_logger().log_metrics({"x": 1})
        system.get_logger().log_text("x", "y")
        system.get_logger(rank=7).log_metrics({"x": 1})
        system.rank = 5
        system.get_logger().log_metrics({"x": 1})
        assert [record["rank"] for record in lines.events] == [3, 3, 7, 5]
    finally:
        monkeypatch.delenv("RANK")
        look_again()


def _log_as_rank(run_dir: Path) -> None:
    os.environ["RANK"] = "2"
    asynclog.log_metrics({"x": 2})


def test_a_forked_worker_names_its_own_rank(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rank that a worker is told after the fork is the one that counts."""
    sink = RecordingSink()
    asynclog.start_sync(run_dir, sinks=[sink])
    asynclog.log_metrics({"x": 0})
    worker = multiprocessing.get_context("fork").Process(target=_log_as_rank, args=(run_dir,))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    events = sink.wait_for_sync(2)
    asynclog.stop_sync()
    assert {event["metrics"]["x"]: event.get("rank") for event in events} == {0: None, 2: 2}


def test_the_functions_are_the_methods(run_dir: Path, tmp_path: Path) -> None:
    """``asynclog.log_metrics`` and its like log on the default pipeline, before the start, too."""
    artifact = tmp_path / "model.bin"
    artifact.write_bytes(b"12345")
    asynclog.log_metrics({"early": 1}, step=0)
    with asynclog.running(run_dir, sinks=[JsonlFile()]):
        asynclog.log_metrics({"x": 1}, step=1, split="val", mode="max", track_best=False)
        asynclog.log_params({"lr": 0.1}, {"x": 1})
        asynclog.log_text("t", "text", step=1, split="val")
        asynclog.log_histogram("h", [1, 2], step=1, split="val", bins=2)
        asynclog.log_artifact(artifact, "model", "model", ["best"], "registry")
        asynclog.log_image("i", b"", caption="c", step=1, split="val")
    records = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    kinds = ["metrics", "metrics", "hparams", "text", "histogram", "artifact", "image"]
    assert [record["kind"] for record in records] == kinds
    assert all("logger" not in record for record in records)


def test_a_new_default_pipeline_gets_the_records(tmp_path: Path) -> None:
    """The functions follow the default pipeline."""
    from asynclog import _lifecycle

    for number in range(2):
        with asynclog.running(tmp_path / str(number), sinks=[JsonlFile()]):
            asynclog.log_metrics({"x": number})
        _lifecycle.reset()
        [line] = (tmp_path / str(number) / "events.jsonl").read_text().splitlines()
        assert json.loads(line)["metrics"] == {"x": number}


def test_a_logger_of_somebody_else_gets_them_as_well() -> None:
    """Behind ``structlog.PrintLogger`` and the like a record is what the chain returns."""
    output = structlog.testing.CapturingLogger()
    log = asynclog.BoundLogger(output, [keep], {})
    log.log_metrics({"x": 1}, step=1)
    [call] = output.calls
    assert call.method_name == "info"
    assert call.kwargs["metrics"] == {"x": 1}


def test_a_broken_pipeline_raises_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Not even a target that raises reaches the training code."""

    class Raising:
        def put(self, line: bytes, level: int) -> bool:
            raise RuntimeError("broken")

        def count_drop(self, level: int, reason: str) -> None:
            raise RuntimeError("broken")

    target: Any = Raising()
    log = LogSystem(target, LineEncoder(), LevelTable(10), [keep]).get_logger()
    log.log_metrics({"x": 1})
    log.log_params({"x": 1})
    log.log_text("x", "y")
    assert "broken" in capfd.readouterr().err
