"""Wandb: what is logged is in W&B's transaction log, read here by its format."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asynclog import Wandb
from asynclog.exceptions import MissingExtraError, SettingError
from asynclog.typing import Run

pytest.importorskip("wandb")

WANDB = 'asynclog.Wandb("project", mode="offline")'
SINKS = f"sinks=[asynclog.JsonlFile(), {WANDB}]"
KEY = "0123456789abcdef0123456789abcdef01234567"


def steps(rows: list[dict[str, Any]]) -> list[Any]:
    """Return the steps of what was logged in the split ``train``."""
    return [row["train/step"] for row in rows if "train/step" in row]


@pytest.mark.slow
def test_everything_from_a_pipeline(
    run_program: Callable[..., Any], wandb_runs: Callable[[], Any], run_dir: Path
) -> None:
    """Every kind of record is there: each step, in order, under the time of its call."""
    output, _ = run_program("""
        sink = asynclog.Wandb("project", entity="me", run_name="name", group="g", tags=["a", "b"],
                              config={"seed": 1, "layers": [1, 2]}, mode="offline")
        with asynclog.running("run", sinks=[asynclog.JsonlFile(), sink]):
            assert asynclog.stats().collector == "process"
            log.log_params({"lr": 0.1, "net": {"depth": 3}}, metrics={"best": 0.5})
            before = time.time()
            for step in range(500):
                log.log_metrics({"loss": 1 / (step + 1), "n": step}, step=step, split="train")
            log.log_metrics({"odd": float("nan")}, step=0, split="val")
            log.log_metrics({"odd": float("-inf")}, step=1, split="val")
            log.log_metrics({"alone": 5}, step=4)
            log.log_metrics({"stepless": 6})
            log.log_text("sample", "Once <b>upon</b> a time", step=7, split="val")
            record("histogram", name="weights", step=3, edges=[0, 1, 2, 4], counts=[5, 0, 2])
            record("histogram", name="wide", edges=list(range(802)), counts=[1] * 801)
            image("picture", 200, step=2, split="val", caption="a red one")
            Path("weights.bin").write_bytes(b"weights")
            record("artifact", path=str(Path("weights.bin").absolute()), name="my model",
                   type="model", aliases=["best", "v1"])
            print(before, time.time())
    """)
    before, after = map(float, output.split())
    found = wandb_runs()
    rows = found.rows
    train = [row for row in rows if "train/loss" in row]
    assert [(row["train/step"], row["train/loss"], row["train/n"]) for row in train] == [
        (step, 1 / (step + 1), step) for step in range(500)
    ]
    assert all(before - 1e-3 <= row["_timestamp"] <= after for row in train)
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    odd = [row["val/odd"] for row in rows if "val/odd" in row]
    assert math.isnan(odd[0])
    assert odd[1] == -math.inf
    [alone] = [row for row in rows if "alone" in row]
    assert (alone["alone"], alone["step"]) == (5, 4)
    [stepless] = [row for row in rows if "stepless" in row]
    assert "step" not in stepless
    metrics = found.of_kind("metric")
    axes = {metric.glob_name or metric.name: metric.step_metric for metric in metrics}
    wanted = {"train/*": "train/step", "val/*": "val/step", "alone": "step", "weights": "step"}
    assert axes.items() >= wanted.items()
    config = found.config
    assert {name: config[name] for name in ("seed", "layers", "lr", "net")} == {
        "seed": 1,
        "layers": [1, 2],
        "lr": 0.1,
        "net": {"depth": 3},
    }
    [run] = found.of_kind("run")
    assert (run.project, run.entity, run.display_name, run.run_group) == (
        "project",
        "me",
        "name",
        "g",
    )
    assert list(run.tags) == ["a", "b"]
    [histogram] = [row["weights"] for row in rows if "weights" in row]
    assert histogram == {"_type": "histogram", "bins": [0, 1, 2, 4], "values": [5, 0, 2]}
    [wide] = [row["wide"] for row in rows if "wide" in row]
    assert (len(wide["values"]), sum(wide["values"]), wide["bins"][-1]) == (401, 801, 801)
    files = next(run_dir.glob("wandb/offline-run-*/files"))
    [picture] = [row["val/picture"] for row in rows if "val/picture" in row]
    assert (picture["_type"], picture["caption"]) == ("image-file", "a red one")
    assert (picture["width"], picture["height"]) == (4, 3)
    assert (files / picture["path"]).read_bytes().startswith(b"\x89PNG")
    [text] = [row for row in rows if "val/sample" in row]
    assert (text["val/step"], text["val/sample"]["_type"]) == (7, "table-file")
    table = (files / text["val/sample"]["path"]).read_text()
    assert table == '{"columns":["step","text"],"data":[[7,"Once <b>upon</b> a time"]]}' or (
        "Once <b>upon</b> a time" in table
    )
    [artifact] = [each for each in found.of_kind("artifact") if each.type == "model"]
    assert (artifact.name, set(artifact.aliases)) == ("my_model", {"latest", "best", "v1"})
    [content] = artifact.manifest.contents
    assert (content.path, content.size) == ("weights.bin", 7)
    # what waits for `wandb sync` lies in the run directory
    assert Path(content.local_path).read_bytes() == b"weights"
    assert run_dir in Path(content.local_path).parents
    [end] = found.of_kind("exit")
    assert end.exit_code == 0
    summary = [
        item.value_json
        for each in found.of_kind("summary")
        for item in each.update
        if "best" in (item.key, *item.nested_key)
    ]
    assert summary == ["0.5"]


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["collector", "wandb-core", "training"])
def test_killed(
    whom: str,
    start: Callable[..., subprocess.Popen[str]],
    run_program: Callable[..., Any],
    wandb_runs: Callable[[], Any],
) -> None:
    """After kill -9 of the collector, of W&B's own process, or of the training: no step is lost.

    None is there twice either, and the next start goes on with the same run and the next row.
    """
    process = start(
        f"""
        import subprocess
        def core():
            found = subprocess.run(
                ["pgrep", "-f", f"wandb-core .*--pid {{collector()}}( |$)"],
                capture_output=True, check=True, text=True,
            )
            return int(found.stdout.split()[0])
        victims = {{"collector": collector, "wandb-core": core, "training": os.getpid}}
        asynclog.start_sync("run", {SINKS})
        for step in range(1000):
            log.log_metrics({{"loss": step}}, step=step, split="train")
            if step % 100 == 99:
                time.sleep(0.1)
            if step == 500:
                asynclog.flush_sync()
                until(lambda: asynclog.stats().sinks["wandb"].written >= 200, "W&B")
                os.kill(victims["{whom}"](), 9)
        asynclog.flush_sync()
        asynclog.stop_sync(60)
        """
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (-signal.SIGKILL if whom == "training" else 0), errors
    run_program(f"""
        with asynclog.running("run", {SINKS}):
            log.log_metrics({{"loss": 9999}}, step=9999, split="train")
    """)
    found = wandb_runs()
    last = 501 if whom == "training" else 1000
    assert steps(found.rows) == [*range(last), 9999]
    # so that `wandb sync` and `wandb sync --append` make one run of it
    assert len(found.ids) == 1
    assert [row["_step"] for row in found.rows] == list(range(last + 1))


@pytest.mark.slow
def test_replay(
    run_program: Callable[..., Any], replay: Callable[..., str], wandb_runs: Callable[[], Any]
) -> None:
    """A run without W&B is sent to it later; --all makes another run of it."""
    run_program("""
        with asynclog.running("run", sinks=[asynclog.JsonlFile()]):
            for step in range(50):
                log.log_metrics({"loss": step}, step=step, split="train")
    """)
    assert "50 records" in replay("wandb", WANDB_MODE="offline")
    assert steps(wandb_runs().rows) == list(range(50))
    assert "50 records" in replay("wandb", "--all", WANDB_MODE="offline")
    assert sorted(steps(wandb_runs().rows)) == sorted([*range(50)] * 2)
    assert len(wandb_runs().ids) == 2


@pytest.mark.slow
def test_online(run_program: Callable[..., Any], wandb_server: Any, run_dir: Path) -> None:
    """Online, W&B's client sends everything to its server, and the key nowhere else."""
    wandb_server.start()
    _, errors = run_program(
        """
        sink = asynclog.Wandb("project", id="one", config={"seed": 1})
        with asynclog.running("run", sinks=[asynclog.JsonlFile(), sink], stop_timeout=60):
            log.log_params({"lr": 0.1})
            for step in range(300):
                value = float("nan") if step == 7 else step
                log.log_metrics({"loss": value}, step=step, split="train")
            image("picture", 200, step=2, split="val")
        """,
        WANDB_BASE_URL=wandb_server.url,
        WANDB_API_KEY=KEY,
    )
    rows = wandb_server.rows["one"]
    assert steps(rows) == list(range(300))
    assert rows[7]["train/loss"] in ("NaN", pytest.approx(math.nan, nan_ok=True))
    assert [row["_step"] for row in rows] == list(range(301))
    assert (wandb_server.config["seed"], wandb_server.config["lr"]) == (1, 0.1)
    assert wandb_server.files[rows[-1]["val/picture"]["path"]].startswith(b"\x89PNG")
    assert wandb_server.exit_codes == [0]
    assert wandb_server.keys == {KEY}
    # where to look at it is said, the key is not
    assert f"{wandb_server.url}/me/project/runs/one" in errors
    assert KEY not in errors
    for path in run_dir.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["collector", "training"])
