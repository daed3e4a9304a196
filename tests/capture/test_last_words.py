"""capture: what a program dies of is a record, once, and is shown as it would have been."""

from __future__ import annotations

import pytest

from .conftest import Program


def test_uncaught_exception(program: Program) -> None:
    """The exception that ends a program is one critical record; the traceback is shown once."""
    ended = program(
        """
        asynclog.start_sync("run")
        capture().start()
        def fail():
            raise ValueError("last word")
        fail()
        """,
        check=False,
    )
    assert ended.code == 1
    [record] = ended.records
    assert record["level"] == "critical"
    assert record["event"] == "uncaught exception"
    assert record["exception"]["type"] == "ValueError"
    assert record["exception"]["message"] == "last word"
    assert record["exception"]["frames"][-1]["function"] == "fail"
    assert ended.err.count("ValueError: last word") == 1


def test_hook_of_the_program_is_called(program: Program) -> None:
    """A hook that was there before is still called, and is back after the stop."""
    ended = program(
        """
        def hook(*args):
            print("my hook", file=sys.stderr)
        sys.excepthook = hook
        asynclog.start_sync("run")
        with capture(stderr=False):
            assert sys.excepthook is not hook
        assert sys.excepthook is hook
        capture().start()
        1 / 0
        """,
        check=False,
    )
    assert ended.err == "my hook\n"
    assert [record["exception"]["type"] for record in ended.records] == ["ZeroDivisionError"]


def test_interrupt(program: Program) -> None:
    """Ctrl-C is no error."""
    ended = program(
        """
        asynclog.start_sync("run")
        capture().start()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
        """,
        check=False,
    )
    [record] = ended.records
    assert (record["level"], record["event"]) == ("warning", "interrupted")


def test_thread(program: Program) -> None:
    """The exception that ends a thread is one record with its name; sys.exit in one is none."""
    ended = program("""
        def fail():
            raise KeyError("gone")
        with asynclog.running("run"), capture():
            for target in (fail, sys.exit):
                thread = threading.Thread(target=target, name="loader")
                thread.start()
                thread.join()
    """)
    [record] = ended.records
    assert record["level"] == "error"
    assert record["thread"] == "loader"
    assert record["exception"]["type"] == "KeyError"
    assert ended.err.count("KeyError: 'gone'") == 1


def test_finaliser(program: Program) -> None:
    """The exception of a finaliser is one record."""
    ended = program("""
        class Careless:
            def __del__(self):
                raise OSError("too late")
        with asynclog.running("run"), capture():
            Careless()
    """)
    [record] = ended.records
    assert record["event"] == "exception ignored"
    assert "Careless.__del__" in record["object"]
    assert record["exception"]["type"] == "OSError"
    assert ended.err.count("OSError: too late") == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("handled", [False, True])
def test_asyncio_task(program: Program, loop: str, handled: bool) -> None:
    """A task's exception that nobody fetched is one record; a handler of the program's is left."""
    ended = program(f"""
        import asyncio, gc
        async def fail():
            raise RuntimeError("nobody looks")
        async def main():
            if {handled}:
                asyncio.get_running_loop().set_exception_handler(lambda *_: print("mine"))
            task = asyncio.create_task(fail())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del task
            gc.collect()
        with asynclog.running("run"), capture():
            if "{loop}" == "uvloop":
                import uvloop
                uvloop.run(main())
            else:
                asyncio.run(main())
    """)
    if handled:
        assert ended.lines() == ["mine"]
        assert not ended.of("asynclog.capture")
        return
    [record] = ended.records
    assert record["event"] == "Task exception was never retrieved"
    assert record["exception"]["message"] == "nobody looks"
    assert "fail()" in record["details"]
    assert ended.err.count("RuntimeError: nobody looks") == 1


def test_asyncio_task_with_logging_set_up(program: Program) -> None:
    """Where the standard library's logging is in the pipeline already, it stays one record."""
    ended = program("""
        import asyncio, gc, logging
        from asynclog.stdlib import Handler
        async def fail():
            raise RuntimeError("nobody looks")
        async def main():
            task = asyncio.create_task(fail())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del task
            gc.collect()
        logging.getLogger().addHandler(Handler())
        with asynclog.running("run"), capture():
            asyncio.run(main())
    """)
    [record] = [each for each in ended.records if "exception" in each]
    assert record["logger"] == "asyncio"


def test_trio(program: Program) -> None:
    """What comes out of a trio program is the main thread's exception: one critical record."""
    ended = program(
        """
        import trio
        async def fail():
            raise ValueError("in a task")
        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
        asynclog.start_sync("run")
        capture().start()
        trio.run(main)
        """,
        check=False,
    )
    [record] = ended.records
    assert record["level"] == "critical"
    assert record["exception"]["exceptions"][0]["message"] == "in a task"


