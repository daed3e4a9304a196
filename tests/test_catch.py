"""catch: exceptions are logged where they arise, and only those that were asked for disappear."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
from collections.abc import AsyncGenerator, Generator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import structlog

import asynclog
from asynclog import catch
from asynclog.testing import capture_events


@pytest.fixture
def events() -> Generator[list[dict[str, Any]]]:
    """Return what is logged into the default pipeline."""
    with capture_events() as events:
        yield events


class Boom(Exception):
    """What the functions here raise."""


@catch
def plain(value: int) -> int:
    """Divide."""
    return 10 // value


class Methods:
    """A class with a caught method."""

    @catch(message="method failed", default=-1)
    def method(self, value: int) -> int:
        """Divide."""
        return 10 // value


# Functions


def test_a_caught_function_logs_and_returns_none(events: list[dict[str, Any]]):
    """The record is an error with the exception and the function's name; arguments pass."""
    assert plain(5) == 2
    assert events == []
    assert plain(value=0) is None
    (event,) = events
    assert event["level"] == "error"
    assert event["event"] == "unhandled exception"
    assert event["function"] == f"{__name__}.plain"
    assert event["exception"]["type"] == "ZeroDivisionError"
    frames = event["exception"]["frames"]
    assert frames[-1]["function"] == "plain"
    assert "logger" not in event


def test_a_caught_function_is_still_that_function():
    """Name, documentation and signature stay; it can be pickled and copied."""
    assert plain.__name__ == "plain"
    assert plain.__doc__ == "Divide."
    assert list(inspect.signature(plain).parameters) == ["value"]
    assert pickle.loads(pickle.dumps(plain)) is plain
    assert copy.deepcopy(plain) is plain


def test_methods_can_be_caught(events: list[dict[str, Any]]):
    """The default takes the place of the result."""
    assert Methods().method(5) == 2
    assert Methods().method(0) == -1
    assert events[0]["event"] == "method failed"
    assert events[0]["function"] == f"{__name__}.Methods.method"


def test_options(events: list[dict[str, Any]]):
    """Level, message, logger and default are what they say."""

    @catch(level="warning", message="no luck", logger="app.jobs", default="nothing")
    def fail() -> str:
        raise Boom

    assert fail() == "nothing"
    assert events[0]["level"] == "warning"
    assert events[0]["event"] == "no luck"
    assert events[0]["logger"] == "app.jobs"


def test_levels_apply(events: list[dict[str, Any]]):
    """A record below the level is not written; the exception is swallowed all the same."""
    asynclog.set_level("app", "critical")

    @catch(logger="app")
    def fail() -> None:
        raise Boom

    fail()
    assert events == []