def test_killed_online(
    whom: str,
    start: Callable[..., subprocess.Popen[str]],
    run_program: Callable[..., Any],
    wandb_server: Any,
) -> None:
    """What was not uploaded when all was killed is uploaded by the next start, images as well."""
    wandb_server.start()
    environment = {"WANDB_BASE_URL": wandb_server.url, "WANDB_API_KEY": KEY}
    sinks = 'sinks=[asynclog.JsonlFile(), asynclog.Wandb("project", id="one")]'
    process = start(
        f"""
        asynclog.start_sync("run", {sinks})
        for step in range(500):
            log.log_metrics({{"loss": step}}, step=step, split="train")
            if step == 200:
                image("picture", 200, step=2, split="val")
            if step == 300:
                asynclog.flush_sync()
                until(lambda: asynclog.stats().sinks["wandb"].written >= 250, "W&B")
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
        asynclog.start_sync("run", {sinks})
        log.log_metrics({{"loss": 9999}}, step=9999, split="train")
        asynclog.stop_sync(60)
        """,
        **environment,
    )
    rows = wandb_server.rows["one"]
    last = 301 if whom == "training" else 500
    assert steps(rows) == [*range(last), 9999]
    assert [row["_step"] for row in rows] == list(range(last + 2))
    [picture] = [row["val/picture"] for row in rows if "val/picture" in row]
    assert wandb_server.files[picture["path"]].startswith(b"\x89PNG")


