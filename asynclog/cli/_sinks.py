"""The option `--sink`: sinks by kind or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._errors import Refused

if TYPE_CHECKING:
    from ..typing import SinkDeclaration

HELP = (
    "What else gets the records: wandb, tensorboard, nats, ..., or JSON with a kind and settings."
)


def declared(texts: Sequence[str]) -> list[SinkDeclaration]:
    """Return the sinks that the options name.

    Raises:
        Refused: One of them is no JSON.
        SettingError: There is no such kind, or a setting breaks its rule.
    """
    from ..sinks import from_data

    return [from_data(_data(text)) for text in texts]


def _data(text: str) -> object:
    if not text.startswith("{"):
        return {"kind": text}
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refused(f"--sink must be a kind, or JSON ({error}), got: {text}") from None
