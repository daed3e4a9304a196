"""AsyncStructuredHandler, and what all metric handlers promise of their files and of trouble."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from asynclog.exceptions import SettingError
from asynclog.stdlib import AsyncStructuredHandler

PRELUDE = """
import json, logging, multiprocessing, os, signal, sys, threading, time
from asynclog.stdlib import AsyncStructuredHandler
handler = AsyncStructuredHandler(run_name="run", log_dir="out")
log = logging.getLogger("metrics")
log.setLevel("INFO")
log.addHandler(handler)
log.propagate = False
"""


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps(path: Path) -> list[Any]:
    """Return the steps of the records of a file, in order."""
    return [line.get("step") for line in lines(path)]


def names(directory: Path) -> list[str]:
    """Return the names of all that is in a directory."""
    return sorted(os.listdir(directory))


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[AsyncStructuredHandler]:
    """Return a handler for the file ``out/run.jsonl``."""
    handler = AsyncStructuredHandler(run_name="run", log_dir=tmp_path / "out")
    yield handler
    handler.close()


@pytest.fixture
def log(handler: AsyncStructuredHandler) -> logging.Logger:
    """Return a logger with only that handler."""
    logger = logging.Logger("metrics")
    logger.addHandler(handler)
    return logger


def test_records(handler: AsyncStructuredHandler, log: logging.Logger):
    """Numbers, texts, steps and hyperparameters are records of their kinds, in order."""
    log.info({"loss": 0.5, "val": {"acc": 1, "deep": {"x": True}}}, extra={"step": 0})
    log.info({"loss": float("nan"), "note": "hello", "none": None, "many": [1, {"a": 2}]})
    log.info({"lr": 0.1, "net": {"depth": 3}, "name": None}, extra={"hparams": True})
    log.debug({"debug": 1})
    handler.close()
    first, second, note, many, params = lines(handler.path)
    assert first["kind"] == "metrics"
    assert first["logger"] == "metrics"
    assert first["step"] == 0
    assert first["metrics"] == {"loss": 0.5, "val/acc": 1, "val/deep/x": 1}
    assert second["metrics"] == {"loss": "NaN"}
    assert "step" not in second
    assert (note["kind"], note["name"], note["text"]) == ("text", "note", "hello")
    assert (many["name"], json.loads(many["text"])) == ("many", [1, {"a": 2}])
    assert params["kind"] == "hparams"
    assert params["params"] == {"lr": 0.1, "net": {"depth": 3}, "name": None}


def test_read_by_pandas(handler: AsyncStructuredHandler, log: logging.Logger):
    """Pandas reads the file as it is."""
    pandas = pytest.importorskip("pandas")
    for step in range(10):
        log.info({"loss": 1 / (step + 1)}, extra={"step": step})
    handler.close()
    frame = pandas.json_normalize(lines(handler.path))
    assert list(frame["step"]) == list(range(10))
    assert list(frame["metrics.loss"]) == [1 / (step + 1) for step in range(10)]
    assert len(pandas.read_json(handler.path, lines=True)) == 10


def test_time_of_the_record(handler: AsyncStructuredHandler, log: logging.Logger):
    """It is the record's own, also when the record comes late, as by a queue."""
    old = log.makeRecord("metrics", logging.INFO, "f", 1, {"loss": 1}, (), None)
    old.created = 1_700_000_000.25
    log.handle(old)
    new = log.makeRecord("metrics", logging.INFO, "f", 1, {"loss": 1}, (), None)
    log.handle(new)
    handler.close()
    times = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines(handler.path)]
    assert times[0] == 1_700_000_000.25
    assert abs(times[1] - new.created) < 0.002


def test_nothing_before_the_first_record(handler: AsyncStructuredHandler, log: logging.Logger):
    """No directory before; the file is there when the first call returns; and only it, at last."""
    out = handler.path.parent
    handler.flush()
    assert not out.exists()
    log.info({"loss": 1})
    assert handler.path.is_file()
    handler.flush()
    assert lines(handler.path)[0]["metrics"] == {"loss": 1}
    handler.close()
    assert names(out) == ["run.jsonl"]
    handler.close()


