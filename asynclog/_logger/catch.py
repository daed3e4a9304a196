"""catch: logs the exceptions of a function or block, and swallows those it was asked for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import CodeType, TracebackType
from typing import (
    Any,
    Generic,
    Literal,
    Never,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

from .._levels import parse_level
from .._line.problem import describe
from .default import default_system

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
D_co = TypeVar("D_co", covariant=True)
Y = TypeVar("Y")
S = TypeVar("S")

ExceptionTypes: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]

DEFAULT_MESSAGE = "unhandled exception"


class CatchLogger(Protocol):
    """A logger that :func:`catch` can use: any of ours or of structlog's."""

    def log(self, level: int, event: str, /, *args: Any, **kw: Any) -> Any:
        """Log an event at a level."""
        ...


class Catcher(Generic[D_co]):
    """Logs exceptions as a decorator, in ``with`` and in ``async with``; made by :func:`catch`.

    Keeps no state: one can be used by many threads and tasks, and within itself.
    """

    __slots__ = ("_default", "_exclude", "_level", "_logger", "_message", "_reraise", "_types")

    def __init__(
        self,
        types: ExceptionTypes,
        exclude: ExceptionTypes,
        level: int,
        message: str,
        logger: CatchLogger | str | None,
        reraise: bool,
        default: D_co,
    ) -> None:
        self._types = types if isinstance(types, tuple) else (types,)
        self._exclude = exclude
        self._level = level
        self._message = message
        self._logger = logger
        self._reraise = reraise
        self._default = default

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R | D_co]]: ...
    @overload
    def __call__(
        self, function: Callable[P, AsyncGenerator[Y, S]], /
    ) -> Callable[P, AsyncGenerator[Y, S]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[Y, S, R]], /
    ) -> Callable[P, Generator[Y, S, R | D_co]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R | D_co]: ...
    def __call__(self, function: Callable[..., Any], /) -> Callable[..., Any]:
        """Return the function with its exceptions caught."""
        return _wrapped(self, function, self._default)

    def __enter__(self) -> None:
        """Begin a block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Log the exception of the block; say whether it is swallowed."""
        return error is not None and self.handle(error, _code_of_block(traceback))

    async def __aenter__(self) -> None:
        """Begin a block."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Log the exception of the block; say whether it is swallowed."""
        return error is not None and self.handle(error, _code_of_block(traceback))

    def handle(self, error: BaseException, where: str | None) -> bool:
        """Log an exception if it is to be caught; say whether it is to be swallowed.

        Args:
            error: The exception.
            where: Name of the function it came out of.
        """
        if not isinstance(error, self._types) or isinstance(error, self._exclude):
            return False
        named = isinstance(error, Exception) or any(
            kind is not BaseException and isinstance(error, kind) for kind in self._types
        )
        if isinstance(error, GeneratorExit) and not named:
            # how a generator is closed is nothing to report
            return False
        fields = {} if where is None else {"function": where}
        try:
            self._logger_to_use().log(self._level, self._message, exc_info=error, **fields)
        except Exception as broken:
            # not one of ours: they do not raise
            default_system().get_logger().log(
                self._level, self._message, exc_info=error, log_error=describe(broken), **fields
            )
        return named and not self._reraise

    def _logger_to_use(self) -> CatchLogger:
        logger = self._logger
        if logger is None or isinstance(logger, str):
            return default_system().get_logger(logger)
        return logger


