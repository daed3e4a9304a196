"""capture: everything is as it was after the stop, whatever happens meanwhile."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import asynclog
from asynclog.capture import Capture, capture

from .conftest import Program


@pytest.mark.parametrize("name", ["stdout", "stderr", "warnings", "exceptions", "faults", "tee"])
def test_arguments_are_checked(name: str) -> None:
    """An argument that is neither True nor False is refused by name."""
    with pytest.raises(asynclog.SettingError, match=re.escape(name)):
        capture(**{name: "yes"})  # type: ignore[arg-type]
    assert isinstance(capture(), Capture)


def test_everything_is_put_back(program: Program) -> None:
    """Descriptors, streams, hooks, functions and threads are what they were; nothing leaks."""
    program("""
        import logging, faulthandler
        def state():
            return (
                descriptors(),
                [(os.fstat(n).st_ino, os.get_inheritable(n)) for n in (0, 1, 2)],
                sys.stdout, sys.stderr, sys.stdout.write.__self__, vars(sys.stdout),
                sys.stdout.line_buffering, sys.stderr.line_buffering,
                sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning,
                os._exit, os.abort, os.execv, os.execve, faulthandler.is_enabled(),
                list(logging.getLogger("asyncio").filters), threading.active_count(),
            )
        with asynclog.running("run"):
            before = state()
            for _ in range(50):
                with capture():
                    print("x")
                assert state() == before
    """)


def test_stop_of_the_pipeline_ends_the_capture(program: Program) -> None:
    """asynclog.stop() takes in what was printed, and puts the streams back."""
    ended = program("""
        import anyio
        async def main(backend):
            await asynclog.start("run")
            capture().start()
            print("captured", backend)
            report = await asynclog.stop()
            assert report.written == 1, report
            print("free")
        before = os.fstat(1).st_ino
        for backend in ("asyncio", "trio"):
            anyio.run(main, backend, backend=backend)
            assert os.fstat(1).st_ino == before
    """)
    assert ended.lines() == ["captured asyncio", "captured trio"]


def test_nested(program: Program) -> None:
    """A capture within another one changes nothing; the last one that stops puts things back."""
    ended = program("""
        with asynclog.running("run"):
            outer, inner = capture(), capture(tee=False)
            with outer:
                print("one")
                with inner, inner:
                    print("two")
                print("three")
            print("free")
            outer.start(); inner.start(); outer.stop()
            print("four")
            inner.stop(); inner.stop()
            print("free")
    """)
    assert ended.lines() == ["one", "two", "three", "four"]
    assert ended.out.split() == ["one", "two", "three", "free", "four", "free"]


def test_stop_while_other_threads_print(program: Program) -> None:
    """Starting and stopping among threads that print: no line is lost for those who watch."""
    ended = program("""
        over = threading.Event()
        counts = [0] * 4
        def work(index):
            while not over.is_set():
                os.write(1, f"{index} {counts[index]}\\n".encode())
                counts[index] += 1
                time.sleep(0.0005)
        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        with asynclog.running("run"):
            for thread in threads:
                thread.start()
            for _ in range(30):
                with capture():
                    time.sleep(0.005)
            over.set()
            for thread in threads:
                thread.join()
        print(*counts, file=sys.stderr)
    """)
    counts = [int(count) for count in ended.err.split()]
    shown = ended.out.split("\n")[:-1]
    expected = {f"{index} {number}" for index in range(4) for number in range(counts[index])}
    assert sorted(shown) == sorted(expected)
    assert set(ended.lines()) < expected


def test_closed_and_missing_streams(program: Program) -> None:
    """What is no stream is left alone: Python began without it, or the program has closed it."""
    Path("child.py").write_text("""
import os, sys
import asynclog
from asynclog.capture import capture
assert sys.stdout is None
own = os.open("own", os.O_CREAT | os.O_WRONLY)
assert own == 1, own
with asynclog.running("run"), capture():
    print("nowhere")
    os.write(own, b"a file of the program")
    print("error", file=sys.stderr)
""")
    ended = program("""
        subprocess.run(f"{sys.executable} child.py >&-", shell=True, check=True)
        assert open("own").read() == "a file of the program"
        sys.stdout.close()
        with asynclog.running("run2"), capture():
            print("more", file=sys.stderr)
    """)
    assert ended.lines() == []
    assert ended.lines("stderr") == ["error"]


def test_reader_of_our_output_is_gone(program: Program) -> None:
    """A pipe nobody reads any more does not end a program that prints; its lines are recorded."""
    Path("child.py").write_text("""
import asynclog
from asynclog.capture import capture
with asynclog.running("run"), capture():
    for number in range(1000):
        print("line", number)
