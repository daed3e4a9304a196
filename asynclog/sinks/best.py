"""Best: the best value of each metric, in a small file that is always whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from .template import check_template, expand

if TYPE_CHECKING:
    from .._best import BestValues
    from ..typing import Run
    from .best_sink import BestSink

DEFAULT_PATH: Final = "best.json"


@dataclass(frozen=True)
class Best:
    """Keep the best value of each metric in a file: ``{"val/loss": {value, step, mode}}``.

    Whether less or more is better is guessed from the name's words (``loss``: less, ``acc``:
    more, none known: less) unless the call says it. A file that is there already is read first,
    so a resumed run goes on with it. NaN and infinities are never best; of equal values the first
    stays. Beside a :class:`JsonlFile` that takes every line nothing is lost, whatever is killed.

    Args:
        path: File, relative to the run directory, as for :class:`JsonlFile`; ranks above 0 get
            ``best_rank1.json`` and so on.
    """

    path: str = DEFAULT_PATH
    name: ClassVar[str] = "best"
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: The path breaks its rule.
        """
        object.__setattr__(self, "path", check_template(self.path))

    def make(self) -> BestSink:
        """Make the sink."""
        from .best_sink import BestSink

        return BestSink(self.path)

    def resume(self, best: BestValues, run: Run) -> None:
        """Take over what the file of a run says, if there is one that can be read."""
        try:
            best.read_json(expand(self.path, run).read_bytes())
        except (OSError, ValueError):
            # the sink says so
            pass
