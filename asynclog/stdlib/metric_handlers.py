"""What handlers have in common that take mappings of numbers from :mod:`logging`; that for a file.

Knows no backend. How a pipeline runs for a handler is another module's business.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import warnings
import weakref
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, cast

from .. import _own_threads
from .._complain import complain
from .._flatten import flatten_dict
from .._json import dumps
from .._line.plain import type_of
from .._line.problem import describe
from .._line.snapshot import Snapshot
from .._settings import DEFAULT_MAX_EVENT_BYTES
from ..exceptions import SettingError
from .handler import FLUSH_TIMEOUT, Handler
from .levels import level_number
from .metric_run import MetricRun
from .nesting import Nesting
from .placeholders import substitute_placeholders

if TYPE_CHECKING:
    from ..typing import SinkDeclaration

DEFAULT_LOG_DIR: Final = "logs"
DEFAULT_FILE_TEMPLATE: Final = "training_params_and_metrics_global{rank}"
_CURRENT: Final = "current"
_MAX_SITES: Final = 1000
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# What is no number and becomes a text; anything else may be on a device, where reading it waits.
_AS_TEXT: Final = (list, tuple, set, frozenset, dict, bytes, PurePath, Enum)

_handlers: weakref.WeakSet[MetricHandler] = weakref.WeakSet()
_exiting = False


class MetricHandler(logging.Handler):
    """What the metric handlers have in common.

    Args:
        level: Lowest level it takes, a name or number.
        run_name: Name of the run, with placeholders; None for the template.
        log_dir: Directory for what is written.
        template: Name of a run that is given none.
        kind: Part of the hidden run directory's name.
    """

    def __init__(
        self,
        level: int | str,
        run_name: str | None,
        log_dir: str | os.PathLike[str],
        template: str,
        kind: str,
    ) -> None:
        super().__init__(level_number(level))
        wanted: Any = template if run_name is None else run_name
        if not isinstance(wanted, str):
            raise SettingError("run_name", "must be a text", wanted)
        self._run_name = _checked_name(substitute_placeholders(wanted))
        self._log_dir = Path(os.path.abspath(checked_directory(log_dir, "log_dir")))
        self._kind = kind
        self._whole = self._log_dir / self._run_name
        # A run that has its rank in its name is one of its own, in which all is rank 0's.
        self._own_rank = "{rank}" in wanted
        self._runs: dict[str, MetricRun] = {}
        self._warned: dict[Any, Any] = {}
        _own_threads.watch_garbage_collection()
        _handlers.add(self)

    @property
    def run_name(self) -> str:
        """Name of the run, with its placeholders replaced."""
        return self._run_name

    @property
    def path(self) -> Path:
        """The file or directory that is named after the run."""
        return self._whole

    def createLock(self) -> None:
        """Do without a lock: a fork, a signal handler or a finaliser could find it taken."""
        Handler.createLock(cast("Handler", self))

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record if the filters let it pass."""
        try:
            # from Python 3.12 on it may be another record
            passed = cast("bool | logging.LogRecord", self.filter(record))
        except Exception as error:
            complain(f"a filter of {self!r} failed: {describe(error)}", kind="metric filter")
            passed = True
        if isinstance(passed, logging.LogRecord):
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Record a mapping; never raises.

        The first record makes the files and returns when they are there.
        """
        self._emit(record)

    def flush(self) -> None:
        """Wait until what was logged is stored, at most 1.5 seconds; not until a backend has it."""
        run = self._runs.get(_CURRENT)
        if run is not None and not _exiting and not _own_threads.is_own():
            run.flush(FLUSH_TIMEOUT)

    def close(self) -> None:
        """Write out everything, wait for the backend up to 15 seconds, and end the run.

        A mapping that is logged afterwards begins anew.
        """
        run = self._runs.pop(_CURRENT, None)
        try:
            if run is not None:
                run.close(exiting=_exiting)
        except Exception as error:
            complain(f"{self!r} cannot be closed: {describe(error)}")
        super().close()

    def _emit(self, record: logging.LogRecord) -> None:
        if _own_threads.is_own():
            return
        if not _nesting.enter():
            complain("metrics are left out that log themselves without an end", kind="nesting")
            return
        try:
            message: Any = record.msg
            if not issubclass(type_of(message), Mapping):
                self._warn(record)
                return
            run = self._runs.get(_CURRENT)
            if run is None and _exiting:
                # closed by logging itself, and called by a function that runs still later
                run = self._new_run()
                _log(run, record, message)
                run.close(exiting=True)
                return
            if run is None:
                # One step for the interpreter, so that all threads get the same.
                run = self._runs.setdefault(_CURRENT, self._new_run())
            _log(run, record, message)
            run.logged()
        except Exception as error:
            complain(f"metrics were lost: {describe(error)}", kind="metrics")
        finally:
            _nesting.leave()

    def _new_run(self) -> MetricRun:
        run_dir = self._whole.with_name(f".{self._whole.name}.{self._kind}")
        return MetricRun(run_dir, self._sinks, self._prepare, 0 if self._own_rank else None)

    def _prepare(self) -> None:
        """Make what has to be there when the first call returns."""
        self._whole.parent.mkdir(parents=True, exist_ok=True)

    def _sinks(self) -> Sequence[SinkDeclaration]:
        raise NotImplementedError

    def _warn(self, record: logging.LogRecord) -> None:
        """Warn of a message that is no mapping, once for each place that logs one."""
        if record.name == "py.warnings":
            return
        name = type(self).__name__
        text = (
            f"{name} takes mappings only, and skips a message of type "
            f"{type_of(cast('object', record.msg)).__name__}; IsMappingFilter keeps these away"
        )
        if len(self._warned) > _MAX_SITES:
            self._warned.clear()
        try:
            warnings.warn_explicit(
                text, UserWarning, record.pathname, record.lineno, registry=self._warned
            )
        except Exception:
            # made an error by a filter, which is nothing that a log call may raise
            complain(text, kind=f"{name} {record.pathname}:{record.lineno}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self._whole)!r}>"


class AsyncStructuredHandler(MetricHandler):
    """Records mappings in a JSONL file, ``<log_dir>/<run_name>.jsonl``; no call waits for it.

    The lines are those of :func:`asynclog.log_metrics` and :func:`asynclog.log_params`, with the
    time of the record. Nested keys are joined with ``/``, texts become records of their own, and
    ``None`` is left out. The file is there after the first record, complete after :meth:`close`,
    and appended to where it exists.

    Args:
        level: Lowest level it takes, a name or number.
        run_name: Name of the file without its extension; placeholders are those of
            :func:`substitute_placeholders`.
        log_dir: Directory of the file; made with the first record.

    Raises:
        SettingError: An argument breaks its rule.
    """

    def __init__(
        self,
        level: int | str = logging.INFO,
        run_name: str | None = None,
        log_dir: str | os.PathLike[str] = DEFAULT_LOG_DIR,
    ) -> None:
        super().__init__(level, run_name, log_dir, DEFAULT_FILE_TEMPLATE, "run")
        self._own_rank = False
        self._whole = self._log_dir / f"{self._run_name}.jsonl"

    def _sinks(self) -> Sequence[SinkDeclaration]:
        from .metric_sinks import NamedFile

        return [NamedFile(literal(self._whole.name), max_bytes=None)]


_nesting: Final = Nesting(MetricHandler._emit.__code__)


def _log(run: MetricRun, record: logging.LogRecord, message: Mapping[Any, Any]) -> None:
    log = run.logger(record.name, record.created)
    if getattr(record, "hparams", None):
        log.log_params(message)
    else:
        log.log_metrics(_values(message), step=getattr(record, "step", None))


def _values(message: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return a mapping's values as numbers and texts, as far as they can be."""
    for value in message.values():
        kind = type_of(value)
        if kind is not int and kind is not float and kind is not str:
            break
    else:
        return message
    values: dict[str, Any] = {}
    for name, value in flatten_dict(message).items():
        kind = type_of(value)
        if value is None:
            continue
        if issubclass(kind, _AS_TEXT) and not issubclass(kind, (int, float, str)):
            plain = Snapshot(DEFAULT_MAX_EVENT_BYTES).value(value)
            values[name] = plain if type(plain) is str else dumps(plain).decode()
        else:
            values[name] = value
    return values


def _checked_name(name: str) -> str:
    path = PurePath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or name.endswith(("/", "/.")):
        rule = "must be a name that stays in log_dir"
        raise SettingError("run_name", rule, name)
    if _CONTROL.search(name):
        raise SettingError("run_name", "must not hold control characters", name)
    return name


def checked_directory(value: Any, setting: str) -> str:
    """Return the path of a directory as text.

    Raises:
        SettingError: It is none.
    """
    as_text: Any = getattr(value, "__fspath__", None)
    text: Any = value if as_text is None else as_text()
    if not isinstance(text, str) or not text:
        raise SettingError(setting, "must be the path of a directory", value)
    return text


def literal(name: str) -> str:
    """Return a name as a path template that stands for it."""
    return name.replace("{", "{{").replace("}", "}}")


def _note_exit() -> None:
    global _exiting
    _exiting = True


def _after_fork_in_child() -> None:
    for handler in list(_handlers):
        run = handler._runs.get(_CURRENT)
        if run is not None and run.starting:
            # A thread that does not exist here may be at it; what it has logged is the parent's.
            handler._runs.clear()


# Runs before the pipelines stop, which they do by a function that was registered earlier.
atexit.register(_note_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
