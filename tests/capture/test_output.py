"""capture: everything that a process and its children print is recorded, and still shown."""

from __future__ import annotations

import pytest

from .conftest import Program


def test_python_native_code_and_children(program: Program) -> None:
    """Print, os.write, printf of C and child processes: recorded in order, and shown."""
    ended = program("""
        with asynclog.running("run"), capture():
            print("print")
            os.write(1, b"write\\n")
            libc = ctypes.CDLL(None)
            libc.printf(b"printf\\n")
            libc.fflush(None)
            subprocess.run(["echo", "child"], check=True)
            print("error", file=sys.stderr)
            subprocess.run("echo child error >&2", shell=True, check=True)
        print("not captured")
    """)
    assert ended.lines() == ["print", "write", "printf", "child"]
    assert ended.lines("stderr") == ["error", "child error"]
    assert ended.out == "print\nwrite\nprintf\nchild\nnot captured\n"
    assert ended.err == "error\nchild error\n"
    [record] = [each for each in ended.records if each["event"] == "child"]
    assert record.pop("timestamp")
    assert record == {
        "kind": "output",
        "level": "info",
        "event": "child",
        "logger": "output",
        "stream": "stdout",
        "quiet": True,
    }


def test_without_tee(program: Program) -> None:
    """Without tee nothing is shown where it was; the console shows the records, once."""
    ended = program("""
        with asynclog.running("run"), capture(tee=False):
            print("one")
            print("two", file=sys.stderr)
        print("not captured")
    """)
    assert ended.out == "not captured\n"
    assert ended.err.count("one") == ended.err.count("two") == 1
    assert ended.err.count("\n") == 2
    assert ended.lines() == ["one"]
    assert not any("quiet" in record for record in ended.records)


def test_console_is_not_captured(program: Program) -> None:
    """What the pipeline itself shows does not come back as captured lines."""
    ended = program("""
        log = asynclog.get_logger("app")
        with asynclog.running("run"), capture():
            for number in range(100):
                log.info("mine", number=number)
            asynclog.flush_sync()
    """)
    assert ended.lines() == ended.lines("stderr") == []
    assert len(ended.of("app")) == 100
    assert ended.err.count("mine") == 100


def test_sink_that_prints_does_not_feed_itself(program: Program) -> None:
    """What a sink prints is shown and not recorded, or it would get it for ever."""
    ended = program("""
        class Printing:
            name = "printing"
            async def write(self, batch):
                for line in batch.lines:
                    print("got", len(line))

        with asynclog.running("run", sinks=[asynclog.JsonlFile(), Printing()]), capture():
            for number in range(5):
                print("line", number)
            asynclog.flush_sync()
    """)
    assert ended.lines() == [f"line {number}" for number in range(5)]
    assert ended.out.count("got") == 5


def test_line_without_end(program: Program) -> None:
    """A program's last words without a line end are a record that says so."""
    ended = program("""
        asynclog.start_sync("run")
        capture().start()
        print("whole")
        print("no end", end="")
    """)
    assert ended.lines() == ["whole", "no end"]
    assert [record.get("partial") for record in ended.records] == [None, True]
    assert ended.out == "whole\nno end"


def test_prompt_is_recorded_while_the_program_waits(program: Program) -> None:
    """A line without end that stays so for a while is recorded before the program ends."""
    ended = program("""
        with asynclog.running("run"), capture():
            print("Go on?", end=" ", flush=True)
            recorded(1)
            print("yes")
    """)
    assert ended.lines() == ["Go on? ", "yes"]


def test_progress_bar(program: Program) -> None:
    """Of a bar of tqdm the last state is recorded; all states are shown."""
    pytest.importorskip("tqdm")
    ended = program("""
        import tqdm
        with asynclog.running("run"), capture():
            for _ in tqdm.tqdm(range(50), desc="train", mininterval=0):
                pass
            print("done")
    """)
    [line] = ended.lines("stderr")
    assert line.startswith("train: 100%|")
    assert "50/50" in line
    assert ended.err.count("\r") > 10
    assert ended.lines() == ["done"]


def test_bytes_that_are_no_text(program: Program) -> None:
    """Bytes that are no UTF-8 are kept as escapes; what is shown is as it was."""
    ended = program("""
        with asynclog.running("run"), capture():
            os.write(1, b"\\x1b[32mgr\\xc3\\xbcn\\x1b[0m\\n")
            os.write(2, b"a\\\\xffb \\xe2\\x82")
            os.write(2, b"\\xac\\n")
    """)
    assert ended.lines() == ["grün"]
    assert ended.lines("stderr") == ["a\\xffb €"]
    assert ended.out == "\x1b[32mgrün\x1b[0m\n"


def test_tracebacks_on_stderr_are_errors(program: Program) -> None:
    """Lines of a child's traceback are errors, other lines of its stderr are not."""
    ended = program("""
        child = "import sys; print('fine', file=sys.stderr); sys.stderr.flush(); 1 / 0"
        with asynclog.running("run"), capture():
            subprocess.run([sys.executable, "-c", child])
            print("after", file=sys.stderr)
    """)
    levels = [(record["event"], record["level"]) for record in ended.records]
    assert levels[0] == ("fine", "info")
    assert levels[-2:] == [("ZeroDivisionError: division by zero", "error"), ("after", "info")]
    assert all(level == "error" for _, level in levels[1:-1])