@pytest.mark.slow
def test_network_comes_back(
    start: Callable[..., subprocess.Popen[str]],
    wandb_server: Any,
    run_dir: Path,
    until: Callable[..., Any],
) -> None:
    """A server that was not there from the start gets everything once it is."""
    process = start(
        """
        sinks = [asynclog.JsonlFile(), asynclog.Wandb("project", id="one")]
        asynclog.start_sync("run", sinks=sinks)
        step = 0
        while not Path("enough").exists():
            log.log_metrics({"loss": step}, step=step, split="train")
            step += 1
            time.sleep(0.01)
        until(lambda: asynclog.stats().sinks["wandb"].written == step, "W&B")
        asynclog.stop_sync(60)
        print(step)
        """,
        WANDB_BASE_URL=wandb_server.url,
        WANDB_API_KEY=KEY,
        WANDB_INIT_TIMEOUT="3",
    )
    file = run_dir / "events.jsonl"
    # longer than W&B tries at a time
    until(lambda: file.exists() and file.stat().st_size > 100_000, "the training, which goes on")
    wandb_server.start()
    until(lambda: "one" in wandb_server.rows, "the run")
    (run_dir.parent / "enough").touch()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert steps(wandb_server.rows["one"]) == list(range(int(output)))


@pytest.mark.slow
def test_died(run_program: Callable[..., Any], wandb_runs: Callable[[], Any]) -> None:
    """A run whose process died is marked as failed; one that was started again is not."""
    for again in ("", "log.log_metrics({'loss': 2}, step=1)"):
        run_program(f"""
            with asynclog.running("run", {SINKS}):
                log.log_metrics({{"loss": 1}}, step=0)
                log.error("asynclog.died", kind=Kind("note"), died="killed")
                {again}
        """)
    assert [end.exit_code for end in wandb_runs().of_kind("exit")] == [1, 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "exit_code", "died"),
    [
        ("os.kill(os.getpid(), 9)", -9, "killed"),
        ("raise RuntimeError('out of data')", 1, "failed"),
        ("pass", 0, None),
    ],
)
def test_process_that_dies(
    end: str,
    exit_code: int,
    died: str | None,
    run_program: Callable[..., Any],
    wandb_runs: Callable[[], Any],
    run_dir: Path,
) -> None:
    """Its run is marked as failed, and a note says how it ended."""
    run_program(
        f"""
        asynclog.start_sync("run", {SINKS})
        log.log_metrics({{"loss": 1}}, step=0)
        {end}
        """,
        exit_code=exit_code,
    )
    assert [end.exit_code for end in wandb_runs().of_kind("exit")] == [1 if died else 0]
    lines = (run_dir / "events.jsonl").read_text(encoding="utf-8").splitlines()
    notes = [event for line in lines if (event := json.loads(line))["kind"] == "note"]
    assert [note.get("died") for note in notes] == ([died] if died else [])


