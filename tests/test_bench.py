"""The benchmarks run: every library under every scenario with a handful of events."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all of the bench once at its smallest and return what it wrote."""
    place = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench",
            "--tiny",
            "--rounds",
            "1",
            "--json",
            str(place / "results.json"),
            "--markdown",
            str(place / "benchmarks.md"),
            "--directory",
            str(place),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    document = json.loads((place / "results.json").read_text())
    page = (place / "benchmarks.md").read_text()
    return {"done": done, "document": document, "page": page, "left": list(place.iterdir())}


def test_nothing_breaks(run: dict[str, Any]):
    """Every library runs under every scenario without an error."""
    errors = [
        f"{one['scenario']}/{one['library']}: {one['error']}"
        for one in run["document"]["rounds"]
        if "error" in one
    ]
    assert errors == []
    assert run["done"].returncode == 0, run["done"].stderr


def test_every_line_is_valid_and_complete(run: dict[str, Any]):
    """What the libraries wrote is read back, and every call is accounted for."""
    checked = 0
    for one in run["document"]["rounds"]:
        written = one["written"]
        if not written:
            continue
        name = f"{one['scenario']}/{one['library']}"
        for problem in ("broken", "incomplete", "doubled", "lost", "late", "unfinished"):
            assert not written[problem], f"{name}: {written}"
        assert not written["error"], name
        assert written["lines"] + written["dropped"] == written["calls"], name
        checked += written["calls"]
    assert checked > 0


def test_asynclog_takes_part_in_every_scenario(run: dict[str, Any]):
    """Both forms of asynclog and their references are measured side by side."""
    seen = {(one["scenario"], one["library"]) for one in run["document"]["rounds"]}
    for scenario in {scenario for scenario, _ in seen} - {"import"}:
        for library in ("structlog-direct", "structlog-direct-user", "asynclog", "asynclog-user"):
            assert (scenario, library) in seen
    assert {("import", "asynclog"), ("import", "dependencies")} <= seen


def test_results_say_where_they_come_from(run: dict[str, Any]):
    """The raw results name the machine, the interpreter and the versions."""
    machine = run["document"]["machine"]
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["kernel"]
    assert machine["python"].startswith("3.")
    assert {"structlog", "orjson"} <= machine["versions"].keys()


def test_page_has_gates_and_tables(run: dict[str, Any]):
    """The page shows the promised figures with a verdict, and a table for each scenario."""
    page: str = run["page"]
    assert "## Promised figures" in page
    assert page.count("\n| library") >= 10
    assert "tiny run" in page


def test_nothing_is_left_behind(run: dict[str, Any]):
    """The directories the libraries wrote into are gone."""
    assert {path.name for path in run["left"]} == {"results.json", "benchmarks.md"}
