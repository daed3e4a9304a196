"""Jupyter: cells that start the pipeline, are run again, are interrupted; kernels that end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("ipykernel")
pytest.importorskip("jupyter_client")

from .kernels import Kernel, kernel
from .servers import read_events

# the client keeps an event loop for the thread
pytestmark = [pytest.mark.slow, pytest.mark.leaks("descriptors")]

START = """
import asynclog

await asynclog.start("run", level="INFO")
log = asynclog.get_logger("notebook")
log.info("started")
"""


def texts(directory: Path) -> list[str]:
    """Return the events in the run's files."""
    return [event["event"] for event in read_events(directory / "run")]


def nothing_left(spool_dir: Path) -> bool:
    """Say whether a spool is empty."""
    return not [path for path in spool_dir.rglob("*") if path.is_file()]


def test_a_notebook(tmp_path: Path, spool_dir: Path) -> None:
    """Lines are shown below the cell that logs, once, however often the first cell is run."""
    with kernel(tmp_path) as notebook:
        first = notebook.run(START)
        notebook.wait_until(lambda: "started" in first.stderr)
        second = notebook.run('log.info("second", number=2)')
        notebook.wait_until(lambda: "second" in second.stderr)
        again = notebook.run(START)
        notebook.wait_until(lambda: "started" in again.stderr)
        last = notebook.run('log.info("last")\nawait asynclog.flush()')
        notebook.wait_until(lambda: "last" in last.stderr)
        for cell, event in ((first, "started"), (second, "second"), (again, "started")):
            assert cell.error is None
            assert cell.stderr.count("\n") == 1
            assert f"INFO - {event}" in cell.stderr
            assert cell.stdout == ""
        assert last.result == "True"
        stopped = notebook.run("print(await asynclog.stop())")
        assert "accepted=4, written=4, dropped={}" in stopped.stdout
        assert nothing_left(spool_dir)
        # and once more
        notebook.run(START)
        notebook.run("await asynclog.stop()")
    assert texts(tmp_path) == ["started", "second", "started", "last", "started"]


def test_changed_settings(tmp_path: Path) -> None:
    """Other settings than those that are active are refused: which, and what to do."""
    with kernel(tmp_path) as notebook:
        notebook.run(START)
        refused = notebook.run(START.replace("INFO", "DEBUG"))
        assert refused.error is not None
        name, text = refused.error
        assert name == "AlreadyStartedError"
        assert text == (
            f"the pipeline runs already, in {tmp_path / 'run'}, with other settings (level); "
            "stop it first (await asynclog.stop(), or asynclog.stop_sync()), or use a Pipeline of "
            "its own for a second run"
        )
        elsewhere = notebook.run(START.replace('"run"', '"other"'))
        assert elsewhere.error is not None
        assert "settings (run_dir)" in elsewhere.error[1]
        # as the text says
        assert notebook.run("await asynclog.stop()").error is None
        assert notebook.run(START.replace("INFO", "DEBUG")).error is None
        shown = notebook.run("await asynclog.start()")
        assert shown.result == f"<Pipeline {str(tmp_path / 'run')!r} running>"
        level = notebook.run('asynclog.set_level(None, "WARNING")\nlog.info("too low")')
        assert level.error is None
        notebook.run("await asynclog.stop()")
    assert texts(tmp_path) == ["started", "started"]


def test_processors_may_change(tmp_path: Path) -> None:
    """A cell that is run again with other processors has these from then on."""
    cell = """
import asynclog

def mark(logger, method_name, event):
    event["mark"] = MARK
    return event

await asynclog.start("run", processors=[mark])
asynclog.get_logger("notebook").info("marked")
"""
    with kernel(tmp_path) as notebook:
        for mark in ("1", "2"):
            assert notebook.run(cell.replace("MARK", mark)).error is None
        notebook.run("await asynclog.stop()")
    assert [event["mark"] for event in read_events(tmp_path / "run")] == [1, 2]