@pytest.mark.slow
def test_rank_that_dies_under_a_launcher(
    run_program: Callable[..., Any], wandb_runs: Callable[[], Any]
) -> None:
    """The launcher's collector marks the run, too."""
    run_program(
        """
        import subprocess
        Path("rank.py").write_text(
            "import os, asynclog\\n"
            "asynclog.start_sync()\\n"
            "asynclog.log_metrics({'loss': 1}, step=0)\\n"
            "asynclog.flush_sync(60)\\n"
            "os.kill(os.getpid(), 9)\\n"
        )
        command = ["-m", "asynclog.cli", "run", "--run-dir", "run", "--sink", "wandb", "--"]
        rank = {**os.environ, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
        done = subprocess.run([sys.executable, *command, sys.executable, "rank.py"], env=rank)
        assert done.returncode == 128 + 9, done
        """,
        WANDB_MODE="offline",
        WANDB_SILENT="true",
    )
    assert [end.exit_code for end in wandb_runs().of_kind("exit")] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["closed", "silent"])
def test_network_gone(
    mode: str,
    run_program: Callable[..., Any],
    replay: Callable[..., str],
    wandb_runs: Callable[[], Any],
    silent_server: str,
    closed_port: str,
    run_dir: Path,
) -> None:
    """Without network, or with a server that never answers, training goes on and nothing is lost.

    The files have what W&B has not got, and replay sends it. The key is shown nowhere.
    """
    output, errors = run_program(
        """
        sinks = [asynclog.JsonlFile(), asynclog.Wandb("project")]
        began = time.monotonic()
        asynclog.start_sync("run", sinks=sinks, stop_timeout=3)
        print("started", time.monotonic() - began)
        slowest = 0.0
        for step in range(200):
            began = time.monotonic()
            log.log_metrics({"loss": step}, step=step, split="train")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.005)
        print("slowest", slowest)
        began = time.monotonic()
        report = asynclog.stop_sync()
        print("stopped", time.monotonic() - began)
        print("unsent", report.sinks["wandb"].dropped["unsent"])
        """,
        WANDB_BASE_URL=silent_server if mode == "silent" else closed_port,
        WANDB_API_KEY=KEY,
        WANDB_INIT_TIMEOUT="3",
    )
    said = dict(line.split() for line in output.splitlines())
    assert float(said["started"]) < 60
    assert float(said["slowest"]) < 10
    assert float(said["stopped"]) < 60
    assert int(said["unsent"]) == 200
    assert (run_dir / "events.jsonl").read_bytes().count(b'"kind":"metrics"') == 200
    assert KEY not in output + errors
    for path in run_dir.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    assert "200 records" in replay("wandb", WANDB_MODE="offline")
    assert steps(wandb_runs().rows) == list(range(200))


