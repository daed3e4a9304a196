"""Exceptions and stacks in lines: data, bounded, and nothing kept alive."""

from __future__ import annotations

import builtins
import gc
import json
import linecache
import sys
import traceback
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from asynclog._line.encoder import LineEncoder, exception_to_dict
from asynclog._line.exception import MAX_CHAIN, MAX_EXCEPTIONS, MAX_FRAMES, MAX_NOTES, trim


@pytest.fixture
def encoder() -> LineEncoder:
    """Return an encoder."""
    return LineEncoder()


def logged(encoder: LineEncoder, **fields: Any) -> dict[str, Any]:
    """Return the line of an event, parsed."""
    line = encoder.encode({"event": "x", **fields}, level="error")
    assert line.count(b"\n") == 1
    assert len(line) <= encoder.max_event_bytes
    return json.loads(line)


def caught(function: Callable[[], Any]) -> BaseException:
    """Return what a function raises."""
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing raised")


def fail() -> None:
    """Raise."""
    raise ValueError("bad")


def fail_in_steps() -> None:
    """Raise from two exceptions, one by cause and one by context."""
    try:
        try:
            fail()
        except ValueError:
            raise KeyError("k")  # noqa: B904
    except KeyError as error:
        raise OSError(2, "gone") from error


class Unprintable(Exception):
    """An exception whose text fails."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no")


def test_type_message_and_frames() -> None:
    """Data hold what the classic traceback says, but for the source text."""
    error = caught(fail)
    data = exception_to_dict(error)
    assert (data["type"], data["message"]) == ("ValueError", "bad")
    frames = [
        {"file": frame.filename, "line": frame.lineno, "function": frame.name}
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    assert data["frames"] == frames
    assert [frame["function"] for frame in frames] == ["caught", "fail"]
    assert list(data) == ["type", "message", "frames"]


def test_types_carry_their_module() -> None:
    """Two libraries may both have a TimeoutError."""
    assert exception_to_dict(json.JSONDecodeError("m", "d", 0))["type"] == (
        "json.decoder.JSONDecodeError"
    )
    assert exception_to_dict(Unprintable())["type"] == f"{__name__}.Unprintable"


def test_functions_carry_their_class() -> None:
    """A frame says whose step() failed."""

    class Trainer:
        def step(self) -> None:
            raise ValueError

    frames: Any = exception_to_dict(caught(Trainer().step))["frames"]
    assert frames[-1]["function"].endswith("Trainer.step")


def test_chain() -> None:
    """Cause and context are told apart, as deep as they go."""
    data: Any = exception_to_dict(caught(fail_in_steps))
    assert (data["type"], data["message"]) == ("FileNotFoundError", "[Errno 2] gone")
    assert (data["cause"]["type"], data["cause"]["message"]) == ("KeyError", "'k'")
    assert data["cause"]["context"]["type"] == "ValueError"
    assert data["cause"]["context"]["frames"][-1]["function"] == "fail"
    assert "context" not in data


def test_suppressed_context() -> None:
    """``raise ... from None`` hides what came before."""

    def function() -> None:
        try:
            fail()
        except ValueError:
            raise KeyError("k") from None

    data = exception_to_dict(caught(function))
    assert list(data) == ["type", "message", "frames"]


def test_notes() -> None:
    """What add_note said is there, within bounds."""
    error = ValueError("bad")
    error.add_note("first\nsecond")
    assert exception_to_dict(error)["notes"] == ["first\nsecond"]
    for _ in range(100):
        error.add_note("again")
    data: Any = exception_to_dict(error)
    assert len(data["notes"]) == MAX_NOTES
    assert data["notes_left_out"] == 101 - MAX_NOTES


@pytest.mark.parametrize("notes", [5, "text", [5, None], (1,), {"a": 1}])
def test_notes_that_are_none(encoder: LineEncoder, notes: Any) -> None:
    """Anybody may set ``__notes__`` to anything."""
    error = ValueError("bad")
    error.__notes__ = notes
    assert logged(encoder, exc_info=error)["exception"]["message"] == "bad"


def test_groups() -> None:
    """The members of a group are exceptions like any other."""
    group = ExceptionGroup("several", [caught(fail), ExceptionGroup("inner", [KeyError("k")])])
    data: Any = exception_to_dict(group)
    assert data["type"] == "ExceptionGroup"
    assert data["message"] == "several (2 sub-exceptions)"
    assert data["exceptions"][0]["frames"][-1]["function"] == "fail"
    assert data["exceptions"][1]["exceptions"][0]["message"] == "'k'"


def test_large_groups() -> None:
    """A group of thousands is sampled and says so."""
    data: Any = exception_to_dict(ExceptionGroup("many", [ValueError(n) for n in range(5000)]))
    assert len(data["exceptions"]) == MAX_EXCEPTIONS - 1
    assert data["exceptions_left_out"] == 5000 - len(data["exceptions"])


def test_many_frames_keep_the_innermost() -> None:
    """Where it happened matters more than how one got there; what is missing is counted."""

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        raise ValueError("deep")

    error = caught(lambda: descend(500))
    data: Any = exception_to_dict(error)
    every = traceback.extract_tb(error.__traceback__)
    assert len(data["frames"]) == MAX_FRAMES
    assert data["frames_left_out"] == len(every) - MAX_FRAMES
    assert data["frames"][-1]["line"] == every[-1].lineno


def test_full_stack(encoder: LineEncoder) -> None:
    """A RecursionError can be logged."""

    def descend() -> None:
        descend()

    data = logged(encoder, exc_info=caught(descend))["exception"]
    assert data["type"] == "RecursionError"
    assert data["frames_left_out"] > 100


def chain_of(length: int) -> BaseException:
    """Return an exception with so many causes."""
    error: BaseException = ValueError("first")
    for number in range(length):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    return error


def test_long_chains(encoder: LineEncoder) -> None:
    """A chain of thousands is cut and says so."""
    data = logged(encoder, exc_info=chain_of(5000))["exception"]
    length = 1
    while "cause" in data:
        data = data["cause"]
        length += 1
    assert length == MAX_CHAIN
    assert data["chain_cut"] is True


def test_chains_that_close(encoder: LineEncoder) -> None:
    """Exceptions that cause each other end after one round."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    data = logged(encoder, exc_info=first)["exception"]
    assert data["cause"]["message"] == "second"
    assert data["cause"]["chain_cut"] is True


