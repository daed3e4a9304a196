"""Filters for code that logs mappings through :mod:`logging`: what they are, whose, and how shown.

They work on any handler or logger.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Mapping
from typing import Any, cast

from .._line.plain import type_of
from .._rank import local_rank_from_environment, rank_info
from ..exceptions import SettingError
from ..processors.format_dict import format_mapping
from ..sinks.settings import check_flag

_COPIES = sys.version_info >= (3, 12)
"""Whether a filter may hand on another record than the one it was given."""


class IsMappingFilter(logging.Filter):
    """Lets records pass whose message is a mapping."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record's message is a mapping."""
        return issubclass(type_of(cast("object", record.msg)), Mapping)


class IsRank0Filter(logging.Filter):
    """Lets the records of rank 0 pass.

    The rank is, in this order: ``rank_val``; the record's attribute ``rank`` (``extra={"rank":
    1}``); the item ``rank`` of a mapping as message; what the launcher has set in the environment
    (``RANK``, ``SLURM_PROCID``, ...); what ``torch.distributed`` says, if the program has imported
    and initialised it. 0 is a rank as good as any other, and where nobody tells it is 0.

    Args:
        rank_val: The rank, if it is known.
        local_rank: Go by ``local_rank`` instead, so that one process of each machine passes.

    Raises:
        SettingError: ``rank_val`` is no rank.
    """

    def __init__(self, rank_val: int | None = None, local_rank: bool = False) -> None:
        check_flag(local_rank, "local_rank")
        rank = None if rank_val is None else _rank_of(rank_val)
        if rank is None and rank_val is not None:
            raise SettingError("rank_val", "must be a number that is not negative", rank_val)
        super().__init__()
        self._rank = rank
        self._key = "local_rank" if local_rank else "rank"

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is of rank 0."""
        return self._find(record) == 0

    def _find(self, record: logging.LogRecord) -> int:
        if self._rank is not None:
            return self._rank
        rank = _rank_of(getattr(record, self._key, None))
        if rank is not None:
            return rank
        message: Any = record.msg
        if issubclass(type_of(message), Mapping):
            try:
                rank = _rank_of(message.get(self._key))
            except Exception:
                # somebody's own mapping
                rank = None
            if rank is not None:
                return rank
        if self._key == "rank":
            return rank_info().rank or 0
        return local_rank_from_environment() or 0


class FormatDictFilter(logging.Filter):
    """Has a mapping as message shown as :class:`~asynclog.processors.FormatDict` writes it.

    ``loss=0.123, lr=1.00e-04, epoch=3``: nested keys joined with ``/``, floats with three decimals,
    or with an exponent where they are small or large. All records pass. The message stays a mapping
    with the same items, for the handlers that want one; only its text is another. From Python 3.12
    on that is done on a copy of the record.
    """

    def filter(self, record: logging.LogRecord) -> Any:
        """Return a record that shows its mapping well; any other as it is."""
        message: Any = record.msg
        if not issubclass(type_of(message), Mapping) or type_of(message) is ReadableDict:
            return True
        try:
            readable = ReadableDict(message)
        except Exception:
            # somebody's own mapping, or one that another thread is changing
            return True
        if _COPIES:
            record = copy.copy(record)
            record.msg = readable
            return record
        record.msg = cast("Any", readable)
        return True


class ReadableDict(dict[Any, Any]):
    """A copy of a mapping whose text is made for people, at once."""

    def __init__(self, mapping: Mapping[Any, Any]) -> None:
        super().__init__(mapping)
        self._text = format_mapping(self)

    def __str__(self) -> str:
        return self._text


def _rank_of(value: Any) -> int | None:
    """Return a rank as a number; None if it is none."""
    kind = type_of(value)
    if value is None or kind is bool:
        return None
    if kind is int:
        return value if value >= 0 else None
    if kind is str:
        return int(value) if value.isascii() and value.isdigit() else None
    if module_is_numpy(kind) and hasattr(kind, "__index__"):
        try:
            return _rank_of(int(value))
        except Exception:
            return None
    return None


def module_is_numpy(kind: type[Any]) -> bool:
    """Tell whether a type is one of NumPy's: its numbers wait for no device."""
    return kind.__module__.partition(".")[0] == "numpy"
