"""TextFile: readable lines, own formats, never a colour."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from asynclog.exceptions import SettingError
from asynclog.sinks import TextFile
from asynclog.typing import Run


@pytest.fixture
def written(run: Run, make_batch: Callable[..., Any]) -> Callable[..., str]:
    """Write lines through a declaration and return what is in the file."""

    def write(declaration: TextFile, *lines: bytes) -> str:
        sink = declaration.make()
        sink.open(run)
        sink.write_blocking(make_batch(*lines))
        sink.close()
        return (run.directory / declaration.path).read_text()

    return write


def test_default_layout(
    written: Callable[..., str], make_line: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line is time, level, text and fields; FORCE_COLOR makes no difference."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = written(TextFile(), make_line("text"), make_line("more", "warning", n=1, logger="app"))
    assert text == (
        "2025-01-23 14:30:22 - INFO - text\n2025-01-23 14:30:22 - WARNING - more  n=1 logger=app\n"
    )


def test_injection(written: Callable[..., str], make_line: Callable[..., bytes]) -> None:
    """A text with line ends and escapes in it stays one line."""
    forged = "x\n2025-01-23 14:30:22 - CRITICAL - forged\x1b[31m"
    text = written(TextFile(), make_line(forged, value=forged))
    assert text.count("\n") == 1
    assert "\x1b" not in text


def test_exception(written: Callable[..., str], make_line: Callable[..., bytes]) -> None:
    """An exception follows its line."""
    error = {"type": "ValueError", "message": "bad", "frames": []}
    text = written(TextFile(), make_line("oops", "error", exception=error))
    assert text == "2025-01-23 14:30:22 - ERROR - oops\n    ValueError: bad\n"


def test_format_function(written: Callable[..., str], make_line: Callable[..., bytes]) -> None:
    """A function makes the text; the event it gets holds nothing that could forge a line."""

    def shout(event: Mapping[str, Any]) -> str:
        return f"{event['event'].upper()}!{event['n']}\n"

    assert written(TextFile(format=shout), make_line("a\nb", n=1)) == "A\\NB!1\n"


def test_colors_of_a_format_stay_out(
    written: Callable[..., str], make_line: Callable[..., bytes]
) -> None:
    """A format made for terminals can be used; the file gets no colours."""
    declaration = TextFile(format=lambda event: f"\x1b[1;31m{event['event']}\x1b[0m")
    assert written(declaration, make_line("x")) == "x\n"


def test_logging_formatter(written: Callable[..., str], make_line: Callable[..., bytes]) -> None:
    """A logging.Formatter sees a LogRecord with everything that logging puts there."""
    formatter = logging.Formatter(
        "%(asctime)s %(msecs)03d %(name)s %(levelname)s %(levelno)d %(message)s "
        "user=%(user)s name=%(name_)s %(filename)s:%(lineno)d %(funcName)s %(thread)s"
    )
    line = make_line(
        "100%\ndone",
        "error",
        logger="app.db",
        user="x\ny",
        name="mine",
        filename="a.py",
        lineno=3,
        func_name="f",
        exception={"type": "ValueError", "message": "bad"},
    )
    assert written(TextFile(format=formatter), line) == (
        "2025-01-23 14:30:22,123 123 app.db ERROR 40 100%\\ndone user=x\\ny name=mine a.py:3 f None"
        "\n    ValueError: bad\n"
    )


def test_defaults_of_a_formatter(
    written: Callable[..., str], make_line: Callable[..., bytes]
) -> None:
    """Records without a logger go by logging's name for that, in each of logging's styles."""
    for style, form in (("%", "%(name)s"), ("{", "{name}"), ("$", "$name")):
        declaration = TextFile(
            f"{ord(style)}.log",
            format=logging.Formatter(form, style=style),  # type: ignore[arg-type]
        )
        assert written(declaration, make_line()) == "root\n"


def test_format_that_raises(
    written: Callable[..., str],
    make_line: Callable[..., bytes],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The record is kept in its usual look, with the error named."""

    def broken(event: Mapping[str, Any]) -> str:
        raise KeyError("gone")

    text = written(TextFile(format=broken), make_line("kept", n=1))
    assert text.startswith("2025-01-23 14:30:22 - INFO - kept  n=1 format_error=")
    assert "KeyError: 'gone'" in text
    text = written(TextFile("b.log", format=logging.Formatter("%(nope)s")), make_line("kept"))
    assert "kept" in text
    assert "nope" in text
    assert "format of a sink raised" in capfd.readouterr().err


def test_bad_format() -> None:
    """What is neither function nor Formatter is refused at once."""
    with pytest.raises(SettingError, match=r"^format must be a function"):
        TextFile(format="%(message)s")  # type: ignore[arg-type]


def test_selection_and_rotation(
    run: Run,
    written: Callable[..., str],
    make_line: Callable[..., bytes],
) -> None:
    """Level, filter and rotation work as for JsonlFile."""
    lines = [make_line(f"event {n}", level) for n, level in enumerate(["info", "error"] * 3)]
    declaration = TextFile(
        level="error", filter=lambda event: event["event"] != "event 3", max_bytes=40, backups=1
    )
    assert "event 5" in written(declaration, *lines)
    assert "event 1" in (run.directory / "events.log.1").read_text()
