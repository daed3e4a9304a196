"""Picking lines: level and kind from raw bytes, filters on parsed events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asynclog.sinks.select import Selector, kind_of, level_of, parse

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


@pytest.mark.parametrize("kind", [None, "metric", "stage", ""])
@pytest.mark.parametrize("level", LEVELS)
def test_level_and_kind(make_line: Callable[..., bytes], level: str, kind: str | None) -> None:
    """Both are read from the front of a line."""
    line = make_line(level=level, kind=kind)
    assert level_of(line) == LEVELS[level]
    assert kind_of(line) == kind


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b'{"timestamp":"mine","level":"error","event":"x"}', 40),
        (b'{"timestamp":"say \\"hi\\"","kind":"metric","level":"error"}', 40),
        (b'{"timestamp":"2025-01-23T14:30:22.123456Z","kind":"metric","event":"x"}', 20),
        (b'{"event":"x","level":"error"}', 20),
        (b'{"timestamp":"2025-01-23T14:30:22.123456Z","level":"loud","event":"x"}', 20),
        (b"", 20),
        (b"no JSON", 20),
        (b'{"timestamp":"\\","level":"error"', 20),
    ],
)
def test_unusual_fronts(line: bytes, level: int) -> None:
    """A time stamp of another length is no obstacle; without a level a line counts as info."""
    assert level_of(line) == level


def test_level_in_a_text_is_no_level(make_line: Callable[..., bytes]) -> None:
    """What looks like a level inside a text or behind the front is not taken for one."""
    line = make_line('","level":"critical","x":"', extra='"level":"critical"')
    assert level_of(line) == 20


def test_selection(make_line: Callable[..., bytes], make_batch: Callable[..., Any]) -> None:
    """Level first, then the filter, in every view."""
    lines = [make_line(level=level, n=number) for number, level in enumerate(LEVELS)]
    batch = make_batch(*lines)
    assert Selector().raw(batch) == batch.raw
    assert Selector(30).lines(batch) == lines[2:]
    selector = Selector.of("warning", lambda event: event["n"] != 3)
    assert selector.lines(batch) == [lines[2], lines[4]]
    assert selector.raw(batch) == lines[2] + b"\n" + lines[4] + b"\n"
    assert [event["n"] for event in selector.events(batch)] == [2, 4]
    assert Selector(60).raw(batch) == b""


def test_filter_that_raises_keeps_the_line(
    make_line: Callable[..., bytes],
    make_batch: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Better a line too many than one too few; the trouble is said once a second."""
    batch = make_batch(make_line("a"), make_line("b", n=1), make_line("c"))
    selector = Selector(None, lambda event: event["n"] > 1)
    assert [event["event"] for event in selector.events(batch)] == ["a", "c"]
    assert capfd.readouterr().err.count("KeyError") == 1


def test_filter_on_lines_that_are_no_json(make_batch: Callable[..., Any]) -> None:
    """A line that cannot be parsed is offered to the filter as the text it is."""

    class Shorter(type(make_batch())):
        events = ()

    batch = Shorter(b"no JSON", b'{"event":"x"}', b"[1]")
    seen: list[Any] = []
    assert Selector(None, lambda event: bool(seen.append(event["event"]) or 1)).lines(batch)
    assert seen == ["no JSON", "x", "[1]"]


def test_parse() -> None:
    """Anything becomes an event."""
    assert parse(b'{"event":"x","n":1}') == {"event": "x", "n": 1}
    assert parse(b"\xff") == {"event": "\ufffd"}
