"""What every sink must do, whatever it does with the lines: one suite over all of them."""

from __future__ import annotations

import gzip
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from asynclog import sinks
from asynclog.exceptions import MissingExtraError, SettingError
from asynclog.sinks import (
    Best,
    Console,
    JsonlFile,
    MetricsCsv,
    MetricsJsonl,
    MLflow,
    Nats,
    Otlp,
    Reduced,
    TensorBoard,
    TextFile,
    Wandb,
    from_data,
    to_data,
)
from asynclog.testing import RecordingSink
from asynclog.typing import BlockingSink, Run, Sink, SinkDeclaration

DECLARATIONS: list[Any] = [
    JsonlFile(),
    JsonlFile(max_bytes="1 kB", backups=9, compress=True, fsync="batch"),
    TextFile(),
    Console(),
    Console("stdout", json=True),
]
# These take records of some kinds only; what they make of them, their own tests say.
OF_SOME_KINDS: list[Any] = [
    MetricsCsv(),
    MetricsJsonl("deep/{rank}.jsonl"),
    Best(),
    TensorBoard(),
    Wandb(mode="disabled", tags=["a"], config={"net": {"layers": [1, 2]}}),
]
# Opened by tests of their own, which start a server.
OF_A_SERVER: list[Any] = [
    MLflow("http://127.0.0.1:9", run_name="x"),
    Nats(["nats://127.0.0.1:9", "tls://[::1]:9"], run="x", max_age="1 h", replicas=3),
    Otlp("http://127.0.0.1:9", resource={"team": "red"}),
]
LEVELS = ["debug", "info", "warning", "error", "critical"]


def is_blocking(sink: Any) -> bool:
    """Say whether a sink wants a thread of its own."""
    return hasattr(sink, "write_blocking")


@pytest.fixture(params=DECLARATIONS, ids=lambda declaration: repr(declaration)[:40])
def declaration(request: pytest.FixtureRequest) -> Any:
    """Return each declaration of a sink that takes every line in turn."""
    return request.param


@pytest.fixture(
    params=[*DECLARATIONS, *OF_SOME_KINDS, *OF_A_SERVER],
    ids=lambda declaration: repr(declaration)[:40],
)
def any_declaration(request: pytest.FixtureRequest) -> Any:
    """Return each declaration in turn."""
    return request.param


@pytest.fixture
def open_sink(any_declaration: Any, run: Run) -> Any:
    """Return the sink of each declaration in turn, opened, where that can be done here."""
    if any_declaration in OF_A_SERVER:
        pytest.skip("needs a server")
    sink = any_declaration.make()
    try:
        sink.open(run)
    except MissingExtraError as error:
        pytest.skip(str(error))
    return sink


@pytest.fixture
def feed(run: Run, make_batch: Callable[..., Any]) -> Callable[..., None]:
    """Open a sink, write batches of lines to it, flush and close it."""

    def feed(sink: Any, *batches: list[bytes]) -> None:
        sink.open(run)
        for lines in batches:
            sink.write_blocking(make_batch(*lines))
        sink.flush()
        sink.close()

    return feed