@pytest.mark.slow
def test_hangs_for_ever(
    run_program: Callable[..., Any], replay: Callable[..., str], wandb_runs: Callable[[], Any]
) -> None:
    """When W&B's own process hangs, training goes on and ends; so does the collector, in time."""
    output, _ = run_program(
        f"""
        import subprocess
        asynclog.start_sync("run", {SINKS}, stop_timeout=2)
        log.log_metrics({{"loss": 0}}, step=0, split="train")
        until(lambda: asynclog.stats().sinks["wandb"].written, "W&B")
        command = ["pkill", "-STOP", "-f", f"wandb-core .*--pid {{collector()}}( |$)"]
        subprocess.run(command, check=True)
        slowest = 0.0
        for step in range(1, 5000):
            began = time.monotonic()
            log.log_metrics({{"loss": step}}, step=step, split="train")
            slowest = max(slowest, time.monotonic() - began)
        print("slowest", slowest)
        began = time.monotonic()
        asynclog.stop_sync()
        print("stopped", time.monotonic() - began)
        """,
        WANDB_FINISH_TIMEOUT="2",
    )
    said = dict(line.split() for line in output.splitlines())
    assert float(said["slowest"]) < 10
    assert float(said["stopped"]) < 60
    replay("wandb")
    assert steps(wandb_runs().rows) == list(range(5000))


@pytest.mark.slow
def test_sweep(
    run_program: Callable[..., Any], wandb_runs: Callable[[], Any], tmp_path: Path
) -> None:
    """Under a sweep agent the run is the agent's, and the program gets what the agent chose."""
    file = tmp_path / "config-abc.yaml"
    file.write_text("wandb_version: 1\n\nlr:\n  value: 0.1\nlayers:\n  value: [1, 2]\n")
    output, _ = run_program(
        f"""
        params = asynclog.sweep_params()
        with asynclog.running("run", {SINKS}):
            log.log_params({{**params, "seed": 1}})
            log.log_metrics({{"loss": 1}}, step=0)
        print(params)
        """,
        WANDB_SWEEP_ID="sweep",
        WANDB_RUN_ID="ofagent",
        WANDB_SWEEP_PARAM_PATH=str(file),
    )
    assert output.strip() == "{'lr': 0.1, 'layers': [1, 2]}"
    found = wandb_runs()
    assert found.ids == {"ofagent"}
    assert [run.sweep_id for run in found.of_kind("run")] == ["sweep"]
    assert {"lr": 0.1, "layers": [1, 2], "seed": 1}.items() <= found.config.items()


@pytest.mark.slow
def test_without_a_file(run_program: Callable[..., Any], wandb_runs: Callable[[], Any]) -> None:
    """Without a JSONL file the sink is fed from the stream."""
    run_program(f"""
        with asynclog.running("run", sinks=[{WANDB}]):
            for step in range(100):
                log.log_metrics({{"loss": step}}, step=step, split="train")
    """)
    assert steps(wandb_runs().rows) == list(range(100))


@pytest.mark.slow
def test_missing_package(run_program: Callable[..., Any], tmp_path: Path, run_dir: Path) -> None:
    """Without W&B the error says what to install, and training goes on."""
    broken = tmp_path / "broken" / "wandb"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ModuleNotFoundError('gone', name='wandb')")
    _, errors = run_program(
        f"""
        with asynclog.running("run", {SINKS}):
            log.log_metrics({{"loss": 1}}, step=0)
        """,
        PYTHONPATH=str(broken.parent),
    )
    assert "asynclog[wandb]" in errors
    assert (run_dir / "events.jsonl").read_bytes().count(b'"kind":"metrics"') == 1


@pytest.mark.slow
def test_bad_records_are_skipped(
    run_program: Callable[..., Any], wandb_runs: Callable[[], Any]
) -> None:
    """A record that W&B cannot take is complained of, and the others go on."""
    _, errors = run_program(f"""
        with asynclog.running("run", {SINKS}):
            log.log_metrics({{"loss": 0}}, step=0, split="train")
            record("metrics")
            record("metrics", metrics={{"a": "text"}})
            record("text", text="nameless")
            record("histogram", name="h", edges=[1, 2], counts=[1, 2])
            record("image", name="i", path="media/images/gone.png", media="dropped")
            record("artifact", path="/nowhere/at/all", name="x", type="model", aliases=[])
            record("artifact", path=__file__, name="x", type="model", aliases=["a/b:c"])
            log.log_metrics({{"loss": 1}}, step=1, split="train")
            log.log_metrics({{"with*star": 1}}, step=1, split="a*b")
    """)
    assert "is left out" in errors
    rows = wandb_runs().rows
    assert steps(rows) == [0, 1]
    assert rows[-1]["a*b/with*star"] == 1
    assert [row["_step"] for row in rows] == [0, 1, 2]