def test_nothing_without_a_record(tmp_path: Path):
    """A handler that gets no mapping leaves nothing behind."""
    handler = AsyncStructuredHandler(run_name="run", log_dir=tmp_path / "out")
    log = logging.Logger("metrics")
    log.addHandler(handler)
    with pytest.warns(UserWarning, match="message of type str"):
        log.info("no mapping")
    handler.close()
    assert not (tmp_path / "out").exists()


def test_begins_anew(handler: AsyncStructuredHandler, log: logging.Logger):
    """What comes after close(), or in another handler, is appended."""
    for step in range(3):
        log.info({"loss": 1}, extra={"step": step})
        handler.close()
    assert steps(handler.path) == [0, 1, 2]
    assert names(handler.path.parent) == ["run.jsonl"]


def test_two_handlers_in_one_directory(tmp_path: Path):
    """Each has its own file; two of one name share it."""
    handlers = [AsyncStructuredHandler(run_name=name, log_dir=tmp_path) for name in "aab"]
    for number, handler in enumerate(handlers):
        log = logging.Logger(f"metrics{number}")
        log.addHandler(handler)
        for step in range(50):
            log.info({"loss": 1}, extra={"step": step})
    for handler in handlers:
        handler.close()
    assert sorted(steps(tmp_path / "a.jsonl")) == sorted([*range(50), *range(50)])
    assert steps(tmp_path / "b.jsonl") == list(range(50))
    assert {"a.jsonl", "b.jsonl"} == set(names(tmp_path))


@pytest.mark.parametrize("rank", [None, "0", "1"])
def test_one_file_named_after_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str | None
):
    """The name is what was asked for, whatever the rank; braces and directories may be in it."""
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    for name in ("r{rank}", "sub/x{y}", None):
        handler = AsyncStructuredHandler(run_name=name, log_dir=tmp_path / "out")
        log = logging.Logger("metrics")
        log.addHandler(handler)
        log.info({"loss": 1})
        handler.close()
        assert [line["metrics"] for line in lines(handler.path)] == [{"loss": 1}]
        assert [line.get("rank") for line in lines(handler.path)] == [rank and int(rank)]
    number = rank or "0"
    assert names(tmp_path / "out") == sorted(
        ["sub", f"r{number}.jsonl", f"training_params_and_metrics_global{number}.jsonl"]
    )
    assert names(tmp_path / "out" / "sub") == ["x{y}.jsonl"]


@pytest.mark.parametrize("name", ["", ".", "..", "/x", "../x", "a/../../x", "a/", "a\nb", 3])
def test_names_stay_inside(tmp_path: Path, name: Any):
    """A run name that leads out of log_dir, or is none, is refused at once."""
    with pytest.raises(SettingError, match="run_name must"):
        AsyncStructuredHandler(run_name=name, log_dir=tmp_path)


def test_other_arguments_are_checked():
    """So are level and log_dir."""
    with pytest.raises(SettingError, match="log_dir must"):
        AsyncStructuredHandler(log_dir="")
    with pytest.raises(SettingError, match="log_dir must"):
        AsyncStructuredHandler(log_dir=3)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="level"):
        AsyncStructuredHandler(level="LOUD")


def test_other_messages_are_skipped(handler: AsyncStructuredHandler, log: logging.Logger):
    """With a warning that names the place of the call, once for each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for number in range(3):
            log.info("epoch %d", number)
        log.info(["no mapping"])
        log.info({"loss": 1})
    assert [str(warning.message).partition(";")[0] for warning in caught] == [
        "AsyncStructuredHandler takes mappings only, and skips a message of type str",
        "AsyncStructuredHandler takes mappings only, and skips a message of type list",
    ]
    assert {warning.filename for warning in caught} == {__file__}
    handler.close()
    assert len(lines(handler.path)) == 1


def test_warnings_as_errors_do_not_raise(log: logging.Logger, capfd: pytest.CaptureFixture[str]):
    """A log call raises nothing: then it is said on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log.info("text")
    assert "takes mappings only" in capfd.readouterr().err


def test_odd_values(handler: AsyncStructuredHandler, log: logging.Logger):
    """What is neither number nor text is named, and does no harm to the others."""

    class Odd:
        def __float__(self) -> float:
            raise ValueError("odd")

    log.info({"odd": Odd(), "loss": 1, 3: 4}, extra={"step": "x"})
    log.info({})
    handler.close()
    first, empty = lines(handler.path)
    assert first["metrics"] == {"loss": 1, "3": 4}
    assert "odd" in first["log_error"]
    assert "step" in first["log_error"]
    assert empty["metrics"] == {}


