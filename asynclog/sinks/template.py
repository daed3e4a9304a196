"""Path templates of file sinks: which fields they know, and that they stay in the run directory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from glob import escape
from pathlib import Path, PurePosixPath, PureWindowsPath
from string import Formatter
from typing import Any, Final

from ..exceptions import SettingError
from ..typing import Run

FIELDS: Final = ("time", "utc_time", "rank", "local_rank", "host", "pid", "run")
"""What may stand in braces. Times are ISO 8601's basic form, which every file system takes."""

_UNFIT: Final = re.compile(r"[^\w.+@=, \[\]-]")
_ADDITION: Final = r"(?:_rank(?P<added>\d+))?(?P<suffix>\.[^/]+-\d+)?"
"""What :func:`expand` puts before an extension: the rank and the run's suffix."""
_BACKUP: Final = re.compile(r"\.[1-9][0-9]{0,8}(?:\.gz)?$")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def check_template(template: str | os.PathLike[str], setting: str = "path") -> str:
    """Return a path template as text after checking what can be checked before a run exists.

    Raises:
        SettingError: It is empty, absolute, leads out of the run directory, or names an unknown
            field.
    """
    text = _as_text(template)
    if not text:
        raise SettingError(setting, "must be the path of a file", template)
    _check_inside(text, setting, text)
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise SettingError(
            setting, f"must be a valid template ({error})", text, "Write braces as {{ and }}"
        ) from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            known = " ".join(f"{{{name}}}" for name in FIELDS)
            raise SettingError(setting, f"may hold the fields {known} and no others", text)
    return text


def expand(template: str | os.PathLike[str], run: Run, setting: str = "path") -> Path:
    """Return the path a template stands for in a run.

    Ranks above 0 get files of their own: without ``{rank}`` in the template, ``_rank1`` and so on
    comes before the extension. So does the run's suffix.

    Args:
        template: Path relative to the run directory, with any of :data:`FIELDS` in braces.
        run: The run to write for.
        setting: What the user calls the template, for the error.

    Raises:
        SettingError: The path leads out of the run directory.
    """
    text = check_template(template, setting)
    relative = text.format_map(_values(run))
    _check_inside(relative, setting, text)
    path = run.directory / relative
    named = {field for _, field, _, _ in Formatter().parse(text)}
    addition = f"_rank{run.rank}" if run.rank and "rank" not in named else ""
    addition += _fit(run.suffix)
    if addition:
        path = path.with_name(f"{path.stem}{addition}{path.suffix}")
    return path


def matching(
    template: str | os.PathLike[str], directory: Path, suffix: str | None = None
) -> list[Path]:
    """Return the files in a run directory that a template may have stood for in any process.

    Args:
        template: As for :func:`expand`.
        directory: The run directory.
        suffix: That of the run: the files of other collectors are left out. None for all files.
    """
    glob, pattern = _patterns(template)
    found: list[Path] = []
    for path in directory.glob(glob):
        match = pattern.fullmatch(path.relative_to(directory).as_posix())
        if match and path.is_file() and (suffix is None or (match["suffix"] or "") == _fit(suffix)):
            found.append(path)
    return sorted(found)


def suffixes(template: str | os.PathLike[str], directory: Path) -> list[str]:
    """Return the suffixes of the runs whose files lie in a run directory, that without first.

    Args:
        template: As for :func:`expand`.
        directory: The run directory.
    """
    _, pattern = _patterns(template)
    found = {""}
    for path in matching(template, directory):
        match = pattern.fullmatch(path.relative_to(directory).as_posix())
        if match and match["suffix"]:
            found.add(match["suffix"])
    return sorted(found)


def matching_sets(template: str | os.PathLike[str], directory: Path) -> dict[Path, int | None]:
    """Return the rotated sets in a run directory that a template may have stood for.

    Args:
        template: As for :func:`expand`.
        directory: The run directory.

    Returns:
        The current file of each set, which may be missing while there are backups, and the rank
        that its name tells, None when it tells none.
    """
    glob, pattern = _patterns(template)
    found: dict[Path, int | None] = {}
    for path in sorted({*directory.glob(glob), *directory.glob(f"{glob}.[1-9]*")}):
        current = path.with_name(_BACKUP.sub("", path.name))
        match = pattern.fullmatch(current.relative_to(directory).as_posix())
        if match and path.is_file() and not path.is_symlink():
            rank = match.groupdict().get("field") or match["added"] or ""
            found[current] = int(rank) if rank.isdigit() else None
    return found


def _patterns(template: str | os.PathLike[str]) -> tuple[str, re.Pattern[str]]:
    """Return for :meth:`pathlib.Path.glob`, and exactly, what a template may have stood for."""
    text = check_template(template)
    glob = regex = ""
    for literal, field, _, _ in Formatter().parse(text):
        glob += escape(literal) + ("*" if field else "")
        regex += re.escape(literal)
        if field:
            ranked = field == "rank" and "(?P<field>" not in regex
            regex += "(?P<field>[^/]+)" if ranked else "[^/]+"
    extension = PurePosixPath(text).suffix
    if extension:
        glob = f"{glob.removesuffix(extension)}*{extension}"
        regex = regex.removesuffix(re.escape(extension)) + _ADDITION + re.escape(extension)
    else:
        glob, regex = f"{glob}*", regex + _ADDITION
    # two of them in a row mean something else
    return re.sub(r"\*+", "*", glob), re.compile(regex)


def _as_text(value: Any) -> str:
    """Return a path as text; empty for what is no path, whatever the annotation said."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    return text if isinstance(text, str) else ""


def _values(run: Run) -> Mapping[str, str]:
    return {
        "time": f"{run.started.astimezone():%Y%m%dT%H%M%S}",
        "utc_time": f"{_utc(run.started):%Y%m%dT%H%M%SZ}",
        "rank": str(run.rank or 0),
        "local_rank": str(run.local_rank or 0),
        "host": _fit(run.host) or "host",
        "pid": str(run.pid),
        "run": _fit(run.name) or "run",
    }


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


def _fit(value: str) -> str:
    """Make a value fit to be a part of a file name: no separators, no way up."""
    fit = _UNFIT.sub("_", value)
    return "_" * len(fit) if not fit.strip(". ") else fit


def _check_inside(path: str, setting: str, value: str) -> None:
    if _CONTROL.search(path):
        raise SettingError(setting, "must not hold control characters", value)
    absolute = PurePosixPath(path).is_absolute()
    if os.name == "nt":
        windows = PureWindowsPath(path)
        absolute = absolute or bool(windows.drive or windows.root)
        parts = windows.parts
    else:
        parts = PurePosixPath(path).parts
    if absolute:
        raise SettingError(
            setting,
            "must be relative to the run directory",
            value,
            "Give another run_dir to write elsewhere",
        )
    if ".." in parts or not parts or path.endswith(("/", "/.")):
        raise SettingError(setting, "must name a file inside the run directory", value)
