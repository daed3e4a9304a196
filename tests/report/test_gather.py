"""What a page tells of a run, out of its records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asynclog.report.lines import MAX_LINES, MAX_TEXT
from asynclog.report.run import Run, gather
from asynclog.report.timeline import MAX_SPANS

ZERO = 1_800_000_000.0


def _record(seconds: float, event: str = "said", **fields: Any) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(ZERO + seconds, UTC)
    return {
        "timestamp": f"{stamp:%Y-%m-%dT%H:%M:%S.%fZ}",
        "level": "info",
        "event": event,
        **fields,
    }


def _gather(*records: Mapping[str, Any], path: Path = Path("nowhere")) -> Run:
    return gather("run", path, records)


def test_records_levels_and_times_are_counted():
    """Every record counts; lines count by level, numbers do not count as lines."""
    run = _gather(
        _record(0),
        _record(5, level="error", rank=1, host="node1", pid=3),
        _record(2, kind="metrics", metrics={"loss": 1}, step=0, rank=0),
        _record(3, level="loud", host="example.org"),
    )
    assert (run.records, run.start, run.end) == (4, ZERO, ZERO + 5)
    assert run.activity.totals == {"debug": 0, "info": 2, "warning": 0, "error": 1, "critical": 0}
    assert (run.ranks, run.hosts) == ({0, 1}, {"node1"})


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"timestamp": "yesterday", "level": 7, "event": ["a"], "rank": "x", "kind": 3},
        {"timestamp": 10**400, "kind": "metrics", "metrics": 3},
        {"timestamp": None, "kind": "stage", "stage": None, "elapsed": "long"},
        {"kind": "timer", "timer": {}, "elapsed": True},
        {"kind": "hparams", "params": [1]},
        {"kind": "metrics", "metrics": {"a": 10**400, "b": [], "c": "NaN"}, "step": "x"},
        {"kind": "note", "event": "asynclog.dropped", "where": "intake", "dropped": {"a": "b"}},
        {"event": "e", "exception": 3, "stack": {"frames": 7}, "level": "error"},
    ],
)
def test_records_of_any_shape_are_taken(odd: dict[str, Any]):
    """What others have written into the files stops no report."""
    run = _gather(_record(0), odd, _record(1))
    assert run.records == 3
    assert list(run.lines)
    run.timeline.spans(1.0)


def test_stages_have_their_start_end_and_error():
    """A stage is what lies between its two records, of the same process."""
    run = _gather(
        _record(0, kind="stage", stage="epoch", stage_event="start", rank=0, pid=1),
        _record(1, kind="stage", stage="epoch/train", stage_event="start", rank=0, pid=1),
        _record(1, kind="stage", stage="epoch/train", stage_event="start", rank=1, pid=2),
        _record(
            3, kind="stage", stage="epoch/train", stage_event="end", elapsed=2.0, rank=0, pid=1,
            error="KeyError",
        ),
        _record(9, rank=0, pid=1),
    )  # fmt: skip
    spans = run.timeline.spans(ZERO + 9)
    assert [(s.path, s.rank, s.start - ZERO, s.end - ZERO, s.error, s.ended) for s in spans] == [
        ("epoch", 0, 0, 9, "", False),
        ("epoch/train", 0, 1, 3, "KeyError", True),
        ("epoch/train", 1, 1, 9, "", False),
    ]
    train = run.timeline.stages["epoch/train"]
    assert (train.count, train.total, train.longest, train.longest_rank) == (2, 10, 8, 1)
    assert train.failed == 1


def test_the_longest_stages_are_kept():
    """Of very many stages the long ones are drawn; all of them are added up."""
    number = MAX_SPANS + 100
    run = _gather(
        *(
            _record(i, kind="stage", stage="step", stage_event="end", elapsed=(i % 7) + 0.5)
            for i in range(number)
        )
    )
    spans = run.timeline.spans(ZERO)
    assert len(spans) == MAX_SPANS
    assert run.timeline.left_out == 100
    assert run.timeline.stages["step"].count == number


def test_first_and_last_lines_of_each_level_are_kept():
    """A flood of one level pushes out neither the beginning nor the other levels."""
    first, last = MAX_LINES // 10, MAX_LINES * 9 // 10
    flood = first + last + 500
    run = _gather(_record(0, "odd", level="warning"), *(_record(i, f"n{i}") for i in range(flood)))
    lines = list(run.lines)
    texts = [line.text for line in lines if line.level == "info"]
    assert texts == [f"n{i}" for i in (*range(first), *range(flood - last, flood))]
    assert run.lines.left_out == 500
    assert [line.text for line in lines if line.level == "warning"] == ["odd"]


def test_a_line_is_text_and_fields():
    """A line shows its event, its fields, and a traceback with its source."""
    try:
        raise KeyError("shard")
    except KeyError as caught:
        line = caught.__traceback__.tb_lineno
    exception = {
        "type": "KeyError",
        "message": "'shard'",
        "frames": [{"file": __file__, "line": line, "function": "load"}],
    }
    [shown] = _gather(
        _record(
            0, "lost\x1b[31m", level="error", logger="data", rank=2, host="n", pid=7, size=3,
            exception=exception,
        )
    ).lines  # fmt: skip
    assert (shown.text, shown.fields) == ("lost\\x1b[31m", "size=3")
    assert (shown.level, shown.rank, shown.logger) == ("error", 2, "data")
    assert 'raise KeyError("shard")' in shown.detail
    assert "KeyError: 'shard'" in shown.detail


def test_long_texts_are_cut_and_say_so():
    """No line takes more than its share of the page."""
    [shown] = _gather(_record(0, "x" * 100_000, prompt="y" * 60_000)).lines
    assert len(shown.text) < MAX_TEXT + 50
    assert len(shown.fields) < MAX_TEXT + 50
    assert "characters]" in shown.text


def test_params_are_flat_and_the_last_ones_count():
    """Hyperparameters of several calls and ranks are one table."""
    run = _gather(
        _record(0, kind="hparams", params={"lr": 0.1, "model": {"depth": 3}}),
        _record(1, kind="hparams", params={"lr": 0.2}),
    )
    assert run.params == {"lr": 0.2, "model/depth": 3}


def test_drops_are_those_of_the_intake():
    """What a sink has missed is in the files all the same; what the ring has not taken is not."""
    run = _gather(
        _record(0, "asynclog.dropped", kind="note", where="intake", dropped={"full": 3}),
        _record(1, "asynclog.dropped", kind="note", where="console", dropped={"lagged": 5}),
    )
    assert run.dropped == 3


@pytest.mark.parametrize("content", ["", "[1]", "{", json.dumps({"cause": "x"})])
def test_a_damaged_crash_report_is_none(tmp_path: Path, content: str):
    """What is no crash report is left alone; one of another shape says what it has."""
    (tmp_path / "crash.json").write_text(content)
    crash = _gather(path=tmp_path).crash
    assert (crash.title if crash else None) == ("the command x" if "cause" in content else None)
