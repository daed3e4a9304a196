"""JsonlFile: settings, and lines that arrive as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from asynclog.exceptions import SettingError
from asynclog.sinks import JsonlFile, TextFile
from asynclog.typing import BlockingSink, Run, SinkDeclaration


def test_defaults(run: Run) -> None:
    """100 MB and five backups, no fsync, everything goes in."""
    assert JsonlFile() == JsonlFile(
        "events.jsonl",
        max_bytes="100 MB",
        backups=5,
        compress=False,
        fsync="never",
        level=None,
        filter=None,
    )
    file = JsonlFile().file(run)
    assert file.path == run.directory / "events.jsonl"
    assert (file.max_bytes, file.backups) == (100_000_000, 5)


@pytest.mark.parametrize(("size", "number"), [("4 MiB", 4 << 20), (10, 10), (None, None)])
def test_sizes(run: Run, size: Any, number: int | None) -> None:
    """MB is 10^6, MiB 2^20; None is no limit."""
    assert JsonlFile(max_bytes=size).file(run).max_bytes == number


@pytest.mark.parametrize("declare", [JsonlFile, TextFile])
@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("path", "../x", "inside the run directory"),
        ("path", "/x", "relative to the run directory"),
        ("path", "{nope}", "may hold the fields"),
        ("max_bytes", -1, "not negative"),
        ("max_bytes", 0, "positive"),
        ("max_bytes", "big", "size"),
        ("max_bytes", "-5 MB", "size"),
        ("backups", -1, "not negative"),
        ("backups", 1.5, "not negative"),
        ("backups", True, "not negative"),
        ("backups", "3", "not negative"),
        ("backups", 10**12, "not exceed"),
        ("compress", "gzip", "True or False"),
        ("fsync", "always", '"never", "batch"'),
        ("fsync", None, '"never", "batch"'),
        ("level", "LOUD", "must be one of"),
        ("level", -3, "must be one of"),
        ("filter", "level > 3", "must be a function"),
    ],
)
def test_bad_settings(declare: Any, setting: str, value: Any, rule: str) -> None:
    """A setting that breaks its rule is refused at once; the error names all three."""
    with pytest.raises(SettingError) as caught:
        declare(**{setting: value})
    message = str(caught.value)
    assert message.startswith(f"{setting} ")
    assert rule in message
    assert repr(value) in message


def test_declaration_is_frozen_data() -> None:
    """What the user wrote stays as it was and can be compared, copied and shown."""
    declaration = JsonlFile("a.jsonl", level="error")
    assert isinstance(declaration, SinkDeclaration)
    assert isinstance(declaration.make(), BlockingSink)
    assert declaration.name == "jsonl"
    assert replace(declaration, level=None) == JsonlFile("a.jsonl")
    assert "level='error'" in repr(declaration)
    assert hash(declaration)
    with pytest.raises(FrozenInstanceError):
        declaration.path = "b"  # type: ignore[misc]


def test_lines_arrive_as_they_are(
    run: Run, make_line: Callable[..., bytes], make_batch: Callable[..., Any]
) -> None:
    """Level and filter pick lines; their bytes are not touched."""
    lines = [make_line(level=level, n=n) for n, level in enumerate(("info", "error", "error"))]
    batch = make_batch(*lines)
    expected = {
        JsonlFile("all.jsonl"): lines,
        JsonlFile("errors.jsonl", level="ERROR"): lines[1:],
        JsonlFile("odd.jsonl", level="error", filter=lambda event: event["n"] % 2): lines[1:2],
        JsonlFile("none.jsonl", level=60): [],
    }
    for declaration, wanted in expected.items():
        sink = declaration.make()
        sink.open(run)
        sink.write_blocking(batch)
        sink.write_blocking(make_batch())
        sink.flush()
        sink.close()
        assert (run.directory / declaration.path).read_bytes().splitlines() == wanted


def test_rotation_and_fsync(
    run: Run, make_line: Callable[..., bytes], make_batch: Callable[..., Any]
) -> None:
    """The file settings reach the file."""
    line = make_line()
    sink = JsonlFile(max_bytes=len(line) + 1, backups=2, compress=True, fsync="batch").make()
    sink.open(run)
    sink.write_blocking(make_batch(*[line] * 4))
    sink.flush()
    sink.close()
    names = {path.name for path in run.directory.iterdir()}
    assert names == {"events.jsonl", "events.jsonl.1.gz", "events.jsonl.2.gz"}


def test_unwritable_place_shows_at_open(run: Run) -> None:
    """What is wrong with a file shows when it is opened, not at the first write."""
    run.directory.parent.mkdir(exist_ok=True)
    run.directory.write_bytes(b"")
    with pytest.raises(OSError, match="run"):
        JsonlFile().make().open(run)


def test_write_before_open(make_batch: Callable[..., Any]) -> None:
    """A sink that was not opened says so."""
    with pytest.raises(RuntimeError, match="open"):
        JsonlFile().make().write_blocking(make_batch(b"{}"))
