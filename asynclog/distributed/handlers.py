"""Handlers of `logging` for what the processes of a job say, on the launcher.

Their records name the process in ``hostname`` and ``local_rank``, None for what is no rank. The
names are those of torchrunx, whose records they take as well.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias, cast

from .._complain import complain
from .._levels import parse_level
from ..exceptions import SettingError
from ..sinks.rotation import FILE_MODE, make_directories

RecordFilter: TypeAlias = Callable[[logging.LogRecord], bool]

LOG_DIR: Final = "ASYNCLOG_LOG_DIR"
"""Variable that names the directory of the files; without it, or empty, there are none."""
LOG_LEVEL: Final = "ASYNCLOG_LEVEL"
DEFAULT_LOG_DIR: Final = "worker_logs"
FORMAT: Final = "%(asctime)s:%(levelname)s: %(message)s"
DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
MAX_FILES: Final = 256
"""Files of one handler; a machine has some 16 ranks. What is beyond goes into the machine's own."""
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_UNFIT: Final = re.compile(r"[^\w.-]")


def get_handler_filter(
    hostname: str, local_rank: int | None, log_level: int | str = logging.NOTSET
) -> RecordFilter:
    """Return a filter that lets the records of one process pass, for ``Handler.addFilter``.

    Args:
        hostname: Name of its machine.
        local_rank: Its rank there, None for what is no rank.
        log_level: Lowest level, a name or number.

    Raises:
        SettingError: That is no level.
    """
    return partial(_is_of, hostname, local_rank, parse_level(log_level, "log_level"))


def _is_of(
    hostname: str, local_rank: int | None, log_level: int, record: logging.LogRecord
) -> bool:
    return _process_of(record) == (hostname, local_rank) and record.levelno >= log_level


class RedirectHandler(logging.Handler):
    """Hands records to the logger of their name in this process, as if they were logged here.

    The levels, filters and handlers set up for that logger, and those above it, decide. Where there
    are no handlers, nothing is shown.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on."""
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno) and logger.hasHandlers():
            logger.handle(record)


class WorkerFiles(logging.Handler):
    """Writes the records of each process to a file of its own, made at the first one.

    ``{host}.log`` is for what is no rank, ``{host}[{local_rank}].log`` for a rank.

    Args:
        directory: Where the files lie.
        workers: Ranks of each machine whose records are taken; None for all.
        level: Lowest level.
    """

    def __init__(
        self,
        directory: Path,
        workers: Mapping[str, int] | None = None,
        level: int = logging.NOTSET,
    ) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
        self._directory = directory
        self._workers = workers
        self._files: dict[str, TextIO] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        hostname, local_rank = _process_of(record)
        if record.levelno < self.level or not self._takes(hostname, local_rank):
            return
        try:
            text = self.format(record)
            self._file(hostname, local_rank).write(f"{text}\n")
        except Exception as error:
            complain(
                f"{self._directory}: {type(error).__name__}: {error}; the record is left out",
                kind="worker files",
            )

    def close(self) -> None:
        """Close the files."""
        self.acquire()
        try:
            files, self._files = self._files, {}
            for file in files.values():
                file.close()
        finally:
            self.release()
        super().close()

    def _takes(self, hostname: Any, local_rank: Any) -> bool:
        if type(hostname) is not str:
            return False
        if self._workers is None:
            return True
        count = self._workers.get(hostname)
        return count is not None and (local_rank is None or local_rank < count)

    def _file(self, hostname: str, local_rank: int | None) -> TextIO:
        host = _UNFIT.sub("_", hostname).lstrip(".") or "_"
        name = f"{host}.log" if local_rank is None else f"{host}[{local_rank}].log"
        if name not in self._files and len(self._files) >= MAX_FILES:
            name = f"{host}.log"
        file = self._files.get(name)
        if file is None:
            descriptor = os.open(self._directory / name, _FLAGS, FILE_MODE)
            # by whole lines: whoever runs this may be killed
            file = self._files[name] = os.fdopen(
                descriptor, "a", buffering=1, encoding="utf-8", errors="backslashreplace"
            )
        return file