def test_any_logger_will_do(events: list[dict[str, Any]]):
    """One with context, or one of structlog's."""
    bound = asynclog.get_logger("app").bind(job=3)
    capturing = structlog.testing.CapturingLogger()
    theirs = structlog.wrap_logger(
        capturing, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    for logger in (bound, theirs):
        with catch(logger=logger):
            raise Boom("x")
    assert events[0]["job"] == 3
    assert capturing.calls[0].method_name == "error"
    assert isinstance(capturing.calls[0].kwargs["exc_info"], Boom)


def test_reraise_logs_and_raises(events: list[dict[str, Any]]):
    """The caller gets the very exception."""
    error = Boom()

    @catch(reraise=True)
    def fail() -> int:
        raise error

    with pytest.raises(Boom) as info:
        fail()
    assert info.value is error
    assert len(events) == 1


@pytest.mark.parametrize("types", [OSError, (OSError, KeyError)])
def test_only_the_given_types_are_caught(events: list[dict[str, Any]], types: Any):
    """Others are neither logged nor swallowed."""

    @catch(types, default="caught")
    def fail(error: Exception) -> str:
        raise error

    assert fail(FileNotFoundError()) == "caught"
    with pytest.raises(Boom):
        fail(Boom())
    assert [event["exception"]["type"] for event in events] == ["FileNotFoundError"]


@pytest.mark.parametrize("exclude", [Boom, (KeyError, Boom)])
def test_excluded_types_are_left_alone(events: list[dict[str, Any]], exclude: Any):
    """Also when they belong to a type that is caught."""
    with pytest.raises(Boom), catch(exclude=exclude):
        raise Boom
    with catch(exclude=exclude):
        raise ValueError
    assert [event["exception"]["type"] for event in events] == ["ValueError"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_left_alone(
    events: list[dict[str, Any]], error: type[BaseException]
):
    """By default not even logged; with BaseException logged, never swallowed."""
    with pytest.raises(error), catch():
        raise error
    assert events == []
    with pytest.raises(error), catch(BaseException):
        raise error
    assert [event["exception"]["type"] for event in events] == [error.__name__]


def test_closing_a_generator_is_no_error(events: list[dict[str, Any]]):
    """It is not reported, although it comes as an exception."""

    @catch(BaseException)
    def numbers() -> Generator[int]:
        yield 1

    generator = numbers()
    next(generator)
    generator.close()
    assert events == []


def test_what_ends_the_program_can_be_asked_for(events: list[dict[str, Any]]):
    """Who names a type gets it."""
    with catch((KeyboardInterrupt, SystemExit)):
        raise SystemExit(3)
    with catch((BaseException, KeyboardInterrupt)):
        raise KeyboardInterrupt
    assert len(events) == 2


@pytest.mark.parametrize("bad", [3, "name", int, (OSError, 3), [OSError, "x"], None])
def test_what_cannot_be_caught_is_refused(bad: Any):
    """At the decoration, with the value."""
    with pytest.raises(TypeError):
        catch(bad)


def test_a_bad_level_is_refused_at_once():
    """Before anything is raised."""
    with pytest.raises(asynclog.SettingError, match="LOUD"):
        catch(level="LOUD")


def test_partials_and_callables_have_names(events: list[dict[str, Any]]):
    """The record says which function it was as well as it can."""

    class Job:
        def __call__(self) -> None:
            raise Boom

    catch(functools.partial(plain.__wrapped__, 0))()
    catch(Job())()
    assert events[0]["function"] == f"{__name__}.plain"
    assert events[1]["function"].endswith("Job")


def test_catching_within_catching_logs_once(events: list[dict[str, Any]]):
    """The inner one swallows; one that raises again is logged by each."""

    @catch
    def outer() -> str:
        plain(0)
        return "done"

    assert outer() == "done"
    assert len(events) == 1


# Blocks


def test_a_block_names_its_function(events: list[dict[str, Any]]):
    """The record tells in which function the block is."""
    with catch():
        plain.__wrapped__(0)
    assert events[0]["function"] == f"{__name__}.test_a_block_names_its_function"
    assert events[0]["exception"]["frames"][-1]["function"] == "plain"


def test_one_catcher_serves_many(events: list[dict[str, Any]]):
    """It keeps no state: within itself, as decorator and as block."""
    catcher = catch(Boom, default=7)
    with catcher, catcher:
        raise Boom
    assert catcher(lambda: (_ for _ in ()).throw(Boom()))() == 7
    assert len(events) == 2


@pytest.mark.anyio
async def test_async_blocks(events: list[dict[str, Any]]):
    """Async with does the same."""
    async with catch(message="in a block"):
        await anyio.lowlevel.checkpoint()
        raise Boom
    assert events[0]["event"] == "in a block"
    with pytest.raises(KeyError):
        async with catch(Boom):
            raise KeyError


# Async functions and generators


@pytest.mark.anyio
async def test_async_functions(events: list[dict[str, Any]]):
    """A caught async function is one still."""

    @catch(default=-1)
    async def divide(value: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 10 // value

    assert inspect.iscoroutinefunction(divide)
    assert await divide(5) == 2
    assert await divide(0) == -1
    assert events[0]["function"].endswith("divide")


@pytest.mark.anyio
async def test_cancellation_is_left_alone(events: list[dict[str, Any]]):
    """A caught task can be cancelled, on every loop; even BaseException does not swallow it."""
    for catcher in (catch(), catch(BaseException)):
        reached: list[str] = []

        @catcher
        async def wait(reached: list[str] = reached) -> None:
            reached.append("in")
            await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert reached == ["in"]
    assert [event["exception"]["type"] for event in events] in (
        ["asyncio.exceptions.CancelledError"],
        ["trio.Cancelled"],
    )


def test_cancellation_can_be_asked_for(events: list[dict[str, Any]]):
    """Who names CancelledError gets it, as with except."""

    @catch(asyncio.CancelledError, default="cancelled")
    async def wait() -> str:
        raise asyncio.CancelledError

    assert asyncio.run(wait()) == "cancelled"
    assert len(events) == 1


def test_generators(events: list[dict[str, Any]]):
    """They end where they raised; values, sent values and the result pass through."""

    @catch(default="default")
    def echo(last: bool) -> Generator[int, int, str]:
        received = yield 1
        yield received
        if not last:
            raise Boom
        return "result"

    def drive(last: bool) -> tuple[list[Any], Any]:
        generator = echo(last)
        seen = [next(generator), generator.send(5)]
        try:
            next(generator)
        except StopIteration as stop:
            return seen, stop.value
        raise AssertionError

    assert drive(last=True) == ([1, 5], "result")
    assert events == []
    assert drive(last=False) == ([1, 5], "default")
    assert len(events) == 1
    generator = echo(last=True)
    next(generator)
    generator.close()
    assert len(events) == 1


@pytest.mark.anyio
async def test_async_generators(events: list[dict[str, Any]]):
    """The same with async for, asend, athrow and aclose."""
    closed: list[bool] = []

    @catch
    async def echo() -> AsyncGenerator[Any, Any]:
        received = None
        try:
            while True:
                try:
                    received = yield received
                except KeyError:
                    received = "thrown"
                if received == "end":
                    return
                if received == "fail":
                    raise Boom
        finally:
            closed.append(True)

    generator = echo()
    assert await anext(generator) is None
    assert await generator.asend(5) == 5
    assert await generator.athrow(KeyError()) == "thrown"
    with pytest.raises(StopAsyncIteration):
        await generator.asend("fail")
    assert len(events) == 1
    assert [value async for value in _sending(echo(), ["a", "b", "end"])] == [None, "a", "b"]
    generator = echo()
    await anext(generator)
    await generator.aclose()
    assert closed == [True] * 3
    assert len(events) == 1
    assert inspect.isasyncgenfunction(echo)


async def _sending(
    generator: AsyncGenerator[Any, Any], values: list[str]
) -> AsyncGenerator[Any, None]:
    """Yield what a generator yields when it is sent the values."""
    yield await anext(generator)
    for value in values:
        try:
            yield await generator.asend(value)
        except StopAsyncIteration:
            return


@pytest.mark.anyio
async def test_exception_groups_are_exceptions(events: list[dict[str, Any]]):
    """A task group's errors arrive as one group, and are logged as one record."""

    async def fail() -> None:
        raise Boom

    with catch(default=None):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            tasks.start_soon(fail)
    assert events[0]["exception"]["type"] == "ExceptionGroup"


# Loggers that break


def test_a_broken_logger_hides_nothing(events: list[dict[str, Any]]):
    """What it was to log goes to the default pipeline, and the function ends as it should."""

    class Broken:
        def log(self, level: int, event: str, /, *args: Any, **kw: Any) -> None:
            raise RuntimeError("broken logger")

    def fail() -> int:
        raise Boom

    assert catch(logger=Broken(), default=5)(fail)() == 5
    with pytest.raises(Boom):
        catch(logger=Broken(), reraise=True)(fail)()
    for event in events:
        assert event["log_error"] == "RuntimeError: broken logger"
        assert event["exception"]["type"].endswith("Boom")
    assert len(events) == 2
