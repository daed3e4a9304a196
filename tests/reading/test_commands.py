"""The commands that read a run: what they print, in which form, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import asynclog
from asynclog.cli import _checks as checks
from asynclog.cli import main

COMMANDS = ("best", "doctor", "plot", "stats", "tail", "trace")


def run(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def metrics(line: Any, step: int, split: str | None = "train", **fields: Any) -> bytes:
    """Return the line of a step's metrics."""
    values = {name: fields.pop(name) for name in ("loss", "acc") if name in fields}
    about = {} if split is None else {"split": split}
    return line(step, "metrics", kind="metrics", step=step, **about, metrics=values, **fields)


@pytest.fixture
def trained(run_dir: Path, line: Any) -> Path:
    """Return a run of two ranks with metrics, stages, timers, an error and quiet lines."""
    for rank in range(2):
        lines = [line(0, "begins", logger="train")]
        mark = {"kind": "stage", "stage": "epoch"}
        lines += [line(1, "Stage [epoch] - START", **mark, stage_event="start", epoch=0)]
        for step in range(1, 21):
            values = {"loss": (1 + rank) / step, "acc": step / 20}
            lines += [metrics(line, step, rank=rank, quiet=True, **values)]
            about = {"kind": "timer", "timer": "load", "elapsed": 0.25}
            lines += [line(step + 0.5, "Timer [load]: 0.2500s", **about)]
        lines += [metrics(line, 20, "val", rank=rank, quiet=True, loss=0.5 - rank / 10)]
        end = {"stage_event": "end", "epoch": 0, "elapsed": 20.0}
        lines += [line(21, "Stage [epoch] - END (20.0s)", **mark, **end)]
        if rank:
            error = {"type": "ValueError", "message": "bad", "frames": []}
            lines += [line(22, "failed", "error", logger="train", exception=error)]
        line.write(run_dir / ("events_rank1.jsonl" if rank else "events.jsonl"), lines)
    return run_dir


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_exit_codes(command: str):
    """The help of each command has examples that can be copied, and says how it ends."""
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"Examples:\n    asynclog {command}" in done.output
    assert "Exit codes:\n    0  " in done.output
    assert "--json" in done.output
    assert all(len(line) <= 80 for line in done.output.splitlines())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_levels(shell: str):
    """What click offers to shells knows our commands and the values of their options."""
    command = [sys.executable, "-c", "from asynclog.cli import main; main(prog_name='asynclog')"]
    environment = {**os.environ, "_ASYNCLOG_COMPLETE": f"{shell}_source"}
    source = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    assert b"_ASYNCLOG_COMPLETE" in source.stdout
    environment |= {"_ASYNCLOG_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    environment["COMP_WORDS"] = "asynclog tail --level w"
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    assert done.stdout == b"plain,warning\n"


@pytest.mark.parametrize("command", ["best", "plot", "stats", "tail", "trace"])
def test_no_run(command: str, run_dir: Path):
    """A run that is not there is exit code 2, and one line says what to give."""
    done = run(command, run_dir)
    assert done.exit_code == 2
    assert done.output == (
        f"Error: {run_dir} does not exist. Give a run directory, or a file of events.\n"
    )


class TestTail:
    """`asynclog tail` shows what the console would have shown, of all ranks."""

    def test_as_the_console_shows_it(self, trained: Path):
        """Lines are in order, say which rank they are of, and bring their exception along."""
        done = run("tail", trained, "-n", 2)
        assert done.exit_code == 0, done.output
        stage, error, *traceback = done.stdout.splitlines()
        assert stage.endswith(" - INFO - [rank 1] Stage [epoch] - END (20.0s)")
        assert error.endswith(" - ERROR - [rank 1] failed  logger=train")
        assert traceback == ["    ValueError: bad"]

    def test_quiet_lines(self, trained: Path):
        """Metrics are shown with --all, or when they are asked for."""
        assert "loss" not in run("tail", trained, "-n", 1000).stdout
        assert run("tail", trained, "-n", 1000, "--all").stdout.count("loss=") == 42
        shown = run("tail", trained, "--kind", "metrics", "-n", 1).stdout
        assert "step 20 val: loss=0.4" in shown

    def test_json(self, trained: Path):
        """--json writes the records, one a line."""
        done = run("tail", trained, "--json", "--level", "error")
        [record] = map(json.loads, done.stdout.splitlines())
        assert (record["event"], record["rank"]) == ("failed", 1)

    @pytest.mark.parametrize(
        ("options", "count"),
        [
            (["--ranks", "0"], 23),
            (["--ranks", "1", "--level", "info"], 24),
            (["--logger", "train"], 3),
            (["--logger", "tra"], 0),
            (["--where", 'event == "begins"'], 2),
            (["--where", "exception.type == 'ValueError'"], 1),
            (["--since", "2026-01-31T12:00:21Z"], 3),
            (["--until", "2026-01-31T12:00:01Z"], 2),
        ],
    )
    def test_filters(self, trained: Path, options: list[str], count: int):
        """Rank, level, logger, time and fields choose what is shown."""
        done = run("tail", trained, "-n", 100, "--json", *options)
        assert len([*map(json.loads, done.stdout.splitlines())]) == count

    @pytest.mark.parametrize(
        "options",
        [
            ["--level", "loud"],
            ["--ranks", "x"],
            ["--since", "yesterday"],
            ["--where", "status >="],
            ["--where", "print(1)"],
            ["--kind", "nothing"],
            ["-n", "-1"],
        ],
    )
    def test_wrong_arguments(self, trained: Path, options: list[str]):
        """Each is exit code 2 and told in a line."""
        done = run("tail", trained, *options)
        assert done.exit_code == 2
        assert "Error: " in done.output

    def test_control_characters_stay_harmless(self, run_dir: Path, line: Any):
        """What a record holds cannot colour the terminal or end a line, as text and as JSON."""
        line.write(run_dir / "events.jsonl", [line(0, "\x1b[31mred\n\x9b2J")])
        for options in ([], ["--json"]):
            out = run("tail", run_dir, *options).stdout_bytes
            assert b"\x1b" not in out
            assert b"\xc2\x9b" not in out
            assert out.count(b"\n") == 1

    def test_nobody_reads_on(self, run_dir: Path, line: Any):
        """A pipe that is closed early ends the command without a word."""
        line.write(run_dir / "events.jsonl", [line(n, "x" * 500) for n in range(5000)])
        command = [sys.executable, "-m", "asynclog.cli", "tail", str(run_dir), "-n", "5000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
            assert tail.stdout is not None
            assert tail.stderr is not None
            tail.stdout.readline()
            tail.stdout.close()
            assert tail.stderr.read() == b""
            assert tail.wait(60) == 0

    def test_torn_lines_are_told(self, run_dir: Path, line: Any):
        """What could not be read is counted on stderr."""
        line.write(run_dir / "events.jsonl", [line(0), b'{"timestamp":"20\n', line(1)])
        done = run("tail", run_dir)
        assert done.exit_code == 0
        assert "1 line left out: no records\n" in done.output


class TestBest:
    """`asynclog best` shows the best value of each metric."""

    def test_over_ranks(self, trained: Path):
        """The best of all ranks, with the rank that has it."""
        done = run("best", trained)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines() == [
            "METRIC            BEST  STEP  RANK",
            "train/acc (max)      1    20     0",
            "train/loss (min)  0.05    20     0",
            "val/loss (min)     0.4    20     1",
        ]

    def test_of_several_runs(self, tmp_path: Path, line: Any):
        """Of each metric the best run comes first."""
        runs = [tmp_path / name for name in ("a", "b", "c")]
        for path, loss in zip(runs, (0.3, 0.1, 0.2), strict=True):
            line.write(path / "events.jsonl", [metrics(line, 1, None, loss=loss)])
        done = run("best", *runs, "--metric", "loss", "--json")
        found = json.loads(done.stdout)
        assert [(each["run"], each["value"]) for each in found] == [
            (str(runs[1]), 0.1),
            (str(runs[2]), 0.2),
            (str(runs[0]), 0.3),
        ]

    def test_what_was_rotated_away(self, run_dir: Path):
        """A best.json knows better than the records that are left."""
        with asynclog.running(run_dir, sinks=[asynclog.JsonlFile(), asynclog.Best()]):
            asynclog.log_metrics({"loss": 0.25}, step=1, split="val")
        (run_dir / "events.jsonl").write_bytes(b"")
        assert json.loads(run("best", run_dir, "--json").stdout) == [
            {
                "metric": "val/loss",
                "run": str(run_dir),
                "value": 0.25,
                "step": 1,
                "mode": "min",
                "rank": None,
            }
        ]

    def test_no_such_metric(self, trained: Path):
        """Nothing found is exit code 1."""
        assert run("best", trained, "--metric", "zz").exit_code == 1
        assert run("best", trained, "--metric", "val/*").exit_code == 0


class TestPlot:
    """`asynclog plot` draws metrics in the terminal."""

    def test_draws(self, trained: Path):
        """A chart for each metric: its name, its lines, and what they are."""
        pytest.importorskip("plotext")
        done = run("plot", trained)
        assert done.exit_code == 0, done.output
        assert "loss" in done.stdout
        assert "train, mean of 2 ranks: 0.075" in done.stdout
        assert "val, mean of 2 ranks: 0.45" in done.stdout
        assert "\x1b" not in done.stdout

    def test_colours(self, trained: Path, monkeypatch: pytest.MonkeyPatch):
        """In colours where the terminal takes them."""
        pytest.importorskip("plotext")
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b[" in run("plot", trained, "--metric", "loss").stdout

    @pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [1e-9, 3e-9], [-5e12, 5e12], [0, 0]])
    def test_any_range_is_drawn(self, run_dir: Path, line: Any, values: list[float]):
        """One value, equal ones, very small and very large ones have a chart, too."""
        pytest.importorskip("plotext")
        lines = [metrics(line, step, loss=value) for step, value in enumerate(values)]
        line.write(run_dir / "events.jsonl", lines)
        assert run("plot", run_dir).exit_code == 0

    def test_nothing_finite(self, run_dir: Path, line: Any):
        """A metric that is always NaN is named, and not drawn."""
        pytest.importorskip("plotext")
        line.write(run_dir / "events.jsonl", [metrics(line, 1, loss="NaN")])
        assert run("plot", run_dir).exit_code == 0

    def test_json(self, trained: Path):
        """--json writes the points; nothing has to be installed for it."""
        done = run("plot", trained, "--metric", "val/loss", "--json")
        [curve] = json.loads(done.stdout)
        assert (curve["metric"], curve["split"], curve["ranks"]) == ("loss", "val", [0, 1])
        assert (curve["step"], curve["low"], curve["high"]) == ([20.0], [0.4], [0.5])

    def test_without_plotext(self, trained: Path, monkeypatch: pytest.MonkeyPatch):
        """What has to be installed is said, with exit code 2."""
        monkeypatch.setitem(sys.modules, "plotext", None)
        done = run("plot", trained)
        assert done.exit_code == 2
        assert "pip install 'asynclog[plot]'" in done.output


class TestStats:
    """`asynclog stats` says what a run consists of."""

    def test_counts(self, trained: Path):
        """Records by what they are, of both ranks, with files and times."""
        done = run("stats", trained, "--json")
        assert done.exit_code == 0
        found = json.loads(done.stdout)
        assert (found["events"], found["seconds"]) == (89, 22.0)
        assert found["level"] == {"info": 88, "error": 1}
        assert found["kind"] == {"log": 3, "stage": 4, "metrics": 42, "timer": 40}
        assert found["exception"] == {"ValueError": 1}
        assert found["metrics"] == {"train/loss": 40, "train/acc": 40, "val/loss": 2}
        assert (found["files"], found["rings"]) == (2, [])
        text = run("stats", trained).stdout
        assert "records           89\n" in text
        assert "level             error 1, info 88\n" in text

    def test_what_is_missing(self, run_dir: Path, line: Any):
        """Lost and torn lines are exit code 1."""
        note = {"kind": "note", "where": "intake", "dropped": {"full": 3}, "total": 3}
        line.write(run_dir / "events.jsonl", [line(0, "asynclog.dropped", "warning", **note)])
        done = run("stats", run_dir)
        assert done.exit_code == 1
        assert "dropped           intake: full 3" in done.stdout

    def test_rings(self, run_dir: Path, line: Any, spool_dir: Path):
        """What a killed process has left is told, and stays."""
        line.of_a_killed_process(run_dir)
        done = run("stats", run_dir, "--json")
        [ring] = json.loads(done.stdout)["rings"]
        assert not ring["alive"]
        assert ring["waiting"] > 1000
        assert len([*spool_dir.rglob("*.ring")]) == 1
        assert run("recover", run_dir).exit_code == 0


class TestTrace:
    """`asynclog trace` writes a trace that Perfetto opens."""

    def test_stages_and_timers_of_ranks(self, trained: Path, tmp_path: Path):
        """Each rank is a process; what is in a stage lies in it."""
        path = tmp_path / "out.json"
        done = run("trace", trained, "--output", path, "--json")
        assert json.loads(done.stdout) == {"file": str(path), "slices": 42, "processes": 2}
        assert path.stat().st_mode & 0o777 == 0o640
        events = json.loads(path.read_bytes())["traceEvents"]
        names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
        assert sorted(names.values()) == ["rank 1", "run"]
        [stage] = [e for e in events if e.get("cat") == "stage" and names[e["pid"]] == "rank 1"]
        assert (stage["name"], stage["dur"], stage["args"]["epoch"]) == ("epoch", 20e6, 0)
        assert {e["tid"] for e in events if e["ph"] == "X"} == {1}

    def test_to_stdout(self, trained: Path):
        """With - the trace goes to stdout, and nothing else does."""
        command = [sys.executable, "-m", "asynclog.cli", "trace", str(trained), "-o", "-"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        assert len(json.loads(done.stdout)["traceEvents"]) == 46

    def test_nothing_to_trace(self, run_dir: Path, line: Any, tmp_path: Path):
        """A run without stages leaves no file; exit code 1."""
        line.write(run_dir / "events.jsonl", [line(0)])
        assert run("trace", run_dir, "-o", tmp_path / "t.json").exit_code == 1
        assert not (tmp_path / "t.json").exists()


class TestDoctor:
    """`asynclog doctor` looks at the machine, and says what to do."""

    def test_as_json(self, spool_dir: Path):
        """Every check has a name, a grade, what was found and what to do."""
        del spool_dir
        found = json.loads(run("doctor", "--json").stdout)
        assert {check["name"] for check in found} >= {"python", "versions", "spool", "rings"}
        assert {check["grade"] for check in found} <= {"ok", "note", "warning", "problem"}

    def test_what_killed_processes_left(self, run_dir: Path, line: Any, spool_dir: Path):
        """Rings that nobody collects are found, and the command that brings them back is told."""
        line.of_a_killed_process(run_dir)
        done = run("doctor")
        assert done.exit_code == 1
        assert f"asynclog recover {run_dir} --spool-dir {spool_dir}" in done.stdout
        run("recover", run_dir)
        assert "none left behind" in run("doctor").stdout

    def test_a_ring_of_a_living_process(self, run_dir: Path):
        """While a collector is there nothing is stale."""
        with asynclog.running(run_dir, sinks=[asynclog.JsonlFile()]):
            asynclog.get_logger().info("x")
            assert "1 of living processes, none left behind" in run("doctor").stdout

    def test_a_wrong_setting(self, monkeypatch: pytest.MonkeyPatch):
        """What a start would refuse is found here."""
        monkeypatch.setenv("ASYNCLOG_RING_SIZE", "huge")
        done = run("doctor")
        assert done.exit_code == 1
        assert "ASYNCLOG_RING_SIZE must be a size" in done.stdout

    @pytest.mark.parametrize(
        ("environment", "grade", "word"),
        [
            ({}, "ok", "no distributed job"),
            ({"RANK": "3", "LOCAL_RANK": "1"}, "ok", "rank 3"),
            ({"RANK": "3", "SLURM_PROCID": "0"}, "note", "RANK is used"),
            ({"SLURM_PROCID": "1", "PMI_RANK": "2"}, "warning", "SLURM_PROCID is used"),
            ({"LOCAL_RANK": "1", "WORLD_SIZE": "8"}, "note", "no rank"),
            ({"RANK": "first"}, "warning", "no number"),
        ],
    )
    def test_ranks(self, environment: dict[str, str], grade: str, word: str):
        """What launchers say of ranks is told, and where they disagree."""
        [check] = checks.ranks(environment)
        assert check.grade == grade
        assert word in check.found

    @pytest.mark.parametrize(
        ("kind", "grade"),
        [
            ("tmpfs", ("ok", "note", "warning")),
            ("nfs4", ("problem",)),
            ("fuse.sshfs", ("problem",)),
        ],
    )
    def test_where_the_rings_lie(self, tmp_path: Path, kind: str, grade: tuple[str, ...]):
        """A spool on a network disk stops programs when that stalls."""
        mounts = f"22 1 0:1 / / rw - ext4 /dev/a rw\n23 22 0:2 / {tmp_path} rw - {kind} x rw\n"
        [check] = checks.shared_memory(tmp_path, {}, mounts)
        assert check.grade in grade
        assert f"{tmp_path}: {kind}, " in check.found

    def test_little_shared_memory(self, tmp_path: Path):
        """Where rings do not fit, it is said how many do."""
        [check] = checks.shared_memory(tmp_path, {"ASYNCLOG_RING_SIZE": "1 GiB"}, "")
        room = os.statvfs(tmp_path)
        if room.f_bavail * room.f_frsize < 4 << 30:
            assert check.grade == "warning"
        assert "free" in check.found

    def test_a_spool_that_others_may_write(self, spool_dir: Path):
        """A spool that is refused is found before a start finds it."""
        root = spool_dir / f"asynclog-{os.getuid()}"
        root.mkdir()
        root.chmod(0o777)
        [check] = checks.spool_rights(spool_dir)
        assert check.grade == "problem"
        assert "must be closed to others" in check.found

    def test_remove_ipc(self, tmp_path: Path):
        """systemd's habit of removing shared memory at logout is told to those it concerns."""
        (tmp_path / "logind.conf.d").mkdir()
        places = {"etc": tmp_path, "running": tmp_path, "lingering": tmp_path}
        [check] = checks.remove_ipc(None, 12345, **places)
        assert (check.grade, "loginctl enable-linger" in check.advice) == ("warning", True)
        [check] = checks.remove_ipc(None, 100, **places)
        assert check.grade == "ok"
        [check] = checks.remove_ipc(Path("/mnt/spool"), 12345, **places)
        assert check.grade == "ok"
        (tmp_path / "logind.conf.d" / "x.conf").write_text("[Login]\nRemoveIPC=no\n")
        [check] = checks.remove_ipc(None, 12345, **places)
        assert check.grade == "ok"

    def test_a_run_directory(self, run_dir: Path):
        """What recovery has set aside is told."""
        assert {check.grade for check in checks.run_directory(run_dir)} <= {"ok", "warning"}
        run_dir.mkdir()
        (run_dir / "quarantine.log").write_bytes(b"x")
        found = [check for check in checks.run_directory(run_dir) if check.name == "quarantine"]
        assert [check.grade for check in found] == ["warning"]
