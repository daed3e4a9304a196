"""The metric handlers of logging: what is logged through them is where the backends read it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclog.exceptions import SettingError
from asynclog.stdlib import MLflowHandler, WandbHandler

PROGRAM = """
import logging
from asynclog.stdlib import AsyncStructuredHandler, TensorBoardHandler, WandbHandler, MLflowHandler
log = logging.getLogger("metrics")
log.setLevel("INFO")
log.propagate = False
def use(handler):
    log.addHandler(handler)
    return handler
def train(begin=0, end=200):
    log.info({"lr": 0.1, "net": {"depth": 3}}, extra={"hparams": True})
    for step in range(begin, end):
        log.info({"train": {"loss": 1 / (step + 1)}, "n": step}, extra={"step": step})
    log.info({"note": "hello"}, extra={"step": 7})
"""
LOSSES = [(step, pytest.approx(1 / (step + 1))) for step in range(200)]


def names(directory: Path) -> list[str]:
    """Return the names of what is in a directory."""
    return sorted(os.listdir(directory))


def scalars(accumulator: Any, tag: str) -> list[tuple[int, float]]:
    """Return steps and values of a tag."""
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_tensorboard(
    run_program: Callable[..., Any], event_accumulator: Callable[..., Any], tmp_path: Path
):
    """Every step from 0, texts and parameters, in one directory named after the run."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("tensorboard")
    run_program(
        PROGRAM
        + """
handler = use(TensorBoardHandler(run_name="run", log_dir="."))
assert not os.path.exists("run")
log.info({"first": 1}, extra={"step": 0})
assert os.path.isdir("run")
train()
handler.close()
assert [name for name in os.listdir(".") if "run" in name] == ["run"], os.listdir(".")
"""
    )
    assert all("tfevents" in name for name in names(tmp_path / "run"))
    found = event_accumulator(".")
    assert scalars(found, "train/loss") == LOSSES
    assert [step for step, _ in scalars(found, "n")] == list(range(200))
    [note] = found.Tensors("note/text_summary")
    assert (note.step, note.tensor_proto.string_val[0]) == (7, b"hello")
    plugin = found.summary_metadata["_hparams_/session_start_info"].plugin_data
    assert {b"lr", b"net/depth"} <= set(re.findall(rb"lr|net/depth", plugin.content))


@pytest.mark.parametrize("name", ["run", "run{rank}"])
def test_ranks_in_tensorboard(
    run_program: Callable[..., Any],
    event_accumulator: Callable[..., Any],
    tmp_path: Path,
    name: str,
):
    """A run with its rank in its name is one of its own; else names say which rank it was."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("tensorboard")
    run_program(
        PROGRAM + f"use(TensorBoardHandler(run_name={name!r}, log_dir='.'))\ntrain()", RANK="1"
    )
    own = "rank" in name
    directory = str(tmp_path / "run1") if own else "."
    tag = "train/loss" if own else "rank1/train/loss"
    assert scalars(event_accumulator(directory), tag) == LOSSES
    assert ".run1.tensorboard" not in names(tmp_path)


def test_tensorboard_goes_on(
    run_program: Callable[..., Any], event_accumulator: Callable[..., Any], tmp_path: Path
):
    """A second run of the same name writes into the same directory; its shutdown is logging's."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("tensorboard")
    for begin in (0, 100):
        run_program(
            PROGRAM
            + f"use(TensorBoardHandler(run_name='run', log_dir='.'))\ntrain({begin}, {begin} + 100)"
        )
    assert len(names(tmp_path / "run")) == 2
    assert scalars(event_accumulator("."), "train/loss") == LOSSES


@pytest.mark.slow
def test_wandb(run_program: Callable[..., Any], wandb_runs: Callable[[], Any], tmp_path: Path):
    """Every step from 0, texts and config, in a run of the name that was given."""
    pytest.importorskip("wandb")
    run_program(
        PROGRAM
        + """
use(WandbHandler(run_name="run", log_dir=".", project="p", mode="offline", tags=["a"],
                 config={"seed": 1}))
train()
assert os.path.isdir("run")
"""
    )
    found = wandb_runs()
    train = [row for row in found.rows if "train/loss" in row]
    assert [(row["step"], row["train/loss"]) for row in train] == LOSSES
    assert {key: found.config[key] for key in ("seed", "lr", "net")} == {
        "seed": 1,
        "lr": 0.1,
        "net": {"depth": 3},
    }
    [run] = found.of_kind("run")
    assert (run.project, run.display_name, list(run.tags)) == ("p", "run", ["a"])
    [note] = [row for row in found.rows if "note" in row]
    assert note["note"]["_type"] == "table-file"
    assert not [name for name in names(tmp_path) if name.startswith(".run")]


