"""OutputLines: what stays on a screen of what is printed, however the bytes arrive."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog._output_levels import Severity
from asynclog._output_lines import MAX_ROWS, OutputLine, OutputLines

PIECES = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b"\b",
        b"\x1b[A",
        b"\x1b[2K",
        b"\x1b[K",
        b"\x1b[1;31m",
        b"\x1b[0m",
        b"\x1b[2E",
        b"\x1b[G",
        b"\x1b]8;;http://x\x1b\\",
        b"\x1b]0;title\x07",
        b"\x1b",
        b"\x1b[",
        b"\x1b(B",
        b"plain",
        "größe €".encode(),
        b"\xff\xc3",
        b"  ",
        b"0123456789" * 4,
    ]
)
OUTPUT = st.lists(st.one_of(PIECES, st.binary(max_size=6)), max_size=40).map(b"".join)


def lines_of(*pieces: bytes, max_line: int = 8192) -> list[OutputLine]:
    """Return the lines of some pieces of output."""
    return list(_lines(pieces, max_line))


def texts_of(*pieces: bytes, max_line: int = 8192) -> list[str]:
    """Return their texts."""
    return [line.text for line in lines_of(*pieces, max_line=max_line)]


def _lines(pieces: Iterable[bytes], max_line: int) -> Iterable[OutputLine]:
    lines = OutputLines(max_line)
    for piece in pieces:
        yield from lines.feed(piece)
    yield from lines.close()


@given(output=OUTPUT, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_cutting_gives_the_same_lines(output: bytes, cuts: list[int]) -> None:
    """How the bytes are cut does not matter; byte by byte neither."""
    places = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    pieces = [output[start:end] for start, end in itertools.pairwise(places)]
    whole = lines_of(output, max_line=24)
    assert lines_of(*pieces, max_line=24) == whole
    assert lines_of(*(bytes([byte]) for byte in output), max_line=24) == whole


@given(text=st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=200))
def test_text_is_kept(text: str) -> None:
    """Of plain text nothing is lost, whatever the length of the pieces."""
    output = text.encode()
    kept = "".join(texts_of(output, max_line=8))
    assert kept == text or not text[len(kept) :].strip()


@given(lines=st.lists(st.binary(min_size=1, max_size=30), max_size=20))
def test_lines_are_those_of_split(lines: list[bytes]) -> None:
    """Without other controls, lines are what is between the line ends."""
    table = bytes.maketrans(b"\n\r\b\x1b", b"xxxx")
    lines = [line.translate(table) for line in lines]
    output = b"".join(line + b"\n" for line in lines)
    expected = [line.decode("utf-8", "backslashreplace") for line in lines if line.strip()]
    assert texts_of(output) == expected


@given(output=OUTPUT)
def test_bounded(output: bytes) -> None:
    """What is kept has a bound, also when no line ever ends."""
    lines = OutputLines(16)
    for _ in range(20):
        for line in lines.feed(output):
            assert len(line.text.encode()) <= 4 * 16
    held = sum(len(row.content) for row in lines._rows)
    assert len(lines._rows) <= MAX_ROWS
    assert held <= MAX_ROWS * 16


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"one\n\n  \ntwo\n", ["one", "two"]),
        (b" 10%\r 50%\r100%\n", ["100%"]),
        (b"\r 10%\r 50%\r100%\r\n", ["100%"]),
        (b"\r 10%\r    \rdone\n", ["done"]),
        (b"\x1b[31mred\x1b[0m and \x1b[1mbold\x1b[22m\n", ["red and bold"]),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["link"]),
        (b"a\x1b(Bb\x1b7c\x1b\x1b[mzd\n", ["abczd"]),
        (b"\x1b]never ended\nnext\n", ["]never ended", "next"]),
        (b"|\b/\b-\b\\\bdone\n", ["done"]),
        ("sp\u00e9\bin\n".encode(), ["spin"]),
        (b"\xff\xfe bad\n", ["\\xff\\xfe bad"]),
    ],
)
def test_screen(output: bytes, expected: list[str]) -> None:
    """Overwritten states, colours and other controls are gone; the last state is there."""
    assert texts_of(output) == expected


def test_bars_below_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested bars, as tqdm draws them: one line for each, its last state."""
    tqdm = pytest.importorskip("tqdm")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # no thread
    output = io.StringIO()
    with contextlib.closing(tqdm.tqdm(total=20, desc="outer", file=output, mininterval=0)) as outer:
        for _ in range(20):
            inner = tqdm.tqdm(
                range(5), desc="inner", file=output, leave=False, position=1, mininterval=0
            )
            for _ in inner:
                pass
            outer.update()
    output.write("after\n")
    texts = texts_of(output.getvalue().encode())
    assert len(texts) == 2
    assert texts[0].startswith("outer: 100%|")
    assert texts[1] == "after"


def test_live_display_of_rich() -> None:
    """A live display of several lines, redrawn in place: its last state."""
    console = pytest.importorskip("rich.console")
    live = pytest.importorskip("rich.live")
    output = io.StringIO()
    screen = console.Console(file=output, force_terminal=True, width=60)
    with live.Live(console=screen, auto_refresh=False) as display:
        for number in range(30):
            display.update(f"first {number}\nsecond {number}\nthird {number}", refresh=True)
    screen.print("after")
    texts = texts_of(output.getvalue().encode())
    assert texts[-4:] == ["first 29", "second 29", "third 29", "after"]


def test_line_without_end_is_given_out() -> None:
    """A prompt does not wait for its line end; what comes later is the rest of the line."""
    lines = OutputLines()
    assert lines.feed("Go on? €".encode()[:-1]) == []
    assert lines.waiting
    assert lines.give_out() == [OutputLine("Go on? ", True)]
    assert not lines.waiting
    assert lines.feed("€".encode()[-1:] + b" yes\n") == [OutputLine("€ yes", False)]


def test_bar_is_not_given_out_before_it_ends() -> None:
    """A bar that is still drawn is not given out; one that has ended is, and only once."""
    lines = OutputLines()
    assert lines.feed(b"\r 10%|#   |") == []
    assert not lines.waiting
    assert lines.feed(b"\r100%|####|\n") == []
    assert lines.waiting
    assert lines.give_out() == [OutputLine("100%|####|", False)]
    assert lines.close() == []


def test_long_line_comes_in_pieces() -> None:
    """A line without end comes in pieces of bounded length, and no character is cut."""
    lines = lines_of("€".encode() * 1000, b"\n", max_line=100)
    assert "".join(line.text for line in lines) == "€" * 1000
    assert [line.partial for line in lines] == [True] * (len(lines) - 1) + [False]
    assert all(len(line.text.encode()) <= 100 for line in lines)


def test_traceback_of_a_rank_is_an_error() -> None:
    """torch puts the rank before each line of a traceback; it is one all the same."""
    severity = Severity()
    lines = [
        "[rank2]: Traceback (most recent call last):",
        '[rank2]:   File "train.py", line 11, in <module>',
        '[rank2]:     raise RuntimeError("gives up")',
        "[rank2]: RuntimeError: gives up",
    ]
    assert all(severity.is_error(line) for line in lines)
    assert not severity.is_error("[rank2]: step 3")