def test_warnings(program: Program) -> None:
    """A warning is one record with its place, shown as before; filters still apply."""
    ended = program("""
        before = warnings.showwarning
        warnings.filterwarnings("ignore", "silent")
        with asynclog.running("run"), capture():
            warnings.warn("careful")
            warnings.warn("silent")
        assert warnings.showwarning is before
    """)
    [record] = ended.records
    assert record["logger"] == "py.warnings"
    assert (record["level"], record["event"]) == ("warning", "careful")
    assert (record["category"], record["line"] > 1) == ("UserWarning", True)
    assert ended.err.count("careful") == 2  # the message and its source line


@pytest.mark.parametrize("order", ["setup_logging first", "capture first"])
def test_warnings_beside_setup_logging(program: Program, order: str) -> None:
    """Beside capture_warnings of asynclog.stdlib a warning is one record, whoever came first."""
    ended = program(f"""
        import logging
        from asynclog.stdlib import Handler, capture_warnings
        logging.getLogger().addHandler(Handler())
        asynclog.start_sync("run")
        if "{order}" == "capture first":
            capture().start()
            capture_warnings()
        else:
            capture_warnings()
            capture().start()
        warnings.warn("careful")
        asynclog.stop_sync()
    """)
    assert [record["event"] for record in ended.records] == ["careful"]


@pytest.mark.parametrize(
    ("death", "code", "word"),
    [
        ("ctypes.string_at(0)", -11, "Segmentation fault"),
        ("os.kill(os.getpid(), signal.SIGABRT)", -6, "Aborted"),
    ],
)
def test_fatal_error(program: Program, death: str, code: int, word: str) -> None:
    """A fatal error is a record with all stacks, brought by whoever collects next."""
    ended = program(
        f"""
        def die():
            {death}
        asynclog.start_sync("run")
        capture().start()
        print("last line")
        recorded(1)
        die()
        """,
        check=False,
    )
    assert ended.code == code
    assert ended.lines() == ["last line"]
    [record] = ended.of("faulthandler")
    assert record["level"] == "critical"
    assert record["event"] == f"Fatal Python error: {word}"
    assert "in die" in record["stack"]
    assert record["pid"]
    assert record["host"]


def test_fatal_error_of_a_child_is_recorded_while_the_run_goes_on(program: Program) -> None:
    """The dump of a forked child has its own pid, and is there while the parent runs."""
    ended = program("""
        with asynclog.running("run"), capture():
            pid = os.fork()
            if not pid:
                ctypes.string_at(0)
            assert os.waitpid(pid, 0)[1] & 0x7F == signal.SIGSEGV
            recorded(1)
            print(pid)
    """)
    [record] = ended.of("faulthandler")
    assert str(record["pid"]) == ended.out.strip()


def test_faulthandler_is_put_back(program: Program) -> None:
    """After the stop faulthandler is as it was, and nothing of it is left in the spool."""
    ended = program("""
        import faulthandler, glob
        for enabled in (False, True):
            faulthandler.enable() if enabled else faulthandler.disable()
            with asynclog.running("run"), capture():
                assert faulthandler.is_enabled()
                assert glob.glob(os.environ["ASYNCLOG_SPOOL_DIR"] + "/*/*/*.dump")
            assert faulthandler.is_enabled() == enabled
            assert not glob.glob(os.environ["ASYNCLOG_SPOOL_DIR"] + "/*/*/*")
    """)
    assert ended.records == []


def test_fatal_error_of_a_process_that_joined_the_run(program: Program) -> None:
    """A process that another one has started captures into its run, its crash dump included."""
    child = """
import ctypes
from asynclog.capture import capture
capture().start()
print("joined")
while open("run/events.jsonl").read().count("joined") < {number}:
    pass
1 + input() if {number} == 1 else ctypes.string_at(0)
"""
    ended = program(f"""
        with asynclog.running("run"):
            for number in (1, 2):
                command = [sys.executable, "-c", {child!r}.format(number=number)]
                result = subprocess.run(command, input=b"word\\n")
                assert result.returncode == (1 if number == 1 else -signal.SIGSEGV)
            recorded(4)
    """)
    assert ended.lines() == ["joined", "joined"]
    [failed] = ended.of("asynclog.capture")
    assert failed["exception"]["type"] == "TypeError"
    [dump] = ended.of("faulthandler")
    assert dump["event"] == "Fatal Python error: Segmentation fault"
    assert len({record["pid"] for record in ended.records}) == 2
    assert ended.out == "joined\njoined\n"
    assert ended.err.count("TypeError") == 1
