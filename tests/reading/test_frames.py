"""Events as tables: a column for each field, with the type that its values have."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asynclog.exceptions import MissingExtraError
from asynclog.reading import Events, read_run
from asynclog.reading.frames import columns


@pytest.fixture
def events(run_dir: Path, line: Any) -> Events:
    """Return the events of a run with values of many types."""
    line.write(
        run_dir / "events.jsonl",
        [
            line(0, "begins", logger="app", count=1, ratio=0.5, ok=True, tags=["a", "b"]),
            line(1, "metrics", kind="metrics", step=1, metrics={"loss": 0.5, "val/acc": 1}),
            line(2, "metrics", kind="metrics", step=2, metrics={"loss": "NaN", "val/acc": 2}),
            line(3, "mixed", count=2, value=7),
            line(4, "mixed", ratio=2, value="seven", http={"status": 200}),
        ],
    )
    return read_run(run_dir)


def test_columns(events: Events):
    """Nested fields are columns, not finite numbers are numbers, what is mixed is text."""
    found = columns(events)
    types = {name: column.type for name, column in found.items()}
    assert types == {
        "timestamp": "time",
        "level": "text",
        "event": "text",
        "logger": "text",
        "count": "int",
        "ratio": "float",
        "ok": "bool",
        "tags": "text",
        "kind": "text",
        "step": "int",
        "metrics.loss": "float",
        "metrics.val/acc": "int",
        "value": "text",
        "http.status": "int",
    }
    assert found["timestamp"].values[1] == datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC)
    assert found["ratio"].values == [0.5, None, None, None, 2.0]
    assert found["tags"].values[0] == '["a","b"]'
    assert found["value"].values == [None, None, None, "7", "seven"]
    assert math.isnan(found["metrics.loss"].values[2])


def test_arrow(events: Events):
    """An Arrow table has the types, and nulls where there is no value."""
    arrow = pytest.importorskip("pyarrow")
    table = events.to_arrow()
    assert table.num_rows == 5
    assert table.schema.field("timestamp").type == arrow.timestamp("us", "UTC")
    assert table.schema.field("count").type == arrow.int64()
    assert table["count"].to_pylist() == [1, None, None, 2, None]


def test_pandas(events: Events):
    """A pandas data frame can be computed with at once."""
    pytest.importorskip("pandas")
    table = events.to_pandas()
    assert table["timestamp"].max().isoformat() == "2026-01-31T12:00:04+00:00"
    assert table["count"].sum() == 3
    assert table["metrics.loss"].mean() == 0.5


@pytest.mark.leaks("descriptors", "threads")  # its runtime stays for the process
def test_polars(events: Events):
    """A polars data frame, too."""
    polars = pytest.importorskip("polars")
    table = events.to_polars()
    assert table.height == 5
    assert table["count"].sum() == 3
    assert table.schema["timestamp"] == polars.Datetime("us", "UTC")


def test_no_events(run_dir: Path, line: Any):
    """A run without events is a table without rows."""
    line.write(run_dir / "events.jsonl", [b""])
    assert [*columns(read_run(run_dir))] == ["timestamp", "level", "event"]


@pytest.mark.parametrize(
    ("package", "extra"), [("pyarrow", "arrow"), ("pandas", "pandas"), ("polars", "polars")]
)
def test_what_is_missing_is_named(
    events: Events, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
):
    """Without the package it is said what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"asynclog\[{extra}\]"):
        getattr(events, f"to_{extra}")()
