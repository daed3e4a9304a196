"""setup_logging: logging, warnings and structlog of a whole program in one call."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from .._levels import WARNING
from .._lifecycle import default_pipeline, under_launcher
from .._settings import PipelineOptions
from ..exceptions import MissingExtraError, SettingError, SpoolError
from ..sinks import Console, JsonlFile
from ..sinks.settings import DEFAULT_BACKUPS, check_flag
from . import temporary
from .install import install
from .late import show_on
from .levels import level_number, logger_levels_of
from .log_file import LogFile, run_dir_of
from .switch import use

DEFAULT_MAX_LOG_BYTES: Final = 100_000_000

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")
# What the settings of sinks are called here.
_NAMES: Final = {"path": "log_file", "max_bytes": "max_log_bytes", "backups": "backup_count"}

_changing = threading.RLock()


def setup_logging(
    level: int | str | None = None,
    use_json: bool | None = None,
    use_rich: bool | None = None,
    use_color: bool | None = None,
    logger_levels: Mapping[str, int | str] | None = None,
    log_file: str | os.PathLike[str] | None = None,
    rich_tracebacks: bool = False,
    use_queue_handler: bool = True,
    max_log_bytes: int | str | None = DEFAULT_MAX_LOG_BYTES,
    backup_count: int = DEFAULT_BACKUPS,
) -> None:
    """Have everything that is logged shown on stderr and, if wanted, written to a file.

    That is what comes by :mod:`logging`, :mod:`warnings`, structlog and
    :func:`asynclog.get_logger`. Starts the default pipeline; may be called where an event loop
    runs. Called again with other arguments, it changes to these; nothing is lost or doubled.

    The root logger gets one :class:`Handler`. Handlers that would show the same on the console
    once more are taken off: those that ``logging.basicConfig`` makes, rich's, and those that
    libraries (torch, uvicorn, ...) have given their own loggers, which hand on to the root logger
    from then on. What is imported or configured later is found by a further call. All other
    handlers stay.

    Args:
        level: Level of all loggers, a name or number; ``LOG_LEVEL`` in the environment, or
            ``"INFO"``, if not given.
        use_json: Show JSON on the console; ``LOG_JSON`` in the environment (1 or 0) if not given.
        use_rich: Draw with rich where it has something to draw: the tracebacks, if
            ``rich_tracebacks`` is set. False never does. No matter with JSON.
        use_color: True or False settles what is otherwise asked of terminal and environment.
        logger_levels: Levels of single loggers and all below them, by dotted name.
        log_file: File for all records as JSONL, whatever the console shows. Without one nothing
            is written to the disk.
        rich_tracebacks: Show exceptions on the console with code around each frame (30 ms each).
        use_queue_handler: Accepted and without effect: no call waits for a console or disk.
        max_log_bytes: Size at which the file is rotated, a number or a text such as
            ``"100 MB"``; None for no limit.
        backup_count: Rotated files to keep.

    Raises:
        SettingError: An argument or a variable breaks its rule, or the file cannot be written.
        MissingExtraError: rich was asked for and is not installed.
        AlreadyStartedError: The program itself has started the default pipeline, with other
            settings.
    """
    check_flag(use_queue_handler, "use_queue_handler")
    console = console_of(use_json, use_rich, use_color, rich_tracebacks)
    path = None if log_file is None else _checked_path(log_file)
    name = "log.jsonl" if path is None else path.name
    try:
        file = LogFile(name, max_bytes=max_log_bytes, backups=backup_count)
    except SettingError as error:
        setting = _NAMES.get(error.setting, error.setting)
        raise SettingError(setting, error.rule, error.value, error.hint) from None
    number, levels = level_of(level), logger_levels_of(logger_levels)
    if path is None:
        set_up(None, None, console, number, levels)
    else:
        set_up(run_dir_of(path), file, console, number, levels)


def console_of(
    use_json: bool | None, use_rich: bool | None, use_color: bool | None, rich_tracebacks: bool
) -> Console:
    """Return the console that arguments and environment ask for.

    Raises:
        SettingError: One of them breaks its rule.
        MissingExtraError: rich was asked for and is not installed.
    """
    for name, value in (("use_json", use_json), ("use_rich", use_rich), ("use_color", use_color)):
        if value is not None:
            check_flag(value, name)
    check_flag(rich_tracebacks, "rich_tracebacks")
    wants_rich = use_rich or (rich_tracebacks and use_rich is None)
    if wants_rich and find_spec("rich") is None:
        raise MissingExtraError("setup_logging with rich", "rich", "rich")
    as_json = _flag_of("LOG_JSON") if use_json is None else use_json
    pretty = rich_tracebacks and use_rich is not False
    return Console(
        json=bool(as_json),
        colors=use_color,
        tracebacks="pretty" if pretty else "short",
    )


def set_up(
    run_dir: Path | None,
    file: JsonlFile | None,
    console: Console,
    level: int | None,
    levels: Mapping[str, int],
    quiet: Iterable[str] = (),
) -> None:
    """Start the default pipeline with these sinks and put the handler on the root logger.

    Args:
        run_dir: Where the file's run is; None without a file.
        file: Takes all records.
        console: Shows them.
        level: Level of all loggers; None for ``ASYNCLOG_LEVEL`` or the default.
        levels: Levels of single loggers.
        quiet: Loggers that only log warnings and above, unless they have a level.

    Raises:
        SettingError: The file cannot be written, or a variable breaks its rule.
        AlreadyStartedError: The default pipeline runs already, with settings of somebody else.
    """
    sinks = (console,) if file is None else (file, console)
    with _changing:
        try:
            default = _join_launcher(run_dir, file, level)
            if default is None:
                default = use(run_dir or temporary.run_dir(), sinks, level)
        except (SettingError, OSError) as error:
            if run_dir is None or file is None:
                raise
            raise _about_the_file(error, run_dir, file) from error
        if run_dir is not None:
            temporary.leave()
        show_on(console)
        quieted = {name: max(WARNING, default) for name in quiet}
        install(default, {**quieted, **levels})


def _join_launcher(run_dir: Path | None, file: JsonlFile | None, level: int | None) -> int | None:
    """Log into the launcher's run; return the level of all loggers, None without a launcher."""
    options: PipelineOptions = {} if file is None else {"sinks": [file]}
    if level is not None:
        options["level"] = level
    if not under_launcher(run_dir, options):
        return None
    return default_pipeline().levels.gate(None).level


