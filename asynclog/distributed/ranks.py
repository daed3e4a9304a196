"""Which ranks the console shows: ``0``, ``all``, ``0,3-5``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..exceptions import SettingError


class Ranks(NamedTuple):
    """A choice of ranks.

    Attributes:
        spans: First and last of each span; None for all ranks.
    """

    spans: tuple[tuple[int, int], ...] | None

    @classmethod
    def read(cls, text: str) -> Ranks:
        """Read a choice.

        Raises:
            SettingError: It is none.
        """
        if text.strip() == "all":
            return cls(None)
        spans: list[tuple[int, int]] = []
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            end = last if dash else first
            if not (_is_number(first) and _is_number(end) and int(first) <= int(end)):
                rule = 'must be "all", or numbers and spans of them such as 0,3-5'
                raise SettingError("ranks", rule, text)
            spans.append((int(first), int(end)))
        return cls(tuple(spans))

    def __contains__(self, rank: object) -> bool:
        """Say whether a rank was chosen; what has no rank always is."""
        if self.spans is None or not isinstance(rank, int):
            return True
        return any(first <= rank <= last for first, last in self.spans)

    @property
    def single(self) -> bool:
        """Whether it is one rank at most."""
        return (
            self.spans is not None
            and len({*self.spans}) == 1
            and (self.spans[0][0] == self.spans[0][1])
        )


def spelled(ranks: Iterable[int]) -> str:
    """Return ranks as people write them: ``rank 3``, ``ranks 0-3,5``."""
    numbers = sorted(ranks)
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
    return f"rank{'' if len(numbers) == 1 else 's'} {text}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
