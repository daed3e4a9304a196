"""`asynclog report`: what it writes, what it says, and how it refuses."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import asynclog
from asynclog.cli import main

pytest.importorskip("bokeh")


@pytest.fixture
def run(run_dir: Path) -> Path:
    """Return a run of two records."""
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        asynclog.get_logger("train").info("hello")
        asynclog.log_metrics({"loss": 0.5}, step=0, split="train")
    return run_dir


def _invoke(*arguments: object):
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_the_page_lies_in_the_run(run: Path):
    """Without an output the page is in the run's directory, for its owner and group only."""
    result = _invoke(run)
    page = run / "report.html"
    assert result.exit_code == 0, result.output
    assert result.output == f"{page}: 2 records, {page.stat().st_size / 1e6:.1f} MB\n"
    assert stat.S_IMODE(page.stat().st_mode) & ~0o640 == 0
    assert sorted(path.name for path in run.iterdir()) == ["events.jsonl", "report.html"]


def test_several_runs_make_one_page(run: Path, tmp_path: Path):
    """Runs whose directories have one name are told apart by the way to them."""
    other = tmp_path / "other" / "run"
    other.mkdir(parents=True)
    (other / "events.jsonl").write_bytes((run / "events.jsonl").read_bytes())
    result = _invoke(run, other, "-o", tmp_path / "deep" / "both.html", "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.output)
    assert (made["records"], made["skipped"], made["crashed"]) == (4, 0, [])
    page = Path(made["path"]).read_text()
    assert len(page.encode()) == made["bytes"]
    assert "other/run" in page


def test_lines_that_are_no_records_are_counted(run: Path):
    """A torn line stops no report, and is said."""
    with open(run / "events.jsonl", "a") as file:
        file.write('{"timestamp":"2026\nfree text\n')
    result = _invoke(run)
    assert result.exit_code == 0
    assert "2 lines are no records and were skipped" in result.output
    assert "2 lines of its files are no records" in (run / "report.html").read_text()


def test_a_single_file_is_a_run(run: Path):
    """The file alone will do; the page is then in the working directory."""
    result = _invoke(run / "events.jsonl")
    assert result.exit_code == 0, result.output
    assert Path("report.html").exists()


def test_what_is_no_run_is_refused(tmp_path: Path):
    """No run, no page: one line says what is wrong."""
    for arguments in ([], [tmp_path / "nothing"], [tmp_path]):
        result = _invoke(*arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output
    assert not list(tmp_path.glob("**/*.html"))


def test_where_nothing_can_be_written(run: Path):
    """An output that cannot be written is said in one line."""
    result = _invoke(run, "-o", run / "events.jsonl" / "report.html")
    assert result.exit_code == 2
    assert "events.jsonl" in result.output


def test_without_bokeh(run: Path, monkeypatch: pytest.MonkeyPatch):
    """Where Bokeh is missing, the error says what to install."""
    monkeypatch.setitem(sys.modules, "bokeh", None)
    result = _invoke(run)
    assert result.exit_code == 2
    assert "python -m pip install 'asynclog[report]'" in result.output


def test_an_interrupt_ends_it_quietly(run: Path, monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C leaves no page, no part of one and no traceback, and the shell's exit status."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("asynclog.report.gather", interrupted)
    result = _invoke(run)
    assert (result.exit_code, result.output) == (130, "")
    assert [path.name for path in run.iterdir()] == ["events.jsonl"]
