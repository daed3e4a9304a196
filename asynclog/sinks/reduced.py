"""Reduced: metrics of all ranks made into one, for the sinks that it wraps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Final, Literal, NoReturn, TypeAlias, cast

from .._settings import parse_duration
from ..exceptions import SettingError
from ..typing import SinkDeclaration
from .registry import from_data

DEFAULT_TIMEOUT: Final = "60 s"
"""Long enough for an evaluation on one rank; in training ranks are milliseconds apart."""
FILE: Final = "reduced.jsonl"
"""File in the run directory that holds the reduced values; the sinks read it."""
Statistic: TypeAlias = Literal["min", "max", "sum", "std", "count"]
STATISTICS: Final[tuple[Statistic, ...]] = ("min", "max", "sum", "std", "count")


@dataclass(frozen=True)
class Reduced:
    """Give sinks the metrics of all ranks as one value for each step, split and name.

    ``loss`` is the mean, ``loss/min`` and so on are beside it; a value that only one rank reports
    stays as it is. A step goes out once all ranks have reported it, or after a time-out with those
    that have; who was waited for, who came late and who is back are records of their own. It takes
    no collective operation and nothing else in the training processes: the collector reads what
    they have logged. Each value is there once, whatever is killed when. Needs a :class:`JsonlFile`
    that takes every line.

    Args:
        sinks: Sinks of metrics, such as :class:`Wandb`, :class:`TensorBoard`,
            :class:`MetricsCsv`; a list, or one alone. A kind such as ``"wandb"`` is one with its
            default settings.
        timeout: How long to wait for ranks that have not reported, seconds or a text.
        statistics: What to have beside the mean.
        world_size: Number of ranks; by default what the records say.
    """

    sinks: Sequence[SinkDeclaration]
    _: KW_ONLY
    timeout: float | str = DEFAULT_TIMEOUT
    statistics: Sequence[Statistic] = STATISTICS
    world_size: int | None = None
    name: ClassVar[str] = "reduced"
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: One of them breaks its rule.
        """
        object.__setattr__(self, "sinks", _sinks(self.sinks))
        if not parse_duration(self.timeout, "timeout"):
            raise SettingError("timeout", "must be positive", self.timeout)
        object.__setattr__(self, "statistics", _statistics(self.statistics))
        size: object = self.world_size
        if size is not None and (type(size) is not int or size < 1):
            raise SettingError("world_size", "must be a positive number, or None", size)

    @property
    def heavy(self) -> bool:
        """Whether one of the sinks is."""
        return any(getattr(sink, "heavy", False) for sink in self.sinks)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of records that it needs, for itself and its sinks."""
        made: list[Any] = [sink.make() for sink in self.sinks]
        return frozenset(("metrics", "note")).union(*(sink.kinds for sink in made))

    def make(self) -> NoReturn:
        """Raise: the collector makes it of its parts.

        Raises:
            SettingError: Always.
        """
        rule = "needs a JsonlFile that takes every line beside it"
        raise SettingError("Reduced", rule, self, "Write sinks=[JsonlFile(), Reduced(...)]")


def _sinks(value: object) -> tuple[SinkDeclaration, ...]:
    given = tuple(cast("Sequence[object]", value)) if isinstance(value, (list, tuple)) else (value,)
    # as on the command line
    items = [from_data({"kind": item}) if isinstance(item, str) else item for item in given]
    items = [from_data(cast("object", i)) if isinstance(i, Mapping) else i for i in items]
    for item in items:
        follows = isinstance(item, SinkDeclaration) and getattr(item, "follows", False)
        if isinstance(item, (type, Reduced)) or not follows or not _kinds(item):
            rule = "must be sinks of metrics, such as Wandb(), TensorBoard() or MetricsCsv()"
            raise SettingError("sinks", rule, item)
    if not items:
        raise SettingError("sinks", "must not be empty", cast("object", value))
    return cast("tuple[SinkDeclaration, ...]", tuple(items))


def _kinds(declaration: Any) -> object:
    return getattr(declaration.make(), "kinds", None)


def _statistics(value: object) -> tuple[str, ...]:
    items = tuple(cast("Sequence[object]", value)) if isinstance(value, (list, tuple)) else (value,)
    for item in items:
        if item not in STATISTICS:
            raise SettingError("statistics", f"must be some of {', '.join(STATISTICS)}", item)
    return cast("tuple[str, ...]", items)