class Hostile(Exception):
    """An exception that raises wherever it can."""

    def __getattribute__(self, name: str) -> Any:
        """Fail."""
        raise RuntimeError(name)

    def __bool__(self) -> bool:
        """Fail."""
        raise RuntimeError("no")

    __str__ = __len__ = __eq__ = __bool__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class HostileGroup(ExceptionGroup[Exception]):
    """A group whose members are none."""

    exceptions = property(lambda self: [1, "x", None])  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Unprintable, "Unprintable"),
        (Hostile, "Hostile"),
        (lambda: HostileGroup("x", [ValueError()]), "HostileGroup"),
        (lambda: types.new_class("Metric", (ValueError,))(), "Metric"),
    ],
)
def test_hostile_exceptions(encoder: LineEncoder, make: Callable[[], Any], name: str) -> None:
    """An exception that fails itself is named, and the record kept."""
    for exc_info in (make(), (None, make(), None)):
        data = logged(encoder, exc_info=exc_info, a=1)
        assert data["a"] == 1
        assert name in data["exception"]["type"]
    try:
        raise ValueError("outer") from make()
    except ValueError:
        data = logged(encoder, exc_info=True)["exception"]
    assert name in data["cause"]["type"]
    group = logged(encoder, exc_info=ExceptionGroup("g", [make()]))["exception"]
    assert name in group["exceptions"][0]["type"]
    assert name in logged(encoder, error=make())["error"]


def test_text_that_fails_is_named() -> None:
    """The message names what its own code raised."""
    assert exception_to_dict(Unprintable())["message"] == "<unprintable Unprintable: RuntimeError>"


# How it gets into a line


def test_exc_info_within_an_except_block(encoder: LineEncoder) -> None:
    """True means the exception that is being handled."""
    try:
        fail()
    except ValueError as error:
        for exc_info in (True, 1, error, sys.exc_info()):
            data = logged(encoder, exc_info=exc_info)
            assert data["exception"]["message"] == "bad"
            assert data["exception"]["frames"][-1]["function"] == "fail"
            assert "exc_info" not in data


@pytest.mark.parametrize("exc_info", [True, False, None, (None, None, None), (), (1, 2), "yes"])
def test_exc_info_without_an_exception(encoder: LineEncoder, exc_info: Any) -> None:
    """Outside an except block there is nothing to add, and nothing fails."""
    data = logged(encoder, exc_info=exc_info)
    assert "exception" not in data
    assert "exc_info" not in data


def test_traceback_of_the_tuple_counts(encoder: LineEncoder) -> None:
    """The traceback that is given is taken before the exception's own."""
    error = caught(fail)
    inner = error.__traceback__.tb_next  # type: ignore[union-attr]
    data = logged(encoder, exc_info=(ValueError, error, inner))["exception"]
    assert [frame["function"] for frame in data["frames"]] == ["fail"]


def test_exception_that_was_never_raised(encoder: LineEncoder) -> None:
    """It has no frames."""
    assert logged(encoder, exc_info=ValueError("bad"))["exception"] == {
        "type": "ValueError",
        "message": "bad",
    }


def test_users_field_named_exception(encoder: LineEncoder) -> None:
    """A text that another processor made stays; beside exc_info it moves aside."""
    assert logged(encoder, exception="Traceback ...")["exception"] == "Traceback ..."
    data = logged(encoder, exception="mine", exc_info=ValueError("bad"))
    assert data["exception"]["message"] == "bad"
    assert data["exception_"] == "mine"


