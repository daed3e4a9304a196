"""The page: complete in itself, bounded, and harmless whatever was logged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from asynclog.report.run import Run, gather

pytest.importorskip("bokeh")

from asynclog.report.page import render_page

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>"


def _run(*records: dict[str, Any], name: str = "run", path: Path = Path("runs/run")) -> Run:
    whole = [
        {"timestamp": f"2026-01-31T12:00:{i % 60:02}.{i:06}Z", "level": "info", **record}
        for i, record in enumerate(records)
    ]
    return gather(name, path, whole)


def _page(*runs: Run) -> str:
    return render_page(runs).decode()


def _markup(page: str) -> str:
    """Return what is HTML of ours in a page: no scripts, no styles, no data."""
    return re.sub(r"(<(script|style)\b[^>]*>).*?(</\2>)", r"\1\3", page, flags=re.DOTALL)


def test_nothing_is_loaded():
    """No address of another file is in the page, and its policy would let none be loaded."""
    page = _markup(_page(_run({"event": "a", "metrics": {"loss": 1}, "kind": "metrics"})))
    assert not re.findall(r"""(?:src|href)=["']?(?!#)[^"'>\s]+""", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    "record",
    [
        {"event": HOSTILE, HOSTILE: HOSTILE, "logger": HOSTILE, "level": "error"},
        {"kind": "metrics", "event": "metrics", "split": HOSTILE, "metrics": {HOSTILE: 1.0}},
        {"kind": "hparams", "event": "hparams", "params": {HOSTILE: {HOSTILE: HOSTILE}}},
        {"kind": "stage", "stage": HOSTILE, "stage_event": "end", "elapsed": 1, "error": HOSTILE},
        {"kind": "timer", "timer": HOSTILE, "elapsed": 1, "event": HOSTILE},
        {"event": "e", "exception": {"type": HOSTILE, "message": HOSTILE, "notes": [HOSTILE]}},
        {"event": "e", "stack": HOSTILE},
    ],
)
def test_what_was_logged_is_text(record: dict[str, Any]):
    """Nothing that was logged ends a script or begins an element."""
    page = _page(_run(record, name=HOSTILE))
    assert HOSTILE not in page
    assert page.count("</script>") == 4
    assert "<img" not in page
    assert page.count("<script") - page.count('"<script') == _page(_run({})).count("<script")


def test_a_hostile_crash_report_is_text(tmp_path: Path):
    """A crash report holds what a program has printed last."""
    first = {"rank": 1, "cause": HOSTILE, "error": HOSTILE, "traceback": f"a\n{HOSTILE}"}
    data = {"command": [HOSTILE], "cause": HOSTILE, "first": first, "others": [{"cause": HOSTILE}]}
    data["last_records"] = [{"event": HOSTILE}, 3]
    (tmp_path / "crash.json").write_text(json.dumps(data))
    page = _page(_run({"event": "e"}, path=tmp_path))
    assert HOSTILE not in page
    assert "&lt;img src=x" in page


@pytest.mark.parametrize("data", [{}, {"first": 3, "others": 4, "last_records": 5, "command": 6}])
def test_a_crash_report_of_any_shape_is_shown(tmp_path: Path, data: dict[str, Any]):
    """A crash report of another version stops no page."""
    (tmp_path / "crash.json").write_text(json.dumps(data))
    assert 'id="crash"' in _page(_run({"event": "e"}, path=tmp_path))


def test_runs_of_nothing_make_a_page():
    """A run without records, and one without metrics, are runs."""
    assert "Overview" in _page(_run())
    assert "Overview" in _page(_run(), _run({"event": "e"}, name="other"))


def test_a_long_run_stays_small():
    """Many steps, ranks and lines are down-sampled, and the page says so."""
    metrics = [
        {"kind": "metrics", "step": step, "rank": rank, "metrics": {"a": step, "b": 1}}
        for step in range(4000)
        for rank in range(8)
    ]  # fmt: skip
    lines = [{"event": "x" * 300, "n": i} for i in range(10_000)]
    page = _page(_run(*metrics, *lines))
    assert len(page) < 5_000_000
    text = _markup(page)
    assert "curves are down-sampled" in text
    assert "8,000 log lines are left out" in text


def test_large_records_make_no_large_page():
    """Prompts, tracebacks and names without end are cut, whatever is logged."""
    frames = [{"file": "/x" * 50, "line": 1, "function": "f" * 100}] * 30
    error = {"type": "E", "message": "m" * 30_000, "frames": frames}
    large = [
        {"event": "p" * 60_000, "level": level, "answer": "q" * 60_000, "exception": error}
        for level in ("info", "warning", "error")
        for _ in range(300)
    ]
    names = [
        {"kind": "metrics", "metrics": {f"{i}" + "n" * 50_000: 1}, "split": "s" * 50_000}
        for i in range(20)
    ]
    params = [
        {"kind": "hparams", "params": {f"{i}" + "k" * 50_000: "v" * 50_000}} for i in range(9)
    ]
    stages = [{"kind": "stage", "stage": "t" * 50_000, "stage_event": "end", "error": "e" * 50_000}]
    assert len(_page(_run(*large, *names, *params, *stages))) < 12_000_000


def test_several_runs_are_compared():
    """Last and best values stand side by side, the best run leads; parameters that differ first."""
    runs = [
        _run(
            {"kind": "hparams", "params": {"depth": 3, "lr": lr}},
            {"kind": "metrics", "step": 4, "split": "val", "metrics": {"acc": lr}},
            name=f"lr={lr}",
        )
        for lr in (0.1, 0.2)
    ]
    page = re.sub(r"\s+", " ", _markup(_page(*runs)))
    assert '<th>val/acc</th><td class="n">0.1</td><td class="n">0.1 <small>at 4</small>' in page
    assert '<td class="n leads">0.2 <small>at 4</small>' in page
    assert page.index('<tr class="differ"><th>lr</th>') < page.index("<tr><th>depth</th>")
