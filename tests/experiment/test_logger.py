"""ExperimentLogger: everything that an experiment logs, in files of its own."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import asynclog
from asynclog.exceptions import SettingError
from asynclog.experiment import ExperimentLogger
from asynclog.experiment import handover as handover_module
from asynclog.experiment.handover import Handover

Make = Callable[..., ExperimentLogger]
Read = Callable[[Path], list[dict[str, Any]]]


def text_of(path: Path) -> list[str]:
    """Return the lines of a text file without their times."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - ", line) for line in lines)
    return [line[22:] for line in lines]


def csv_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file without their times."""
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    assert header == ["step", "split", "name", "value", "wall_time"]
    assert all(abs(float(row[4]) - time.time()) < 3600 for row in rows)
    return [row[:4] for row in rows]


def test_the_files(make_logger: Make, run_dir: Path, read: Read) -> None:
    """Messages, fields, metrics and best values are in the four files, and nothing else is."""
    logger = make_logger(run_id="exp1")
    assert logger.run_dir == run_dir
    assert (logger.rank, logger.run_id) == (0, "exp1")
    logger.info("Training started")
    logger.debug("not shown")
    logger.warning("LR %s", "high", lr=0.1)
    logger.error("NaN detected")
    logger.log("generic", level="WARNING", n=1)
    logger.log("generic")
    logger.log_metric(step=0, split="train", name="loss", value=0.5)
    logger.log_metric(1, "val", "accuracy", 0.95)
    logger.close()
    assert text_of(run_dir / "exp.log") == [
        "INFO - Training started",
        "WARNING - LR high  lr=0.1",
        "ERROR - NaN detected",
        "WARNING - generic  n=1",
        "INFO - generic",
    ]
    found = read(run_dir / "events.jsonl")
    assert [record["event"] for record in found][-2:] == ["metrics", "metrics"]
    assert {record["run_id"] for record in found} == {"exp1"}
    assert found[-1]["metrics"] == {"accuracy": 0.95}
    assert csv_rows(run_dir / "metrics.csv") == [
        ["0", "train", "loss", "0.5"],
        ["1", "val", "accuracy", "0.95"],
    ]
    assert json.loads((run_dir / "best.json").read_text()) == {
        "train/loss": {"value": 0.5, "step": 0, "mode": "min"},
        "val/accuracy": {"value": 0.95, "step": 1, "mode": "max"},
    }
    names = {path.name for path in run_dir.iterdir() if not path.name.startswith(".")}
    assert names == {"best.json", "events.jsonl", "exp.log", "metrics.csv"}


def test_close_reports(make_logger: Make) -> None:
    """Closing says what became of every record, once and again."""
    logger = make_logger()
    for _ in range(5):
        logger.info("x")
    report = logger.close()
    assert (report.accepted, report.written) == (5, 5)
    assert logger.close() == report


def test_with_block(run_dir: Path) -> None:
    """A block closes it, also when it raises."""
    with (
        pytest.raises(ZeroDivisionError),
        ExperimentLogger(run_dir, console_output=False) as logger,
    ):
        logger.info("inside", n=1 / 0)
    logger.info("after")
    assert text_of(run_dir / "exp.log") == []


@pytest.mark.anyio
async def test_on_event_loops(run_dir: Path, read: Read) -> None:
    """It is made, used and closed within a running loop; tasks have stages of their own."""
    async with ExperimentLogger(str(run_dir), console_output=False) as logger:

        async def work(number: int) -> None:
            outer = logger.stage("task", number=number)
            async with outer, logger.stage(f"t{number}"), logger.timer("t"):
                await anyio.lowlevel.checkpoint()
                await anyio.to_thread.run_sync(logger.info, "tick")

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(work, number)
        assert logger.flush()
        assert len(text_of(run_dir / "exp.log")) == 3 * 6
    found = read(run_dir / "events.jsonl")
    ticks = [record["stage"] for record in found if record["event"] == "tick"]
    assert sorted(ticks) == [f"task/t{number}" for number in range(3)]


@pytest.mark.anyio
async def test_closed_within_a_loop(run_dir: Path) -> None:
    """The blocking way works there, too."""
    with ExperimentLogger(run_dir, console_output=False) as logger:
        logger.info("x")
    logger = ExperimentLogger(run_dir, console_output=False)
    logger.info("y")
    await logger.aclose()
    assert text_of(run_dir / "exp.log") == ["INFO - x", "INFO - y"]


def test_messages_of_stages_and_timers(make_logger: Make, run_dir: Path, read: Read) -> None:
    """The texts are as they always were, and the fields say the same."""
    logger = make_logger()
    with logger.stage("epoch", epoch=5, lr=0.001) as outer:
        with logger.stage("train") as inner, logger.timer("data_loading") as timed:
            logger.info("inside")
        with logger.timer("silent", log_result=False) as silent:
            pass
    logger.close()
    lines = text_of(run_dir / "exp.log")
    assert lines[:3] == [
        "INFO - Stage [epoch] (epoch=5, lr=0.001) - START",
        "INFO - Stage [epoch/train] - START",
        "INFO - inside  stage=epoch/train",
    ]
    assert lines[3].startswith(f"INFO - Timer [data_loading]: {timed['elapsed']:.4f}s")
    assert lines[4:] == [
        f"INFO - Stage [epoch/train] - END ({inner['elapsed']:.4f}s)",
        f"INFO - Stage [epoch] - END ({outer['elapsed']:.4f}s)",
    ]
    assert silent["elapsed"] > 0
    found = read(run_dir / "events.jsonl")
    assert [record.get("stage_event") for record in found] == [
        "start",
        "start",
        None,
        None,
        "end",
        "end",
    ]
    assert (found[0]["epoch"], found[0]["lr"], found[-1]["elapsed"]) == (5, 0.001, outer.elapsed)
    assert found[2]["stage"] == found[3]["stage"] == "epoch/train"
    assert (outer["name"], outer["metadata"]) == ("epoch", {"epoch": 5, "lr": 0.001})


def test_two_experiments_do_not_mix(make_logger: Make, tmp_path: Path, read: Read) -> None:
    """Records, stages, quiet blocks, counters, levels and best values are each one's own."""
    a, b = make_logger(tmp_path / "a", run_id="a"), make_logger(tmp_path / "b", run_id="b")
    b.set_log_level("DEBUG")
    for number in range(2):
        with a.stage("outer"), b.stage("other"), a.stage("inner"), a.log_every(2, key="k") as due:
            assert due is (number == 0)
            a.info("x", number=number)
            b.info("x", number=number)
            a.debug("y")
            b.debug("y")
            assert b.should_run(2, key="k") is (number == 0)
    a.log_metric(0, "val", "loss", 1.0)
    b.log_metric(0, "val", "loss", 2.0)
    assert a.get_best_metric("loss") == {"value": 1.0, "step": 0, "mode": "min"}
    assert b.get_best_metric("loss") == {"value": 2.0, "step": 0, "mode": "min"}
    assert asynclog.get_best_metric("loss") is None
    for logger, name in ((a, "a"), (b, "b")):
        logger.close()
        found = read(tmp_path / name / "events.jsonl")
        assert {record["run_id"] for record in found} == {name}
    in_a, in_b = (
        [r for r in read(tmp_path / name / "events.jsonl") if r["event"] in "xy"] for name in "ab"
    )
    assert [(r["stage"], r.get("quiet")) for r in in_a] == [
        ("outer/inner", None),
        ("outer/inner", True),
    ]
    assert [(r["event"], r["stage"], r.get("quiet")) for r in in_b] == [
        ("x", "other", None),
        ("y", "other", None),
    ] * 2
    assert csv_rows(tmp_path / "b" / "metrics.csv") == [["0", "val", "loss", "2.0"]]