def test_tasks_and_threads_of_a_notebook(tmp_path: Path) -> None:
    """What goes on in the background while cells are run is logged as well."""
    with kernel(tmp_path) as notebook:
        notebook.run(START)
        notebook.run("""
import asyncio, threading

async def work():
    for number in range(50):
        log.info("task", number=number)
        await asyncio.sleep(0)

task = asyncio.create_task(work())
thread = threading.Thread(target=lambda: [log.info("thread", number=n) for n in range(50)])
thread.start()
""")
        assert notebook.run("await task\nthread.join()").error is None
        notebook.run("await asynclog.stop()")
    assert Counter(texts(tmp_path)) == {"started": 1, "task": 50, "thread": 50}


def test_interrupted(tmp_path: Path) -> None:
    """The stop button ends a cell that logs; nothing is lost and the pipeline goes on."""
    with kernel(tmp_path) as notebook:
        notebook.run(START)
        notebook.run("from pathlib import Path\nnumbers = []")
        for _ in range(5):
            cell, name = notebook.begin("""
while True:
    log.info("step", number=len(numbers))
    numbers.append(None)
    Path("busy").touch()
""")
            notebook.wait_until((tmp_path / "busy").exists)
            notebook.interrupt()
            notebook.wait_until(lambda name=name: notebook.finished(name))
            assert cell.error is not None
            assert cell.error[0] == "KeyboardInterrupt"
            (tmp_path / "busy").unlink()
        counted = notebook.run("print(len(numbers))")
        report = notebook.run("print((await asynclog.stop())._asdict())")
        assert "'dropped': {}" in report.stdout
    numbers = [event["number"] for event in read_events(tmp_path / "run") if "number" in event]
    acknowledged = int(counted.stdout)
    # one that was logged and not counted may have been logged again
    assert sorted(set(numbers)) == list(range(max(numbers) + 1))
    assert max(numbers) + 1 in (acknowledged, acknowledged + 1)
    assert len(numbers) - len(set(numbers)) <= 5


def _log_and_note(notebook: Kernel) -> None:
    """Log a thousand records in a cell, and wait until it has."""
    notebook.run('for number in range(1000):\n    log.info("kept", number=number)')


@pytest.mark.parametrize("now", [False, True], ids=["restarted", "killed and restarted"])
def test_restarted(tmp_path: Path, spool_dir: Path, now: bool) -> None:
    """What was logged before the kernel was restarted is there, once; the new one goes on."""
    with kernel(tmp_path) as notebook:
        notebook.run(START)
        _log_and_note(notebook)
        notebook.restart(now=now)
        notebook.run(START)
        notebook.run("await asynclog.stop()")
        assert nothing_left(spool_dir)
    numbers = [event["number"] for event in read_events(tmp_path / "run") if "number" in event]
    assert numbers == list(range(1000))
    assert texts(tmp_path).count("started") == 2


def test_killed(tmp_path: Path, spool_dir: Path) -> None:
    """What a kernel logged before it was killed is brought back by the command."""
    with kernel(tmp_path) as notebook:
        notebook.run(START)
        _log_and_note(notebook)
        notebook.kill()
        command = [sys.executable, "-m", "asynclog.cli", "recover", "run"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert nothing_left(spool_dir)
    numbers = [event["number"] for event in read_events(tmp_path / "run") if "number" in event]
    assert numbers == list(range(1000))


def test_the_notebook_is_closed(tmp_path: Path, spool_dir: Path) -> None:
    """A kernel that is shut down without a stop writes what was logged, and leaves nothing."""
    with kernel(tmp_path) as notebook:
        notebook.run(START)
        _log_and_note(notebook)
        notebook.shut_down()
    assert nothing_left(spool_dir)
    assert texts(tmp_path) == ["started", *["kept"] * 1000]


def test_the_documented_cells(tmp_path: Path, spool_dir: Path) -> None:
    """The cells of the page on notebooks can be run one after the other."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "jupyter.md"
    cells = re.findall(r"^```py\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(cells) == 5
    with kernel(tmp_path) as notebook:
        shown = [notebook.run(code) for code in cells]
        notebook.run("await asynclog.stop()")
    assert [cell.error for cell in shown] == [None] * len(cells)
    assert "with other settings (run_dir, level); stop it first" in shown[3].stdout
    [first, *_] = read_events(tmp_path / "runs" / "notebook")
    assert first["event"] == "ready"
    assert [event["event"] for event in read_events(tmp_path / "runs" / "quiet")] == ["in the file"]
    assert nothing_left(spool_dir)
