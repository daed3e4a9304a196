"""sweep_params: what a W&B sweep agent chose, from its file or the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import asynclog

PARAMS = {"lr": 0.1, "depth": 3, "flag": True, "none": None, "name": "x=y z", "list": [1, "a"]}
# The forms of W&B's `command`, as its agent writes them.
LINES = {
    "args": ["--lr=0.1", "--depth=3", "--flag=True", "--none=None", "--name=x=y z"],
    "args_no_equals": [
        *("--lr", "0.1", "--depth", "3", "--flag", "True", "--none", "None"),
        *("--name", "x=y z"),
    ],
    "args_no_hyphens": ["lr=0.1", "depth=3", "flag=True", "none=None", "name=x=y z"],
    "args_append_hydra": ["+lr=0.1", "+depth=3", "+flag=True", "+none=None", "+name=x=y z"],
    "args_override_hydra": ["++lr=0.1", "++depth=3", "++flag=True", "++none=None", "++name=x=y z"],
    "args_no_boolean_flags": ["--lr=0.1", "--depth=3", "--flag", "--none=None", "--name=x=y z"],
    "args_json": ['{"lr": 0.1, "depth": 3, "flag": true, "none": null, "name": "x=y z"}'],
}


@pytest.mark.parametrize("form", LINES)
def test_forms_of_the_command_line(form: str) -> None:
    """Each form in which an agent may write the command line is read."""
    wanted = {name: value for name, value in PARAMS.items() if name != "list"}
    assert asynclog.sweep_params(["train", *LINES[form]]) == wanted


@pytest.mark.parametrize("form", LINES)
def test_agent_writes_these_forms(form: str) -> None:
    """The forms are those of W&B's own code."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    args = {name: {"value": value} for name, value in PARAMS.items() if name != "list"}
    written = utils.create_sweep_command_args({"args": args})
    assert written[form] == LINES[form]


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Set what an agent sets; return the path of its file, which is not there yet."""
    file = tmp_path / "config-abc.yaml"
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(file))
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr=0.5"])
    return file


def test_the_agents_file(agent: Path) -> None:
    """The agent's own file has the types, and goes before the command line."""
    yaml = pytest.importorskip("yaml")
    content = {"wandb_version": 1, **{name: {"value": value} for name, value in PARAMS.items()}}
    agent.write_text(yaml.safe_dump(content))
    assert asynclog.sweep_params() == PARAMS


@pytest.mark.parametrize("content", [None, "", "- 1", "{", "a: [", "\x00"])
def test_without_a_file_that_can_be_read(agent: Path, content: str | None) -> None:
    """Without a file, or with a broken one, the command line counts."""
    if content is not None:
        agent.write_text(content)
    assert asynclog.sweep_params() == {"lr": 0.5}


def test_no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no agent runs the program there are no parameters, whatever the command line says."""
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr=0.5"])
    assert asynclog.sweep_params() == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1e-3", 1e-3),
        ("false", False),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("", ""),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("résumé", "résumé"),
    ],
)
def test_values(text: str, value: Any) -> None:
    """Numbers, words and JSON are read as what they are; everything else is text."""
    assert asynclog.sweep_params([f"--x={text}"]) == {"x": value}
