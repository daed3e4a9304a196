"""Path templates: their fields, files per rank, and no way out of the run directory."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.exceptions import SettingError
from asynclog.sinks.template import check_template, expand, matching
from asynclog.typing import Run


def relative(template: str, run: Run) -> str:
    """Return what a template stands for, relative to the run directory."""
    return str(expand(template, run).relative_to(run.directory))


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("events.jsonl", "events.jsonl"),
        ("deep/er/events.jsonl", "deep/er/events.jsonl"),
        ("{run}-{pid}.jsonl", "run-4711.jsonl"),
        ("{time}.jsonl", "20250123T143022.jsonl"),
        ("{utc_time}.jsonl", "20250123T143022Z.jsonl"),
        ("{host}/{local_rank}.log", "node1/0.log"),
        ("{rank}.log", "0.log"),
        ("{{rank}}.log", "{rank}.log"),
    ],
)
def test_fields(run: Run, template: str, path: str) -> None:
    """Every field stands for what it says; times are ISO 8601 in a form fit for file names."""
    assert relative(template, replace(run, host="node1")) == path


@pytest.mark.parametrize(
    ("template", "rank", "path"),
    [
        ("events.jsonl", 0, "events.jsonl"),
        ("events.jsonl", 3, "events_rank3.jsonl"),
        ("{host}", 3, "node1_rank3"),
        ("logs.d/events", 3, "logs.d/events_rank3"),
        ("r{rank}.jsonl", 3, "r3.jsonl"),
        ("{{rank}}.jsonl", 3, "{rank}_rank3.jsonl"),
    ],
)
def test_ranks_get_files_of_their_own(run: Run, template: str, rank: int, path: str) -> None:
    """Without {rank}, ranks above 0 get it before the extension; rank 0 is a rank, not none."""
    assert relative(template, replace(run, host="node1", rank=rank)) == path


def test_suffix_of_a_second_collector(run: Run) -> None:
    """The run's suffix comes before the extension, behind the rank."""
    second = replace(run, rank=1, suffix=".node2-99")
    assert relative("events.jsonl", second) == "events_rank1.node2-99.jsonl"


@pytest.mark.parametrize(
    "template",
    [
        "",
        ".",
        "/",
        "/etc/passwd",
        "//etc/passwd",
        "../x",
        "a/../../x",
        "..",
        "a/..",
        "a/",
        "a\0b",
        "a\nb",
        "{nope}.log",
        "{}.log",
        "{0}.log",
        "{run.directory}",
        "{run[0]}",
        "{rank:>100000000}",
        "{host!r}",
        "{unclosed",
        "unopened}",
        None,
        7,
        b"events.jsonl",
    ],
)
def test_bad_templates(template: str) -> None:
    """What leads out of the run directory or is no template is refused before anything starts."""
    with pytest.raises(SettingError, match=r"^path .*, got: "):
        check_template(template)


@pytest.mark.parametrize("value", ["..", ".", "../../etc", "a/b", "", "a\0b", "\x1b[2J", "~"])
def test_values_cannot_lead_out(run: Run, value: str) -> None:
    """A host or run name with separators or dots in it makes an odd file name, no other path."""
    path = expand("{host}/{run}.log", replace(run, host=value, name=value))
    assert path.parent.parent == run.directory
    assert not set(str(path.relative_to(run.directory))) & {"\0", "\x1b", "~"}


@given(
    template=st.text(st.sampled_from("ab./{}_ rankhost\\:~"), max_size=24),
    host=st.text(max_size=8),
)
def test_nothing_leads_out(template: str, host: str) -> None:
    """Whatever a template and its values are: refused, or inside the run directory."""
    from datetime import UTC, datetime

    run = Run(Path("/runs/one"), "one", datetime(2025, 1, 1, tzinfo=UTC), host, 1)
    try:
        path = expand(template, run)
    except SettingError:
        return
    assert os.path.normpath(path).startswith("/runs/one/")


def test_path_objects(run: Run) -> None:
    """A Path is as good as text."""
    assert check_template(Path("a") / "b.log") == "a/b.log"
    assert expand(Path("a") / "b.log", run) == run.directory / "a" / "b.log"


def test_files_that_a_template_may_have_stood_for(tmp_path: Path) -> None:
    """Files of other ranks and collectors are found, rotated parts and other sinks' files not."""
    wanted = {
        "events.jsonl",
        "events_rank1.jsonl",
        "events_rank12.host-7.jsonl",
        "events.host-7.jsonl",
    }
    others = {"events_errors.jsonl", "events.jsonl.1", "events.txt", "my-events.jsonl"}
    for name in wanted | others:
        (tmp_path / name).touch()
    assert {path.name for path in matching("events.jsonl", tmp_path)} == wanted
    own = {"events.jsonl", "events_rank1.jsonl"}
    assert {path.name for path in matching("events.jsonl", tmp_path, "")} == own
    assert {path.name for path in matching("events.jsonl", tmp_path, ".host-7")} == wanted - own
    assert {path.name for path in matching("{run}_{rank}.jsonl", tmp_path)} >= {
        "events_rank1.jsonl"
    }
    assert matching("logs/{host}", tmp_path) == []