@pytest.mark.slow
def test_ranks(run_program: Callable[..., Any], wandb_runs: Callable[[], Any]) -> None:
    """Rank 0 and processes without a rank by default; all ranks under names of their own."""
    run_program("""
        for ranks in ("zero", "all"):
            sink = asynclog.Wandb(mode="offline", ranks=ranks, id=ranks)
            with asynclog.running("run", sinks=[asynclog.JsonlFile(), sink]):
                for rank in (None, 0, 1):
                    log.bind(rank=rank).log_metrics({"loss": 1}, step=0, split="train")
    """)
    names = [sorted(name for name in row if name[0] != "_") for row in wandb_runs().rows]
    own = ["train/loss", "train/step"]
    assert names == [own, own, own, own, [f"rank1/{name}" for name in own]]


@pytest.mark.slow
def test_disabled_needs_no_wandb(run_program: Callable[..., Any], run_dir: Path) -> None:
    """A disabled sink does nothing, and imports nothing."""
    for mode, environment in (("mode='disabled'", {}), ("", {"WANDB_MODE": "disabled"})):
        _, errors = run_program(
            f"""
            sys.modules["wandb"] = None
            sinks = [asynclog.JsonlFile(), asynclog.Wandb({mode})]
            with asynclog.running("run", sinks=sinks, collector="thread"):
                log.log_metrics({{"loss": 1}}, step=0)
            """,
            **environment,
        )
        assert errors == ""
    assert not (run_dir / "wandb").exists()


@pytest.mark.slow
def test_in_a_thread_beside_the_programs_own_run(
    run_program: Callable[..., Any], wandb_runs: Callable[[], Any], run_dir: Path
) -> None:
    """With the collector in a thread, the program's own run of W&B is left alone."""
    run_program(
        f"""
        import wandb
        own = wandb.init(project="own", mode="offline", dir=".", settings={{"silent": True}})
        with asynclog.running("run", {SINKS}, collector="thread"):
            log.log_metrics({{"loss": 1}}, step=0, split="train")
            own.log({{"mine": 1}})
        assert wandb.run is own
        own.log({{"mine": 2}})
        own.finish()
        print("done")
        """,
        WANDB_ERROR_REPORTING="false",
    )
    assert steps(wandb_runs().rows) == [0]


def test_settings() -> None:
    """Settings are checked when they are made, and none of them is a key."""
    with pytest.raises(SettingError, match="mode must be one of"):
        Wandb(mode="on")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="resume must be one of"):
        Wandb(resume="auto")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="tags must be a list"):
        Wandb(tags="a")
    with pytest.raises(SettingError, match="config must hold texts"):
        Wandb(config={"a": object()})
    with pytest.raises(SettingError, match="project must be a text"):
        Wandb(project="")
    with pytest.raises(TypeError):
        Wandb(api_key=KEY)  # type: ignore[call-arg]


def test_state_names_the_run(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start takes up the run of the state, unless another one is asked for."""
    run = Run(run_dir, "run", datetime.now(UTC), "host", os.getpid())
    entry = {"kind": "metrics", "metrics": {"loss": 1}, "step": 6}
    state = {"run_id": "before", "rows": 7, "pending": [entry]}

    def restored(**settings: Any) -> dict[str, Any]:
        sink = Wandb(mode="offline", **settings).make()
        sink.open(run)
        sink.restore(state)
        return sink.state()

    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    monkeypatch.setattr("asynclog.sinks.wandb.run.import_backend", lambda *_: None)
    monkeypatch.setattr("asynclog.sinks.wandb.run._prepare", lambda _: None)
    assert restored() == state
    assert restored(id="before") == state
    assert restored(id="other") == {}
    assert restored(resume="never") == {}
    monkeypatch.setenv("WANDB_RUN_ID", "of an agent")
    assert restored() == {}


def test_missing_package_at_once(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening the sink without W&B raises what names the extra."""
    import asynclog.sinks.backend as backend

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(backend, "import_module", missing)
    monkeypatch.setattr("asynclog.sinks.wandb.run._prepare", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"asynclog\[wandb\]"):
        Wandb(mode="offline").make().open(
            Run(run_dir, "run", datetime.now(UTC), "host", os.getpid())
        )