def test_a_mapping_that_raises(
    handler: AsyncStructuredHandler, log: logging.Logger, capfd: pytest.CaptureFixture[str]
):
    """Is left out, and said on stderr."""
    from collections import UserDict

    class Broken(UserDict[str, Any]):
        def __iter__(self) -> Any:
            raise ValueError("broken")

    log.info(Broken(a=1))
    assert "metrics were lost: ValueError" in capfd.readouterr().err
    log.info({"loss": 1})
    handler.close()
    assert len(lines(handler.path)) == 1


def test_a_value_that_logs(handler: AsyncStructuredHandler, log: logging.Logger):
    """A value whose code logs metrics does so, up to a depth."""

    class Logs:
        def __float__(self) -> float:
            log.info({"inner": 1})
            return 2.0

    log.info({"outer": Logs()})
    handler.close()
    assert [line["metrics"] for line in lines(handler.path)] == [{"inner": 1}, {"outer": 2.0}]


def test_environment_is_not_meant_for_it(
    handler: AsyncStructuredHandler, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
):
    """Level and run directory of the default pipeline do not keep metrics away."""
    monkeypatch.setenv("ASYNCLOG_LEVEL", "ERROR")
    monkeypatch.setenv("ASYNCLOG_RUN_DIR", "elsewhere")
    log.info({"loss": 1})
    handler.close()
    assert len(lines(handler.path)) == 1
    assert not Path("elsewhere").exists()


def test_threads_at_the_first_record(handler: AsyncStructuredHandler, log: logging.Logger):
    """Many threads at once make one file with everything in it."""
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for step in range(100):
            log.info({"loss": number}, extra={"step": step})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.close()
    found = [(line["metrics"]["loss"], line["step"]) for line in lines(handler.path)]
    assert sorted(found) == [(number, step) for number in range(8) for step in range(100)]
    assert names(handler.path.parent) == ["run.jsonl"]


def test_a_signal_handler_during_the_start(
    handler: AsyncStructuredHandler, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
):
    """What logs while the first record's call starts the pipeline neither hangs nor is lost."""
    prepare = handler._prepare

    def interrupted() -> None:
        signal.raise_signal(signal.SIGUSR1)
        prepare()

    monkeypatch.setattr(handler, "_prepare", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: log.info({"signal": 1}, extra={"step": 1}))
    try:
        log.info({"loss": 1}, extra={"step": 0})
    finally:
        signal.signal(signal.SIGUSR1, before)
    handler.close()
    assert steps(handler.path) == [0, 1]


def test_a_place_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Records wait, no call raises; once it works, all are there."""
    out = tmp_path / "out"
    out.write_text("in the way")
    handler = AsyncStructuredHandler(run_name="run", log_dir=out)
    log = logging.Logger("metrics")
    log.addHandler(handler)
    for step in range(3):
        log.info({"loss": 1}, extra={"step": step})
    assert "wait in memory" in capfd.readouterr().err
    out.unlink()
    handler.close()
    assert steps(handler.path) == [0, 1, 2]


def test_lost_for_good_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """When it never works, the end says how much was lost."""
    out = tmp_path / "out"
    out.write_text("in the way")
    handler = AsyncStructuredHandler(run_name="run", log_dir=out)
    log = logging.Logger("metrics")
    log.addHandler(handler)
    log.info({"loss": 1})
    handler.close()
    assert "1 records of metrics for" in capfd.readouterr().err


def test_complete_at_exit(run_python: Callable[..., Any], tmp_path: Path):
    """Without close() nothing is lost at the end, also of what at-exit functions log."""
    run_python(
        PRELUDE
        + """
import atexit
for step in range(5000):
    log.info({"loss": 1}, extra={"step": step})
atexit.register(lambda: log.info({"last": 1}, extra={"step": 5000}))
"""
    )
    assert steps(tmp_path / "out" / "run.jsonl") == list(range(5001))
    assert names(tmp_path / "out") == ["run.jsonl"]


@pytest.mark.parametrize("first", [True, False])
def test_the_very_end(run_python: Callable[..., Any], tmp_path: Path, first: bool):
    """What is logged when logging has shut down, is there as well, even if it is the first."""
    run_python(
        """
