"""Set-up for code that logs mappings: where its metrics go, and what the console shows of them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog.exceptions import MissingExtraError, SettingError
from asynclog.stdlib import (
    AsyncStructuredHandler,
    MLflowHandler,
    TensorBoardHandler,
    WandbHandler,
    metric_backends,
    metric_setup,
    propagate_package_logs,
    setup_logging,
    setup_metric_logger,
    setup_root_logger,
)
from asynclog.testing import RecordingSink

NAME = "tests.metrics"
FILE = "training_params_and_metrics_global0.jsonl"


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """End what was set up."""
    yield
    for _, handlers in metric_setup._set_up.values():
        for handler in handlers:
            handler.close()
    metric_setup._set_up.clear()


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def close(logger: logging.Logger) -> None:
    """Close a logger's handlers."""
    for handler in logger.handlers:
        handler.close()


def test_default_file(tmp_path: Path):
    """Mappings of level INFO go to one file; nothing is there before; texts are left alone."""
    log = setup_metric_logger(tmp_path / "out", logger=NAME)
    assert log is logging.getLogger(NAME)
    assert log.level == logging.INFO
    assert log.propagate
    log.info("no mapping, and no warning")
    log.debug({"debug": 1})
    assert not (tmp_path / "out").exists()
    log.info({"loss": 1}, extra={"step": 0})
    close(log)
    assert os.listdir(tmp_path / "out") == [FILE]
    assert [line["metrics"] for line in lines(tmp_path / "out" / FILE)] == [{"loss": 1}]


def test_default_logger(tmp_path: Path):
    """It is asynclog.metrics."""
    log = setup_metric_logger(tmp_path)
    assert log.name == "asynclog.metrics"
    [handler] = log.handlers
    assert handler in metric_setup._set_up["asynclog.metrics"].handlers


@pytest.mark.parametrize(
    ("run_name", "found"),
    [
        (None, ["training_params_and_metrics_global1.jsonl"]),
        ("run{rank}", ["run1.jsonl"]),
        ("run", []),
    ],
)
def test_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_name: str | None, found: list[str]
):
    """Each rank has its file; one file for all gets what rank 0 logs."""
    monkeypatch.setenv("RANK", "1")
    log = setup_metric_logger(tmp_path / "out", run_name=run_name, logger=NAME)
    log.info({"loss": 1})
    close(log)
    assert (os.listdir(tmp_path / "out") if found else []) == found
    if not found:
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "types", ["async, tensorboard,wandb,mlflow", ["async", "tensorboard", "wandb", "mlflow"]]
)
def test_all_types(tmp_path: Path, types: Any):
    """Every kind is made from a list, or names with commas; all runs have the same name."""
    for package in ("tensorboardX", "wandb", "mlflow"):
        pytest.importorskip(package)
    log = setup_metric_logger(tmp_path, types, "r_{time}", NAME)
    kinds = [type(handler) for handler in log.handlers]
    assert kinds == [AsyncStructuredHandler, TensorBoardHandler, WandbHandler, MLflowHandler]
    assert len({handler.run_name for handler in log.handlers}) == 1  # type: ignore[attr-defined]
    assert not os.listdir(tmp_path)


def test_twice(tmp_path: Path):
    """The same call once more changes nothing; another one replaces; other handlers stay."""
    other = logging.NullHandler()
    logging.getLogger(NAME).addHandler(other)
    log = setup_metric_logger(tmp_path / "one", logger=NAME)
    handlers = log.handlers[:]
    log.info({"loss": 1})
    setup_metric_logger(tmp_path / "one", ["async"], logger=NAME)
    assert log.handlers == handlers
    log.info({"loss": 2})
    setup_metric_logger(tmp_path / "two", logger=NAME)
    assert len(log.handlers) == 2
    assert other in log.handlers
    log.info({"loss": 3})
    close(log)
    assert [line["metrics"]["loss"] for line in lines(tmp_path / "one" / FILE)] == [1, 2]
    assert [line["metrics"]["loss"] for line in lines(tmp_path / "two" / FILE)] == [3]


