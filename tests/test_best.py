"""Best values: which way is better, and that neither threads nor odd values spoil them."""

from __future__ import annotations

import json
import math
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog._best import MAX_NAMES, BestValues, best_key, guess_mode

LESS = """
loss error err perplexity ppl mse mae rmse wer cer val/loss train/word_error_rate valLoss
wordErrorRate loss1 l1_loss reward_loss accuracy_error fid_score nll bpd PPL power lossless
something grad_norm learning_rate errors
"""
MORE = """
acc accuracy f1 F1 f1_score F1Score auc AUC bleu bleu4 BLEU-4 rouge rougeL rouge1 reward
precision recall recall@10 map mAP mAP50-95 iou mIoU psnr ssim val/top5_acc acc1 loss/acc
validationAccuracy r2 score success_rate win_rate
"""


@pytest.mark.parametrize("name", LESS.split())
def test_less_is_better(name: str) -> None:
    """Losses and errors are better when they are less, and so are names that say nothing."""
    assert guess_mode(name) == "min"


@pytest.mark.parametrize("name", MORE.split())
def test_more_is_better(name: str) -> None:
    """Accuracies, rewards and the like are better when they are more."""
    assert guess_mode(name) == "max"


def test_words_are_whole() -> None:
    """A word within another one is not seen: maps, reclassify, fault, auction."""
    for name in ("remap", "laccase", "aucx", "factual", "scored"):
        assert guess_mode(name) == "min"
    assert guess_mode("powerful_reward") == "max"


def test_keys() -> None:
    """A metric is called split/name, without a split by its name."""
    assert best_key("loss", "val") == "val/loss"
    assert best_key("loss", None) == "loss"


def test_best_is_kept() -> None:
    """The least or the most stays, with the step it came with; of equal ones the first."""
    best = BestValues()
    for step, value in enumerate([3.0, 1.0, 2.0, 1.0]):
        best.note("val/loss", value, step)
        best.note("val/acc", value, step)
    assert best.get("val/loss") == {"value": 1.0, "step": 1, "mode": "min"}
    assert best.get("val/acc") == {"value": 3.0, "step": 0, "mode": "max"}
    assert best.get("val/other") is None


def test_step_zero_and_no_step() -> None:
    """Step 0 is a step, and none is none."""
    best = BestValues()
    best.note("a", 1.0, 0)
    best.note("b", 1.0)
    assert best.get("a") == {"value": 1.0, "step": 0, "mode": "min"}
    assert best.get("b") == {"value": 1.0, "step": None, "mode": "min"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "NaN", "Infinity", None, [1.0]])
def test_what_is_no_finite_number_is_never_best(value: object) -> None:
    """NaN, infinities and what is no number change nothing, first or later."""
    best = BestValues()
    assert not best.note("loss", value, 0)
    assert best.get("loss") is None
    assert best.note("loss", 2, 1)
    assert not best.note("loss", value, 2)
    assert best.get("loss") == {"value": 2, "step": 1, "mode": "min"}


def test_mode_may_be_said() -> None:
    """A mode that is given goes before the guess; one that differs later begins anew."""
    best = BestValues()
    best.note("weird", 1.0, 0, "max")
    best.note("weird", 5.0, 1)
    assert best.get("weird") == {"value": 5.0, "step": 1, "mode": "max"}
    best.note("weird", 7.0, 2, "min")
    assert best.get("weird") == {"value": 7.0, "step": 2, "mode": "min"}


def test_what_is_returned_is_a_copy() -> None:
    """Changing what get() gave changes nothing."""
    best = BestValues()
    best.note("loss", 1.0, 0)
    got = best.get("loss")
    assert got is not None
    got["value"] = 0.0
    assert best.get("loss") == {"value": 1.0, "step": 0, "mode": "min"}


def test_names_are_bounded() -> None:
    """Names without end, made of a step for instance, do not fill the memory."""
    best = BestValues()
    for number in range(MAX_NAMES + 10):
        best.note(f"loss_{number}x", 1.0)
    assert len(best) == MAX_NAMES


@given(
    st.lists(st.floats() | st.integers(-(2**63), 2**63), max_size=30),
    st.sampled_from(["min", "max"]),
)
def test_agrees_with_min_and_max(values: list[float], mode: str) -> None:
    """Of any values it keeps what min() or max() finds among the finite ones."""
    best = BestValues()
    for step, value in enumerate(values):
        best.note("m", value, step, "min" if mode == "min" else "max")
    finite = [value for value in values if abs(value) < math.inf]
    found = best.get("m")
    if not finite:
        assert found is None
        return
    assert found is not None
    wanted = min(finite) if mode == "min" else max(finite)
    assert found["value"] == wanted
    assert found["step"] is not None
    assert values[found["step"]] == wanted


@given(st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False)))
def test_json_and_back(values: dict[str, float]) -> None:
    """What is written is strict JSON, whatever the names are, and is read again as it was."""
    best, again = BestValues(), BestValues()
    for step, (key, value) in enumerate(values.items()):
        best.note(key, value, step)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    content = best.as_json()
    assert json.loads(content, parse_constant=refuse).keys() == values.keys()
    again.read_json(content)
    assert again.as_json() == content


def test_reads_what_others_wrote() -> None:
    """An older best.json is taken over; its NaN, which is no JSON, and nonsense are left out."""
    best = BestValues()
    best.read_json(
        b'{"val/loss": {"value": 0.5, "step": 3, "mode": "min"}, "val/x": {"value": NaN, "step": 1,'
        b' "mode": "min"}, "y": 3, "z": {"step": 1}, "val_acc": {"value": 1, "mode": "best"}}'
    )
    assert best.get("val/loss") == {"value": 0.5, "step": 3, "mode": "min"}
    assert best.get("val_acc") == {"value": 1, "step": None, "mode": "max"}
    assert [best.get(key) for key in ("val/x", "y", "z")] == [None, None, None]
    assert not best.note("val/loss", 0.6, 4)
    for broken in (b"", b"[]", b'{"a": ', b"\xff"):
        with pytest.raises(ValueError, match=r"JSON|Expecting|decode"):
            best.read_json(broken)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Let threads take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("quick_switches")
def test_threads() -> None:
    """Of what threads note at once, nothing better is lost."""
    for _ in range(20):
        best = BestValues()
        begin = threading.Barrier(4)

        def work(thread: int, best: BestValues = best, begin: threading.Barrier = begin) -> None:
            begin.wait()
            for number in range(500):
                best.note("loss", 2000 - (4 * number + thread), number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = best.get("loss")
        assert found is not None
        assert found["value"] == 2000 - (4 * 499 + 3)
