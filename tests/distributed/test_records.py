"""Records of programs under `asynclog run`: they join without a call, each arrives once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

BASIC = """
    import logging
    logging.basicConfig(level=logging.INFO)
    logging.info("hello %d", 1)
    logging.getLogger("app.part").warning("careful", extra={"disk": 90})
    logging.debug("not asked for")
"""
DICT = """
    import logging.config
    logging.config.dictConfig({
        "version": 1,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"app": {"handlers": ["console"], "level": "INFO", "propagate": False}},
        "disable_existing_loggers": False,
    })
    logging.getLogger("app").info("hello %d", 1)
"""


def _logged(job: Any, **fields: Any) -> list[str]:
    return [
        event["event"]
        for event in job.events()
        if "kind" not in event and all(event.get(name) == fields[name] for name in fields)
    ]


def test_unmodified_logging(job: Any) -> None:
    """A program that only knows logging joins: a record each, and no printed line beside it."""
    done = job.python(BASIC)
    assert _logged(job) == ["hello 1", "careful"]
    assert job.printed() == []
    first, second = job.events()
    assert (first["logger"], second["logger"]) == ("root", "app.part")
    assert second["disk"] == 90
    assert first["pid"] == second["pid"]
    assert "INFO - hello 1" in done.stderr


def test_unmodified_dict_config(job: Any) -> None:
    """Loggers that do not propagate join as well."""
    job.python(DICT)
    assert _logged(job) == ["hello 1"]
    assert job.printed() == []


def test_unconfigured_logging(job: Any) -> None:
    """Without any set-up, what logging would have shown are records; no more, no less."""
    job.python("import logging; logging.info('no'); logging.warning('yes')")
    assert _logged(job) == ["yes"]
    assert job.printed() == []


def test_file_handlers_go_on(job: Any) -> None:
    """A log file of the program's own gets what it always got."""
    code = """
        import logging
        logging.basicConfig(filename="own.log", format="%(message)s", level="INFO")
        logging.info("hello")
    """
    job.python(code)
    assert (job.directory / "own.log").read_text() == "hello\n"
    assert _logged(job) == ["hello"]


def test_a_library_that_keeps_silent(job: Any) -> None:
    """What a library logs for nobody stays with it."""
    code = """
        import logging
        logger = logging.getLogger("library")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.error("nothing to see")
    """
    job.python(code)
    assert job.events() == []


def test_set_up_by_the_program(job: Any) -> None:
    """A program that sends logging into asynclog itself has each record once."""
    code = """
        import logging
        import asynclog.stdlib
        asynclog.stdlib.setup_logging()
        logging.info("hello")
    """
    done = job.python(code)
    assert done.returncode == 0, done.stderr
    assert _logged(job) == ["hello"]


def test_levels(job: Any) -> None:
    """The launcher's level counts for all that joins."""
    code = """
        import logging, asynclog
        logging.basicConfig(level=logging.DEBUG)
        logging.debug("one")
        asynclog.get_logger().debug("two")
    """
    job.python(code, options=("--level", "DEBUG"))
    assert _logged(job) == ["one", "two"]


def test_start_is_overruled(job: Any) -> None:
    """A run directory given to start() makes way for the launcher's, with a warning."""
    code = """
        import asynclog
        with asynclog.running("other", level="DEBUG", sinks=[asynclog.JsonlFile()]) as run:
            asynclog.get_logger("app").debug("hello")
            assert asynclog.flush_sync()
        assert run.report.accepted == 1, run.report
    """
    done = job.python(code)
    assert done.returncode == 0, done.stderr
    assert not (job.directory / "other").exists()
    assert f"is overruled: the launcher's is {job.run_dir}" in done.stderr
    assert "sinks are overruled" in done.stderr
    assert _logged(job) == ["hello"]


def test_started_again(job: Any) -> None:
    """A program that stops and starts again logs into the launcher's run both times."""
    code = """
        import asynclog
        for number in range(3):
            with asynclog.running():
                asynclog.get_logger("app").info("hello", number=number)
    """
    done = job.python(code)
    assert (done.returncode, "overruled" in done.stderr) == (0, False)
    assert _logged(job) == ["hello"] * 3


def test_checked_all_the_same(job: Any) -> None:
    """A wrong setting is an error under the launcher, too."""
    done = job.python("import asynclog; asynclog.start_sync(level='LOUD')")
    assert done.returncode == 1
    assert "SettingError" in done.stderr


