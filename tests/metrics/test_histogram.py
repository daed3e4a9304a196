"""Histograms and artifacts: their records, for arrays, tensors, lists and what is none."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynclog import Pipeline
from asynclog._logger.histogram import NoHistogramError, histogram_of

numpy = pytest.importorskip("numpy")

Written = Callable[[], list[dict[str, Any]]]


def without_numpy(values: Any, bins: int) -> dict[str, Any]:
    """Return a histogram as a program without NumPy gets it."""
    module = sys.modules.pop("numpy")
    try:
        return histogram_of(values, bins)
    finally:
        sys.modules["numpy"] = module


def test_a_histogram(pipeline: Pipeline, written: Written) -> None:
    """Edges, counts and sums of the values, in the order of the schema."""
    values = [1.0, 2.0, 2.0, 3.0, 5.0]
    pipeline.get_logger("train").log_histogram("weights", values, step=0, split="train", bins=4)
    [record] = written()
    del record["timestamp"]
    assert record == {
        "kind": "histogram",
        "level": "info",
        "event": "histogram",
        "logger": "train",
        "name": "weights",
        "step": 0,
        "split": "train",
        "edges": [1.0, 2.0, 3.0, 4.0, 5.0],
        "counts": [1, 2, 1, 1],
        "min": 1.0,
        "max": 5.0,
        "sum": 13.0,
        "sum_squares": 43.0,
        "num": 5,
        "quiet": True,
    }


FLOATS = st.lists(st.floats(), max_size=40)


@given(FLOATS, st.integers(1, 70))
@example([1.7e308, -1.7e308, 0.0], 7)
@example([5e-324, 0.0], 5)
@example([1e300] * 3, 3)
@example([1.7976931348623157e308], 4)
@example([], 4)
@example([math.nan, math.inf], 4)
def test_every_finite_value_is_counted_once(values: list[float], bins: int) -> None:
    """Counts add up, edges go up, and every value lies between the first and the last."""
    finite = [value for value in values if math.isfinite(value)]
    for found in (
        histogram_of(values, bins),
        histogram_of(numpy.array(values), bins),
        without_numpy(values, bins),
    ):
        assert found["num"] == len(finite) == sum(found["counts"])
        assert found.get("not_finite", 0) == len(values) - len(finite)
        edges = found["edges"]
        assert len(edges) == bins + 1 == len(found["counts"]) + 1
        assert all(map(math.isfinite, edges))
        assert edges == sorted(edges)
        if finite:
            assert (found["min"], found["max"]) == (min(finite), max(finite))
            assert edges[0] <= min(finite)
            assert edges[-1] >= max(finite)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60), st.integers(1, 20))
def test_python_counts_as_numpy_does(values: list[float], bins: int) -> None:
    """With and without NumPy the bins hold the same values."""
    one, other = histogram_of(numpy.array(values), bins), without_numpy(values, bins)
    assert one["edges"] == other["edges"]
    assert one["counts"] == other["counts"]
    assert one["sum"] == pytest.approx(other["sum"])
    assert one["sum_squares"] == pytest.approx(other["sum_squares"])


def test_large_arrays_are_counted_in_blocks() -> None:
    """As NumPy counts them, whatever their type and shape."""
    random = numpy.random.default_rng(0)
    values = random.standard_normal((500, 700)).astype("float32")[:, ::2]
    found = histogram_of(values, 64)
    counts, _ = numpy.histogram(values.astype("float64"), 64)
    assert numpy.abs(numpy.array(found["counts"]) - counts).max() <= 1
    assert found["num"] == values.size
    assert found["sum"] == pytest.approx(values.astype("float64").sum())
    assert histogram_of(numpy.array([True, False, True]), 2)["counts"] == [1, 2]
    assert histogram_of(numpy.arange(10, dtype="uint8"), 2)["counts"] == [5, 5]


def test_tensors_on_the_cpu() -> None:
    """With gradients, of half precision, with and without NumPy."""
    torch = pytest.importorskip("torch")
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    expected = histogram_of([1.0, 2.0, 3.0, 4.0], 3)
    assert histogram_of(values, 3) == expected
    assert histogram_of(values.to(torch.bfloat16), 3) == expected
    assert histogram_of(values.long(), 3) == expected
    assert without_numpy(values, 3) == expected


@pytest.mark.parametrize(
    "values", ["abc", b"abc", {"a": 1}, 3, None, numpy.array(["a"]), numpy.array([1j])], ids=repr
)
def test_what_holds_no_numbers_is_named(values: Any, pipeline: Pipeline, written: Written) -> None:
    """The record says so and nothing raises."""
    with pytest.raises(NoHistogramError):
        histogram_of(values, 4)
    pipeline.get_logger().log_histogram("x", values)
    [record] = written()
    assert record["log_error"].startswith("no histogram: ")
    assert "counts" not in record


@pytest.mark.parametrize("bins", [0, -1, 513, 2.5, "x", None, True], ids=repr)
def test_bins_that_make_no_sense(bins: Any, pipeline: Pipeline, written: Written) -> None:
    """The usual number is taken, and the record says so."""
    pipeline.get_logger().log_histogram("x", [1, 2], bins=bins)
    [record] = written()
    assert len(record["counts"]) == 64
    assert "bins must be an integer" in record["log_error"]


def test_a_histogram_fits_into_one_line(run_dir: Path, sink: Any) -> None:
    """Where lines have to be short, there are fewer bins; nothing is cut."""
    with Pipeline(run_dir, sinks=[sink], max_event_bytes=2048) as pipeline:
        values = numpy.random.default_rng(0).standard_normal(1000) * 1e-200
        pipeline.get_logger("train").log_histogram("x", values, bins=512, step=1)
    [record] = sink.events
    assert "truncated" not in record
    assert sum(record["counts"]) == 1000


def test_an_artifact(pipeline: Pipeline, written: Written, tmp_path: Path) -> None:
    """Path, name, type, aliases, registry and size."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"12345")
    log = pipeline.get_logger("train")
    log.log_artifact("model.bin", "model", "model", ["best", "v1"], "models")
    log.log_artifact(tmp_path, aliases="latest", show=True)
    first, second = written()
    del first["timestamp"]
    assert first == {
        "kind": "artifact",
        "level": "info",
        "event": "artifact",
        "logger": "train",
        "path": str(path),
        "name": "model",
        "type": "model",
        "aliases": ["best", "v1"],
        "registry": "models",
        "size": 5,
        "quiet": True,
    }
    assert (second["path"], second["name"]) == (str(tmp_path), tmp_path.name)
    assert (second["type"], second["aliases"]) == ("artifact", ["latest"])
    assert "size" not in second
    assert "quiet" not in second


@pytest.mark.parametrize("path", ["missing", 3, None, "a\0b"], ids=repr)
def test_an_artifact_that_is_none(path: Any, pipeline: Pipeline, written: Written) -> None:
    """The record says what was wrong."""
    pipeline.get_logger().log_artifact(path)
    [record] = written()
    assert record["log_error"].startswith("artifact: ")
    assert json.dumps(record)
