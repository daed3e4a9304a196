"""Handlers of logging on the launcher of a real job."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOST = os.uname().nodename
NODE = f"asynclog.node.{HOST.replace('.', '_')}"
# every record as one line, with all that tells where it comes from
SHOWN = """
    import logging
    import sys

    from asynclog.distributed.handlers import default_handlers


    class Shown(logging.Handler):
        def __init__(self):
            super().__init__()
            self.file = open("shown", "a", buffering=1)

        def emit(self, record):
            where = f"{record.name} {record.levelname} {record.hostname} {record.local_rank}"
            self.file.write(f"{where} {record.getMessage()}\\n")

        def close(self):
            self.file.close()
            super().close()


    def everything():
        return [Shown()]


    def as_usual():
        root = logging.getLogger()
        root.addHandler(Shown())
        root.setLevel("INFO")
        return default_handlers()


    def by_level():
        found = as_usual()
        import os
        node = "asynclog.node." + os.uname().nodename.replace(".", "_")
        logging.getLogger(node).setLevel("ERROR")
        logging.getLogger(node + ".0").setLevel("DEBUG")
        return found
"""
WORKER = """
    import logging
    import os
    import sys

    import asynclog

    logging.basicConfig(level=logging.DEBUG)
    rank = os.environ["RANK"]
    logging.info("root %s", rank)
    logging.getLogger("app.part").warning("careful", extra={"rows": 5})
    asynclog.get_logger("app").info("stored", rows=6)
    asynclog.get_logger().info("no name")
    print("printed")
    print("complained", file=sys.stderr)
"""


def _run(job: Any, factory: str, *command: str, **environment: str) -> Any:
    job.program(SHOWN, "shown_by.py")
    done = job.run(*command, options=("--handlers", factory, "--ranks", "all"), **environment)
    assert done.returncode == 0, done.stderr
    return done


def _shown(job: Any) -> list[str]:
    path = job.directory / "shown"
    return path.read_text().splitlines() if path.exists() else []


def _said_by(rank: int) -> set[str]:
    front = f"{NODE}.{rank}"
    place = f"{HOST} {rank}"
    return {
        f"{front} INFO {place} root {rank}",
        f"{front} WARNING {place} app.part:careful  rows=5",
        f"{front} INFO {place} app:stored  rows=6",
        f"{front} INFO {place} no name",
        f"{front} INFO {place} printed",
        f"{front} ERROR {place} complained",
    }


def test_every_record(job: Any, ranks: Callable[..., str]) -> None:
    """A handler gets each record once: named by process, with the worker's logger in front."""
    _run(job, "shown_by:everything", sys.executable, ranks(WORKER, 2))
    shown = _shown(job)
    assert len(shown) == len(set(shown))
    assert set(shown) == _said_by(0) | _said_by(1)


def test_what_is_no_rank(job: Any) -> None:
    """What a process says that is no rank comes from the launcher's own logger."""
    _run(job, "shown_by:everything", "sh", "-c", "echo one; echo two >&2")
    assert set(_shown(job)) == {f"{NODE} INFO {HOST} None one", f"{NODE} ERROR {HOST} None two"}


def test_order(job: Any, ranks: Callable[..., str]) -> None:
    """The records of each process come in their order, however many there are."""
    code = """
        import logging
        logging.basicConfig(level=logging.INFO)
        for number in range(2000):
            logging.info("record %d", number)
    """
    _run(job, "shown_by:everything", sys.executable, ranks(code, 2))
    for rank in range(2):
        mine = [line for line in _shown(job) if line.startswith(f"{NODE}.{rank} ")]
        assert [line.rpartition(" ")[2] for line in mine] == [str(n) for n in range(2000)]


def test_default_loggers(job: Any, ranks: Callable[..., str]) -> None:
    """By default the loggers of the launcher's node get what rank 0 says, and no other rank."""
    _run(job, "shown_by:as_usual", sys.executable, ranks(WORKER, 2))
    assert set(_shown(job)) == _said_by(0)


def test_levels_of_loggers(job: Any, ranks: Callable[..., str]) -> None:
    """Levels can be set for a machine and for each worker, as for any logger."""
    worker = ranks("print('of the worker')", 1)
    command = f"echo of the node; {sys.executable} {worker}; echo broken >&2"
    _run(job, "shown_by:by_level", "sh", "-c", command)
    shown = _shown(job)
    assert set(shown) == {
        f"{NODE} ERROR {HOST} None broken",
        f"{NODE}.0 INFO {HOST} 0 of the worker",
    }


def test_levels_set_in_the_worker(job: Any, ranks: Callable[..., str]) -> None:
    """A library that the worker has made quiet stays quiet on the launcher, and in the files."""
    code = """
        import logging
        import asynclog
        logging.basicConfig(level=logging.INFO)
        logging.getLogger("library").setLevel(logging.ERROR)
        asynclog.set_level("other", "ERROR")
        for name in ("library.part", "other.part"):
            logging.getLogger(name).warning("not heard")
            asynclog.get_logger(name).error("heard")
    """
    _run(job, "shown_by:everything", sys.executable, ranks(code, 1))
    texts = [line.split(" ", 4)[4] for line in _shown(job)]
    assert sorted(texts) == ["library.part:heard", "other.part:heard"]
    assert {event["event"] for event in job.events()} == {"heard"}


