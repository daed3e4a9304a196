"""Declarations as data and back; kinds that other packages bring."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import orjson
import pytest

from asynclog.exceptions import SettingError
from asynclog.sinks import Console, JsonlFile, TextFile, from_data, to_data


def important(event: Mapping[str, Any]) -> bool:
    """Say whether an event is important: a filter that can be imported."""
    return event["level"] == "error"


@dataclass(frozen=True)
class Elsewhere:
    """A declaration of another package."""

    topic: str = "logs"
    hosts: tuple[str, ...] = ()
    options: Any = None
    name: ClassVar[str] = "elsewhere"

    def make(self) -> Any:
        """Make nothing."""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this file importable under its name, as a user's module is."""
    module = ModuleType("users_module")
    for value in (important, Elsewhere):
        monkeypatch.setattr(value, "__module__", "users_module")
        setattr(module, value.__name__, value)
    monkeypatch.setitem(sys.modules, "users_module", module)


@pytest.mark.parametrize(
    "declaration",
    [
        JsonlFile(),
        JsonlFile("x/{rank}.jsonl", max_bytes=None, backups=0, compress=True, fsync="error"),
        JsonlFile(level=30, filter=important),
        TextFile(level="error", format=important),  # type: ignore[arg-type]
        Console(),
        Console("stdout", json=True, colors=False, max_rate=None, tracebacks="full"),
        Elsewhere(hosts=("a", "b"), options={"deep": [1, {"x": None}]}),
    ],
)
def test_round_trip(declaration: Any) -> None:
    """What comes back from JSON is equal to what the user wrote."""
    data = to_data(declaration)
    assert orjson.loads(orjson.dumps(data)) == data
    back = from_data(orjson.loads(orjson.dumps(data)))
    if isinstance(declaration, Elsewhere):
        assert (back.hosts, back.options["deep"][0]) == (("a", "b"), 1)  # type: ignore[attr-defined]
    else:
        assert back == declaration


def test_kinds() -> None:
    """Built-in declarations go by short names, others by where they are."""
    assert to_data(JsonlFile())["kind"] == "jsonl"
    assert to_data(TextFile())["kind"] == "text"
    assert to_data(Console())["kind"] == "console"
    assert to_data(Elsewhere())["kind"] == "users_module:Elsewhere"
    assert from_data({"kind": "jsonl", "max_bytes": "1 MB"}) == JsonlFile(max_bytes="1 MB")


@pytest.mark.parametrize("style", ["%", "{", "$"])
def test_logging_formatter(style: Any) -> None:
    """A plain logging.Formatter is data, too."""
    form = {"%": "%(message)s", "{": "{message}", "$": "$message"}[style]
    declaration = TextFile(format=logging.Formatter(form, "%H:%M", style))
    back = from_data(to_data(declaration))
    assert isinstance(back, TextFile)
    assert isinstance(back.format, logging.Formatter)
    assert (back.format._fmt, back.format.datefmt) == (form, "%H:%M")
    assert type(back.format._style) is type(declaration.format._style)  # type: ignore[union-attr]


class OwnFormatter(logging.Formatter):
    """Not to be told from data."""


@pytest.mark.parametrize(
    ("declaration", "setting"),
    [
        (JsonlFile(filter=lambda event: True), "filter"),
        (TextFile(format=OwnFormatter()), "format"),
        (Console(filter=important.__get__(3)), "filter"),
        (object(), "sinks"),
        (JsonlFile, "sinks"),
    ],
)
def test_not_data(declaration: Any, setting: str) -> None:
    """What another process could not find again is refused, with a way out."""
    with pytest.raises(SettingError, match=rf"^{setting} must"):
        to_data(declaration)


def test_functions_of_the_program_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of __main__ is another one in another process."""
    monkeypatch.setattr(important, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "important", important, raising=False)
    with pytest.raises(SettingError, match="not the program itself"):
        to_data(JsonlFile(filter=important))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "kafka"}, "must be of the kinds best, console, jsonl, .*text"),
        ({"kind": "os:getcwd"}, "must be of the kinds"),
        ({"kind": "no_such_module:Sink"}, "must be importable"),
        ({"kind": "users_module:Nope"}, "must be importable"),
        ({"kind": None}, "must name their kind"),
        ({}, "must name their kind"),
        ([], "must be described by a mapping"),
        ({"kind": "jsonl", "size": 3}, "has the settings backups, compress, .* got: 'size'"),
        ({"kind": "jsonl", "name": "x"}, "has the settings"),
        ({"kind": "jsonl", "backups": -1}, "backups must"),
        ({"kind": "jsonl", "filter": {"import": "users_module:gone"}}, "filter must be importable"),
    ],
)
def test_bad_data(data: Any, message: str) -> None:
    """Unknown kinds and settings are refused with the ones that are known."""
    with pytest.raises(SettingError, match=message):
        from_data(data)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that names two kinds of sinks, one of them broken."""
    information = tmp_path / "users_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: users-package\nVersion: 1.0\n"
    )
    (information / "entry_points.txt").write_text(
        "[asynclog.sinks]\nelsewhere = users_module:Elsewhere\nbroken = users_module:Gone\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_entry_points() -> None:
    """An installed package's kind is found by its name; a broken one is named."""
    assert from_data({"kind": "elsewhere", "topic": "t"}) == Elsewhere("t")
    with pytest.raises(SettingError, match=r"cannot load this kind from users_module:Gone"):
        from_data({"kind": "broken"})
    with pytest.raises(SettingError, match=r"broken, console, elsewhere, jsonl, .*text"):
        from_data({"kind": "other"})
