"""The settings of sinks: checked when they are made, data only, and cheap to import.

What a sink needs to work is imported when the collector makes it.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from .._levels import parse_level
from .._settings import parse_size
from ..exceptions import SettingError

if TYPE_CHECKING:
    from ..typing import Run
    from .rotation import RotatingFile
    from .select import Filter

DEFAULT_MAX_BYTES: Final = "100 MB"
"""Size at which a file is rotated; with the default of 5 backups a run takes 600 MB at most."""
DEFAULT_BACKUPS: Final = 5
MAX_BACKUPS: Final = 999_999_999
Ranks: TypeAlias = Literal["zero", "all"]
RANKS: Final = ("zero", "all")


@dataclass(frozen=True)
class FileSettings:
    """The settings of a file sink; data only, checked when it is made.

    Args:
        path: File, relative to the run directory. It may hold the fields ``{time}``,
            ``{utc_time}``, ``{rank}``, ``{local_rank}``, ``{host}``, ``{pid}`` and ``{run}``;
            without ``{rank}``, ranks above 0 write to ``..._rank1`` and so on.
        max_bytes: Size at which the file is rotated, a number or a text such as ``"100 MB"``;
            None never rotates, and the disk is the limit.
        backups: Rotated files to keep, named ``.1`` (the youngest), ``.2``, ...; with the current
            one, files take ``max_bytes * (backups + 1)`` at most. 0 removes the file instead.
        compress: Compress rotated files with gzip in a thread of its own; 100 MB of lines cost
            0.3 s of CPU time and become 11 MB.
        fsync: ``"never"``: a killed process loses nothing, a power cut may cost the last seconds.
            ``"batch"``: after every write, which then waits for the disk. The name of a level:
            after every write that holds a line of this level or above.
        level: Lowest level that goes into the file, None for all.
        filter: Function from an event to a bool that says whether the event goes into the file.
            It costs the parsing of every line.
    """

    path: str
    _: KW_ONLY
    max_bytes: int | str | None = DEFAULT_MAX_BYTES
    backups: int = DEFAULT_BACKUPS
    compress: bool = False
    fsync: str = "never"
    level: int | str | None = None
    filter: Filter | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: One of them breaks its rule.
        """
        from .template import check_template

        object.__setattr__(self, "path", check_template(self.path))
        if self.max_bytes is not None and parse_size(self.max_bytes, "max_bytes") < 1:
            raise SettingError(
                "max_bytes", "must be positive, or None for no limit", self.max_bytes
            )
        _check_backups(self.backups)
        check_flag(self.compress, "compress")
        _check_fsync(self.fsync)
        check_selection(self.level, self.filter)

    def file(self, run: Run) -> RotatingFile:
        """Return the file of a run; nothing is opened yet.

        Raises:
            SettingError: The path leads out of the run directory.
        """
        from .rotation import RotatingFile
        from .template import expand

        return RotatingFile(
            expand(self.path, run),
            max_bytes=None if self.max_bytes is None else parse_size(self.max_bytes, "max_bytes"),
            backups=self.backups,
            compress=self.compress,
            fsync=self.fsync,
        )


def check_flag(value: object, setting: str) -> None:
    """Raise SettingError unless this is True or False."""
    if not isinstance(value, bool):
        raise SettingError(setting, "must be True or False", value)


def check_selection(level: Any, filter: Any) -> None:
    """Raise SettingError unless these are a level and a filter, or None."""
    if level is not None:
        parse_level(level)
    if filter is not None and not callable(filter):
        raise SettingError("filter", "must be a function from an event to a bool", filter)


def check_format(value: object) -> None:
    """Raise SettingError unless the value can be used as a format."""
    import logging

    if value is not None and not isinstance(value, logging.Formatter) and not callable(value):
        raise SettingError(
            "format",
            "must be a function from an event to text, or a logging.Formatter",
            value,
            'Write e.g. format=logging.Formatter("%(asctime)s %(message)s")',
        )


def check_choice(value: object, choices: tuple[str, ...], setting: str) -> None:
    """Raise SettingError unless this is one of the choices."""
    if value not in choices:
        raise SettingError(
            setting, f"must be one of {', '.join(repr(choice) for choice in choices)}", value
        )


def check_ranks(value: object) -> None:
    """Raise SettingError unless this says which ranks are taken."""
    check_choice(value, RANKS, "ranks")


def _check_backups(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SettingError("backups", "must be a number that is not negative", value)
    if value > MAX_BACKUPS:
        raise SettingError("backups", f"must not exceed {MAX_BACKUPS}", value)


def _check_fsync(value: object) -> None:
    if value in ("never", "batch"):
        return
    try:
        if not isinstance(value, str):
            raise SettingError("fsync", "must be a text", value)
        parse_level(value, "fsync")
    except SettingError:
        raise SettingError(
            "fsync", 'must be "never", "batch" or the name of a level', value
        ) from None