def test_files_of_each_worker(job: Any, ranks: Callable[..., str]) -> None:
    """With ASYNCLOG_LOG_DIR each process of the job has a file; all ranks, whatever is shown."""
    done = job.run(
        sys.executable,
        ranks(WORKER, 3),
        options=("--ranks", "0"),
        ASYNCLOG_LOG_DIR=str(job.directory / "own"),
    )
    assert done.returncode == 0, done.stderr
    [place] = (job.directory / "own").iterdir()
    for rank in range(3):
        lines = (place / f"{HOST}[{rank}].log").read_text().splitlines()
        assert {line.split(":", 3)[3] for line in lines} == {
            "WARNING: app.part:careful  rows=5",
            "INFO: app:stored  rows=6",
            "INFO: no name",
            "INFO: printed",
            f"INFO: root {rank}",
            "ERROR: complained",
        }


def test_files_at_the_jobs_level(job: Any) -> None:
    """The level given to the job is that of the files, too."""
    code = "import logging; logging.basicConfig(level=0); logging.debug('deep')"
    directory = str(job.directory / "own")
    job.python(code, options=("--level", "DEBUG"), ASYNCLOG_LOG_DIR=directory)
    [path] = Path(directory).glob("*/*.log")
    assert path.read_text().endswith(":DEBUG: deep\n")


def test_tracebacks(job: Any, ranks: Callable[..., str]) -> None:
    """An exception that a worker has logged comes with its traceback."""
    code = """
        import logging
        logging.basicConfig()
        try:
            1 / 0
        except ZeroDivisionError:
            logging.exception("oh no")
    """
    job.run(sys.executable, ranks(code, 1), ASYNCLOG_LOG_DIR=str(job.directory / "own"))
    [path] = (job.directory / "own").glob(f"*/{HOST}[[]0].log")
    text = path.read_text()
    assert "ERROR: oh no\n" in text
    assert "ZeroDivisionError: division by zero\n" in text


def test_documented_handlers(job: Any, ranks: Callable[..., str]) -> None:
    """The handlers of the guide do what it says: loggers from a level on, and files for all."""
    guide = Path(__file__).parents[2] / "docs" / "how-to" / "launcher-handlers.md"
    code = re.search(r"```\{code-block\} python\n(.*?)```", guide.read_text(), re.DOTALL)
    assert code is not None
    job.program(code[1], "my_handlers.py")
    options = ("--handlers", "my_handlers:make", "--console-level", "none")
    done = job.run(sys.executable, ranks(WORKER, 2), options=options)
    assert done.returncode == 0, done.stderr
    shown = {line.split(" ", 2)[2] for line in done.stderr.splitlines()}
    assert shown == {f"{NODE}.0 app.part:careful  rows=5", f"{NODE}.0 complained"}
    names = {path.name for path in (job.directory / "worker_logs").glob("*/*")}
    assert names == {f"{HOST}[0].log", f"{HOST}[1].log"}


def test_only_this_job(job: Any) -> None:
    """Handlers get what this job says, not what earlier ones in the same directory have said."""
    _run(job, "shown_by:everything", "echo", "first")
    _run(job, "none", "echo", "second")
    _run(job, "shown_by:everything", "echo", "third")
    assert [line.rpartition(" ")[2] for line in _shown(job)] == ["first", "third"]
    assert job.printed() == ["first", "second", "third"]


def test_never_back_into_the_run(job: Any) -> None:
    """What handlers show is no record again, though the launcher sends its logging there."""
    job.program(
        """
        import logging
        import shown_by
        from asynclog.stdlib import Handler

        def round_trip():
            handlers = shown_by.as_usual()
            logging.getLogger().addHandler(Handler())
            return handlers
        """,
        "round_trip.py",
    )
    done = _run(job, "round_trip:round_trip", "sh", "-c", "echo one; echo two >&2")
    assert len(_shown(job)) == 2
    assert len(job.events()) == 2
    # nor is it said on stderr, as what other threads of the collector log is
    assert done.stderr == "two\n"


def test_none(job: Any) -> None:
    """No handlers means none, files included; console and run directory are as ever."""
    done = job.run(
        "echo", "hello", options=("--handlers", "none"), ASYNCLOG_LOG_DIR=str(job.directory / "own")
    )
    assert done.stdout == "hello\n"
    assert job.printed() == ["hello"]
    assert not (job.directory / "own").exists()


def test_nothing_on_the_console(job: Any) -> None:
    """With a console level of ``none`` only handlers and files get what a job says.

    All of it can be chosen by variables, as torchrun's plug-in needs it.
    """
    job.program(SHOWN, "shown_by.py")
    done = job.run(
        *("sh", "-c", "echo one; echo two >&2"),
        ASYNCLOG_HANDLERS="shown_by:everything",
        ASYNCLOG_CONSOLE_LEVEL="none",
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert len(_shown(job)) == len(job.events()) == 2


def test_wrong_handlers(job: Any) -> None:
    """A factory that is none is said before anything starts: one line, exit status 2."""
    done = job.run("echo", "hello", options=("--handlers", "nowhere:at_all"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "ModuleNotFoundError: No module named 'nowhere'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_file_directory_that_cannot_be_made(job: Any) -> None:
    """A directory of files that cannot be made is said before anything starts."""
    (job.directory / "taken").write_text("")
    done = job.run("echo", "hello", ASYNCLOG_LOG_DIR=str(job.directory / "taken"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "ASYNCLOG_LOG_DIR must be a directory that can be written" in done.stderr


@pytest.mark.faults
def test_hung_handler(job: Any) -> None:
    """A handler that hangs keeps the launcher for its 15 seconds and no longer; files have all."""
    job.program(
        """
        import logging
        import threading

        class Hanging(logging.Handler):
            def emit(self, record):
                threading.Event().wait()

        def hanging():
            return [Hanging()]
        """,
        "hanging.py",
    )
    done = job.run("echo", "hello", options=("--handlers", "hanging:hanging"))
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert job.printed() == ["hello"]
    assert "handlers of logging have not got 1 records: see the files" in done.stderr
