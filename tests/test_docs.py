"""The docs: a newcomer gets through the tutorials, and what cannot run here has the right types."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import asynclog

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
# Pages whose blocks build on each other, from top to bottom.
WALKS = ("tutorial/service.md", "tutorial/training.md", "how-to/report.md", "how-to/query.md")
# Blocks behind this mark need a package that is too large to be installed for the tests.
MARK = "<!-- types only -->\n"
TOO_LARGE = {"accelerate", "lightning", "litestar", "ray", "transformers"}


def _blocks(page: Path) -> Iterator[tuple[str, str, bool, int]]:
    """Yield language, content, whether it is marked, and the line of each block of a page."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^({MARK})?```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[2], match[3], bool(match[1]), text.count("\n", 0, match.start(2)) + 1


def _imported(code: str) -> set[str]:
    """Return the packages that some code imports."""
    nodes = [*ast.walk(ast.parse(code))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names}


def _of(language: str) -> Iterator[Any]:
    for page in PAGES:
        for found, content, _, line in _blocks(page):
            if found == language:
                yield pytest.param(content, id=f"{page.relative_to(ROOT)}:{line}")


@pytest.mark.slow
@pytest.mark.parametrize("name", WALKS)
def test_a_newcomer_gets_through(name: str, tmp_path: Path):
    """Programs and commands of a page do what it says, one after the other in one directory."""
    blocks = [*_blocks(DOCS / name)]
    code = [content for language, content, _, _ in blocks if language == "python"]
    needed = set[str]().union(*map(_imported, code)) - {"asynclog"}
    if "plot" in name or any("asynclog plot" in content for _, content, _, _ in blocks):
        needed.add("plotext")
    if any("asynclog report" in content for _, content, _, _ in blocks):
        needed.add("bokeh")
    for package in sorted(needed):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed here")

    def run(*command: str) -> None:
        result = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"

    for language, content, _, _ in blocks:
        if language == "python":
            (tmp_path / "example.py").write_text(content, encoding="utf-8")
            run("example.py")
        elif language == "sh":
            for line in content.splitlines():
                if line.startswith("asynclog "):
                    run("-m", "asynclog.cli", *line.split()[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_only_what_is_too_large_is_not_run(page: Path):
    """A block is marked if, and only if, it needs a package that is too large for the tests."""
    for language, content, marked, line in _blocks(page):
        if language == "python":
            assert marked == bool(_imported(content) & TOO_LARGE), f"{page}:{line}"


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="needs pyright")
@pytest.mark.slow
def test_what_is_not_run_has_the_right_types(tmp_path: Path):
    """Code that is not run by the tests calls what there is, with the right arguments."""
    checked = 0
    for page in PAGES:
        for number, (_, content, marked, _) in enumerate(_blocks(page)):
            if marked:
                checked += 1
                (tmp_path / f"{page.stem}_{number}.py").write_text(content, encoding="utf-8")
    assert checked >= 5
    settings = {
        "typeCheckingMode": "standard",
        # where it is not installed, its own names are unknown
        "reportMissingImports": False,
        "extraPaths": [str(Path(asynclog.__file__).parents[1])],
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    result = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("content", list(_of("json")))
def test_documented_json_is_json(content: str):
    """What is shown as JSON is JSON: one document, or one on each line."""
    try:
        json.loads(content)
    except ValueError:
        for line in content.splitlines():
            json.loads(line)


@pytest.mark.parametrize("content", list(_of("yaml")))
def test_documented_yaml_is_yaml(content: str):
    """What is shown as YAML is a mapping."""
    yaml = pytest.importorskip("yaml")
    assert isinstance(yaml.safe_load(content), dict)


def test_lnav_reads_our_lines(tmp_path: Path):
    """The format file makes lnav tell level, rank, logger and text of a record."""
    form = DOCS / "how-to" / "asynclog.lnav.json"
    content = json.loads(form.read_text(encoding="utf-8"))
    assert content["asynclog_log"]["file-type"] == "json"
    lnav = shutil.which("lnav")
    if lnav is None:
        pytest.skip("needs lnav (Debian: lnav)")
    run_dir = tmp_path / "run"
    with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
        log = asynclog.get_logger("train")
        log.info("step done", step=1, rank=3)
        log.error("no room", rank=3)
        asynclog.log_metrics({"loss": 0.5}, step=1)
    environment = {**os.environ, "HOME": str(tmp_path), "TERM": "dumb"}
    subprocess.run([lnav, "-i", str(form)], env=environment, check=True, capture_output=True)
    columns = "log_level, rank, logger, log_body"
    query = f";SELECT {columns} FROM asynclog_log WHERE kind IS NULL ORDER BY log_time"
    result = subprocess.run(
        [lnav, "-n", "-c", query, "-c", ":write-csv-to -", str(run_dir / "events.jsonl")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.splitlines()[1:] == [
        "info,3,train,step done",
        "error,3,train,no room",
    ]
