"""The packages the demo needs beyond asynclog's own, imported when they are needed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from ...exceptions import MissingExtraError


def need(module: str) -> Any:
    """Import a module of a package from the ``demo`` extra.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        raise MissingExtraError("asynclog demo", package, "demo") from error


def installed(package: str) -> bool:
    """Say whether an optional package is there, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
