"""Records as readable text: layout, colours, escapes, tracebacks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog._line.exception import exception_to_dict
from asynclog.sinks.escape import escape, escape_json, escape_values
from asynclog.sinks.render import local_time, render, render_line, render_plain
from asynclog.sinks.traceback import SHORT_FRAMES, render_pretty, render_traceback

HARMFUL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
CORPUS = [
    "line\nbreak",
    "\r2025-01-23 14:30:22 - CRITICAL - forged",
    "\x1b[2J\x1b[1;1H",
    "\x1b]0;title\x07",
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mred",
    "back\x08\x08space",
    "\x7fdelete",
    "\u202eesrever\u202c",
    "\u2066isolate\u2069",
    "\u2028separator\u2029",
    "\x00nul",
    "\x0c\x0b",
    "\u0085next line",
]


def event(text: str = "hello", level: str = "info", /, **fields: Any) -> dict[str, Any]:
    """Return a record."""
    front = {"timestamp": "2025-01-23T14:30:22.123456Z"}
    if "kind" in fields:
        front["kind"] = fields.pop("kind")
    return {**front, "level": level, "event": text, **fields}


def plain(text: str) -> str:
    """Return text without its colours."""
    return re.sub("\x1b\\[[0-9;]*m", "", text)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (event("text"), "2025-01-23 14:30:22 - INFO - text"),
        (event("x", "critical"), "2025-01-23 14:30:22 - CRITICAL - x"),
        (
            event("x", logger="app.db", n=1, f=0.5, ok=True, none=None),
            "2025-01-23 14:30:22 - INFO - x  n=1 f=0.5 ok=True none=None logger=app.db",
        ),
        (
            event("x", path="/a/b?c", text="two words", empty="", eq="a=b", quote='"', back="\\"),
            '2025-01-23 14:30:22 - INFO - x  path=/a/b?c text="two words" empty="" eq="a=b" '
            'quote="\\"" back="\\\\"',
        ),
        (
            event("x", data={"a": [1, None]}, **{"odd key": 1}),
            '2025-01-23 14:30:22 - INFO - x  data={"a":[1,null]} "odd key"=1',
        ),
        (event("x", kind="metric", loss=0.1), "2025-01-23 14:30:22 - INFO - x  loss=0.1"),
        (event("x", quiet=True), "2025-01-23 14:30:22 - INFO - x"),
        (event("x", timestamp="now"), "now - INFO - x"),
        (event("x", level="loud"), "2025-01-23 14:30:22 - LOUD - x"),
        ({}, " - INFO - "),
        ({"event": 7, "timestamp": 1.5, "level": None}, "1.5 - NONE - 7"),
        (event("Größe 漢字 🎉"), "2025-01-23 14:30:22 - INFO - Größe 漢字 🎉"),
        (event("a\tb"), "2025-01-23 14:30:22 - INFO - a\tb"),
    ],
)
def test_layout(record: dict[str, Any], text: str) -> None:
    """Time, level, event, then the fields; colours add nothing but themselves."""
    assert render_line(record) == text
    assert plain(render_line(record, colors=True)) == text


def test_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are shown as the clock on the wall has them, also around a change of the clocks."""
    import time

    from asynclog.sinks import render as module

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    module._local_minute.cache_clear()
    assert local_time("2025-01-23T23:30:22.123456Z") == "2025-01-24 00:30:22"
    assert local_time("2025-03-30T00:59:59.000000Z") == "2025-03-30 01:59:59"
    assert local_time("2025-03-30T01:00:00.000000Z") == "2025-03-30 03:00:00"
    assert local_time("2025-99-23T23:30:22.123456Z") == "2025-99-23T23:30:22.123456Z"


@pytest.mark.parametrize(
    ("level", "code"),
    [
        ("debug", "36"),
        ("info", "32"),
        ("warning", "33"),
        ("error", "31"),
        ("critical", "1;31"),
    ],
)
def test_colors_of_levels(level: str, code: str) -> None:
    """DEBUG cyan, INFO green, WARNING yellow, ERROR red, CRITICAL bold red."""
    assert f"\x1b[{code}m{level.upper()}\x1b[0m" in render_line(event("x", level), colors=True)