def test_interleaved_writers(program: Program) -> None:
    """Threads and children that print at once: every line is there, whole, in its own order."""
    ended = program("""
        def work(name):
            for number in range(300):
                os.write(1, f"{name} {number:04d}\\n".encode())

        with asynclog.running("run"), capture():
            threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
            shell = 'for n in $(seq -f %04g 0 299); do echo "$0 $n"; done'
            children = [subprocess.Popen(["sh", "-c", shell, f"c{n}"]) for n in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for child in children:
                child.wait()
    """)
    lines = ended.lines()
    assert len(lines) == 7 * 300
    for name in ("t0", "t1", "t2", "t3", "c0", "c1", "c2"):
        assert [line for line in lines if line.startswith(name)] == [
            f"{name} {number:04d}" for number in range(300)
        ]


def test_exactly_once_with_a_forked_child(program: Program) -> None:
    """A forked child's lines come once, through its parent; the child leaves without a hang."""
    ended = program("""
        with asynclog.running("run"), capture():
            print("parent")
            for number in range(20):
                pid = os.fork()
                if not pid:
                    print("child", number)
                    asynclog.get_logger("app").info("logged", number=number)
                    asynclog.stop_sync() if number % 2 else None
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            print("parent again")
    """)
    expected = ["parent", *(f"child {number}" for number in range(20)), "parent again"]
    assert ended.lines() == expected
    assert ended.out.split("\n") == [*expected, ""]
    assert len(ended.of("app")) == 20


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(program: Program, method: str) -> None:
    """What workers of multiprocessing print is recorded."""
    ended = program(f"""
        import multiprocessing
        def work(number):
            # in one piece: with PYTHONUNBUFFERED print writes each argument by itself
            print(f"worker {{number}}\\n", end="")
            return number

        if __name__ == "__main__":
            with asynclog.running("run"), capture():
                with multiprocessing.get_context("{method}").Pool(2) as pool:
                    assert pool.map(work, range(10)) == list(range(10))
                    pool.close()
                    pool.join()
    """)
    assert sorted(ended.lines()) == sorted(f"worker {number}" for number in range(10))


def test_program_that_takes_our_place(program: Program) -> None:
    """Before exec the streams are put back: the next program prints where it should."""
    ended = program("""
        asynclog.start_sync("run")
        capture().start()
        print("before")
        os.execvp("sh", ["sh", "-c", "echo after; echo error >&2"])
    """)
    assert ended.out == "before\nafter\n"
    assert ended.err == "error\n"
    assert ended.lines() == ["before"]


@pytest.mark.parametrize("way", ["os._exit(7)", "os.abort()"])
def test_leaving_at_once(program: Program, way: str) -> None:
    """What was printed before os._exit and abort is recorded and shown."""
    ended = program(
        f"""
        asynclog.start_sync("run")
        capture().start()
        for number in range(2000):
            print("line", number)
        {way}
        """,
        check=False,
    )
    assert ended.code in (7, -6)
    expected = [f"line {number}" for number in range(2000)]
    assert ended.lines() == expected
    assert ended.out.splitlines() == expected


def test_killed(program: Program) -> None:
    """After SIGKILL, the lines that were read from the pipe are found by the next start."""
    ended = program(
        """
        asynclog.start_sync("run")
        capture().start()
        for number in range(500):
            print("line", number)
        recorded(500)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        check=False,
    )
    assert ended.code == -9
    assert ended.lines() == [f"line {number}" for number in range(500)]


def test_stop_takes_all_that_is_in_the_pipe(program: Program) -> None:
    """However slow the reader is: what was printed before the stop is recorded."""
    ended = program("""
        from asynclog.capture import reader
        reader.SETTLE = 0.0
        with asynclog.running("run"), capture(tee=False):
            os.write(1, (b"x" * 999 + b"\\n") * 1_000)
    """)
    assert ended.out == ""
    assert ended.lines() == ["x" * 999] * 1_000


def test_held_up_reader_cuts_no_line(program: Program) -> None:
    """A line whose end is in the pipe already is not given out as one without end."""
    ended = program("""
        from asynclog.capture import reader
        reader.PATIENCE = 0.01
        plain = reader.OutputLines.feed
        def feed(lines, data):
            time.sleep(0.05)  # as if there were no room for the lines
            return plain(lines, data)
        reader.OutputLines.feed = feed
        with asynclog.running("run"), capture(tee=False):
            os.write(1, (b"x" * 999 + b"\\n") * 1_000)
    """)
    assert ended.lines() == ["x" * 999] * 1_000


@pytest.mark.slow
def test_print_storm_in_bounded_memory(program: Program) -> None:
    """100 MB printed by a child and by print: memory stays bounded, and every line is accounted."""
    ended = program(
        """
        import resource
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

        asynclog.start_sync("run", sinks=[asynclog.JsonlFile(max_bytes="20 MB", backups=1)])
        with capture(tee=False):
            print("begin")
            recorded(1)
            before = peak()
            subprocess.run("yes '{}' | head -c 100000000".format("x" * 9999), shell=True)
            for _ in range(20_000):
                print("y" * 99)
        report = asynclog.stop_sync()
        grown = peak() - before
        assert grown < 48, grown
        print(report.accepted, sum(report.dropped.values()))
        """,
        timeout=300,
    )
    accepted, dropped = map(int, ended.out.split())
    # lines of 9,999 bytes come in two pieces
    assert accepted == 1 + 2 * 10_000 + 20_000
    assert dropped == 0