@overload
def catch(
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> Callable[P, Coroutine[Any, Any, R | None]]: ...
@overload
def catch(function: Callable[P, AsyncGenerator[Y, S]], /) -> Callable[P, AsyncGenerator[Y, S]]: ...
@overload
def catch(
    function: Callable[P, Generator[Y, S, R]], /
) -> Callable[P, Generator[Y, S, R | None]]: ...
@overload
def catch(
    exception: ExceptionTypes = Exception,
    /,
    *,
    level: int | str = "ERROR",
    message: str = DEFAULT_MESSAGE,
    logger: CatchLogger | str | None = None,
    reraise: Literal[True],
    exclude: ExceptionTypes = (),
) -> Catcher[Never]: ...
@overload
def catch(
    exception: ExceptionTypes = Exception,
    /,
    *,
    level: int | str = "ERROR",
    message: str = DEFAULT_MESSAGE,
    logger: CatchLogger | str | None = None,
    reraise: bool = False,
    default: None = None,
    exclude: ExceptionTypes = (),
) -> Catcher[None]: ...
@overload
def catch(
    exception: ExceptionTypes = Exception,
    /,
    *,
    level: int | str = "ERROR",
    message: str = DEFAULT_MESSAGE,
    logger: CatchLogger | str | None = None,
    reraise: bool = False,
    default: T,
    exclude: ExceptionTypes = (),
) -> Catcher[T]: ...
@overload
def catch(function: Callable[P, R], /) -> Callable[P, R | None]: ...
def catch(
    what: Any = Exception,
    /,
    *,
    level: int | str = "ERROR",
    message: str = DEFAULT_MESSAGE,
    logger: CatchLogger | str | None = None,
    reraise: bool = False,
    default: Any = None,
    exclude: ExceptionTypes = (),
) -> Any:
    """Log the exceptions of a function or block with their traceback, and swallow them.

    A decorator with and without arguments for functions, async functions, generators and async
    generators; also for ``with`` and ``async with``. The record names the function in the field
    ``function``.

    What ends programs and tasks (KeyboardInterrupt, SystemExit, the cancellation of asyncio and
    trio) is left alone, unless it is asked for by name; ``BaseException`` logs it and lets it
    through.

    Args:
        what: The function to decorate, or the types of exceptions to catch.
        level: Level of the record.
        message: Event text of the record.
        logger: A logger, or the name of one; the unnamed logger of the default pipeline otherwise.
        reraise: Whether the exception goes on to the caller after it was logged.
        default: What the function returns in its place.
        exclude: Types of exceptions to leave alone.

    Raises:
        SettingError: No such level.

    Example::

        @asynclog.catch(OSError, default=0)
        def size(path: str) -> int: ...

        with asynclog.catch(logger=log, message="clean-up failed"):
            shutil.rmtree(directory)
    """
    types = _exception_types(what)
    catcher = Catcher(
        Exception if types is None else types,
        exclude,
        parse_level(level),
        message,
        logger,
        reraise,
        default,
    )
    return catcher if types is not None else _wrapped(catcher, what, default)


def _exception_types(what: Any) -> ExceptionTypes | None:
    """Return exception types as they are, None for a function.

    Raises:
        TypeError: It is neither.
    """
    if callable(what) and not isinstance(what, type):
        return None
    kinds: tuple[Any, ...] = (what,) if isinstance(what, type) else tuple(what)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"catch takes a function or exception types, got: {kind!r}")
    return kinds


def _wrapped(
    catcher: Catcher[Any], function: Callable[..., Any], default: Any
) -> Callable[..., Any]:
    name = _name_of(function)

    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def in_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            generator = function(*args, **kwargs)
            try:
                produced = await anext(generator)
                while True:
                    try:
                        sent = yield produced
                    except GeneratorExit:
                        await generator.aclose()
                        raise
                    except BaseException as error:
                        produced = await generator.athrow(error)
                    else:
                        produced = await generator.asend(sent)
            except StopAsyncIteration:
                return
            except BaseException as error:
                if not catcher.handle(error, name):
                    raise

        return in_async_generator

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def in_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            try:
                generator: Generator[Any, Any, Any] = function(*args, **kwargs)
                return (yield from generator)
            except BaseException as error:
                if not catcher.handle(error, name):
                    raise
            return default

        return in_generator

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def in_coroutine(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except BaseException as error:
                if not catcher.handle(error, name):
                    raise
            return default

        return in_coroutine

    @functools.wraps(function)
    def in_function(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if not catcher.handle(error, name):
                raise
        return default

    return in_function


def _name_of(function: Callable[..., Any]) -> str:
    target: Any = inspect.unwrap(getattr(function, "func", function))
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    return f"{getattr(target, '__module__', '?')}.{name}"


def _code_of_block(traceback: TracebackType | None) -> str | None:
    """Return the name of the function that holds the block: the outermost frame's."""
    if traceback is None:
        return None
    frame = traceback.tb_frame
    code: CodeType = frame.f_code
    return f"{frame.f_globals.get('__name__', '?')}.{code.co_qualname}"
