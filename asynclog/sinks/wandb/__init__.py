"""Wandb: what is logged as metrics, in a run of Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, cast

from ...exceptions import SettingError
from ..backend import data, text_or_none
from ..settings import Ranks, check_choice, check_ranks

if TYPE_CHECKING:
    from .sink import WandbSink

Mode: TypeAlias = Literal["online", "offline", "disabled"]
MODES: Final = ("online", "offline", "disabled")
Resume: TypeAlias = Literal["allow", "must", "never"]
RESUMES: Final = ("allow", "must", "never")


@dataclass(frozen=True)
class Wandb:
    """Send what is logged as metrics to Weights & Biases.

    Metrics are ``split/name``, drawn over ``split/step``; parameters become the run's config, texts
    tables. W&B's own files lie in the run directory under ``wandb``. The next start of the same run
    directory goes on with the same W&B run; one whose process died is marked as failed. The API
    key comes from ``WANDB_API_KEY`` or ``wandb login``. Needs ``asynclog[wandb]``.

    Args:
        project: Project of the run; else ``WANDB_PROJECT`` or W&B's default.
        entity: User or team; else ``WANDB_ENTITY`` or your default one.
        run_name: Name of the run; that of the run directory by default.
        group: Group of runs that this one belongs to.
        tags: Tags of the run.
        config: Parameters known before the run; those that are logged join them.
        mode: ``"online"``; ``"offline"`` writes for a later ``wandb sync``; ``"disabled"`` does
            nothing, and needs no W&B. By default what ``WANDB_MODE`` says, else ``"online"``.
        resume: ``"allow"`` goes on with the run of this directory or ``id`` if there is one;
            ``"must"`` fails without; ``"never"`` makes a new run at each start.
        id: W&B's identifier of the run; else ``WANDB_RUN_ID``, that of the start before, or a new
            one.
        ranks: ``"zero"``: rank 0 and processes without a rank. ``"all"``: all, with names such as
            ``rank1/train/loss`` for ranks above 0.
    """

    project: str | None = None
    entity: str | None = None
    run_name: str | None = None
    group: str | None = None
    tags: Sequence[str] = ()
    config: Mapping[str, Any] | None = None
    mode: Mode | None = None
    resume: Resume = "allow"
    id: str | None = None
    ranks: Ranks = "zero"
    name: ClassVar[str] = "wandb"
    heavy: ClassVar[bool] = True
    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: One of them breaks its rule.
        """
        for setting in ("project", "entity", "run_name", "group", "id"):
            text_or_none(getattr(self, setting), setting)
        object.__setattr__(self, "tags", _checked_tags(self.tags))
        if self.config is not None:
            object.__setattr__(self, "config", data(self.config, "config"))
        if self.mode is not None:
            check_choice(self.mode, MODES, "mode")
        check_choice(self.resume, RESUMES, "resume")
        check_ranks(self.ranks)

    def make(self) -> WandbSink:
        """Make the sink."""
        from .sink import WandbSink

        return WandbSink(self)


def _checked_tags(value: object) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        items = tuple(cast("Sequence[object]", value))
        tags = tuple(tag for tag in items if isinstance(tag, str) and tag)
        if len(tags) == len(items):
            return tags
    raise SettingError("tags", "must be a list of texts", cast("object", value))
