"""Lines of several ranks shown once, and the choice of ranks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.distributed.collapse import Collapse
from asynclog.distributed.ranks import Ranks, spelled
from asynclog.exceptions import SettingError


def _shown(*lines: tuple[int, str]) -> list[str]:
    collapse = Collapse()
    for rank, text in lines:
        collapse.add(rank, 1, text, 0.0)
    return [line.text for line in collapse.due(math.inf)]


def test_the_same_line_is_shown_once():
    """The same line of many ranks is one line that names them."""
    assert _shown(*((rank, "loaded") for rank in (3, 0, 1, 2, 5))) == ["[ranks 0-3,5] loaded"]
    assert _shown((4, "loaded")) == ["[rank 4] loaded"]


def test_numbers_are_never_swallowed():
    """Lines that differ in nothing but a number are all shown."""
    assert _shown((0, "loss 0.51"), (1, "loss 0.52")) == [
        "[rank 0] loss 0.51",
        "[rank 1] loss 0.52",
    ]


def test_repetitions_of_one_rank_are_shown():
    """What one rank says twice is shown twice."""
    shown = _shown((0, "retry"), (0, "retry"), (1, "retry"), (1, "retry"))
    assert shown == ["[ranks 0-1] retry"] * 2 or shown == [
        "[rank 0] retry",
        "[ranks 0-1] retry",
        "[rank 1] retry",
    ]


def test_lines_wait_no_longer_than_the_window():
    """A line that nobody repeats comes out after the window, and not before."""
    collapse = Collapse(window=1.0)
    collapse.add(0, 1, "hello", 10.0)
    assert collapse.due(10.9) == []
    assert [line.text for line in collapse.due(11.0)] == ["[rank 0] hello"]
    assert not collapse.waiting


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", "c"])), max_size=40))
def test_each_rank_keeps_its_lines_and_their_order(lines: list[tuple[int, str]]):
    """Whatever is collapsed: the lines of each rank can be read from the screen, in order."""
    collapse = Collapse()
    for rank, text in lines:
        collapse.add(rank, 1, text, 0.0)
    shown = [line.text for line in collapse.due(math.inf)]
    for rank in range(4):
        mine = [
            text.rpartition("] ")[2]
            for text in shown
            if rank in _named(text.removeprefix("[rank").removeprefix("s").partition("]")[0])
        ]
        assert mine == [text for number, text in lines if number == rank]


def _named(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found |= {*range(int(first), int(last or first) + 1)}
    return found


@pytest.mark.parametrize("text", ["", "1-", "-1", "3-1", "a", "0,,1", "all,0", "0.5"])
def test_no_choice_of_ranks(text: str):
    """What is no choice of ranks is refused."""
    with pytest.raises(SettingError, match="ranks must be"):
        Ranks.read(text)


def test_choice_of_ranks():
    """Numbers, spans and all; what has no rank is always shown."""
    chosen = Ranks.read("0,3-5")
    assert [rank for rank in range(8) if rank in chosen] == [0, 3, 4, 5]
    assert None in chosen
    assert 1000 in Ranks.read("all")
    assert Ranks.read("2").single
    assert not Ranks.read("2-3").single


def test_spelling():
    """Ranks are written in spans."""
    assert spelled([0]) == "rank 0"
    assert spelled([7, 1, 2, 3]) == "ranks 1-3,7"