def _about_the_file(
    error: SettingError | OSError, run_dir: Path, file: JsonlFile
) -> SettingError | OSError:
    """Return an error in terms of the log file, if it is about that."""
    directory = run_dir.parent if isinstance(file, LogFile) else run_dir
    place = str(directory / file.path)
    if isinstance(error, SettingError):
        if error.setting != "run_dir":
            return error
        rule = "must lie in a directory that can be made and written"
        return SettingError("log_file", rule, place)
    if isinstance(error, SpoolError):
        return error
    rule = f"must be a file that can be written ({error.strerror or error})"
    return SettingError("log_file", rule, place)


def level_of(level: int | str | None) -> int | None:
    """Return the level that argument and environment ask for, None if neither does.

    Raises:
        SettingError: It is none.
    """
    if level is not None:
        return level_number(level)
    variable = os.environ.get("LOG_LEVEL")
    return level_number(variable, "LOG_LEVEL") if variable else None


def _flag_of(variable: str) -> bool:
    value = os.environ.get(variable, "")
    text = value.strip().lower()
    if text in _TRUE:
        return True
    if text and text not in _FALSE:
        raise SettingError(variable, f"must be one of {', '.join((*_TRUE, *_FALSE))}", value)
    return False


def path_text(value: Any, setting: str, rule: str) -> str:
    """Return a path as text.

    Raises:
        SettingError: It is none, or empty.
    """
    as_text: Any = getattr(value, "__fspath__", None)
    text: Any = value if as_text is None else as_text()
    if not isinstance(text, str) or not text:
        raise SettingError(setting, rule, value)
    return text


def _checked_path(value: Any) -> Path:
    text = path_text(value, "log_file", "must be the path of a file")
    path = Path(os.path.abspath(text))
    if text.endswith((os.sep, "/.", "/..")) or path.is_dir():
        raise SettingError("log_file", "must be the path of a file, not of a directory", text)
    return path


def _after_fork_in_child() -> None:
    global _changing
    _changing = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