@pytest.mark.parametrize("types", ["", "async,tensorbord", ["async", 3], [], None, 3, "logs/a"])
def test_unknown_types(tmp_path: Path, types: Any):
    """The error names those that are known; what was set up before stays."""
    log = setup_metric_logger(tmp_path, logger=NAME)
    before = log.handlers[:]
    with pytest.raises(SettingError, match=r"logger_type must name some of 'async', 'tensor"):
        setup_metric_logger(tmp_path, types, logger=NAME)
    assert log.handlers == before


def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The error names the extra that installs it; nothing is set up."""
    monkeypatch.setattr(metric_backends, "find_spec", lambda name: None)
    for kind, extra in (("tensorboard", "tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")):
        with pytest.raises(MissingExtraError, match=rf"asynclog\[{extra}\]"):
            setup_metric_logger(tmp_path, f"async,{kind}", logger=NAME)
    assert not logging.getLogger(NAME).handlers


def test_arguments_are_checked(tmp_path: Path):
    """At the call."""
    with pytest.raises(SettingError, match="logger must be the name"):
        setup_metric_logger(tmp_path, logger="")
    with pytest.raises(SettingError, match="run_name must"):
        setup_metric_logger(tmp_path, run_name="../x")
    with pytest.raises(SettingError, match="output_dir must"):
        setup_metric_logger("")


def test_package_logs():
    """They go on to the root logger, or not."""
    propagate_package_logs(False)
    assert not logging.getLogger("asynclog").propagate
    propagate_package_logs()
    assert logging.getLogger("asynclog").propagate
    propagate_package_logs(False, "tests.package")
    assert not logging.getLogger("tests.package").propagate
    with pytest.raises(SettingError, match="enabled must be"):
        propagate_package_logs("no")  # type: ignore[arg-type]


def test_root_logger_shows_mappings(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    """A mapping is shown as a text, once; whoever else gets it sees the mapping."""
    setup_root_logger()
    setup_root_logger("INFO")
    log = setup_metric_logger(tmp_path / "out", logger=NAME)
    log.info({"loss": 0.12345, "lr": 1e-4})
    log.info("epoch %d", 3)
    asynclog.flush_sync()
    shown = capfd.readouterr().err
    assert shown.count("loss=0.123, lr=1.00e-04") == 1
    assert shown.count("epoch 3") == 1
    setup_logging()
    log.info("once more")
    asynclog.flush_sync()
    assert capfd.readouterr().err.count("once more") == 1
    close(log)
    assert lines(tmp_path / "out" / FILE)[0]["metrics"] == {"loss": 0.12345, "lr": 1e-4}


def test_root_logger_of_other_ranks(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """They show warnings and errors only."""
    monkeypatch.setenv("RANK", "1")
    setup_root_logger()
    logging.getLogger(NAME).info("hidden")
    logging.getLogger(NAME).warning("shown")
    setup_root_logger(rank=0)
    logging.getLogger(NAME).info("now, too")
    asynclog.flush_sync()
    found = capfd.readouterr().err
    assert "hidden" not in found
    assert "shown" in found
    assert "now, too" in found


def test_root_logger_beside_a_started_pipeline(tmp_path: Path):
    """It is left as it is, and gets what is logged."""
    sink = RecordingSink()
    with asynclog.running(tmp_path / "run", sinks=[sink]):
        setup_root_logger("WARNING")
        logging.getLogger(NAME).info({"loss": 1})
        logging.getLogger(NAME).warning({"loss": 0.12345})
        asynclog.flush_sync()
        assert [event["event"] for event in sink.events] == ["loss=0.123"]


def test_in_a_program(run_python: Callable[..., Any], tmp_path: Path):
    """Set up and logged as instructlab-training does; nothing else is called."""
    result = run_python(
        """
import logging
from asynclog.stdlib import setup_metric_logger, setup_root_logger
setup_root_logger(level="INFO")
setup_metric_logger("out", "async", logger="instructlab.training.metrics")
log = logging.getLogger("instructlab.training.metrics")
log.info({"script_params": {"lr": 0.1}}, extra={"hparams": True})
for step in range(100):
    log.info({"training": {"loss": 1 / (step + 1)}}, extra={"step": step})
"""
    )
    params, *metrics = lines(tmp_path / "out" / FILE)
    assert params["params"] == {"script_params": {"lr": 0.1}}
    assert [(line["step"], line["metrics"]) for line in metrics] == [
        (step, {"training/loss": 1 / (step + 1)}) for step in range(100)
    ]
    assert "training/loss=0.010" in result.stderr
