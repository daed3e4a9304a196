"""What takes the records of a job on its launcher: handlers of `logging`, and who chooses them."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

from .._complain import complain
from .._node import node_logger
from ..collector.trail import CURSORS
from ..exceptions import SettingError
from ..typing import Batch, Run
from .handlers import RedirectHandler, default_handlers, is_list_of
from .node_records import node_record

HandlerFactory: TypeAlias = Callable[[], Sequence[logging.Handler]]

AUTO: Final = "auto"
NONE: Final = "none"
SETTING: Final = "handlers"
RULE: Final = 'must be "auto", "none" or the place of a function, such as "my_module:my_handlers"'


class NodeLoggers:
    """Gives each record to handlers, in one thread; reads on from the files of the run.

    Handlers that are slow hold up nobody but each other. What one raises is said on stderr, and the
    others get the record all the same.

    Args:
        handlers: The handlers.
    """

    name: ClassVar[str] = "handlers"
    follows: ClassVar[bool] = True

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        self._handlers = handlers
        self._host = ""
        self._closed = False

    def begin(self, run_dir: Path) -> None:
        """Leave what an earlier launcher's handlers have not got in the files; call before start.

        Args:
            run_dir: The run directory.
        """
        (run_dir / CURSORS / f"{self.name}.json").unlink(missing_ok=True)

    def open(self, run: Run) -> None:
        """Note which machine this is."""
        self._host = run.host

    def write_blocking(self, batch: Batch) -> None:
        """Give out a batch."""
        for event in batch.events:
            record = node_record(event, self._host)
            for handler in self._handlers:
                if record.levelno >= handler.level:
                    _call(handler, handler.handle, record)

    def flush(self) -> None:
        """Flush the handlers."""
        for handler in self._handlers:
            _call(handler, handler.flush)

    def close(self) -> None:
        """Close the handlers."""
        self.flush()
        for handler in self._handlers:
            _call(handler, handler.close)
        self._closed = True

    def leave(self) -> None:
        """Let the process end, even if a handler hangs; call after the pipeline has stopped."""
        if not self._closed:
            # would wait for the handler's lock, for ever
            atexit.unregister(logging.shutdown)


def _call(handler: logging.Handler, method: Callable[..., object], *arguments: Any) -> None:
    try:
        method(*arguments)
    except Exception as error:
        name = type(handler).__name__
        complain(f"{name} raised {type(error).__name__}: {error}", kind=f"handler {name}")


def factory_of(text: str, level: int | str | None = None) -> HandlerFactory:
    """Return what makes the handlers that a setting asks for.

    Args:
        text: ``"auto"``, ``"none"`` or ``"module:function"``; modules in the current directory are
            found as well.
        level: Level of the job's loggers, None for that of the environment.

    Raises:
        SettingError: It is none of these, or there is no such function.
    """
    if text == AUTO:
        return partial(_usual, level)
    if text == NONE:
        return tuple
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise SettingError(SETTING, RULE, text)
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function: Any = attrgetter(name)(import_module(module))
    except Exception as error:
        rule = f"must name a function that can be imported ({type(error).__name__}: {error})"
        raise SettingError(SETTING, rule, text) from error
    if not callable(function):
        raise SettingError(SETTING, "must name a function", text)
    factory: Any = function
    return factory


def made_by(factory: HandlerFactory) -> list[logging.Handler]:
    """Return the handlers that a factory makes.

    Raises:
        SettingError: It raises, or returns something else.
    """
    name = getattr(factory, "__qualname__", repr(factory))
    try:
        handlers: Any = factory()
    except SettingError:
        raise
    except Exception as error:
        rule = f"must not raise ({type(error).__name__}: {error})"
        raise SettingError(f"the factory of {SETTING}", rule, name) from error
    if not is_list_of(handlers, logging.Handler):
        raise SettingError(f"{name}()", "must return a list of logging.Handler", handlers)
    return list(handlers)


def _usual(level: int | str | None) -> list[logging.Handler]:
    """Return the usual handlers, but those of loggers that show nothing in this process."""
    host = os.uname().nodename
    heard = any(logging.getLogger(node_logger(host, rank)).hasHandlers() for rank in (None, 0))
    found = default_handlers(log_level=level)
    return [each for each in found if heard or not isinstance(each, RedirectHandler)]