@pytest.mark.slow
def test_mlflow(run_program: Callable[..., Any], one_mlflow_server: Any, tmp_path: Path):
    """Every step from 0, texts and parameters, in a run of the name that was given."""
    server = one_mlflow_server
    run_program(
        PROGRAM
        + f"""
use(MLflowHandler(run_name="mine", log_dir="out", tracking_uri={server.uri!r},
                  experiment_name="handlers"))
train()
""",
        ASYNCLOG_STOP_TIMEOUT="60",
    )
    [run] = server.runs("handlers")
    run_id = run["info"]["run_id"]
    assert (run["info"]["run_name"], run["info"]["status"]) == ("mine", "FINISHED")
    history = server.history(run_id, "train/loss")
    assert sorted((int(m.get("step", 0)), m["value"]) for m in history) == LOSSES
    params = {param["key"]: param["value"] for param in run["data"]["params"]}
    assert params == {"lr": "0.1", "net/depth": "3"}
    assert server.artifact(run, "text/note/step-00000007.txt") == b"hello"
    assert names(tmp_path / "out") == []


@pytest.mark.slow
def test_an_active_run_is_used(run_program: Callable[..., Any], one_mlflow_server: Any):
    """One that the program has begun, before the first record, and ends."""
    pytest.importorskip("mlflow")
    server = one_mlflow_server
    output, _ = run_program(
        PROGRAM
        + f"""
import warnings
warnings.simplefilter("ignore")
import mlflow
mlflow.set_tracking_uri({server.uri!r})
mlflow.set_experiment("active")
handler = use(MLflowHandler())
with mlflow.start_run() as run:
    print(run.info.run_id)
    log.info({{"loss": 0.5}}, extra={{"step": 0}})
    handler.close()
""",
        ASYNCLOG_STOP_TIMEOUT="60",
    )
    [run] = server.runs("active")
    assert run["info"]["run_id"] == output.split()[0]
    assert [m["value"] for m in server.history(run["info"]["run_id"], "loss")] == [0.5]


@pytest.mark.slow
def test_a_dead_backend(
    start: Callable[..., Any], mlflow_server: Any, tmp_path: Path, run_program: Callable[..., Any]
):
    """No call waits for it; what it has not got is kept, and sent later by the command it says."""
    server = mlflow_server
    server.stop()
    process = start(
        PROGRAM
        + f"""
use(MLflowHandler(run_name="mine", log_dir="out", tracking_uri={server.uri!r}))
use(AsyncStructuredHandler(run_name="mine", log_dir="out"))
log.info({{"first": 1}})
begin = time.monotonic()
train()
assert time.monotonic() - begin < 60
""",
        ASYNCLOG_STOP_TIMEOUT="1",
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert names(tmp_path / "out") == [".mine.mlflow", "mine.jsonl"]
    [command] = re.findall(r"send them with: asynclog (.*)", errors)
    server.start()
    run_program(f"""
import shlex, subprocess
command = [sys.executable, "-m", "asynclog.cli", *shlex.split({command!r})]
def done():
    done = subprocess.run(command, capture_output=True, text=True)
    return None if "must not be in use" in done.stderr else done
done = until(done, "the collector's end")
assert done.returncode == 0, done.stderr
""")
    [run] = server.runs()
    history = server.history(run["info"]["run_id"], "train/loss")
    assert sorted((int(m.get("step", 0)), m["value"]) for m in history) == LOSSES


@pytest.mark.slow
def test_all_in_one_directory(
    run_program: Callable[..., Any],
    event_accumulator: Callable[..., Any],
    wandb_runs: Callable[[], Any],
    tmp_path: Path,
):
    """Handlers of one name in one directory do not get into each other's way."""
    for package in ("tensorboardX", "tensorboard", "wandb"):
        pytest.importorskip(package)
    run_program(
        PROGRAM
        + """
from asynclog.stdlib import setup_metric_logger
setup_metric_logger(".", "async,tensorboard,wandb", "run", "metrics")
train()
""",
        WANDB_MODE="offline",
        ASYNCLOG_STOP_TIMEOUT="60",
    )
    assert scalars(event_accumulator("."), "train/loss") == LOSSES
    rows = [row for row in wandb_runs().rows if "train/loss" in row]
    assert [(row["step"], row["train/loss"]) for row in rows] == LOSSES
    assert (tmp_path / "run.jsonl").read_text().count('"train/loss"') == 200
    left = {name for name in names(tmp_path) if "run" in name}
    assert left == {"run", "run.jsonl"}


def test_settings_are_checked_at_once():
    """Those of the backends as well, under the names that the handlers give them."""
    pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    with pytest.raises(SettingError, match="experiment_name must be a text"):
        MLflowHandler(experiment_name="")
    with pytest.raises(SettingError, match="mode must be one of"):
        WandbHandler(mode="offlin")  # type: ignore[arg-type]