def test_stage_marks() -> None:
    """Stage marks are blue, the name of the stage bold, their fields are in their text."""
    mark = event("Stage [epoch] (epoch=5) - START", kind="stage", stage="epoch", epoch=5)
    assert render_line(mark) == "2025-01-23 14:30:22 - INFO - Stage [epoch] (epoch=5) - START"
    colored = render_line(mark, colors=True)
    assert "\x1b[34mStage [\x1b[1mepoch\x1b[22m] (epoch=5) - START\x1b[0m" in colored


@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("text", CORPUS)
def test_injection(text: str, colors: bool) -> None:
    """No text anywhere in a record can move the cursor, colour anything or begin a line."""
    record = event(
        text,
        level=text,
        logger=text,
        value=text,
        data={text: [text]},
        timestamp=text,
        kind="stage" if colors else text,
        **{text: 1},
    )
    for kind in (record, {**record, "kind": "stage"}):
        assert not HARMFUL.search(plain(render_line(kind, colors)))
    error = {
        "type": text,
        "message": text,
        "notes": [text],
        "frames": [{"file": text, "line": 1, "function": text}],
        "cause": text,
        "exceptions": [{"type": "X", "text": text}],
    }
    block = render_traceback({"exception": error, "stack": text}, "full")
    for line in block.split("\n"):
        assert not HARMFUL.search(line)
        assert line == "" or line.startswith("    ")


@given(st.text())
def test_escape(text: str) -> None:
    """Nothing harmful is left, and harmless text is left alone."""
    escaped = escape(text)
    assert not HARMFUL.search(escaped)
    if not HARMFUL.search(text):
        assert escaped == text


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text())))
def test_escape_json(value: dict[str, Any]) -> None:
    """Escaped JSON means the same and holds nothing harmful."""
    line = escape_json(orjson.dumps(value))
    assert not HARMFUL.search(line.decode())
    assert orjson.loads(line) == value


def test_escape_values() -> None:
    """Texts are escaped wherever they are; other values stay what they are."""
    value = {"a\n": ["\x1b", 1, None, {"b": "\r"}], "ok": True}
    assert escape_values(value) == {"a\\n": ["\\x1b", 1, None, {"b": "\\r"}], "ok": True}


def test_render_plain() -> None:
    """Whole lines of a log become text, whatever is among them."""
    raw = orjson.dumps(event("one")) + b"\nno JSON\n"
    assert render_plain(raw) == "2025-01-23 14:30:22 - INFO - one\n - INFO - no JSON\n"


# -- tracebacks -------------------------------------------------------------------------------


def fail(depth: int) -> None:
    """Raise some calls deep."""
    if depth:
        fail(depth - 1)
    raise ValueError("bad\nvalue")


def caught(depth: int = 0) -> dict[str, Any]:
    """Return a record with an exception that has a cause."""
    try:
        try:
            fail(depth)
        except ValueError as error:
            raise RuntimeError("it failed") from error
    except RuntimeError as error:
        return event("oops", "error", exception=exception_to_dict(error))


def test_traceback() -> None:
    """An exception follows its line: frames with source lines, cause first, all indented."""
    lines = render(caught()).split("\n")
    assert lines[0] == "2025-01-23 14:30:22 - ERROR - oops"
    assert all(line == "" or line.startswith("    ") for line in lines[1:])
    text = "\n".join(lines)
    assert "    Traceback (most recent call last):\n" in text
    assert f'      File "{__file__}", line ' in text
    assert '        raise ValueError("bad\\nvalue")\n    ValueError: bad\n    value\n' in text
    assert "direct cause" in text
    assert text.endswith("    RuntimeError: it failed")


def test_short_and_full_tracebacks() -> None:
    """Repeated frames are told once; "short" leaves out the outer ones and says how many."""
    assert "[Previous line repeated 19 more times]" in render(caught(20))
    frames = [{"file": "x.py", "line": line, "function": "f"} for line in range(20)]
    record = event(exception={"type": "E", "message": "", "frames": frames, "frames_left_out": 5})
    short = render(record).split("\n")
    assert short[2] == f"      ... {20 - SHORT_FRAMES + 5} outer frames left out"
    assert len(short) == 3 + SHORT_FRAMES + 1
    full = render(record, tracebacks="full").split("\n")
    assert full[2] == "      ... 5 outer frames left out"
    assert len(full) == 3 + 20 + 1


