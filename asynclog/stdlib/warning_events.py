"""Python's warnings as events: category, message and place as fields of their own."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Final, TextIO

from .._line.plain import type_of
from .._line.problem import describe
from ..exceptions import SettingError
from .record import WarningRecord

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGER_NAME: Final = "py.warnings"
"""As with :func:`logging.captureWarnings`."""

_original: Callable[..., object] | None = None


def capture_warnings(capture: bool = True) -> None:
    """Log what :mod:`warnings` would print on stderr, or print it again.

    Does what :func:`logging.captureWarnings` does, but for the event: that is the warning's
    message, its fields are ``category``, ``file`` and ``line``. It is logged by logger
    ``py.warnings`` at level warning. Other handlers show it as one line, with file, line and
    category. Warnings that are filtered out or turned into errors never get here.

    Args:
        capture: False puts back what was there before.

    Raises:
        SettingError: That is neither True nor False.
    """
    global _original
    if type_of(capture) is not bool:
        raise SettingError("capture", "must be True or False", capture)
    active = warnings.showwarning is _log_warning
    if capture and not active:
        _original = warnings.showwarning
        warnings.showwarning = _log_warning
    elif active and not capture and _original is not None:
        warnings.showwarning = _original  # pyright: ignore[reportAttributeAccessIssue]
        _original = None


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a warning, unless it is meant for a file; in the place of ``warnings.showwarning``."""
    if file is not None:
        if _original is not None:
            _original(message, category, filename, lineno, file, line)
        return
    logger = logging.getLogger(LOGGER_NAME)
    if not logger.isEnabledFor(logging.WARNING):
        return
    try:
        text = str(message)
    except Exception as error:
        text = f"<{category.__name__} whose text cannot be had: {describe(error)}>"
    record = WarningRecord(LOGGER_NAME, logging.WARNING, filename, lineno, text, None, None)
    record.category = category.__name__
    logger.handle(record)
