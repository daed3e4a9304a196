"""TensorBoard: scalars, texts, histograms, images and hyperparameters in event files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ..settings import Ranks, check_ranks
from ..template import check_template

if TYPE_CHECKING:
    from .sink import TensorBoardSink

DEFAULT_PATH: Final = "tb"


@dataclass(frozen=True)
class TensorBoard:
    """Write what is logged as metrics for TensorBoard, which shows it while the run goes on.

    Tags are ``split/name``, times those of the calls. A metric without a step gets the number of
    its call. All is in one directory; each start of the run adds an event file. Beside a
    :class:`JsonlFile` that takes every line, each value is there exactly once, whatever is killed
    when. Needs ``asynclog[tensorboard]`` (tensorboardX, not TensorBoard itself).

    Args:
        path: Directory of the event files in the run directory. It may hold the fields that a
            :class:`JsonlFile` path may hold.
        ranks: ``"zero"``: rank 0 and processes without a rank. ``"all"``: all, with tags such as
            ``rank1/train/loss`` for ranks above 0.
    """

    path: str = DEFAULT_PATH
    ranks: Ranks = "zero"
    name: ClassVar[str] = "tensorboard"
    heavy: ClassVar[bool] = True
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: One of them breaks its rule.
        """
        object.__setattr__(self, "path", check_template(self.path))
        check_ranks(self.ranks)

    def make(self) -> TensorBoardSink:
        """Make the sink."""
        from .sink import TensorBoardSink

        return TensorBoardSink(self)
