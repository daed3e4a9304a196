"""What a W&B sweep agent hands the program that it runs; W&B itself is not needed to read it.

The agent (``wandb agent``) sets ``WANDB_SWEEP_ID``, writes the parameters to a YAML file that
``WANDB_SWEEP_PARAM_PATH`` names, and puts them on the command line as the sweep's ``command`` wants
it: https://docs.wandb.ai/guides/sweeps/define-sweep-configuration
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from ._json import loads

_ASSIGNMENT: Final = re.compile(r"(?:--|\+\+?)?([^\W\d][\w.\-]*)=(.*)", re.DOTALL)
_FLAG: Final = re.compile(r"--([^\W\d][\w.\-]*)")
_WORDS: Final[Mapping[str, Any]] = {"true": True, "false": False, "none": None, "null": None}


def sweep_params(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the parameters that a W&B sweep agent wants this program to run with.

    They come from the agent's own file, with their types; where there is none, from the command
    line, in any of the forms that an agent writes: ``--lr=0.1``, ``--lr 0.1``, ``lr=0.1``,
    ``+lr=0.1``, ``--flag``, or one JSON object. Numbers, ``True``, ``None`` and JSON are read as
    such there.

    Args:
        arguments: A command line to read instead, without the name of the program.

    Returns:
        Parameters by name; empty when no agent runs this program.
    """
    if arguments is not None:
        return _from_arguments(arguments)
    if not os.environ.get("WANDB_SWEEP_ID"):
        return {}
    params = _from_file(os.environ.get("WANDB_SWEEP_PARAM_PATH"))
    return _from_arguments(sys.argv[1:]) if params is None else params


def _from_file(path: str | None) -> dict[str, Any] | None:
    if not path:
        return None
    try:
        # W&B needs it, so it is there where an agent is.
        import yaml
    except ImportError:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            content: object = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(content, Mapping):
        return None
    items = cast("Mapping[Any, Any]", content).items()
    return {
        str(name): cast("Mapping[str, Any]", entry)["value"]
        for name, entry in items
        if isinstance(entry, Mapping) and "value" in entry
    }


def _from_arguments(arguments: Iterable[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    flag = ""
    for argument in arguments:
        if flag and not argument.startswith("--"):
            params[flag] = _value(argument)
            flag = ""
        elif (match := _ASSIGNMENT.fullmatch(argument)) is not None:
            params[match[1]] = _value(match[2])
            flag = ""
        elif (match := _FLAG.fullmatch(argument)) is not None:
            flag = str(match[1])
            params[flag] = True
        elif argument.startswith("{") and isinstance(whole := _value(argument), dict):
            params.update(cast("dict[str, Any]", whole))
    return params


def _value(text: str) -> Any:
    if (word := text.lower()) in _WORDS:
        return _WORDS[word]
    # 1_000 is a number for Python alone
    for read in (loads,) if "_" in text else (int, float, loads):
        try:
            return read(text)
        except ValueError:
            continue
    return text