def test_classic_text() -> None:
    """exception_text adds what Python itself would print."""
    error = caught(fail_in_steps)
    data = logged(LineEncoder(exception_text=True), exc_info=error)["exception"]
    assert data["text"] == "".join(traceback.format_exception(error))
    assert data["cause"]["type"] == "KeyError"
    assert "text" not in logged(LineEncoder(), exc_info=error)["exception"]


def test_classic_text_that_fails() -> None:
    """It is only an addition."""
    data = logged(LineEncoder(exception_text=True), exc_info=Hostile())
    assert "Hostile" in data["exception"]["type"]


def test_sources_are_not_read(encoder: LineEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs an exception does no I/O for it."""
    error = caught(fail_in_steps)
    linecache.clearcache()

    def refuse(*_args: Any, **_kw: Any) -> Any:
        raise AssertionError("I/O in a log call")

    for owner, name in ((linecache, "getline"), (linecache, "getlines"), (builtins, "open")):
        monkeypatch.setattr(owner, name, refuse)
    line = encoder.encode({"event": "x", "exc_info": error, "stack_info": True}, level="error")
    monkeypatch.undo()
    assert json.loads(line)["exception"]["cause"]["type"] == "KeyError"
    assert not linecache.cache


def test_nothing_is_kept_alive(encoder: LineEncoder) -> None:
    """Frames hold tensors: neither they nor the exception outlive the call."""

    class Tensor:
        pass

    alive: list[weakref.ref[Any]] = []

    class Failure(Exception):
        pass

    def step() -> None:
        tensor = Tensor()
        alive.append(weakref.ref(tensor))
        raise Failure("bad")

    def train() -> None:
        try:
            step()
        except Failure as error:
            alive.append(weakref.ref(error))
            logged(encoder, exc_info=True, error=error, stack_info=True)
            logged(LineEncoder(exception_text=True), exc_info=error)
            logged(encoder, exc_info=ExceptionGroup("g", [error]))

    gc.disable()  # not even for as long as a cycle lives
    try:
        train()
        assert [reference() for reference in alive] == [None, None]
    finally:
        gc.enable()


def test_stack(encoder: LineEncoder) -> None:
    """stack_info tells who logs, without the frames of the logging itself."""

    def caller() -> dict[str, Any]:
        return logged(encoder, stack_info=True)

    frames = caller()["stack"]["frames"]
    functions = [frame["function"] for frame in frames]
    assert functions[-1] == "logged"
    assert functions[-2].endswith("caller")
    assert frames[-1]["file"] == __file__
    assert len(frames) <= MAX_FRAMES


def test_deep_stack(encoder: LineEncoder) -> None:
    """Of a deep stack the innermost frames are kept, the others counted."""

    def descend(levels: int) -> dict[str, Any]:
        return descend(levels - 1) if levels else logged(encoder, stack_info=True)

    stack = descend(100)["stack"]
    assert len(stack["frames"]) == MAX_FRAMES
    assert stack["frames"][-1]["function"] == "logged"
    assert stack["frames_left_out"] > 60


def test_stack_as_text(encoder: LineEncoder) -> None:
    """The text that logging's records carry is kept as it is."""
    assert logged(encoder, stack_info="Stack: ...")["stack"] == "Stack: ..."
    assert "stack" not in logged(encoder, stack_info=False)
    assert "stack" not in logged(encoder, stack_info=None)


def test_exceptions_that_are_too_large() -> None:
    """Outer frames go first; type, message and the place stay."""

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        raise ValueError("deep" * 50) from caught(fail)

    error = caught(lambda: descend(40))
    for limit in (4096, 2048, 1024):
        data = logged(LineEncoder(max_event_bytes=limit), exc_info=error, a=1)
        assert data["truncated"] is True
        assert data["a"] == 1
        found = data["exception"]
        assert found["type"] == "ValueError"
        assert found["message"].startswith("deep")
        if limit > 1024:
            assert found["frames"][-1]["function"].endswith("descend")
            assert found["frames_left_out"] + len(found["frames"]) == 43
            assert found["cause"]["message"] == "bad"


def test_large_messages(encoder: LineEncoder) -> None:
    """A message of 100 MB costs no more than its beginning."""
    data = logged(encoder, exc_info=ValueError("x" * 100_000_000))
    assert data["exception"]["message"].endswith("x... [100000000 characters]")
    assert data["truncated"] is True


def test_trim_counts_what_it_takes() -> None:
    """Frames that are left out twice are counted twice."""
    frames: Any = [{"line": number} for number in range(10)]
    data: Any = {"type": "T", "frames": frames, "frames_left_out": 5, "cause": {"frames": frames}}
    data["exceptions"] = [{"frames": frames}]
    trimmed: Any = trim(trim(data, 6), 4)
    assert trimmed["frames"] == frames[-4:]
    assert trimmed["frames_left_out"] == 11
    assert trimmed["cause"] == {"frames": frames[-4:], "frames_left_out": 6}
    assert trimmed["exceptions"] == [{"frames": frames[-4:], "frames_left_out": 6}]
    assert data["frames"] == frames