def test_every_record_of_four_ranks(job: Any, ranks: Callable[..., str]) -> None:
    """Records of four ranks and their forked children arrive once each, in order."""
    code = """
        import logging, os
        import asynclog
        logging.basicConfig(level=logging.INFO)
        children = []
        for child in range(2):
            if (pid := os.fork()) == 0:
                for number in range(500):
                    logging.info("child %d", number)
                os._exit(0)
            children.append(pid)
        for number in range(500):
            asynclog.get_logger("app").info(f"own {number}")
            logging.info("std %d", number)
        for pid in children:
            os.waitpid(pid, 0)
    """
    assert job.run(sys.executable, ranks(code)).returncode == 0
    by_process: dict[tuple[int, int], list[str]] = {}
    for event in job.events():
        by_process.setdefault((event["rank"], event["pid"]), []).append(event["event"])
    assert len(by_process) == 12
    own = [text for number in range(500) for text in (f"own {number}", f"std {number}")]
    child = [f"child {number}" for number in range(500)]
    assert all(lines in (own, child) for lines in by_process.values())
    assert [rank for rank, _ in sorted(by_process)] == [n // 3 for n in range(12)]


@pytest.mark.parametrize("name", ["KILL", "SEGV", "ABRT"])
def test_a_rank_dies(job: Any, ranks: Callable[..., str], name: str) -> None:
    """The report names the rank that died first, and by what, and has its last records."""
    code = f"""
        import json, logging, os, pathlib, signal, time
        logging.basicConfig(level=logging.INFO)
        for number in range(100):
            logging.info("record %d", number)
        if os.environ["RANK"] == "2":
            os.kill(os.getpid(), signal.SIG{name})
        # the others notice, a moment later
        path = pathlib.Path(json.loads(os.environ["ASYNCLOG_JOIN"])["run_dir"], "crash.json")
        ends = time.monotonic() + 60
        while not path.exists() and time.monotonic() < ends:
            time.sleep(0.01)
        os._exit(3)
    """
    done = job.run(sys.executable, ranks(code))
    assert done.returncode != 0
    crash = job.crash()
    first = crash["first"]
    assert (first["rank"], first["cause"]) == (2, f"was killed by SIG{name}")
    assert {other["rank"] for other in crash["others"]} == {0, 1, 3}
    records = [event for event in crash["last_records"] if event["event"].startswith("record")]
    assert [event["event"] for event in records] == [
        f"record {n}" for n in range(100 - len(records), 100)
    ]
    assert len(crash["last_records"]) == 50
    assert f"asynclog: rank 2 was killed by SIG{name}" in done.stderr
    assert "first: rank 2" in done.stderr
    assert "record 99" in (job.run_dir / "crash.txt").read_text()
    assert all(len(_logged(job, rank=rank, logger="root")) == 100 for rank in range(4))


def test_an_exception_in_a_rank(job: Any, ranks: Callable[..., str]) -> None:
    """The report names the exception that ended a rank."""
    code = """
        import os, time
        if os.environ["RANK"] == "1":
            raise ValueError("bad batch")
        time.sleep(0.5)
    """
    assert job.run(sys.executable, ranks(code)).returncode == 1
    crash = job.crash()
    assert crash["first"]["rank"] == 1
    assert crash["first"]["error"] == "ValueError: bad batch"
    assert crash["others"] == []


def test_reported_at_once(job: Any, ranks: Callable[..., str]) -> None:
    """The report is there two seconds after a rank has died, however long the job goes on."""
    code = """
        import json, os, pathlib, signal, sys, time
        if os.environ["RANK"] == "1":
            print("last words")
            os.kill(os.getpid(), signal.SIGKILL)
        path = pathlib.Path(json.loads(os.environ["ASYNCLOG_JOIN"])["run_dir"], "crash.json")
        ends = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < ends
            time.sleep(0.01)
        crash = json.loads(path.read_bytes())
        assert crash["first"]["rank"] == 1
        assert crash["first"]["cause"] == "was killed by SIGKILL"
        assert [event["event"] for event in crash["last_records"]] == ["last words"]
        print("as it should be")
    """
    job.run(sys.executable, ranks(code, 2))
    assert job.printed(rank=0) == ["as it should be"]