""")
    ended = program("""
        reading, writing = os.pipe()
        os.close(reading)
        result = subprocess.run([sys.executable, "child.py"], stdout=writing)
        assert result.returncode == 0
    """)
    assert len(ended.lines()) == 1000


def test_child_that_lives_longer_than_the_capture(program: Program) -> None:
    """What a child prints after the stop is shown as long as we live, and keeps nobody waiting."""
    ended = program("""
        with asynclog.running("run"), capture():
            child = subprocess.Popen("echo first; read x; echo second", shell=True,
                                     stdin=subprocess.PIPE)
            recorded(1)
        child.communicate(b"\\n")
        wait_for(lambda: threading.active_count() == 1)
    """)
    assert ended.lines() == ["first"]
    assert ended.out == "first\nsecond\n"


def test_exec_that_fails(program: Program) -> None:
    """When there is no such program, the capture goes on."""
    ended = program("""
        with asynclog.running("run"), capture():
            print("one")
            try:
                os.execvp("no-such-program", ["no-such-program"])
            except FileNotFoundError:
                print("two")
        assert len(descriptors()) == 3, descriptors()
    """)
    assert ended.lines() == ["one", "two"]


@pytest.mark.parametrize("fork", [True, False])
def test_child_outlives_a_killed_parent(program: Program, fork: bool) -> None:
    """What a child prints after our death is still shown; it neither hangs nor fails."""
    ended = program(
        f"""
        asynclog.start_sync("run")
        capture().start()
        parent = os.getpid()
        if {fork}:
            if not os.fork():
                while os.getppid() == parent:
                    time.sleep(0.005)
                os.write(1, b"y\\n" * 500_000)
                print("end")
                os._exit(0)
        else:
            # its input ends with us
            child = ["sh", "-c", "read x; yes | head -c 1000000; echo end"]
            warnings.simplefilter("ignore")
            process = subprocess.Popen(child, stdin=subprocess.PIPE)
        os.kill(parent, signal.SIGKILL)
        """,
        check=False,
    )
    assert ended.code == -9
    assert ended.out == "y\n" * 500_000 + "end\n"


@pytest.mark.parametrize("tee", [True, False])
def test_native_last_words(program: Program, tee: bool) -> None:
    """What native code says just before it dies is shown, although nobody is left to read it."""
    for _ in range(5):
        ended = program(
            f"""
            asynclog.start_sync("run")
            capture(tee={tee}).start()
            libc = ctypes.PyDLL(None)  # keeps the GIL: the reading thread cannot run
            word = b"terminate called after throwing\\n"
            libc.write(2, word, len(word)); libc.abort()
            """,
            check=False,
        )
        assert ended.code == -6
        assert ended.err == "terminate called after throwing\n"


def test_no_child_process_is_seen(program: Program) -> None:
    """A program that waits for all its children does not wait for ours; none is left behind."""
    ended = program("""
        with asynclog.running("run"), capture():
            try:
                os.wait()
            except ChildProcessError:
                print("no children")
    """)
    assert ended.lines() == ["no children"]


def test_replaced_stream(program: Program) -> None:
    """Prints into a stand-in of sys.stdout never reach the descriptor: not seen, not broken."""
    ended = program("""
        import contextlib, io
        with asynclog.running("run"), capture():
            with contextlib.redirect_stdout(io.StringIO()) as text:
                print("in memory")
                os.write(1, b"descriptor\\n")
            print("again")
        assert text.getvalue() == "in memory\\n"
    """)
    assert ended.lines() == ["descriptor", "again"]


def test_redirection_of_the_descriptor_by_the_program(program: Program) -> None:
    """A program that moves descriptor 1 meanwhile gets what it asked for, also at the stop."""
    ended = program("""
        with asynclog.running("run"), capture():
            print("one")
            saved = os.dup(1)
            file = os.open("file", os.O_CREAT | os.O_RDWR)
            os.dup2(file, 1)
            print("two")
            os.dup2(saved, 1)
            os.close(saved)
            print("three")
            os.dup2(file, 1)
        print("four", flush=True)
        assert open("file").read() == "two\\nfour\\n"
    """)
    assert ended.lines() == ["one", "three"]


def test_in_a_test_of_pytest(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Under pytest's own capture the descriptors are captured, and given back to it."""
    with asynclog.running(run_dir), capture(faults=False):
        os.write(1, b"descriptor\n")
    os.write(1, b"free\n")
    assert capfd.readouterr().out == "descriptor\nfree\n"
    assert '"descriptor"' in (run_dir / "events.jsonl").read_text()


def test_large_print_while_the_gil_is_held(program: Program) -> None:
    """Native code may print up to the size of the pipe without giving up the GIL."""
    program("""
        with asynclog.running("run"), capture(tee=False):
            libc = ctypes.PyDLL(None)  # holds the GIL
            data = b"x" * 999 + b"\\n"
            for _ in range(900):
                assert libc.write(1, data, len(data)) == len(data)
        assert sum(1 for line in open("run/events.jsonl") if '"output"' in line) == 900
    """)
