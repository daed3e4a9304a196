"""What programs print under `asynclog run`: every line a record, told apart, shown as asked."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any


def test_streams_stay_apart(job: Any) -> None:
    """Standard output and error come out where they would, and are records with their stream."""
    code = "import sys; print('one'); print('two', file=sys.stderr)"
    done = job.python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n", "two\n")
    assert job.printed(stream="stdout") == ["one"]
    assert job.printed(stream="stderr") == ["two"]
    assert all("pid" in event and event["level"] == "info" for event in job.events())


def test_other_programs(job: Any) -> None:
    """Programs that are not written in Python are captured as well."""
    done = job.run("sh", "-c", "echo one; echo two >/dev/stderr; printf three")
    assert done.stdout == "one\nthree"
    assert job.printed(stream="stdout") == ["one", "three"]
    assert job.printed(stream="stderr") == ["two"]
    [partial] = [event for event in job.events() if event.get("partial")]
    assert partial["event"] == "three"


def test_a_program_reads_its_own_children(job: Any) -> None:
    """What a program reads from its children itself is not taken away from it."""
    code = """
        import subprocess, sys
        done = subprocess.run([sys.executable, "-c", "print('inner')"], capture_output=True)
        print("outer", done.stdout)
    """
    assert job.python(code).returncode == 0
    assert job.printed() == ["outer b'inner\\n'"]


def test_progress_bars(job: Any) -> None:
    """A bar is drawn on the console as ever, and is one record in its last state."""
    code = """
        import sys
        for step in range(101):
            sys.stderr.write(f"\\r{step}%")
            sys.stderr.flush()
        print(file=sys.stderr)
    """
    done = job.python(code)
    assert done.stderr.count("%") == 101
    assert job.printed() == ["100%"]


def test_interleaved_parts(job: Any, ranks: Callable[..., str]) -> None:
    """Parts of lines of four processes at the same time never mix."""
    code = """
        import os, sys
        rank = os.environ["RANK"]
        for number in range(300):
            for part in (f"rank {rank} ", "says ", f"{number}\\n"):
                os.write(1, part.encode())
    """
    assert job.run(sys.executable, ranks(code)).returncode == 0
    for rank in range(4):
        assert job.printed(rank=rank) == [f"rank {rank} says {n}" for n in range(300)]


def test_forked_children(job: Any) -> None:
    """A forked child prints under its own pid, and its parts of lines do not mix with others'."""
    code = """
        import os
        print("parent", os.getpid())
        for _ in range(3):
            if os.fork() == 0:
                for number in range(100):
                    os.write(1, f"{os.getpid()} ".encode())
                    os.write(1, f"{number}\\n".encode())
                os._exit(0)
        for _ in range(3):
            os.wait()
    """
    assert job.python(code).returncode == 0
    lines = Counter(event["pid"] for event in job.events())
    assert sorted(lines.values()) == [1, 100, 100, 100]
    for event in job.events():
        assert event["event"].startswith((f"{event['pid']} ", "parent"))


def test_last_words_of_a_killed_program(job: Any) -> None:
    """Lines printed just before SIGKILL are there, without a flush by the program."""
    code = """
        import os, signal
        for number in range(1000):
            print("line", number)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert job.python(code).returncode == 137
    assert job.printed() == [f"line {number}" for number in range(1000)]


def test_storm(job: Any) -> None:
    """A program that prints as fast as it can is held up, not cut short."""
    code = """
        for number in range(100_000):
            print("line", number, "x" * 50)
    """
    done = job.python(code)
    assert done.stdout.count("\n") == 100_000
    assert "lost" not in done.stderr
    numbers = [int(line.split()[1]) for line in job.printed()]
    assert numbers == list(range(100_000))


def test_console_limits_ranks(job: Any, ranks: Callable[..., str]) -> None:
    """A storm of ranks is cut short on the console, which says so; the files have all."""
    code = """
        for number in range(3000):
            print("line", number)
    """
    done = job.run(sys.executable, ranks(code, 2))
    assert done.stdout.count("\n") <= 2000
    assert "left out" in done.stderr
    assert len(job.printed()) == 6000


def test_chosen_ranks(job: Any, ranks: Callable[..., str]) -> None:
    """Only rank 0 is shown unless others are asked for; the files have all."""
    program = ranks("import os; print('hello of', os.environ['RANK'])")
    assert job.run(sys.executable, program).stdout == "[rank 0] hello of 0\n"
    done = job.run(sys.executable, program, options=("--ranks", "1,2-3"))
    assert sorted(done.stdout.splitlines()) == [f"[rank {n}] hello of {n}" for n in (1, 2, 3)]
    assert len(job.printed()) == 8


def test_console_level(job: Any) -> None:
    """Printed lines below the level are kept off the console."""
    code = """
        import sys
        print("hello")
        raise ValueError("oh no")
    """
    done = job.python(code, options=("--console-level", "ERROR"))
    assert done.stdout == ""
    assert "ValueError: oh no" in done.stderr
    assert "hello" in job.printed()


def test_tracebacks_are_errors(job: Any) -> None:
    """The lines of a traceback are errors, and the report names the exception."""
    assert job.python("raise ValueError('oh no')").returncode == 1
    levels = {event["event"]: event["level"] for event in job.events()}
    assert levels["ValueError: oh no"] == "error"
    assert job.crash()["first"]["error"] == "ValueError: oh no"


def test_processes_that_live_on(job: Any) -> None:
    """A process that keeps the streams open does not keep the launcher for ever."""
    began = time.monotonic()
    done = job.run("sh", "-c", "sleep 30 & echo done")
    assert time.monotonic() - began < 60
    assert done.returncode == 0
    assert done.stdout == "done\n"
    assert "live on" in done.stderr


def test_users_sitecustomize(job: Any) -> None:
    """A sitecustomize of the user's own still runs, in the launcher's children, too."""
    place = job.directory / "own"
    place.mkdir()
    (place / "sitecustomize.py").write_text("import builtins; builtins.mine = 5")
    done = job.python("import sitecustomize; print(mine)", PYTHONPATH=str(place))
    assert (done.returncode, done.stdout) == (0, "5\n")


def test_no_launcher_any_more(job: Any) -> None:
    """A process that finds no launcher keeps the streams that it has inherited."""
    code = """
        import os, subprocess, sys
        inodes = os.environ["ASYNCLOG_OUTPUT"].partition(":")[0]
        environment = {**os.environ, "ASYNCLOG_OUTPUT": inodes + ":/nowhere/at/all"}
        subprocess.run([sys.executable, "-c", "print('still here')"], env=environment, check=True)
    """
    assert job.python(code).returncode == 0
    assert job.printed() == ["still here"]


def test_starting_python_stays_light(job: Any) -> None:
    """A Python program that logs nothing imports nothing more for being watched."""
    code = (
        "import sys; print([name for name in ('logging', 'asynclog', 'socket', 'json') "
        "if name in sys.modules])"
    )
    assert job.python(code).stdout == "[]\n"


def test_capture_within(job: Any) -> None:
    """A program that captures its output itself has each line once."""
    code = """
        import asynclog
        from asynclog.capture import capture
        with asynclog.running(), capture():
            print("hello")
    """
    done = job.python(code)
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert job.printed() == ["hello"]
