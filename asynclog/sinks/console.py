"""Console: readable lines for people who watch, at a rate they can be shown at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias

from ..exceptions import SettingError
from .settings import Ranks, check_choice, check_flag, check_format, check_ranks, check_selection

if TYPE_CHECKING:
    from .console_sink import ConsoleSink
    from .format import Format
    from .select import Filter

DEFAULT_MAX_RATE: Final = 1000
"""Lines a second: more than anybody reads, and a terminal takes them without slowing others."""
StreamName: TypeAlias = Literal["stderr", "stdout"]
STREAMS: Final = ("stderr", "stdout")
Tracebacks: TypeAlias = Literal["short", "full", "pretty"]
TRACEBACKS: Final = ("short", "full", "pretty")


@dataclass(frozen=True)
class Console:
    """Write events as readable, coloured lines to a standard stream.

    Levels have colours where the stream is a terminal; ``NO_COLOR``, ``FORCE_COLOR``,
    ``TTY_COMPATIBLE`` and ``TERM=dumb`` are honoured. Control characters are spelled out.
    Progress bars by tqdm and rich in the same process stay whole. Lines marked ``quiet`` are left
    out. A line costs 4 us.

    Args:
        stream: ``"stderr"`` or ``"stdout"``, looked up in ``sys`` at each write.
        level: Lowest level to show, None for all.
        filter: Function from an event to a bool that says whether the event is shown.
        format: Function from an event to its text, or a ``logging.Formatter``, instead of the
            usual line. It makes its own colours.
        json: Show the lines as they are, as JSON.
        colors: True or False settles what is otherwise asked of stream and environment.
        tracebacks: ``"short"`` shows the innermost frames of an exception, ``"full"`` all of
            them, ``"pretty"`` also code around each, if rich is installed (30 ms each).
        max_rate: Lines a second. More are left out, and how many is said; None for no limit.
        origin: Show also where a record of :mod:`logging` was made (``file``, ``line``,
            ``function``, ``thread``, ``pid``, ``process``, ``task``), and on which host and by
            which process one of a distributed job; ``json`` and ``format`` have it anyway.
        ranks: ``"zero"``: show rank 0 and processes without a rank. ``"all"``: all, with
            ``[rank 3]`` before the text.
    """

    stream: StreamName = "stderr"
    level: int | str | None = None
    filter: Filter | None = None
    format: Format | None = None
    json: bool = False
    colors: bool | None = None
    tracebacks: Tracebacks = "short"
    max_rate: int | None = DEFAULT_MAX_RATE
    origin: bool = False
    ranks: Ranks = "zero"
    name: ClassVar[str] = "console"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: One of them breaks its rule.
        """
        check_choice(self.stream, STREAMS, "stream")
        check_selection(self.level, self.filter)
        check_format(self.format)
        check_flag(self.json, "json")
        if self.json and self.format is not None:
            raise SettingError("format", "must not be given together with json=True", self.format)
        if self.colors is not None:
            check_flag(self.colors, "colors")
        check_choice(self.tracebacks, TRACEBACKS, "tracebacks")
        _check_rate(self.max_rate)
        check_flag(self.origin, "origin")
        check_ranks(self.ranks)

    def make(self) -> ConsoleSink:
        """Make the sink."""
        from .console_sink import ConsoleSink

        return ConsoleSink(self)


def _check_rate(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingError("max_rate", "must be a positive number of lines, or None", value)
