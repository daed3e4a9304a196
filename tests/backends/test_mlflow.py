"""MLflow: what is logged is on a real server, asked by its REST interface."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asynclog import MLflow
from asynclog.exceptions import MissingExtraError, SettingError
from asynclog.sinks.mlflow.sink import _key, _param, _path
from asynclog.typing import Run

SINKS = "sinks=[asynclog.JsonlFile(), asynclog.MLflow()]"


def steps(history: list[dict[str, Any]]) -> list[int]:
    """Return the steps of a metric, in order, each as often as it is there."""
    return sorted(int(value.get("step", 0)) for value in history)


def params(run: dict[str, Any]) -> dict[str, str]:
    """Return the parameters of a run."""
    return {param["key"]: param["value"] for param in run["data"].get("params", ())}


@pytest.mark.slow
def test_everything_from_a_pipeline(
    run_program: Callable[..., Any], one_mlflow_server: Any
) -> None:
    """Every kind of record that MLflow knows is there, under the time of its call."""
    server = one_mlflow_server
    output, _ = run_program(f"""
        sink = asynclog.MLflow({server.uri!r}, experiment="all", run_name="one")
        with asynclog.running("run", sinks=[asynclog.JsonlFile(), sink], stop_timeout=60):
            assert asynclog.stats().collector == "process"
            log.log_params({{"lr": 0.1, "net": {{"depth": 3}}}}, metrics={{"best": 0.5}})
            before = time.time()
            for step in range(1500):
                log.log_metrics({{"loss": 1 / (step + 1), "n": step}}, step=step, split="train")
            odd = [float("nan"), float("inf"), 1.0]
            for step, value in enumerate(odd):
                log.log_metrics({{"odd": value}}, step=step, split="val")
            log.log_metrics({{"stepless": 6}})
            log.log_text("sample", "Once upon a time", step=7, split="val")
            image("picture", 200, step=2, split="val")
            Path("weights.bin").write_bytes(b"weights")
            Path("model").mkdir()
            Path("model/a").write_bytes(b"a")
            for path, name in (("weights.bin", "mine"), ("model", "whole")):
                record("artifact", path=str(Path(path).absolute()), name=name, type="model",
                       aliases=["best"])
            print(before, time.time())
    """)
    before, after = map(float, output.split())
    [run] = server.runs("all")
    run_id = run["info"]["run_id"]
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "one"
    assert params(run) == {"lr": "0.1", "net/depth": "3"}
    losses = server.history(run_id, "train/loss")
    assert {int(m.get("step", 0)): m["value"] for m in losses} == {
        step: 1 / (step + 1) for step in range(1500)
    }
    assert len(losses) == 1500
    assert all(before * 1000 - 1 <= m["timestamp"] <= after * 1000 + 1 for m in losses)
    assert steps(server.history(run_id, "train/n")) == list(range(1500))
    odd = {int(m.get("step", 0)): float(m["value"]) for m in server.history(run_id, "val/odd")}
    assert math.isnan(odd[0])
    assert odd[1] > 1e308
    assert odd[2] == 1.0
    assert [m["value"] for m in server.history(run_id, "stepless")] == [6.0]
    assert [m["value"] for m in server.history(run_id, "best")] == [0.5]
    text = server.artifact(run, "text/val/sample/step-00000007.txt")
    assert text == b"Once upon a time"
    assert server.artifact(run, "media/images/picture-200.png").startswith(b"\x89PNG")
    assert server.artifact(run, "model/mine/weights.bin") == b"weights"
    assert server.artifact(run, "model/whole/a") == b"a"


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["collector", "training"])
def test_killed(
    whom: str,
    start: Callable[..., subprocess.Popen[str]],
    run_program: Callable[..., Any],
    one_mlflow_server: Any,
) -> None:
    """After kill -9 of the collector, or of the training, each step is there once, in one run."""
    server = one_mlflow_server
    environment = {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_EXPERIMENT_NAME": f"killed {whom}",
    }
    process = start(
        f"""
        asynclog.start_sync("run", {SINKS})
        for step in range(1000):
            log.log_metrics({{"loss": step}}, step=step, split="train")
            if step % 100 == 99:
                time.sleep(0.1)
            if step == 500:
                asynclog.flush_sync()
                until(lambda: asynclog.stats().sinks["mlflow"].written >= 200, "MLflow")
                os.kill({"collector()" if whom == "collector" else "os.getpid()"}, 9)
        asynclog.flush_sync()
        asynclog.stop_sync(60)
        """,
        **environment,
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (-signal.SIGKILL if whom == "training" else 0), errors
    run_program(
        f"""
        asynclog.start_sync("run", {SINKS})
        log.log_metrics({{"loss": 9999}}, step=9999, split="train")
        asynclog.stop_sync(60)
        """,
        **environment,
    )
    [run] = server.runs(f"killed {whom}")
    assert run["info"]["status"] == "FINISHED"
    last = 501 if whom == "training" else 1000
    history = server.history(run["info"]["run_id"], "train/loss")
    assert steps(history) == [*range(last), 9999]


@pytest.mark.slow
def test_server_restarted(
    start: Callable[..., subprocess.Popen[str]],
    mlflow_server: Any,
    run_dir: Path,
    until: Callable[..., Any],
) -> None:
    """A server that is away for a while gets what it missed when it is back."""
    process = start(
        f"""
        asynclog.start_sync("run", {SINKS})
        step = 0
        slowest = 0.0
        while not Path("enough").exists():
            began = time.monotonic()
            log.log_metrics({{"loss": step}}, step=step, split="train")
            slowest = max(slowest, time.monotonic() - began)
            step += 1
            time.sleep(0.01)
        until(lambda: asynclog.stats().sinks["mlflow"].written == step, "MLflow")
        asynclog.stop_sync(60)
        print(step, slowest)
        """,
        MLFLOW_TRACKING_URI=mlflow_server.uri,
    )
    [run] = until(lambda: [run for run in mlflow_server.runs() if run["data"].get("metrics")])
    mlflow_server.stop()
    file = run_dir / "events.jsonl"
    size = file.stat().st_size
    until(lambda: file.stat().st_size > size + 20_000, "the training, which goes on")
    mlflow_server.start()
    (run_dir.parent / "enough").touch()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "sink mlflow" in errors
    count, slowest = output.split()
    assert float(slowest) < 10
    history = mlflow_server.history(run["info"]["run_id"], "train/loss")
    assert steps(history) == list(range(int(count)))
    [run] = mlflow_server.runs()
    assert run["info"]["status"] == "FINISHED"


@pytest.mark.slow
def test_server_never_answers(
    run_program: Callable[..., Any],
    replay: Callable[..., str],
    silent_server: str,
    one_mlflow_server: Any,
    run_dir: Path,
) -> None:
    """A server that takes connections and is silent hurts nobody; replay sends it all later."""
    server = one_mlflow_server
    output, _ = run_program(
        f"""
        began = time.monotonic()
        asynclog.start_sync("run", {SINKS}, stop_timeout=2)
        print("started", time.monotonic() - began)
        slowest = 0.0
        for step in range(200):
            began = time.monotonic()
            log.log_metrics({{"loss": step}}, step=step, split="train")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.005)
        print("slowest", slowest)
        began = time.monotonic()
        report = asynclog.stop_sync()
        print("stopped", time.monotonic() - began)
        print("written", report.sinks["mlflow"].written)
        """,
        MLFLOW_TRACKING_URI=silent_server,
    )
    said = dict(line.split() for line in output.splitlines())
    assert float(said["started"]) < 60
    assert float(said["slowest"]) < 10
    assert float(said["stopped"]) < 60
    assert int(said["written"]) == 0
    assert (run_dir / "events.jsonl").read_bytes().count(b'"kind":"metrics"') == 200
    environment = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_EXPERIMENT_NAME": "silent"}
    assert "200 records" in replay("mlflow", **environment)
    [run] = server.runs("silent")
    assert steps(server.history(run["info"]["run_id"], "train/loss")) == list(range(200))
    # and the whole run into another one
    assert "200 records" in replay("mlflow", "--all", **environment)
    assert len(server.runs("silent")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("end", ["well", "killed"])
def test_active_run(end: str, run_program: Callable[..., Any], one_mlflow_server: Any) -> None:
    """A run that the program has active is used, and left to it unless the program died."""
    server = one_mlflow_server
    output, _ = run_program(f"""
        import warnings
        warnings.simplefilter("ignore")
        import mlflow
        mlflow.set_tracking_uri({server.uri!r})
        mlflow.set_experiment("active {end}")
        with mlflow.start_run() as run:
            with asynclog.running("run", {SINKS}, stop_timeout=60):
                log.log_metrics({{"loss": 1}}, step=0)
                if {end!r} == "killed":
                    log.error("asynclog.died", kind=Kind("note"), died="killed")
            status = mlflow.MlflowClient().get_run(run.info.run_id).info.status
            print("status", run.info.run_id, status)
    """)
    [(run_id, status)] = [
        line.split()[1:] for line in output.splitlines() if line.startswith("status ")
    ]
    [run] = server.runs(f"active {end}")
    assert run["info"]["run_id"] == run_id
    assert [m["value"] for m in server.history(run_id, "loss")] == [1.0]
    assert status == ("RUNNING" if end == "well" else "KILLED")


@pytest.mark.slow
def test_status(run_program: Callable[..., Any], one_mlflow_server: Any) -> None:
    """A run whose process died is marked so; one that was started again is not."""
    server = one_mlflow_server
    cases = {"failed": "FAILED", "killed": "KILLED", "alive": "FINISHED"}
    run_program(
        f"""
        for case in {list(cases)}:
            sink = asynclog.MLflow(run_name=case)
            with asynclog.running(case, sinks=[asynclog.JsonlFile(), sink], stop_timeout=60):
                log.log_metrics({{"loss": 1}}, step=0)
                log.error("asynclog.died", kind=Kind("note"), died=case)
                if case == "alive":
                    log.log_metrics({{"loss": 1}}, step=1)
        """,
        MLFLOW_TRACKING_URI=server.uri,
        MLFLOW_EXPERIMENT_NAME="status",
    )
    found = {run["info"]["run_name"]: run["info"]["status"] for run in server.runs("status")}
    assert found == cases


@pytest.mark.slow
def test_limits_and_bad_records(run_program: Callable[..., Any], one_mlflow_server: Any) -> None:
    """What is more than MLflow takes at once is sent in parts; what it refuses is left out."""
    server = one_mlflow_server
    _, errors = run_program(
        f"""
        with asynclog.running("run", {SINKS}, stop_timeout=60):
            log.log_params({{f"p{{i}}": i for i in range(250)}} | {{"long": "x" * 7000}})
            log.log_metrics({{f"m{{i}}": i for i in range(2500)}}, step=0)
            log.log_metrics({{"a b(c)*": 1, "../up": 2, "n" * 400: 3}}, step=0)
            # once set, a parameter keeps its value
            log.log_params({{"p0": "other", "late": 1}})
            record("metrics")
            record("text", text="nameless")
            record("artifact", path="/nowhere/at/all", name="x", type="model", aliases=[])
            record("image", name="i", media="dropped")
            log.log_metrics({{"last": 1}}, step=0)
        """,
        MLFLOW_TRACKING_URI=server.uri,
        MLFLOW_EXPERIMENT_NAME="limits",
    )
    assert "left out" in errors
    [run] = server.runs("limits")
    found = params(run)
    assert found["p249"] == "249"
    assert found["p0"] == "0"
    assert found["late"] == "1"
    assert len(found["long"]) == 6000
    metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert [metrics[f"m{i}"] for i in range(2500)] == list(range(2500))
    assert (metrics["a b_c__"], metrics["_/up"], metrics["last"]) == (1, 2, 1)
    assert len(metrics) == 2504


@pytest.mark.slow
def test_registry(run_program: Callable[..., Any], one_mlflow_server: Any) -> None:
    """An artifact with a registry becomes a version of a registered model, with its aliases."""
    server = one_mlflow_server
    for _ in range(2):
        run_program(
            f"""
            Path("weights").mkdir(exist_ok=True)
            Path("weights/a.bin").write_bytes(b"weights")
            with asynclog.running("run", {SINKS}, stop_timeout=60):
                record("artifact", path=str(Path("weights").absolute()), name="mine",
                       type="model", aliases=["best"], registry="net")
            """,
            MLFLOW_TRACKING_URI=server.uri,
            MLFLOW_EXPERIMENT_NAME="registry",
        )
    version = server.get("registered-models/alias", name="net", alias="best")["model_version"]
    [run] = server.runs("registry")
    assert (version["version"], version["run_id"]) == ("1", run["info"]["run_id"])


@pytest.mark.slow
def test_ranks(run_program: Callable[..., Any], one_mlflow_server: Any) -> None:
    """Rank 0 and processes without a rank by default; all ranks under names of their own."""
    server = one_mlflow_server
    run_program(
        """
        for ranks in ("zero", "all"):
            sinks = [asynclog.JsonlFile(), asynclog.MLflow(run_name=ranks, ranks=ranks)]
            with asynclog.running(ranks, sinks=sinks, stop_timeout=60):
                for step, rank in enumerate((None, 0, 1)):
                    log.bind(rank=rank).log_metrics({"loss": 1}, step=step, split="train")
        """,
        MLFLOW_TRACKING_URI=server.uri,
        MLFLOW_EXPERIMENT_NAME="ranks",
    )
    ids = {run["info"]["run_name"]: run["info"]["run_id"] for run in server.runs("ranks")}
    assert steps(server.history(ids["zero"], "train/loss")) == [0, 1]
    assert steps(server.history(ids["all"], "train/loss")) == [0, 1]
    assert steps(server.history(ids["all"], "rank1/train/loss")) == [2]


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are checked when they are made, and hold no password."""
    with pytest.raises(SettingError, match=r"must hold no password.*///?\*\*\*@|\*\*\*@") as caught:
        MLflow("http://me:hunter2@server")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingError, match="experiment must be a text"):
        MLflow(experiment="")
    with pytest.raises(SettingError, match="end_run must be True or False"):
        MLflow(end_run="no")  # type: ignore[arg-type]


