"""setup_logging: one call for logging, warnings and structlog; console, file, or both."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

import asynclog
from asynclog.stdlib import Handler, setup_logging, temporary
from asynclog.testing import RecordingSink

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, and a place of its own for what is temporary."""
    for name in ("LOG_LEVEL", "LOG_JSON"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return a function that gives what is on stderr, once everything is."""

    def shown() -> list[str]:
        asynclog.flush_sync()
        output = capfd.readouterr()
        assert output.out == ""
        return output.err.splitlines()

    return shown


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(lines: list[str]) -> list[str]:
    """Return readable lines without their times."""
    return [line.split(" - ", 1)[1] for line in lines]


# Console and file


def test_console(shown: Callable[[], list[str]], tmp_path: Path):
    """Readable lines on stderr, from all sources; nothing is written anywhere."""
    setup_logging()
    logging.getLogger("lib").info("hello %s", "x", extra={"a": 1})
    logging.getLogger("lib").debug("no")
    structlog.get_logger("ours").info("by structlog", b=2)
    asynclog.get_logger("ours").warning("by us")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        setup_logging()
        warnings.warn("careful", stacklevel=1)
    assert texts(shown()) == [
        "INFO - hello x  a=1 logger=lib",
        "INFO - by structlog  b=2 logger=ours",
        "WARNING - by us  logger=ours",
        "WARNING - careful  category=UserWarning logger=py.warnings",
    ]
    assert list((tmp_path / "cwd").iterdir()) == []


def test_json_on_the_console(shown: Callable[[], list[str]]):
    """The same as JSON, with all fields."""
    setup_logging(use_json=True)
    logging.getLogger("lib").info("hello", extra={"a": 1})
    [line] = shown()
    event = json.loads(line)
    assert (event["event"], event["a"], event["logger"]) == ("hello", 1, "lib")
    assert event["file"] == __file__


@pytest.mark.parametrize("use_json", [False, True])
def test_file_and_console(shown: Callable[[], list[str]], use_json: bool):
    """The file is JSONL whatever the console shows."""
    setup_logging(log_file="logs/app.jsonl", use_json=use_json)
    logging.getLogger("lib").info("hello", extra={"a": 1})
    [line] = shown()
    assert line.startswith("{") == use_json
    [event] = lines_of(Path("logs/app.jsonl"))
    assert (event["event"], event["a"]) == ("hello", 1)
    assert event["function"] == "test_file_and_console"


def test_only_the_log_file_remains(run_python: Run, tmp_path: Path):
    """After the end there is the file, and nothing else, here or among the temporary files."""
    code = """
import logging, tempfile
from asynclog.stdlib import setup_logging
tempfile.tempdir = "tmp"
setup_logging()
logging.warning("one")
setup_logging(log_file="logs/a/app.jsonl")
logging.warning("two")
"""
    result = run_python(code)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["cwd", "logs", "logs/a", "logs/a/app.jsonl", "program.py", "tmp"]
    assert texts(result.stderr.splitlines()) == [
        "WARNING - one  logger=root",
        "WARNING - two  logger=root",
    ]


def test_nothing_remains_without_a_file(run_python: Run, tmp_path: Path, spool_dir: Path):
    """No ``logs`` in the working directory, nothing temporary, no ring."""
    code = """
import logging, os, tempfile
from asynclog.stdlib import setup_logging
tempfile.tempdir = "tmp"
setup_logging(level="DEBUG")
logging.debug("hello")
pid = os.fork()
if not pid:
    logging.info("child")
    raise SystemExit
os.waitpid(pid, 0)
"""
    result = run_python(code)
    assert Counter(texts(result.stderr.splitlines())) == Counter(
        ["DEBUG - hello  logger=root", "INFO - child  logger=root"]
    )
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["cwd", "program.py", "tmp"]
    assert not [path for path in spool_dir.rglob("*") if path.is_file()]


def test_what_a_killed_process_leaves_is_removed_by_the_next(
    run_python: Run, tmp_path: Path, spool_dir: Path
):
    """Its temporary directory and its ring, which nobody would ever read."""
    code = """
import logging, os, tempfile
from asynclog.stdlib import setup_logging
tempfile.tempdir = "tmp"
setup_logging()
logging.warning("hello")
if KILL:
    os.kill(os.getpid(), 9)
"""
    run_python(code.replace("KILL", "True"), check=False)
    [left] = (tmp_path / "tmp").iterdir()
    assert list(spool_dir.rglob("*.ring"))
    # it might just be starting
    run_python(code.replace("KILL", "False"))
    assert left.exists()
    long_ago = left.stat().st_mtime - 2 * temporary.YOUNG
    os.utime(left, (long_ago, long_ago))
    run_python(code.replace("KILL", "False"))
    assert not left.exists()
    assert not list(spool_dir.rglob("*.ring"))


def test_a_living_process_is_left_alone(tmp_path: Path, run_python: Run):
    """However old its directory is."""
    setup_logging()
    [ours] = (tmp_path / "tmp").iterdir()
    long_ago = ours.stat().st_mtime - 2 * temporary.YOUNG
    os.utime(ours, (long_ago, long_ago))
    run_python(
        "import tempfile\ntempfile.tempdir = 'tmp'\n"
        "from asynclog.stdlib import setup_logging\nsetup_logging()\n"
    )
    assert ours.exists()


def test_two_files_in_one_directory(run_python: Run, tmp_path: Path):
    """Programs whose log files lie beside each other do not get into each other's file."""
    setup_logging(log_file=tmp_path / "logs" / "a.jsonl")
    run_python("""
import logging
from asynclog.stdlib import setup_logging
setup_logging(log_file="logs/b.jsonl")
logging.warning("b")
""")
    logging.warning("a")
    asynclog.stop_sync()
    for name in "ab":
        assert [event["event"] for event in lines_of(tmp_path / "logs" / f"{name}.jsonl")] == [name]


def test_several_processes_on_one_file(run_python: Run, tmp_path: Path):
    """Processes with the same log file share it: every record once, rotation included."""
    code = """
import logging, multiprocessing, os, sys
from asynclog.stdlib import setup_logging

def work(number):
    setup_logging(log_file="logs/app.jsonl", max_log_bytes="100 kB", backup_count=50)
    for n in range(500):
        logging.info("hello", extra={"worker": number, "n": n})

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    work(3)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
"""
    run_python(code)
    files = list((tmp_path / "logs").glob("app.jsonl*"))
    assert len(files) > 2
    events = [event for path in files for event in lines_of(path)]
    found = Counter((event["worker"], event["n"]) for event in events)
    assert found == Counter((worker, n) for worker in range(4) for n in range(500))


def test_rotation():
    """The file keeps within its size, and so many old ones are kept."""
    setup_logging(log_file="app.jsonl", max_log_bytes=10_000, backup_count=2)
    for number in range(500):
        logging.info("hello %d", number)
        if number % 20 == 0:
            # a file is changed between two writes
            asynclog.flush_sync()
    asynclog.stop_sync()
    assert sorted(path.name for path in Path().glob("app*")) == [
        "app.jsonl",
        "app.jsonl.1",
        "app.jsonl.2",
    ]
    assert Path("app.jsonl.1").stat().st_size <= 10_000


def test_kill_and_start_again(run_python: Run, tmp_path: Path):
    """What a killed process logged is in the log file after the next start."""
    code = """
import logging, os, sys
from asynclog.stdlib import setup_logging
setup_logging(log_file="app.jsonl")
for number in range(100):
    logging.info("hello", extra={"n": number})
if KILL:
    os.kill(os.getpid(), 9)
"""
    run_python(code.replace("KILL", "True"), check=False)
    run_python(code.replace("KILL", "False"))
    found = Counter(event["n"] for event in lines_of(tmp_path / "app.jsonl"))
    assert found == Counter(list(range(100)) * 2)


# Levels


def test_levels(shown: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch):
    """The argument, then LOG_LEVEL, then ASYNCLOG_LEVEL, then INFO; for all sources."""

    def log_all() -> list[str]:
        for log in (logging.getLogger("lib"), asynclog.get_logger("ours")):
            log.debug("d")
            log.info("i")
            log.warning("w")
        return [text[0] for text in texts(shown())]

    setup_logging()
    assert log_all() == ["I", "W", "I", "W"]
    setup_logging(level="DEBUG")
    assert log_all() == ["D", "I", "W", "D", "I", "W"]
    setup_logging()
    assert log_all() == ["I", "W", "I", "W"]
    monkeypatch.setenv("ASYNCLOG_LEVEL", "debug")
    setup_logging()
    assert log_all() == ["D", "I", "W", "D", "I", "W"]
    monkeypatch.setenv("LOG_LEVEL", "warning")
    setup_logging()
    assert log_all() == ["W", "W"]
    setup_logging(level=10)
    assert log_all() == ["D", "I", "W", "D", "I", "W"]


def test_levels_of_loggers(shown: Callable[[], list[str]]):
    """Single loggers may say more or less than the others; another call forgets them."""
    logging.getLogger("quiet").setLevel(logging.INFO)
    asynclog.set_level("mine", "ERROR")
    setup_logging(logger_levels={"loud": "DEBUG", "quiet": 40})
    logging.getLogger("loud.child").debug("yes")
    asynclog.get_logger("loud").debug("yes")
    logging.getLogger("quiet").warning("no")
    asynclog.get_logger("quiet").warning("no")
    logging.getLogger("other").debug("no")
    assert texts(shown()) == ["DEBUG - yes  logger=loud.child", "DEBUG - yes  logger=loud"]
    setup_logging(logger_levels={"third": "ERROR"})
    assert logging.getLogger("loud").level == logging.NOTSET
    assert logging.getLogger("quiet").level == logging.INFO
    logging.getLogger("loud").debug("no")
    logging.getLogger("quiet").warning("yes")
    asynclog.get_logger("quiet").warning("yes")
    logging.getLogger("third").warning("no")
    asynclog.get_logger("mine").warning("no")
    assert texts(shown()) == ["WARNING - yes  logger=quiet"] * 2
    logging.getLogger("third").setLevel(logging.DEBUG)
    setup_logging()
    assert logging.getLogger("third").level == logging.DEBUG


def test_a_level_of_the_users_own(shown: Callable[[], list[str]]):
    """Names made with addLevelName count."""
    logging.addLevelName(15, "VERBOSE")
    setup_logging(level="VERBOSE")
    logging.getLogger("lib").log(15, "yes")
    logging.getLogger("lib").log(14, "no")
    assert texts(shown()) == ["DEBUG - yes  level_=VERBOSE logger=lib"]


# LOG_JSON, colours, rich


@pytest.mark.parametrize(
    ("variable", "argument", "as_json"),
    [
        ("1", None, True),
        ("TRUE", None, True),
        ("on", None, True),
        ("0", None, False),
        ("no", None, False),
        ("", None, False),
        ("1", False, False),
        ("0", True, True),
    ],
)
def test_log_json(
    shown: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    argument: Any,
    as_json: bool,
):
    """The argument wins."""
    monkeypatch.setenv("LOG_JSON", variable)
    setup_logging(use_json=argument)
    logging.warning("hello")
    [line] = shown()
    assert line.startswith("{") == as_json


@pytest.mark.parametrize(("use_color", "colored"), [(True, True), (False, False), (None, False)])
def test_colors(shown: Callable[[], list[str]], use_color: Any, colored: bool):
    """True or False settles it; otherwise the terminal, and this is none."""
    setup_logging(use_color=use_color)
    logging.warning("hello")
    [line] = shown()
    assert ("\x1b[33m" in line) == colored


def fail_in_a_function() -> None:
    """Raise, with a line of code to show."""
    raise ValueError("bad")


@pytest.mark.parametrize(
    ("use_rich", "rich_tracebacks", "drawn"),
    [(True, True, True), (None, True, True), (False, True, False), (True, False, False)],
)
def test_rich_tracebacks(
    shown: Callable[[], list[str]], use_rich: Any, rich_tracebacks: bool, drawn: bool
):
    """Exceptions with code around each frame."""
    pytest.importorskip("rich")
    setup_logging(use_rich=use_rich, rich_tracebacks=rich_tracebacks)
    try:
        fail_in_a_function()
    except ValueError:
        logging.exception("oh")
    lines = shown()
    assert any("╭" in line for line in lines) == drawn
    assert any("ValueError: bad" in line for line in lines)


def test_without_rich(monkeypatch: pytest.MonkeyPatch):
    """Missing only matters where it was asked for; then the error says what to install."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "asynclog.stdlib.setup.find_spec", lambda name: None if name == "rich" else find(name)
    )
    for asked in ({"use_rich": True}, {"rich_tracebacks": True}):
        with pytest.raises(asynclog.MissingExtraError, match=r"asynclog\[rich\]"):
            setup_logging(**asked)  # type: ignore[arg-type]
    assert not asynclog.testing.default_pipeline().started
    setup_logging()
    setup_logging(use_rich=False, rich_tracebacks=True)


# Handlers that are there already


def test_basic_config_before_and_after(shown: Callable[[], list[str]]):
    """Nothing is shown twice: neither by an earlier basicConfig nor by a later one."""
    logging.basicConfig(level="INFO", force=True)
    setup_logging()
    logging.basicConfig(level="INFO")
    logging.warning("hello")
    assert texts(shown()) == ["WARNING - hello  logger=root"]


def test_rich_handlers(shown: Callable[[], list[str]]):
    """rich's handler shows on the console, too, and is taken off."""
    rich_logging = pytest.importorskip("rich.logging")
    logging.getLogger().addHandler(rich_logging.RichHandler())
    setup_logging()
    logging.warning("hello")
    assert texts(shown()) == ["WARNING - hello  logger=root"]


def test_other_handlers_stay(tmp_path: Path, shown: Callable[[], list[str]]):
    """Files, streams that are no console, and handlers of the user's classes."""

    class Own(logging.StreamHandler):  # type: ignore[type-arg]
        pass

    stream = open(tmp_path / "stream", "w")  # noqa: SIM115
    file = logging.FileHandler(tmp_path / "file")
    handlers = [file, logging.StreamHandler(stream), logging.NullHandler()]
    for handler in handlers:
        logging.getLogger().addHandler(handler)
    setup_logging()
    logging.warning("hello")
    assert all(handler in logging.getLogger().handlers for handler in handlers)
    file.close()
    stream.close()
    assert (tmp_path / "file").read_text() == "hello\n"
    assert (tmp_path / "stream").read_text() == "hello\n"
    assert len(shown()) == 1


def test_our_handlers(shown: Callable[[], list[str]], tmp_path: Path):
    """One handler however often it is called; one for another pipeline stays."""
    sink = RecordingSink()
    with asynclog.Pipeline(tmp_path / "own", sinks=[sink]) as pipeline:
        own = Handler(pipeline=pipeline)
        logging.getLogger().addHandler(Handler())
        logging.getLogger().addHandler(own)
        for number in range(3):
            setup_logging(use_json=bool(number % 2))
        ours = [h for h in logging.getLogger().handlers if isinstance(h, Handler) and h is not own]
        assert len(ours) == 1
        logging.warning("hello")
        assert len(sink.wait_for_sync(1)) == 1
    assert len(shown()) == 1


# Called where and how often one likes


@pytest.mark.anyio
async def test_in_a_running_loop(capfd: pytest.CaptureFixture[str]):
    """It may be called on an event loop."""
    setup_logging(log_file="app.jsonl")
    logging.warning("hello")
    await asynclog.flush()
    await asynclog.stop()
    assert len(lines_of(Path("app.jsonl"))) == 1
    capfd.readouterr()


def test_again_with_the_same(shown: Callable[[], list[str]]):
    """The pipeline goes on as it is."""
    setup_logging(log_file="app.jsonl")
    pipeline = asynclog.testing.default_pipeline()
    run = pipeline._run
    setup_logging(log_file="app.jsonl", level="DEBUG", use_queue_handler=False)
    assert pipeline._run is run
    logging.debug("hello")
    assert len(shown()) == 1


def test_changes_while_threads_log(tmp_path: Path):
    """From file to file and back, beside threads and tasks that log: nothing is lost or doubled."""
    setup_logging(log_file="0.jsonl", use_color=False, level="INFO")
    done = threading.Event()
    counts = [0] * 3
    waited = 0

    def work(worker: int) -> None:
        log = logging.getLogger("work") if worker else asynclog.get_logger("work")
        while not done.is_set():
            fields = {"worker": worker, "n": counts[worker]}
            if worker:
                log.info("hello", extra=fields)
            else:
                log.info("hello", **fields)  # type: ignore[arg-type]
            counts[worker] += 1
            done.wait(0.0005)

    def work_on_a_loop() -> None:
        async def main() -> None:
            nonlocal waited
            log = asynclog.get_logger("work")
            while not done.is_set():
                await log.ainfo("hello", worker="loop", n=waited)
                waited += 1
                await anyio.sleep(0.0005)

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    threads.append(threading.Thread(target=work_on_a_loop))
    for thread in threads:
        thread.start()
    for number in range(1, 8):
        setup_logging(log_file=f"{number % 3}.jsonl", level="INFO", use_json=bool(number % 2))
    done.set()
    for thread in threads:
        thread.join()
    report = asynclog.stop_sync(10)
    assert not report.dropped
    events = [event for path in Path().glob("*.jsonl") for event in lines_of(path)]
    found = Counter((e["worker"], e["n"]) for e in events if e.get("logger") == "work")
    expected = Counter((worker, n) for worker in range(3) for n in range(counts[worker]))
    expected.update(("loop", n) for n in range(waited))
    assert found == expected
    assert not [event for event in events if event["event"] == "asynclog.dropped"]


def test_from_threads_at_once(shown: Callable[[], list[str]]):
    """Calls that come at the same time come one after the other."""
    threads = [
        threading.Thread(target=setup_logging, kwargs={"log_file": f"{n % 2}.jsonl"})
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logging.warning("hello")
    assert len(shown()) == 1


def test_when_the_program_has_started_itself(tmp_path: Path, shown: Callable[[], list[str]]):
    """Its pipeline is not taken away; after a stop setup_logging may have it."""
    with asynclog.running(tmp_path / "run", sinks=[asynclog.JsonlFile()]):
        with pytest.raises(asynclog.AlreadyStartedError):
            setup_logging()
        assert not any(isinstance(h, Handler) for h in logging.getLogger().handlers)
    setup_logging()
    logging.warning("hello")
    assert texts(shown()) == ["WARNING - hello  logger=root"]


def test_after_a_stop(shown: Callable[[], list[str]]):
    """It starts again what was stopped."""
    for _ in range(2):
        setup_logging(log_file="app.jsonl")
        logging.warning("hello")
        asynclog.stop_sync()
    assert len(shown()) == 2
    assert len(lines_of(Path("app.jsonl"))) == 2


def test_early_records(shown: Callable[[], list[str]]):
    """What was logged into our handler before is not lost."""
    logging.getLogger().addHandler(Handler())
    logging.warning("early")
    setup_logging()
    logging.warning("late")
    assert texts(shown()) == ["WARNING - early  logger=root", "WARNING - late  logger=root"]


def test_a_change_that_fails(tmp_path: Path, shown: Callable[[], list[str]]):
    """The error names the argument; what ran before goes on, and has everything."""
    setup_logging(log_file="app.jsonl")
    logging.warning("one")
    (tmp_path / "cwd" / "link").symlink_to(tmp_path / "cwd" / "elsewhere")
    with pytest.raises(asynclog.SettingError, match="log_file must be a file that can be written"):
        setup_logging(log_file="link")
    logging.warning("two")
    asynclog.flush_sync()
    assert [event["event"] for event in lines_of(Path("app.jsonl"))] == ["one", "two"]
    assert len(shown()) == 2


def test_a_first_call_that_fails(tmp_path: Path, shown: Callable[[], list[str]]):
    """Nothing is left half done."""
    (tmp_path / "cwd" / "link").symlink_to(tmp_path / "cwd" / "elsewhere")
    with pytest.raises(asynclog.SettingError, match="log_file must be a file"):
        setup_logging(log_file="link")
    assert not asynclog.testing.default_pipeline().started
    assert not any(isinstance(handler, Handler) for handler in logging.getLogger().handlers)
    setup_logging()
    logging.warning("hello")
    assert len(shown()) == 1


def test_in_a_forked_child(run_python: Run, tmp_path: Path):
    """A child may log on, or set up logging for itself."""
    code = """
import logging, os
from asynclog.stdlib import setup_logging
setup_logging(log_file="parent.jsonl")
pid = os.fork()
if not pid:
    logging.warning("into the parent's file")
    setup_logging(log_file="child.jsonl")
    logging.warning("into the child's")
    raise SystemExit
assert os.waitpid(pid, 0)[1] == 0
logging.warning("parent")
"""
    result = run_python(code)
    parents = [event["event"] for event in lines_of(tmp_path / "parent.jsonl")]
    assert sorted(parents) == ["into the parent's file", "parent"]
    assert [e["event"] for e in lines_of(tmp_path / "child.jsonl")] == ["into the child's"]
    assert len(result.stderr.splitlines()) == 3


def test_the_run_directory_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: Callable[[], list[str]]
):
    """Without a log file, a process joins the run that ASYNCLOG_RUN_DIR names."""
    monkeypatch.setenv("ASYNCLOG_RUN_DIR", str(tmp_path / "run"))
    setup_logging()
    logging.warning("hello")
    assert asynclog.testing.default_pipeline().run_dir == tmp_path / "run"
    assert len(shown()) == 1
    assert not list((tmp_path / "tmp").iterdir())


THE_END = """
import atexit, logging, sys

class Late:
    def __del__(self):
        logging.getLogger("app").warning("late")

late = Late()
if AT_EXIT:
    atexit.register(logging.getLogger("app").warning, "at exit")
from asynclog.stdlib import setup_logging
setup_logging(FILE)
"""


def test_the_very_end(run_python: Run, tmp_path: Path):
    """What at-exit functions log after the pipeline has stopped is still shown, and stored."""
    code = THE_END.replace("AT_EXIT", "True").replace("late = Late()", "")
    for file in ("", "log_file='app.jsonl'"):
        result = run_python(code.replace("FILE", file))
        assert texts(result.stderr.splitlines()) == ["WARNING - at exit  logger=app"]
    assert [event["event"] for event in lines_of(tmp_path / "app.jsonl")] == ["at exit"]


def test_finalisers_at_the_very_end(run_python: Run, tmp_path: Path):
    """What finalisers log then, too, in whatever form the interpreter can still make."""
    code = THE_END.replace("AT_EXIT", "False")
    for file in ("", "log_file='app.jsonl'"):
        [line] = run_python(code.replace("FILE", file)).stderr.splitlines()
        assert "late" in line
        assert "asynclog: " not in line
    assert [event["event"] for event in lines_of(tmp_path / "app.jsonl")] == ["late"]


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "LOUD"}, "level must be one of"),
        ({"level": -5}, "level must be one of"),
        ({"level": True}, "level must be one of"),
        ({"use_json": "yes"}, "use_json must be True or False"),
        ({"use_rich": 1}, "use_rich must be True or False"),
        ({"use_color": "auto"}, "use_color must be True or False"),
        ({"rich_tracebacks": None}, "rich_tracebacks must be True or False"),
        ({"use_queue_handler": 3}, "use_queue_handler must be True or False"),
        ({"logger_levels": "httpx"}, "logger_levels must map logger names to levels"),
        ({"logger_levels": [("httpx", 10)]}, "logger_levels must map logger names to levels"),
        ({"logger_levels": {3: 10}}, "logger_levels must map logger names to levels"),
        ({"logger_levels": {"": 10}}, "logger_levels must map logger names to levels"),
        ({"logger_levels": {"httpx": "x"}}, r"logger_levels\['httpx'\] must be one of"),
        ({"log_file": ""}, "log_file must be the path of a file"),
        ({"log_file": 3}, "log_file must be the path of a file"),
        ({"log_file": b"x"}, "log_file must be the path of a file"),
        ({"log_file": "."}, "log_file must be the path of a file, not of a directory"),
        ({"log_file": "new/"}, "log_file must be the path of a file, not of a directory"),
        ({"log_file": "a{b}.jsonl"}, "log_file may hold the fields"),
        ({"log_file": "a\x00b"}, "log_file must not hold control characters"),
        ({"log_file": "/proc/none/a.jsonl"}, "log_file must lie in a directory"),
        ({"max_log_bytes": 0}, "max_log_bytes must be positive"),
        ({"max_log_bytes": "big"}, "max_log_bytes must be a size"),
        ({"max_log_bytes": -1}, "max_log_bytes must be finite and not negative"),
        ({"backup_count": -1}, "backup_count must be a number that is not negative"),
        ({"backup_count": "5"}, "backup_count must be a number that is not negative"),
    ],
)
def test_wrong_arguments(arguments: Any, message: str):
    """The error names the argument as the user wrote it; nothing was started or changed."""
    handlers = logging.getLogger().handlers[:]
    with pytest.raises(asynclog.SettingError, match=f"^{message}"):
        setup_logging(**arguments)
    assert not asynclog.testing.default_pipeline().started
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize(
    ("variable", "value"), [("LOG_LEVEL", "LOUD"), ("LOG_JSON", "maybe"), ("LOG_JSON", "2")]
)
def test_wrong_variables(monkeypatch: pytest.MonkeyPatch, variable: str, value: str):
    """The error names the variable."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(asynclog.SettingError, match=f"^{variable} must be one of"):
        setup_logging()


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(tmp_path: Path):
    """The error names the log file."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(asynclog.SettingError, match="log_file must lie in a directory"):
        setup_logging(log_file=closed / "app.jsonl")