def test_beside_the_default_pipeline(
    make_logger: Make, run_dir: Path, tmp_path: Path, read: Read
) -> None:
    """A stage of the whole program shows in an experiment, the experiment's in no other logger."""
    with asynclog.running(tmp_path / "logs", sinks=[asynclog.JsonlFile()]):
        logger = make_logger()
        with asynclog.stage("sweep"):
            logger.info("x")
            with logger.stage("epoch"):
                logger.info("x")
                asynclog.get_logger().info("mine")
        logger.close()
    stages = [
        record["stage"] for record in read(run_dir / "events.jsonl") if record["event"] == "x"
    ]
    assert stages == ["sweep", "epoch"]
    [mine] = [r for r in read(tmp_path / "logs" / "events.jsonl") if r["event"] == "mine"]
    assert mine["stage"] == "sweep"


def test_metrics_of_any_kind(make_logger: Make, run_dir: Path) -> None:
    """Step 0 is a step; NaN is in the table and never best; modes and track_best are heeded."""
    numpy = pytest.importorskip("numpy")
    logger = make_logger()
    logger.log_metric(0, "train", "loss", float("nan"))
    logger.log_metric(numpy.int64(1), "train", "loss", numpy.float32(0.5))
    logger.log_metric(2, "train", "loss", numpy.array([0.25]), track_best=False)
    logger.log_metric(3, "train", "odd", 1, mode="max")
    logger.log_metric(4, "train", "odd", 7)
    logger.log_metric(None, None, "total", True)
    assert logger.get_best_metric("loss", split="train") == {"value": 0.5, "step": 1, "mode": "min"}
    assert logger.get_best_metric("odd", "train") == {"value": 7, "step": 4, "mode": "max"}
    assert logger.get_best_metric("loss") is None
    assert logger.get_best_metric("total", None) is not None
    logger.close()
    assert csv_rows(run_dir / "metrics.csv") == [
        ["0", "train", "loss", "NaN"],
        ["1", "train", "loss", "0.5"],
        ["2", "train", "loss", "0.25"],
        ["3", "train", "odd", "1"],
        ["4", "train", "odd", "7"],
        ["", "", "total", "1"],
    ]
    best = json.loads((run_dir / "best.json").read_text())
    assert {key: entry["value"] for key, entry in best.items()} == {
        "total": 1,
        "train/loss": 0.5,
        "train/odd": 7,
    }