@pytest.fixture
def shown(run: Run, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return all that has come out anywhere."""

    def shown() -> str:
        captured = capfd.readouterr()
        found = [captured.out, captured.err]
        if run.directory.exists():
            for path in sorted(run.directory.iterdir(), reverse=True):
                content = path.read_bytes()
                if path.suffix == ".gz":
                    content = gzip.decompress(content)
                found.append(content.decode())
        return "".join(found)

    return shown


def test_every_declaration_is_covered() -> None:
    """A new sink that is not in this suite fails it."""
    public = {
        value
        for name in sinks.__all__
        if is_dataclass(value := getattr(sinks, name)) and isinstance(value, type)
    }
    covered = {type(each) for each in [*DECLARATIONS, *OF_SOME_KINDS, *OF_A_SERVER]}
    # it makes no sink, but wraps others
    covered.add(Reduced)
    assert covered == public


def test_declaration(any_declaration: Any) -> None:
    """It is frozen data with a name, and makes a new sink each time."""
    assert isinstance(any_declaration, SinkDeclaration)
    assert any_declaration.name.isidentifier()
    with pytest.raises(FrozenInstanceError):
        setattr(any_declaration, fields(any_declaration)[0].name, "x")
    first, second = any_declaration.make(), any_declaration.make()
    assert first is not second
    for sink in (first, second):
        assert isinstance(sink, BlockingSink if is_blocking(sink) else Sink)
    assert not isinstance(any_declaration, (Sink, BlockingSink))


def test_declaration_travels(any_declaration: Any) -> None:
    """It is the same after a journey through JSON."""
    assert from_data(orjson.loads(orjson.dumps(to_data(any_declaration)))) == any_declaration


@pytest.mark.parametrize(("level", "filter"), [("LOUD", None), (-1, None), (None, "x")])
def test_selection_is_checked(declaration: Any, level: Any, filter: Any) -> None:
    """Every sink takes level and filter, and checks them at once."""
    with pytest.raises(SettingError, match=r"^(level|filter) must"):
        type(declaration)(level=level, filter=filter)


def test_methods_are_plain_functions(any_declaration: Any) -> None:
    """A blocking sink's methods are called in a thread: none may be async."""
    sink = any_declaration.make()
    if is_blocking(sink):
        for name in ("open", "write_blocking", "flush", "close"):
            method = getattr(sink, name, None)
            assert method is None or not inspect.iscoroutinefunction(method)


def test_all_lines_come_out(
    declaration: Any,
    feed: Callable[..., None],
    make_line: Callable[..., bytes],
    shown: Callable[[], str],
) -> None:
    """Every line of every batch comes out, in order; an empty batch does no harm."""
    lines = [make_line(f"<{level}>", level) for level in LEVELS]
    feed(declaration.make(), lines[:2], [], lines[2:])
    text = shown()
    places = [text.index(f"<{level}>") for level in LEVELS]
    assert places == sorted(places)
    assert all(text.count(f"<{level}>") == 1 for level in LEVELS)


def test_level_and_filter(
    declaration: Any,
    feed: Callable[..., None],
    make_line: Callable[..., bytes],
    shown: Callable[[], str],
) -> None:
    """Only lines of the level or above, and of those only what the filter wants."""
    kind = type(declaration)
    picky = kind(level="warning", filter=lambda event: event["event"] != "<error>")
    feed(picky.make(), [make_line(f"<{level}>", level) for level in LEVELS])
    text = shown()
    assert [f"<{level}>" in text for level in LEVELS] == [False, False, True, False, True]


def test_all_kinds_of_records(
    declaration: Any,
    feed: Callable[..., None],
    make_line: Callable[..., bytes],
    shown: Callable[[], str],
) -> None:
    """Records of every kind and with every type of value go through."""
    error = {"type": "ValueError", "message": "bad\n", "frames": [{"file": "x", "line": 1}]}
    feed(
        declaration.make(),
        [
            make_line("<metric>", kind="metric", loss=0.5, step=0),
            make_line("<stage> [train] - START", kind="stage", stage="train"),
            make_line("<note>", kind="note", dropped={"full": 3}),
            make_line("<error>", "error", exception=error, stack="one\ntwo"),
            make_line("<values>", a=None, b=True, c=[1, {"d": "e"}], f=1e300, g="\u2028\x1b"),
            make_line("<odd>", **{"": 1, "a b": 2, "\n": 3}),
            b'{"event":"<bare>"}',
            make_line("x" * 60_000),
        ],
    )
    text = shown()
    for name in ("metric", "stage", "note", "error", "values", "odd", "bare"):
        assert f"<{name}>" in text
    assert "x" * 60_000 in text


def test_flush_and_close_without_a_batch(open_sink: Any) -> None:
    """A sink that got nothing can be flushed and closed, also twice."""
    for method in ("flush", "close", "close"):
        getattr(open_sink, method, lambda: None)()


def test_works_in_another_thread(
    declaration: Any,
    feed: Callable[..., None],
    make_line: Callable[..., bytes],
    shown: Callable[[], str],
) -> None:
    """The thread that opens, writes and closes is not the one that made the sink."""
    thread = threading.Thread(target=feed, args=(declaration.make(), [make_line("<there>")]))
    thread.start()
    thread.join(60)
    assert "<there>" in shown()


def test_batch_is_left_alone(
    open_sink: Any, make_line: Callable[..., bytes], make_batch: Callable[..., Any]
) -> None:
    """A sink changes nothing of the batch, which others read too."""
    batch = make_batch(
        make_line("x", deep={"list": [1, "\x1b"]}),
        make_line("metrics", kind="metrics", metrics={"loss": 1.0, "\x1b": "NaN"}),
    )
    before = (batch.raw, list(batch.lines), orjson.dumps(batch.events))
    open_sink.write_blocking(batch)
    getattr(open_sink, "close", lambda: None)()
    assert (batch.raw, batch.lines, orjson.dumps(batch.events)) == before


def test_recording_sink_agrees_with_the_protocol() -> None:
    """The test double that is shipped is a sink as well."""
    assert isinstance(RecordingSink(), Sink)


def test_importing_is_light(tmp_path: Path) -> None:
    """Declaring and making sinks imports no rich, tqdm, gzip or importlib.metadata."""
    code = (
        "import sys, structlog, anyio\n"
        "before = set(sys.modules)\n"
        "from asynclog.sinks import *\n"
        "made = JsonlFile(compress=True), TextFile(), Console(), MetricsCsv(), Best()\n"
        "[declaration.make() for declaration in made]\n"
        "new = set(sys.modules) - before\n"
        "print(sorted(new & {'rich', 'tqdm', 'gzip', 'importlib.metadata', 'torch'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"