def file_handlers(
    hostnames: Sequence[str] | None = None,
    workers_per_host: Sequence[int] | None = None,
    log_dir: str | os.PathLike[str] = DEFAULT_LOG_DIR,
    log_level: int | str = logging.NOTSET,
) -> list[logging.Handler]:
    """Return what writes the records of each process to a file of its own.

    The files are ``<log_dir>/<time>/<host>.log`` for what is no rank, and
    ``<host>[<local_rank>].log`` for a rank; the time is local, as in ``2026-01-31T12:00:00``. They
    grow without bounds.

    Args:
        hostnames: Machines whose records are taken; all when not given.
        workers_per_host: How many ranks each has.
        log_dir: Directory, made if need be.
        log_level: Lowest level, a name or number.

    Raises:
        SettingError: One of these breaks its rule, or the directory cannot be made.
    """
    workers = workers_of(hostnames, workers_per_host)
    return _files(log_dir, workers, parse_level(log_level, "log_level"), "log_dir")


def default_handlers(
    hostnames: Sequence[str] | None = None,
    workers_per_host: Sequence[int] | None = None,
    *,
    log_level: int | str | None = None,
) -> list[logging.Handler]:
    """Return what is usual: a few processes to this one's loggers, and files if they are asked for.

    What the first machine's rank 0 says, and what is no rank there, goes to the loggers of this
    process: see :class:`RedirectHandler`. All goes to the files of :func:`file_handlers` if
    ``ASYNCLOG_LOG_DIR`` names a directory.

    Args:
        hostnames: Machines; this one when not given.
        workers_per_host: How many ranks each has; any number when not given.
        log_level: Lowest level that goes to the files; ``ASYNCLOG_LEVEL`` when not given, else
            INFO.

    Raises:
        SettingError: One of these or of the variables breaks its rule.
    """
    workers = workers_of(hostnames, workers_per_host)
    first = next(iter(workers or (os.uname().nodename,)))
    handlers: list[logging.Handler] = []
    for local_rank in (None, 0):
        handler = RedirectHandler()
        handler.addFilter(get_handler_filter(first, local_rank))
        handlers.append(handler)
    level = parse_level(os.environ.get(LOG_LEVEL) or "INFO", LOG_LEVEL)
    if log_level is not None:
        level = parse_level(log_level, "log_level")
    if log_dir := os.environ.get(LOG_DIR):
        handlers += _files(log_dir, workers, level, LOG_DIR)
    return handlers


def _files(
    log_dir: str | os.PathLike[str], workers: Mapping[str, int] | None, level: int, setting: str
) -> list[logging.Handler]:
    directory = Path(log_dir) / f"{datetime.now():%Y-%m-%dT%H:%M:%S}"  # noqa: DTZ005 - local time
    try:
        make_directories(directory)
    except OSError as error:
        rule = f"must be a directory that can be written ({error.strerror})"
        raise SettingError(setting, rule, os.fspath(log_dir)) from error
    return [WorkerFiles(directory, workers, level)]


def workers_of(
    hostnames: Sequence[str] | None, workers_per_host: Sequence[int] | None
) -> dict[str, int] | None:
    """Return how many ranks each machine has, None if nobody says.

    Raises:
        SettingError: These are not some names and a number for each.
    """
    if hostnames is None and workers_per_host is None:
        return None
    hosts: Any = hostnames
    if not is_list_of(hosts, str) or not hosts:
        raise SettingError("hostnames", "must be some names of machines", hostnames)
    counts: Any = workers_per_host
    if not is_list_of(counts, int) or len(counts) != len(hosts) or min(counts) < 0:
        rule = "must be a number for each of hostnames"
        raise SettingError("workers_per_host", rule, workers_per_host)
    return dict(zip(hosts, counts, strict=True))


def is_list_of(value: Any, kind: type) -> bool:
    """Say whether a value is a list or tuple of things of one kind."""
    return isinstance(value, (list, tuple)) and all(
        isinstance(item, kind) for item in cast(Sequence[object], value)
    )


def _process_of(record: logging.LogRecord) -> tuple[Any, Any]:
    return getattr(record, "hostname", None), getattr(record, "local_rank", None)