def test_no_number_raises_nothing(make_logger: Make, run_dir: Path, read: Read) -> None:
    """What is no number is named in the record."""
    logger = make_logger()
    wrong: Any
    for wrong in (object(), None, [1, 2]):
        logger.log_metric(wrong, wrong, wrong, wrong, mode=wrong, total_steps=wrong)
    logger.close()
    assert all("log_error" in record for record in read(run_dir / "events.jsonl"))


def test_progress(make_logger: Make, run_dir: Path, read: Read) -> None:
    """With a total, a twentieth of the way apart, the log says how far it is."""
    logger = make_logger()
    for step in range(41):
        logger.log_metric(step, "train", "loss", 1.0, total_steps=40)
        logger.log_metric(step, "val", "loss", 1.0, total_steps=40, eta_key="other")
    logger.close()
    found = [r for r in read(run_dir / "events.jsonl") if r["event"].startswith("Progress [train/")]
    assert [record["step"] for record in found] == list(range(2, 41, 2))
    assert found[0]["event"].startswith("Progress [train/loss]: 2/40 (5.0%) | Elapsed: 0s | ETA: ")
    assert found[-1]["progress"] == 100.0
    assert found[-1]["eta_seconds"] == 0.0
    assert "INFO - Progress [val/loss]: 40/40 (100.0%) | Elapsed: 0s | ETA: 0s" in text_of(
        run_dir / "exp.log"
    )


