"""Console: what is shown where, in which colours, at which rate, and beside which progress bars."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from asynclog.exceptions import SettingError
from asynclog.sinks import Console
from asynclog.sinks.console_sink import ConsoleSink, Limiter
from asynclog.sinks.terminal import Terminal
from asynclog.typing import Run

LINUX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


class Screen:
    """A pseudo-terminal, and what a person would see on it."""

    def __init__(self, columns: int = 100) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.stream = open(slave, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
        self.raw = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                return
            if not chunk:
                return
            self.raw += chunk

    def close(self) -> None:
        """End the terminal; everything written is in ``raw`` then."""
        if not self.stream.closed:
            self.stream.close()
        self._reader.join(60)
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def rows(self) -> list[str]:
        """Return the rows of the screen, without colours and trailing blanks."""
        rows: list[list[str]] = [[]]
        row = column = 0
        for token in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[\s\S]", self.raw.decode()):
            if token == "\n":
                row += 1
                while len(rows) <= row:
                    rows.append([])
            elif token == "\r":
                column = 0
            elif token.startswith("\x1b["):
                count = int(re.sub(r"\D", "", token) or 1)
                if token.endswith("A"):
                    row = max(row - count, 0)
                elif token.endswith("K"):
                    rows[row] = [] if token == "\x1b[2K" else rows[row][:column]
            else:
                rows[row] += [" "] * (column - len(rows[row]))
                rows[row][column : column + 1] = [token]
                column += 1
        return ["".join(cells).rstrip() for cells in rows]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """Make a pseudo-terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    yield screen
    screen.close()


@pytest.fixture
def put(run: Run, make_batch: Callable[..., Any]) -> Callable[..., None]:
    """Write lines to a sink or, through a sink of its own, to where a declaration says."""

    def put(target: Any, stream: Any, *lines: bytes) -> None:
        # within the test: pytest puts its own streams there before each test begins
        before, sys.stderr = sys.stderr, stream
        try:
            if isinstance(target, ConsoleSink):
                target.write_blocking(make_batch(*lines))
                return
            sink = target.make()
            sink.open(run)
            sink.write_blocking(make_batch(*lines))
            sink.flush()
            sink.close()
        finally:
            sys.stderr = before

    return put


@pytest.fixture
def show(put: Callable[..., None]) -> Callable[..., list[str]]:
    """Write lines through a declaration and return what is on stderr, which is no terminal."""

    def show(declaration: Console, *lines: bytes) -> list[str]:
        stream = io.StringIO()
        put(declaration, stream, *lines)
        return stream.getvalue().splitlines()

    return show


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"stream": "stdin"}, "stream"),
        ({"stream": sys.stderr}, "stream"),
        ({"level": "LOUD"}, "level"),
        ({"filter": 3}, "filter"),
        ({"format": "x"}, "format"),
        ({"format": str, "json": True}, "format"),
        ({"json": "yes"}, "json"),
        ({"colors": "always"}, "colors"),
        ({"tracebacks": "long"}, "tracebacks"),
        ({"max_rate": 0}, "max_rate"),
        ({"max_rate": -1}, "max_rate"),
        ({"max_rate": True}, "max_rate"),
        ({"max_rate": "many"}, "max_rate"),
        ({"origin": "no"}, "origin"),
    ],
)
def test_bad_settings(settings: dict[str, Any], name: str) -> None:
    """A setting that breaks its rule is refused at once."""
    with pytest.raises(SettingError, match=rf"^{name} must .*, got: "):
        Console(**settings)


# -- what is shown ----------------------------------------------------------------------------


