"""Best values of metrics: which way is better, and the best seen so far; no files, no locks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, TypedDict, cast

Mode: TypeAlias = Literal["min", "max"]

MAX_NAMES: Final = 10_000
"""Metrics whose best value is kept; names beyond are no metrics but something that varies."""

# fmt: off
_LESS_IS_BETTER: Final = frozenset(
    (
        "bce", "bpb", "bpc", "bpd", "brier", "ce", "cer", "cost", "crossentropy",
        "deviance", "divergence", "ece", "eer", "entropy", "err", "error", "errors", "fdr",
        "fid", "fnr", "fpr", "hinge", "kl", "kld", "latency", "logloss", "loss", "losses",
        "lpips", "mae", "mape", "mse", "msle", "nll", "perplexity", "ppl", "regret", "rmse",
        "rmsle", "smape", "ter", "wer", "xent",
    )
)
_MORE_IS_BETTER: Final = frozenset(
    (
        "acc", "accuracies", "accuracy", "ap", "auc", "auprc", "auroc", "bertscore", "bleu",
        "chrf", "cider", "correct", "dice", "elbo", "f1", "f2", "fbeta", "fps", "hit",
        "hits", "iou", "jaccard", "kappa", "likelihood", "map", "mar", "mcc", "meteor",
        "miou", "mrr", "ndcg", "pearson", "precision", "psnr", "r2", "recall", "return",
        "returns", "reward", "rewards", "roc", "rouge", "rougel", "sensitivity", "spearman",
        "specificity", "speedup", "ssim", "success", "throughput", "tnr", "tpr", "win",
        "wins", "winrate",
    )
)
# fmt: on
# says little: a FID score is to be small
_SCORE: Final = frozenset(("score", "scores"))
_CHUNK: Final = re.compile(r"[^\W_]+")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*")


class BestValue(TypedDict):
    """The best value of one metric.

    Attributes:
        value: The value.
        step: Step it was logged with, None without one.
        mode: ``"min"`` when less is better, else ``"max"``.
    """

    value: float
    step: int | None
    mode: Mode


def guess_mode(name: str) -> Mode:
    """Guess from a metric's name whether less or more is better; less, if it says nothing.

    Names are read by whole words, so that ``power`` is no word error rate, and the last word that
    is known decides: a ``reward_loss`` is a loss.

    Args:
        name: E.g. ``"loss"``, ``"val/top5_acc"``, ``"wordErrorRate"``, ``"recall@10"``.
    """
    score: Mode = "min"
    for word in reversed(_words(name)):
        if word in _LESS_IS_BETTER:
            return "min"
        if word in _MORE_IS_BETTER:
            return "max"
        if word in _SCORE:
            score = "max"
    return score


def _words(name: str) -> list[str]:
    words: list[str] = []
    for chunk in _CHUNK.findall(name):
        parts = _PART.findall(chunk)
        # the whole after its parts: mAP is one word, valLoss are two
        for word in [*parts, chunk] if len(parts) > 1 else [chunk]:
            # top5 and acc1 are words with a number, f1 is a word
            words += [word.lower().rstrip("0123456789"), word.lower()]
    return words


def best_key(name: str, split: str | None) -> str:
    """Return what a metric is called in best.json: ``val/loss``."""
    return name if split is None else f"{split}/{name}"


class BestValues:
    """The best value of each metric, kept without a lock: any thread and signal handler may note.

    NaN and infinities are never best, and of equal values the first stays.
    """

    __slots__ = ("_seen", "_values")

    def __init__(self) -> None:
        self._values: dict[str, BestValue | None] = {}
        # value, and whether less is better, by split and name: what is no better costs no key
        self._seen: dict[str | None, dict[str, tuple[float, bool]]] = {}

    def note(
        self, key: str, value: object, step: int | None = None, mode: Mode | None = None
    ) -> bool:
        """Look at a value; return whether it is the best so far.

        Args:
            key: Of the metric, see :func:`best_key`.
            value: A value that is no finite number is not looked at.
            step: Step it was logged with.
            mode: Which way is better; None for the way so far, guessed from the name at first. A
                way that differs from the one so far begins anew with this value.
        """
        if not isinstance(value, (int, float)) or not abs(value) < math.inf:
            return False
        value = +value  # True is a number here as well
        values = self._values
        if key not in values:
            if len(values) >= MAX_NAMES:
                return False
            values.setdefault(key, None)
        while True:
            best = values[key]
            if best is not None:
                way = mode or best["mode"]
                if way == best["mode"]:
                    held = best["value"]
                    if value >= held if way == "min" else value <= held:
                        return False
                found = BestValue(value=value, step=step, mode=way)
            else:
                found = BestValue(value=value, step=step, mode=mode or guess_mode(key))
            # One line without a call: no other thread gets in between, as with the ring's head.
            # fmt: off
            if values[key] is best: values[key] = found; return True  # noqa: E701, E702
            # fmt: on

    def note_metrics(
        self,
        metrics: Mapping[str, object],
        step: int | None = None,
        split: str | None = None,
        mode: Mode | None = None,
    ) -> bool:
        """Look at the metrics of a step; return whether any of them is the best so far."""
        found, seen = False, self._seen.get(split) or {}
        value: Any
        for name, value in metrics.items():
            bound = seen.get(name)
            if bound is not None and mode is None:
                held, less_is_better = bound
                try:
                    if value >= held if less_is_better else value <= held:
                        continue
                except TypeError:
                    pass
            key = best_key(name, split)
            found = self.note(key, value, step, mode) or found
            best = self._values.get(key)
            if best is not None:
                seen = self._seen.setdefault(split, seen)
                seen[name] = best["value"], best["mode"] == "min"
        return found

    def note_record(self, record: Mapping[str, Any]) -> bool:
        """Look at a record of metrics, unless it says not to; return whether anything is best."""
        metrics: object = record.get("metrics")
        if record.get("best") is False or not isinstance(metrics, Mapping):
            return False
        step, split, mode = record.get("step"), record.get("split"), record.get("mode")
        return self.note_metrics(
            cast("Mapping[str, object]", metrics),
            step if isinstance(step, int) else None,
            split if isinstance(split, str) else None,
            mode if mode in ("min", "max") else None,
        )

    def get(self, key: str) -> BestValue | None:
        """Return the best value of a metric, None when there is none."""
        best = self._values.get(key)
        return None if best is None else best.copy()

    def clear(self) -> None:
        """Forget them all."""
        self._values.clear()
        self._seen.clear()

    def __len__(self) -> int:
        return len(self._values)

    def as_json(self) -> bytes:
        """Return all of them as strict JSON, to be read by people, too."""
        found = {key: best for key, best in sorted(self._values.items()) if best is not None}
        return (
            json.dumps(found, indent=2, allow_nan=False, ensure_ascii=False).encode(
                errors="backslashreplace"
            )
            + b"\n"
        )

    def read_json(self, content: bytes | str) -> None:
        """Take over what a best.json says, where nothing better is known.

        Entries that make no sense are left out, such as a NaN that another program called best.

        Raises:
            ValueError: It is no JSON object.
        """
        data: object = json.loads(content)
        if not isinstance(data, dict):
            raise ValueError("must be a JSON object")
        for key, entry in cast("dict[str, object]", data).items():
            if not isinstance(entry, Mapping):
                continue
            found = cast("Mapping[str, Any]", entry)
            step, mode = found.get("step"), found.get("mode")
            self.note(
                key,
                found.get("value"),
                step if isinstance(step, int) else None,
                mode if mode in ("min", "max") else None,
            )