def test_log_every(
    make_logger: Make, run_dir: Path, capfd: pytest.CaptureFixture[str], read: Read
) -> None:
    """The console shows each tenth, the files have all; places count apart."""
    logger = make_logger(console_output=True)
    for step in range(20):
        with logger.log_every(every=10) as due:
            logger.info(f"Step {step}")
            assert due is (step % 10 == 0)
        with logger.log_every(every=15):
            logger.info(f"Other {step}")
        if logger.should_run(every=7):
            logger.info(f"Seventh {step}")
    with logger.log_every(seconds=3600), logger.log_every(every=1):
        logger.info("timed")
    logger.close()
    shown = [line[29:] for line in capfd.readouterr().out.splitlines()]
    assert shown == [
        "Step 0",
        "Other 0",
        "Seventh 0",
        "Seventh 7",
        "Step 10",
        "Seventh 14",
        "Other 15",
        "timed",
    ]
    assert len(text_of(run_dir / "exp.log")) == len(read(run_dir / "events.jsonl")) == 44
    with pytest.raises(ValueError, match="every must be given, or else seconds"):
        logger.should_run()


def test_console(make_logger: Make, capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """Rank 0 is on stdout, coloured where colours are wanted; who it is need not be said."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    logger = make_logger(run_id="exp1", console_output=True)
    logger.error("bad", n=1)
    logger.log_metric(0, "train", "loss", 1.0)
    logger.close()
    out = capfd.readouterr().out
    assert "\x1b[31mERROR\x1b[0m - bad" in out
    assert "n=\x1b[0m1" in out.replace("\x1b[2m", "")
    assert "exp1" not in out
    assert "loss" not in out


def test_no_console(make_logger: Make, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is shown when nobody wants it, and nothing of other ranks."""
    for options in ({"console_output": False}, {"console_output": True, "rank": 1}):
        logger = make_logger(**options)
        logger.error("bad")
        logger.close()
    assert capfd.readouterr() == ("", "")


def test_a_collector_process(
    make_logger: Make,
    run_dir: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a collector in a process of its own it is the same, the console included."""
    monkeypatch.setenv("ASYNCLOG_COLLECTOR", "process")
    logger = make_logger(run_id="exp1", console_output=True)
    with logger.stage("epoch"):
        for step in range(10):
            logger.log_metric(step, "val", "loss", step)
        logger.info("hello")
    logger.close()
    shown = [line[22:] for line in capfd.readouterr().out.splitlines()]
    assert shown[:2] == ["INFO - Stage [epoch] - START", "INFO - hello  stage=epoch"]
    assert text_of(run_dir / "exp.log") == shown
    assert len(csv_rows(run_dir / "metrics.csv")) == 10
    assert json.loads((run_dir / "best.json").read_text())["val/loss"]["value"] == 0


def test_log_dict(make_logger: Make, run_dir: Path, capfd: Any, read: Read) -> None:
    """A mapping is one record, off the console; its message is the text."""
    logger = make_logger(console_output=True)
    logger.log_dict({"loss": 0.5, "nested": {"a": [1]}, 5: "five"})  # type: ignore[dict-item]
    logger.log_dict({"message": "summary", "level": "odd"}, level="WARNING")
    logger.log_dict({"event": "named", "kind": "x"})
    logger.log_dict({"n": 1}, level="DEBUG")
    logger.close()
    first, second, third = read(run_dir / "events.jsonl")
    assert (first["event"], first["loss"], first["nested"], first["5"]) == (
        "",
        0.5,
        {"a": [1]},
        "five",
    )
    assert (second["event"], second["level"], second["level_"]) == ("summary", "warning", "odd")
    assert (third["event"], third["kind_"]) == ("named", "x")
    assert capfd.readouterr().out == ""


def test_save_metadata(make_logger: Make, run_dir: Path) -> None:
    """It is there at once, strict JSON whatever the values are, replaced as a whole."""
    logger = make_logger()
    logger.save_metadata({"old": "x" * 1000})
    logger.save_metadata(
        {
            "lr": 0.1,
            "bad": float("nan"),
            "path": Path("a/b"),
            "set": {1.5},
            "t": (1, None),
            3: True,
            "u": "ä\udcff",
        }  # type: ignore[dict-item]
    )

    def refuse(name: str) -> None:
        raise AssertionError(name)

    found = json.loads((run_dir / "metadata.json").read_text(), parse_constant=refuse)
    assert found == {
        "lr": 0.1,
        "bad": "NaN",
        "path": "a/b",
        "set": [1.5],
        "t": [1, None],
        "3": True,
        "u": "ä\udcff",
    }
    logger.save_metadata({"a": 1}, filename="deep/other.json")
    assert json.loads((run_dir / "deep" / "other.json").read_text()) == {"a": 1}
    for name in ("../x.json", "/abs.json", ""):
        with pytest.raises(SettingError, match="filename must"):
            logger.save_metadata({}, filename=name)


def test_levels(make_logger: Make, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The level is given, taken from the environment, and changed at run time."""
    monkeypatch.setenv("ASYNCLOG_LEVEL", "ERROR")
    logger = make_logger()
    logger.info("a")
    logger.set_log_level("debug")
    logger.debug("b")
    logger.set_log_level("WARNING")
    logger.log("c", "INFO")
    logger.log("d", logging.ERROR)
    logger.close()
    other = make_logger(log_level="DEBUG")
    other.debug("e")
    other.close()
    assert [line[-1] for line in text_of(run_dir / "exp.log")] == ["b", "d", "e"]
    for wrong in ("LOUD", -5):
        with pytest.raises(SettingError, match="level must"):
            make_logger(log_level=wrong)
        with pytest.raises(SettingError, match="level must"):
            logger.set_log_level(wrong)


def test_deprecated_names(make_logger: Make, run_dir: Path) -> None:
    """The old names work, and say which ones to use."""
    logger = make_logger()
    found = []
    for _ in range(3):
        with pytest.warns(DeprecationWarning, match=r"do_every\(\) is deprecated, use should_run"):
            block = logger.do_every(every=2)
        with block as due:
            found.append(due)
    assert found == [True, False, True]
    with pytest.warns(DeprecationWarning, match=r"profile\(\) is deprecated, use timer") as caught:
        block = logger.profile("old", memory=True)
    assert caught[0].filename == __file__
    with block as result:
        pass
    assert result["elapsed"] > 0
    logger.close()
    assert "Timer [old]: " in (run_dir / "exp.log").read_text()


# Ranks


def test_other_ranks(make_logger: Make, run_dir: Path, read: Read) -> None:
    """Ranks share a directory, whoever collects: each has files of its own."""
    loggers = [make_logger(rank=rank) for rank in (1, 0, 2)]
    for logger in loggers:
        logger.info("hello")
        logger.log_metric(logger.rank, "val", "loss", logger.rank)
        with logger.stage("s"):
            pass
    for logger in loggers:
        logger.close()
    for rank, end in ((0, ""), (1, "_rank1"), (2, "_rank2")):
        found = read(run_dir / f"events{end}.jsonl")
        assert [record["event"][:5] for record in found] == ["hello", "metri", "Stage", "Stage"]
        assert {record.get("rank", 0) for record in found} == {rank}
        assert text_of(run_dir / f"exp{end}.log")[0] == "INFO - hello"
        assert len(text_of(run_dir / f"exp{end}.log")) == 3
        assert csv_rows(run_dir / f"metrics{end}.csv") == [[f"{rank}", "val", "loss", f"{rank}"]]
        best = json.loads((run_dir / f"best{end}.json").read_text())
        assert best["val/loss"]["value"] == rank


@pytest.mark.parametrize(
    ("variable", "given", "wanted"), [("3", None, 3), ("3", 0, 0), ("3", 5, 5), ("0", None, 0)]
)
def test_rank_of_the_environment(
    variable: str,
    given: int | None,
    wanted: int,
    make_logger: Make,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Read,
) -> None:
    """The launcher's rank counts unless another one is given; the records say it."""
    monkeypatch.setenv("RANK", variable)
    logger = make_logger(rank=given)
    assert logger.rank == wanted
    logger.info("hello")
    logger.log_metric(0, "val", "loss", 1.0)
    with logger.stage("s"):
        pass
    logger.close()
    end = f"_rank{wanted}" if wanted else ""
    found = read(run_dir / f"events{end}.jsonl")
    assert [record["rank"] for record in found] == [wanted] * 4
    assert len(text_of(run_dir / f"exp{end}.log")) == 3
    assert len(csv_rows(run_dir / f"metrics{end}.csv")) == 1
    assert (run_dir / f"best{end}.json").exists()


# A handler of logging's


class Kept(logging.Handler):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.threads: set[str] = set()
        self.closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        """Note it."""
        self.closed = True
        super().close()


def test_log_handler(make_logger: Make, run_dir: Path) -> None:
    """A handler gets the messages from then on, beside exp.log, and is closed with the logger."""
    logger = make_logger(run_id="exp1")
    assert logger.log_handler is None
    logger.info("before")
    handler = Kept()
    logger.log_handler = handler
    assert logger.log_handler is handler
    logger.warning("%s", "during", n=1)
    with logger.stage("s"):
        logger.log_metric(0, "val", "loss", 1.0)
        with logger.log_every(every=2, key="k"), logger.log_every(every=2, key="k"):
            logger.info("quiet")
    logger.close()
    texts = [record.getMessage() for record in handler.records]
    assert texts[:3] == ["during", "Stage [s] - START", "quiet"]
    assert len(texts) == 4
    first = handler.records[0]
    assert (first.levelname, first.__dict__["n"]) == ("WARNING", 1)
    assert abs(first.created - time.time()) < 3600
    assert handler.records[2].__dict__["stage"] == "s"
    assert handler.threads == {"asynclog-log-handler"}
    assert handler.closed
    assert len(text_of(run_dir / "exp.log")) == 5


def test_log_handler_of_the_guide(make_logger: Make, tmp_path: Path) -> None:
    """A FileHandler with a Formatter does what it does in logging; another may follow it."""
    logger = make_logger()
    for number in (1, 2):
        handler = logging.FileHandler(tmp_path / f"{number}.log")
        handler.setFormatter(logging.Formatter("%(levelname)s | %(message)s"))
        handler.setLevel(logging.WARNING)
        logger.log_handler = handler
        logger.info("low")
        logger.warning("custom %d", number)
    logger.log_handler = None
    logger.warning("nobody")
    logger.close()
    for number in (1, 2):
        assert (tmp_path / f"{number}.log").read_text() == f"WARNING | custom {number}\n"


def test_a_bad_log_handler(
    make_logger: Make, run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that raises disturbs neither the program nor the files, and is complained of."""

    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("broken")

    logger = make_logger()
    logger.log_handler = Bad()
    for _ in range(3):
        logger.info("x")
    logger.close()
    assert len(text_of(run_dir / "exp.log")) == 3
    assert "log_handler: RuntimeError: broken" in capfd.readouterr().err


@pytest.mark.leaks("threads")
def test_a_hanging_log_handler(
    make_logger: Make,
    run_dir: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that hangs holds up nothing and fills no memory; closing does not wait for ever."""
    monkeypatch.setattr(handover_module, "MAX_WAITING", 10)
    monkeypatch.setattr(handover_module, "_PATIENCE", 0.05)
    release = threading.Event()

    class Hanging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            release.wait()

    logger = make_logger()
    logger.log_handler = Hanging()
    for _ in range(100):
        logger.info("x")
    assert logger._handover._lines.qsize() <= 10
    logger.close()
    release.set()
    assert len(text_of(run_dir / "exp.log")) == 100
    err = capfd.readouterr().err
    assert "log_handler is too slow" in err
    assert "log_handler hangs" in err


def test_no_thread_without_a_handler() -> None:
    """Closing what was never used does nothing."""
    handover = Handover()
    handover.assign(None)
    handover.close()
    assert handover._thread is None


# Resume


def test_resume(make_logger: Make, run_dir: Path, read: Read) -> None:
    """A second logger on the directory goes on with every file and with the best values."""
    first = make_logger()
    first.log_metric(0, "val", "loss", 0.5)
    first.info("one")
    first.close()
    second = make_logger()
    assert second.get_best_metric("loss") == {"value": 0.5, "step": 0, "mode": "min"}
    second.log_metric(1, "val", "loss", 0.7)
    assert second.get_best_metric("loss") == {"value": 0.5, "step": 0, "mode": "min"}
    second.log_metric(2, "val", "loss", 0.25)
    second.info("two")
    second.close()
    assert text_of(run_dir / "exp.log") == ["INFO - one", "INFO - two"]
    assert [row[0] for row in csv_rows(run_dir / "metrics.csv")] == ["0", "1", "2"]
    best = json.loads((run_dir / "best.json").read_text())
    assert best == {"val/loss": {"value": 0.25, "step": 2, "mode": "min"}}
    assert len(read(run_dir / "events.jsonl")) == 5


def test_files_of_the_old_library(make_logger: Make, run_dir: Path) -> None:
    """A run directory that ExpMate has written is gone on with."""
    run_dir.mkdir()
    (run_dir / "metrics.csv").write_text(
        f"step,split,name,value,wall_time\n0,val,loss,0.4123,{time.time()}\n"
    )
    (run_dir / "best.json").write_text(
        '{"val/loss": {"value": 0.4123, "step": 0, "mode": "min"}, '
        '"val/f1": {"value": NaN, "step": 0, "mode": "max"}}'
    )
    (run_dir / "exp.log").write_text("2025-01-23 14:30:22,123 - INFO - Starting\n")
    logger = make_logger()
    assert logger.get_best_metric("loss") == {"value": 0.4123, "step": 0, "mode": "min"}
    logger.info("on")
    logger.log_metric(1, "val", "f1", 0.5)
    logger.log_metric(1, "val", "loss", 0.6)
    logger.close()
    assert [row[:3] for row in csv_rows(run_dir / "metrics.csv")] == [
        ["0", "val", "loss"],
        ["1", "val", "f1"],
        ["1", "val", "loss"],
    ]
    best = json.loads((run_dir / "best.json").read_text())
    assert best["val/f1"] == {"value": 0.5, "step": 1, "mode": "max"}
    assert best["val/loss"]["value"] == 0.4123
    assert (
        (run_dir / "exp.log").read_text().startswith("2025-01-23 14:30:22,123 - INFO - Starting\n2")
    )


def test_pandas_reads_the_table(make_logger: Make, run_dir: Path) -> None:
    """The table is read as the old one was."""
    pandas = pytest.importorskip("pandas")
    logger = make_logger()
    for step in range(10):
        logger.log_metric(step, "train", "loss", 1 / (step + 1))
        logger.log_metric(step, "val", "accuracy", step / 10)
    logger.close()
    frame = pandas.read_csv(run_dir / "metrics.csv")
    loss = frame[(frame["split"] == "train") & (frame["name"] == "loss")]
    assert loss["value"].tolist() == [1 / (step + 1) for step in range(10)]
    assert str(frame["step"].dtype) == "int64"
    assert frame["wall_time"].is_monotonic_increasing


def test_threads(make_logger: Make, run_dir: Path, read: Read) -> None:
    """Threads that do everything at once lose nothing and mix nothing."""
    logger = make_logger()

    def work(thread: int) -> None:
        for step in range(100):
            with logger.stage(f"t{thread}"):
                logger.log_metric(step, f"s{thread}", "loss", 100 - step, total_steps=100)
                with logger.log_every(every=10):
                    logger.info("tick", thread=thread)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logger.close()
    found = read(run_dir / "events.jsonl")
    ticks = [record for record in found if record["event"] == "tick"]
    assert len(ticks) == 400
    assert all(tick["stage"] == f"t{tick['thread']}" for tick in ticks)
    assert sum("quiet" not in tick for tick in ticks) == 40
    rows = csv_rows(run_dir / "metrics.csv")
    assert sorted(rows) == sorted(
        [f"{n}", f"s{t}", "loss", f"{100 - n}"] for n in range(100) for t in range(4)
    )
    for thread in range(4):
        assert logger.get_best_metric("loss", f"s{thread}") == {
            "value": 1,
            "step": 99,
            "mode": "min",
        }