import atexit
def last():
    log.info({"last": 1}, extra={"step": 1})
    log.info({"last": 1}, extra={"step": 2})
atexit.register(last)
"""
        + PRELUDE
        + ("" if first else "log.info({'loss': 1}, extra={'step': 0})")
    )
    assert steps(tmp_path / "out" / "run.jsonl") == ([1, 2] if first else [0, 1, 2])
    assert names(tmp_path / "out") == ["run.jsonl"]


def test_the_very_end_of_a_child(run_python: Callable[..., Any], tmp_path: Path):
    """What a forked child logs then is its parent's to write."""
    run_python(
        """
import atexit
def last():
    log.info({"last": 1}, extra={"step": int(os.getpid() != parent)})
atexit.register(last)
"""
        + PRELUDE
        + """
parent = os.getpid()
log.info({"loss": 1}, extra={"step": 2})
pid = os.fork()
if not pid:
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
"""
    )
    assert steps(tmp_path / "out" / "run.jsonl") == [2, 1, 0]
    assert names(tmp_path / "out") == ["run.jsonl"]


def test_killed(run_python: Callable[..., Any], tmp_path: Path):
    """What was logged before kill -9 is there, once, after the next run of the same name."""
    program = (
        PRELUDE
        + """
begin = int(os.environ["BEGIN"])
for step in range(begin, begin + 1000):
    log.info({"loss": 1}, extra={"step": step})
if begin == 0:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    killed = run_python(program, check=False, BEGIN="0")
    assert killed.returncode == -signal.SIGKILL
    run_python(program, BEGIN="1000")
    found = [line["step"] for line in lines(tmp_path / "out" / "run.jsonl") if "step" in line]
    assert found == list(range(2000))
    assert names(tmp_path / "out") == ["run.jsonl"]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("way", ["fork", "multiprocessing"])
def test_forked_children(run_python: Callable[..., Any], tmp_path: Path, before: bool, way: str):
    """Children neither write twice nor hang, whether they or their parent log first."""
    run_python(
        PRELUDE
        + f"""
before, way = {before}, {way!r}
def child(number):
    for step in range(100):
        log.info({{"child": number}}, extra={{"step": step}})
if before:
    log.info({{"parent": 0}})
if way == "fork":
    pids = []
    for number in range(3):
        pid = os.fork()
        if not pid:
            child(number)
            sys.exit()
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
else:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=child, args=(number,)) for number in range(3)]
    for each in children:
        each.start()
    for each in children:
        each.join(30)
        assert each.exitcode == 0
log.info({{"parent": 1}})
"""
    )
    found = [line for line in lines(tmp_path / "out" / "run.jsonl") if line["kind"] == "metrics"]
    for number in range(3):
        steps = [line["step"] for line in found if line["metrics"] == {"child": number}]
        assert steps == list(range(100))
    parents = [line["metrics"]["parent"] for line in found if "parent" in line["metrics"]]
    assert parents == ([0, 1] if before else [1])
    assert names(tmp_path / "out") == ["run.jsonl"]


def test_dict_config(tmp_path: Path):
    """A configuration names the class; a second one ends what the first has made."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"rank": {"()": "asynclog.stdlib.IsRank0Filter", "rank_val": 0}},
        "handlers": {
            "file": {
                "class": "asynclog.stdlib.AsyncStructuredHandler",
                "level": "INFO",
                "log_dir": str(tmp_path / "out"),
                "run_name": "run",
                "filters": ["rank"],
            }
        },
        "loggers": {"tests.metrics": {"level": "INFO", "handlers": ["file"], "propagate": False}},
    }
    log = logging.getLogger("tests.metrics")
    for step in range(2):
        logging.config.dictConfig(config)
        assert len(log.handlers) == 1
        log.info({"loss": 1}, extra={"step": step})
    log.handlers[0].close()
    log.handlers.clear()
    assert steps(tmp_path / "out" / "run.jsonl") == [0, 1]


def test_says_what_it_is(handler: AsyncStructuredHandler):
    """In a debugger or a log."""
    assert repr(handler) == f"<AsyncStructuredHandler {str(handler.path)!r}>"
    assert handler.run_name == "run"