def test_lines(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """Readable lines, plain where there is no terminal, quiet ones left out."""
    shown = show(
        Console(),
        make_line("one", n=1),
        make_line("two", quiet=True),
        make_line("three", nested={"quiet": True}),
        make_line('four "quiet":true'),
    )
    assert shown == [
        "2025-01-23 14:30:22 - INFO - one  n=1",
        '2025-01-23 14:30:22 - INFO - three  nested={"quiet":true}',
        '2025-01-23 14:30:22 - INFO - four "quiet":true',
    ]


def test_origin(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """Where a record of logging was made is shown on request; fields of the user's always are."""
    origin = {"file": "/a.py", "line": 3, "function": "f", "thread": "T", "pid": 9, "task": "t"}
    lines = [make_line("one", n=1, **origin), make_line("two", file="/b.csv", line=7)]
    front = "2025-01-23 14:30:22 - INFO -"
    assert show(Console(), *lines) == [
        f"{front} one  n=1",
        f"{front} two  file=/b.csv line=7",
    ]
    assert show(Console(origin=True), lines[0]) == [
        f"{front} one  n=1 file=/a.py line=3 function=f thread=T pid=9 task=t"
    ]
    [shown] = show(Console(json=True), lines[0])
    assert orjson.loads(shown) == orjson.loads(lines[0])


def test_ranks(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """Rank 0 of a job is shown; all of them with their rank before the text, on request."""
    process = {"world_size": 8, "host": "node1", "pid": 9}
    lines = [
        make_line("one", rank=0, **process),
        make_line("two", rank=3, n=1, **process),
        make_line("three", pid=7),
        make_line("four", nested={"rank": 3}),
    ]
    front = "2025-01-23 14:30:22 - INFO -"
    rest = [f"{front} three  pid=7", f'{front} four  nested={{"rank":3}}']
    assert show(Console(), *lines) == [f"{front} one", *rest]
    every = [f"{front} [rank 0] one", f"{front} [rank 3] two  n=1", *rest]
    assert show(Console(ranks="all"), *lines) == every
    shown = show(Console(origin=True), lines[0])
    assert shown == [f"{front} one  rank=0 world_size=8 host=node1 pid=9"]


def test_level_and_filter(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """Level and filter pick lines."""
    lines = [make_line(str(n), level) for n, level in enumerate(["info", "error", "warning"])]
    console = Console(level="warning", filter=lambda event: event["event"] != "1")
    assert show(console, *lines) == ["2025-01-23 14:30:22 - WARNING - 2"]


def test_json(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """json=True shows lines as they are, but for what a terminal would obey."""
    plain, harmful = make_line("one", n=1), make_line("\u202e\x9b\x7f\x1b")
    shown = show(Console(json=True), plain, harmful)
    assert shown[0].encode() == plain
    assert orjson.loads(shown[1]) == orjson.loads(harmful)
    assert shown[1].isascii()


def test_format(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """A format makes its own lines and colours; texts come to it escaped."""
    console = Console(format=lambda event: f"\x1b[1m{event['event']}\x1b[0m")
    assert show(console, make_line("a\x1b[2J")) == ["\x1b[1ma\\x1b[2J\x1b[0m"]


@pytest.mark.parametrize(
    ("style", "present", "absent"),
    [
        ("short", ["12 outer frames left out"], ["line 1,"]),
        ("full", ["line 1,"], ["left out"]),
        ("pretty", ["line 1,"], ["left out"]),
    ],
)
def test_tracebacks(
    show: Callable[..., list[str]],
    make_line: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    style: Any,
    present: list[str],
    absent: list[str],
) -> None:
    """Short and full ones; pretty ones are full ones where rich is not installed."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    frames = [{"file": "gone.py", "line": line, "function": "f"} for line in range(20)]
    error = {"type": "ValueError", "message": "bad", "frames": frames}
    shown = "\n".join(show(Console(tracebacks=style), make_line("oops", "error", exception=error)))
    assert shown.startswith("2025-01-23 14:30:22 - ERROR - oops\n")
    assert shown.endswith("ValueError: bad")
    assert all(text in shown for text in present)
    assert not any(text in shown for text in absent)


def test_pretty_tracebacks(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """With rich, code is shown around each frame."""
    pytest.importorskip("rich")
    frames = [{"file": __file__, "line": 40, "function": "f"}]
    error = {"type": "ValueError", "message": "bad", "frames": frames}
    console = Console(tracebacks="pretty", colors=False)
    shown = show(console, make_line("oops", "error", exception=error), make_line("plain"))
    assert any("39 │" in line for line in shown)
    assert "plain" in shown[-1]


# -- colours ----------------------------------------------------------------------------------


@LINUX_ONLY
@pytest.mark.parametrize(
    ("environment", "colored"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        ({"TTY_COMPATIBLE": "0"}, False),
        ({"FORCE_COLOR": "0"}, False),
    ],
)
def test_colors_on_a_terminal(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colored: bool
) -> None:
    """A terminal gets colours unless the environment says otherwise."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", screen.stream)
    assert Terminal("stderr").colors() is colored
    assert Terminal("stderr", True).colors()
    assert not Terminal("stderr", False).colors()


@pytest.mark.parametrize(
    ("environment", "colored"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"TTY_COMPATIBLE": "1"}, True),
        ({"TTY_COMPATIBLE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colors_elsewhere(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colored: bool
) -> None:
    """Files and pipes get none unless the environment says otherwise."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert Terminal("stderr").colors() is colored


@LINUX_ONLY
def test_colored_lines(
    screen: Screen, put: Callable[..., None], make_line: Callable[..., bytes]
) -> None:
    """What a person sees on a terminal is the plain line, coloured."""
    put(Console(), screen.stream, make_line("x", "error", n=1))
    screen.close()
    assert b"\x1b[31mERROR\x1b[0m" in screen.raw
    assert screen.rows() == ["2025-01-23 14:30:22 - ERROR - x  n=1", ""]


# -- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_capsys(
    capsys: pytest.CaptureFixture[str],
    run: Run,
    make_line: Callable[..., bytes],
    make_batch: Callable[..., Any],
    name: Any,
) -> None:
    """The stream is the one that is there when a line is written."""
    sink = Console(name).make()
    sink.open(run)
    sink.write_blocking(make_batch(make_line("captured")))
    assert "captured" in getattr(capsys.readouterr(), name[3:])


def test_capfd(
    capfd: pytest.CaptureFixture[str],
    run: Run,
    make_line: Callable[..., bytes],
    make_batch: Callable[..., Any],
) -> None:
    """Streams with a descriptor are written to directly, in one piece."""
    sink = Console().make()
    sink.open(run)
    sink.write_blocking(make_batch(*[make_line("captured")] * 100))
    assert capfd.readouterr().err.count("captured\n") == 100


def test_no_stream_at_all(
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    make_line: Callable[..., bytes],
    make_batch: Callable[..., Any],
) -> None:
    """A process without stderr (pythonw, a daemon) shows nothing and goes on."""
    monkeypatch.setattr(sys, "stderr", None)
    sink = Console().make()
    sink.open(run)
    sink.write_blocking(make_batch(make_line()))
    sink.close()


@LINUX_ONLY
def test_broken_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the reader is gone this is said once; another stream is tried again."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        terminal = Terminal("stderr")
        with pytest.raises(BrokenPipeError):
            terminal.write("one\n")
        terminal.write("two\n")
        other = io.StringIO()
        monkeypatch.setattr(sys, "stderr", other)
        terminal.write("three\n")
    assert other.getvalue() == "three\n"


def test_closed_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed stream is said once, too."""
    for stream in (io.StringIO(), io.TextIOWrapper(io.BytesIO())):
        stream.close()
        monkeypatch.setattr(sys, "stderr", stream)
        terminal = Terminal("stderr")
        assert not terminal.colors()
        with pytest.raises(OSError, match="closed"):
            terminal.write("one\n")
        terminal.write("two\n")


@LINUX_ONLY
def test_full_pipe_that_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A non-blocking stream is waited for; text arrives whole when there is room again."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = "x" * 300_000 + "\n"
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        found: list[bytes] = []

        def read() -> None:
            while chunk := os.read(reader, 65536):
                found.append(chunk)

        thread = threading.Thread(target=read)
        thread.start()
        Terminal("stderr").write(text)
    thread.join(60)
    os.close(reader)
    assert b"".join(found).decode() == text


@LINUX_ONLY
def test_narrow_encoding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the stream's encoding cannot hold is spelled out."""
    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        Terminal("stderr").write("Größe\n")
    assert path.read_text() == "Gr\\xf6\\xdfe\n"


# -- rate -------------------------------------------------------------------------------------


def test_rate(run: Run, put: Callable[..., None], make_line: Callable[..., bytes]) -> None:
    """At most max_rate lines a second; that and how many were left out, and where, is said."""
    clock = Clock()
    sink = ConsoleSink(Console(max_rate=10), clock)
    sink.open(run)
    run.directory.mkdir()
    (run.directory / "events.jsonl").touch()

    def shown(number: int, level: str = "info") -> list[str]:
        stream = io.StringIO()
        put(sink, stream, *[make_line("x", level)] * number)
        return [line.split(" - ", 2)[2] for line in stream.getvalue().splitlines()]

    assert shown(5) == ["x"] * 5
    *lines, note = shown(20)
    assert lines == ["x"] * 3
    assert note.startswith("console: more than 10 lines a second, leaving out the rest")
    assert f"files={run.directory}" in note
    assert shown(100) == []
    # the share that ordinary lines leave to those that matter more
    assert shown(5, "error") == ["x", "x"]
    clock.now += 1
    note, *lines = shown(2)
    assert note.startswith("console: more than 10 lines a second, 120 lines left out here")
    assert "left_out=120" in note
    assert lines == ["x", "x"]
    assert len(shown(20)) == 7


def test_what_was_left_out_is_said_at_the_end(
    show: Callable[..., list[str]], make_line: Callable[..., bytes]
) -> None:
    """A flush or close tells the number that is still untold, once."""
    shown = show(Console(max_rate=5), *[make_line()] * 20)
    assert len(shown) == 6
    assert sum("left_out=16" in line for line in shown) == 1


def test_rate_in_json(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """With json=True the notes are lines of JSON as well."""
    shown = show(Console(json=True, max_rate=1), make_line(), make_line())
    events = [orjson.loads(line) for line in shown]
    assert [event.get("left_out") for event in events] == [None, None, 1]
    assert list(events[2])[:4] == ["timestamp", "kind", "level", "event"]


def test_no_rate(show: Callable[..., list[str]], make_line: Callable[..., bytes]) -> None:
    """max_rate=None shows everything."""
    assert len(show(Console(max_rate=None), *[make_line()] * 5000)) == 5000


@pytest.mark.parametrize("rate", [1, 2, 5, 1000])
def test_rate_over_any_second(rate: int, make_line: Callable[..., bytes]) -> None:
    """Ordinary lines are shown also at the smallest rate, and the rate holds in each window."""
    clock = Clock()
    limiter = Limiter(rate, clock)
    ordinary, severe = make_line(), make_line(level="error")
    for _ in range(5):
        shown = limiter.admit([ordinary] * 3000).lines + limiter.admit([severe] * 3000).lines
        assert ordinary in shown
        assert len(shown) == rate
        clock.now += 1.0


# -- progress bars ----------------------------------------------------------------------------


@pytest.fixture
def tqdm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return tqdm without the thread that it starts to watch bars."""
    tqdm = pytest.importorskip("tqdm").tqdm
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    return tqdm


@LINUX_ONLY
@pytest.mark.parametrize("bars", [1, 2])
def test_tqdm(
    screen: Screen,
    run: Run,
    make_line: Callable[..., bytes],
    make_batch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tqdm: Any,
    bars: int,
) -> None:
    """Lines come out above tqdm's bars, which stay whole."""
    monkeypatch.setattr(sys, "stderr", screen.stream)
    sink = Console(colors=False).make()
    sink.open(run)
    shown = [
        tqdm(total=3, desc=f"bar{number}", file=sys.stderr, position=number, mininterval=0)
        for number in range(bars)
    ]
    for step in range(3):
        sink.write_blocking(make_batch(make_line(f"step {step}")))
        for bar in shown:
            bar.update()
            bar.refresh()
    for bar in reversed(shown):
        bar.close()
    sink.write_blocking(make_batch(make_line("end")))
    screen.close()
    rows = [row for row in screen.rows() if row]
    assert rows[:3] == [f"2025-01-23 14:30:22 - INFO - step {step}" for step in range(3)]
    # a bar that ends goes to the top, whatever its position was
    whole = [row[:10] for row in rows[3 : 3 + bars]]
    assert sorted(whole) == [f"bar{number}: 100%" for number in range(bars)]
    assert rows[3 + bars :] == ["2025-01-23 14:30:22 - INFO - end"]


@LINUX_ONLY
def test_tqdm_with_a_broken_stream(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, tqdm: Any
) -> None:
    """A bar whose own stream is gone does not keep lines from being shown."""
    monkeypatch.setattr(sys, "stderr", screen.stream)

    class Broken(io.StringIO):
        broken = False

        def write(self, text: str, /) -> int:
            if self.broken:
                raise RuntimeError("gone")
            return len(text)

    stream = Broken()
    monkeypatch.setattr(sys, "stdout", stream)
    bar = tqdm(total=3, file=stream)
    stream.broken = True
    Terminal("stderr").write("shown\n")
    stream.broken = False
    bar.close()
    screen.close()
    assert screen.rows() == ["shown", ""]


@LINUX_ONLY
@pytest.mark.parametrize("redirect", [True, False])
def test_rich_live(
    screen: Screen,
    run: Run,
    make_line: Callable[..., bytes],
    make_batch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    redirect: bool,
) -> None:
    """Lines come out above a live display of rich, whole even where they exceed the width."""
    rich = pytest.importorskip("rich")
    from rich.console import Console as RichConsole
    from rich.live import Live

    monkeypatch.setattr(sys, "stderr", screen.stream)
    console = RichConsole(file=screen.stream, force_terminal=True, width=100)
    monkeypatch.setattr(rich, "_console", console)
    sink = Console(colors=True).make()
    sink.open(run)
    long = "word " * 30 + "end"
    with Live(
        "the live display",
        console=console,
        redirect_stderr=redirect,
        redirect_stdout=redirect,
        auto_refresh=False,
    ):
        sink.write_blocking(make_batch(make_line("one"), make_line(long)))
        sink.write_blocking(make_batch(make_line("two [red]", "error")))
    sink.write_blocking(make_batch(make_line("three")))
    screen.close()
    front = "2025-01-23 14:30:22"
    assert [row for row in screen.rows() if row] == [
        f"{front} - INFO - one",
        f"{front} - INFO - {long}",
        f"{front} - ERROR - two [red]",
        "the live display",
        f"{front} - INFO - three",
    ]