def test_group_and_notes() -> None:
    """Members of a group follow it, numbered and further indented; notes follow the message."""
    try:
        error = ValueError("one")
        error.add_note("a note")
        raise ExceptionGroup("both", [error, TypeError("two")])
    except ExceptionGroup as group:
        text = render_traceback({"exception": exception_to_dict(group)})
    assert "ExceptionGroup: both (2 sub-exceptions)\n      1:\n        ValueError: one\n" in text
    assert "        a note\n      2:\n        TypeError: two" in text


def test_stack() -> None:
    """A stack is shown like a traceback; text from logging's records as it is."""
    frames = [{"file": "x.py", "line": 3, "function": "f"}]
    assert render(event(stack={"frames": frames})).split("\n")[1:] == [
        "    Stack (most recent call last):",
        '      File "x.py", line 3, in f',
    ]
    assert render(event(stack="one\ntwo\n")).split("\n")[1:] == ["    one", "    two"]


@pytest.mark.parametrize(
    "error",
    [
        "Traceback ...\nValueError: x",
        {"type": "ValueError", "message": "x", "text": "Traceback ...\nValueError: x"},
        ["something", "else"],
        {},
        {"frames": "none", "exceptions": 3, "notes": 4, "cause": None},
        {"frames": [1, {"line": "x"}, {}]},
        7,
    ],
)
def test_odd_exceptions(error: Any) -> None:
    """Whatever a processor has put there is shown in some way."""
    lines = render(event(exception=error)).split("\n")
    assert len(lines) > 1
    assert all(line == "" or line.startswith("    ") for line in lines[1:])


def test_deep_chain() -> None:
    """A chain without end does not take the stack."""
    error: dict[str, Any] = {"type": "E", "message": "innermost"}
    for _ in range(200):
        error = {"type": "E", "message": "m", "cause": error}
    assert "E: m" in render(event(exception=error))


def test_source_only_from_python_files(tmp_path: Path) -> None:
    """A name in a record is no reason to show the content of another file."""
    for name, shown in (("secret", False), ("module.py", True), ("gone.py", False)):
        path = tmp_path / name
        if name != "gone.py":
            path.write_text("the first line\n")
        frames = [{"file": str(path), "line": line, "function": "f"} for line in (0, 1, 2, 10**9)]
        error = {"type": "E", "message": "", "frames": frames}
        assert ("the first line" in render(event(exception=error))) is shown
        drawn = render_pretty(event(exception=error), 100, colors=False)
        assert drawn is None or ("the first line" in drawn) is shown


def test_source_that_hangs_or_is_huge(tmp_path: Path) -> None:
    """A FIFO or a huge file with a module's name is not read."""
    import os

    os.mkfifo(tmp_path / "fifo.py")
    with (tmp_path / "huge.py").open("wb") as file:
        file.truncate(1 << 33)
    for name in ("fifo.py", "huge.py"):
        frames = [{"file": str(tmp_path / name), "line": 1, "function": "f"}]
        assert name in render(event(exception={"type": "E", "message": "", "frames": frames}))


def test_edited_source(tmp_path: Path) -> None:
    """A file that has changed is read anew."""
    import os

    path = tmp_path / "module.py"
    error = {"type": "E", "frames": [{"file": str(path), "line": 1, "function": "f"}]}
    path.write_text("before\n")
    assert "before" in render(event(exception=error))
    path.write_text("after\n")
    os.utime(path, ns=(1, 1))
    assert "after" in render(event(exception=error))


def test_pretty() -> None:
    """rich draws the chain with code around each frame, and nothing in it is harmful."""
    pytest.importorskip("rich")
    drawn = render_pretty(caught(), 100, colors=False)
    assert drawn is not None
    assert "it failed" in drawn
    assert "bad\\nvalue" in drawn
    assert "The above exception was the direct cause" in drawn
    assert not HARMFUL.search(drawn.replace("\n", ""))
    assert "\x1b[" in (render_pretty(caught(), 100, colors=True) or "")


@pytest.mark.parametrize("record", [{}, {"stack": "x"}, {"exception": "text"}])
def test_pretty_leaves_the_rest_to_others(record: dict[str, Any]) -> None:
    """What rich cannot draw is rendered as text."""
    assert render_pretty(record, 100, colors=False) is None