def test_takes_over_what_the_program_has_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The active run and the address are those of the process that makes the declaration."""
    active = SimpleNamespace(info=SimpleNamespace(run_id="active"))
    mlflow = SimpleNamespace(
        is_tracking_uri_set=lambda: True,
        get_tracking_uri=lambda: "http://set",
        active_run=lambda: active,
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)  # type: ignore[arg-type]
    assert MLflow() == MLflow("http://set", run_id="active", end_run=False)
    assert MLflow("http://other", run_id="mine") == MLflow(
        "http://other", run_id="mine", end_run=True
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://set")
    assert MLflow().tracking_uri is None
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace())  # type: ignore[arg-type]
    assert MLflow() == MLflow(end_run=True)


def test_names() -> None:
    """Names become such that MLflow takes them; those that it takes stay."""
    assert _key("train/loss-a b.c") == "train/loss-a b.c"
    assert _key("/a//./b/../c(ü)") == "a/b/_/c(ü)".replace("(", "_").replace(")", "_")
    assert _key("") == "_"
    assert len(_key("x" * 999)) == 250
    assert _param("x" * 6000) == "x" * 6000
    assert len(_param("x" * 6001)) == 6000
    assert _path("../../etc/passwd") == "etc/passwd"
    assert _path("a:b") == "a_b"


def test_missing_package(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening the sink without MLflow raises what names the extra."""
    import asynclog.sinks.backend as backend

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(backend, "import_module", missing)
    monkeypatch.setattr("asynclog.sinks.mlflow.sink._prepare", lambda: None)
    with pytest.raises(MissingExtraError, match=r"asynclog\[mlflow\]"):
        MLflow().make().open(Run(run_dir, "run", datetime.now(UTC), "host", os.getpid()))
