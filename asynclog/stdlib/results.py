"""setup_results_logging: a directory of its own for each run of an experiment or evaluation."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ..exceptions import SettingError
from ..sinks import JsonlFile
from ..sinks.settings import check_flag
from .levels import logger_levels_of
from .setup import console_of, level_of, path_text, set_up

FILE_NAME: Final = "error_log.jsonl"
NOISY_LOGGERS: Final = (
    "aiobotocore",
    "aiohttp",
    "anthropic",
    "asyncssh",
    "azure",
    "boto3",
    "botocore",
    "google",
    "h11",
    "h2",
    "hpack",
    "httpcore",
    "httpx",
    "huggingface_hub",
    "openai",
    "paramiko",
    "requests",
    "s3transfer",
    "urllib3",
    "websockets",
)
"""Clients that log each request, connection or packet."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][\w.+@=,-]{0,99}", re.ASCII)


def setup_results_logging(
    name: str,
    base: str | os.PathLike[str] = "results",
    *,
    level: int | str | None = None,
    quiet: bool = True,
    logger_levels: Mapping[str, int | str] | None = None,
    use_json: bool | None = None,
    use_rich: bool | None = None,
    use_color: bool | None = None,
    rich_tracebacks: bool = False,
) -> Path:
    """Make a directory for results, and have everything logged written to a file in it.

    The directory is ``<base>/<name>_YYYYmmdd-HHMMSS`` (UTC; a number follows when there is one
    already), the file ``error_log.jsonl`` with all records as JSONL, rotated at 100 MB. The
    directory is a run directory, as for :func:`asynclog.start`. All else is as with
    :func:`setup_logging`.

    Args:
        name: What the results are of; letters, digits and ``_ . + @ = , -``.
        base: Directory that holds those of all results; made where it is missing.
        level: Level of all loggers; ``LOG_LEVEL`` or ``"INFO"`` if not given.
        quiet: Let HTTP, SSH and cloud clients (httpx, urllib3, botocore, paramiko, ...) only log
            warnings and above, unless ``logger_levels`` says otherwise.
        logger_levels: See :func:`setup_logging`.
        use_json: See :func:`setup_logging`.
        use_rich: See :func:`setup_logging`.
        use_color: See :func:`setup_logging`.
        rich_tracebacks: See :func:`setup_logging`.

    Returns:
        The directory's absolute path.

    Raises:
        SettingError: An argument or a variable breaks its rule, or the directory cannot be made.
        MissingExtraError: rich was asked for and is not installed.
        AlreadyStartedError: The program itself has started the default pipeline, with other
            settings.
    """
    check_flag(quiet, "quiet")
    console = console_of(use_json, use_rich, use_color, rich_tracebacks)
    number = level_of(level)
    levels = logger_levels_of(logger_levels)
    directory = _make_directory(_checked_name(name), _checked_base(base))
    quieted = NOISY_LOGGERS if quiet else ()
    try:
        set_up(directory, JsonlFile(FILE_NAME), console, number, levels, quieted)
    except BaseException:
        with suppress(OSError):
            directory.rmdir()
        raise
    return directory


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise SettingError(
            "name",
            "must be 1 to 100 letters, digits and _ . + @ = , - and not begin with a mark",
            name,
        )
    return name


def _checked_base(base: Any) -> Path:
    return Path(os.path.abspath(path_text(base, "base", "must be the path of a directory")))


def _make_directory(name: str, base: Path) -> Path:
    """Make a directory that did not exist before, whoever else is at it."""
    stem = f"{name}_{datetime.now(UTC):%Y%m%d-%H%M%S}"
    number = 1
    try:
        base.mkdir(parents=True, exist_ok=True)
        while True:
            directory = base / (stem if number == 1 else f"{stem}_{number}")
            try:
                directory.mkdir()
            except FileExistsError:
                number += 1
            else:
                return directory
    except OSError as error:
        rule = f"must be a directory that can be made and written ({error.strerror})"
        raise SettingError("base", rule, str(base)) from error
