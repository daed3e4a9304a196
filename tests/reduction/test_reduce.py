"""What becomes of the values of all ranks: pure bookkeeping, checked against NumPy's arithmetic."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog.collector.reduce import MAX_OPEN, Reduction
from asynclog.sinks.reduced import STATISTICS

TIMEOUT = 60.0


def _event(rank: int | None, step: int | None, metrics: dict[str, Any], **fields: Any) -> Any:
    seconds = (step or 0) % 60
    event: dict[str, Any] = {
        "timestamp": f"2026-01-31T12:00:{seconds:02}.{rank or 0:06}Z",
        "kind": "metrics",
        "metrics": metrics,
        **fields,
    }
    if rank is not None:
        event["rank"] = rank
    if step is not None:
        event["step"] = step
    return event


class _Run:
    """A reduction, its clock, and all that came out of it."""

    def __init__(self, world: int | None = None, **options: Any) -> None:
        self.reduction = Reduction(TIMEOUT, STATISTICS, **options)
        self.world = world
        self.now = 1000.0
        self.out: list[dict[str, Any]] = []

    def add(self, rank: int | None, step: int | None, metrics: Any, **fields: Any) -> None:
        if self.world is not None:
            fields.setdefault("world_size", self.world)
        self.now += 0.001
        self.out += self.reduction.add(_event(rank, step, metrics, **fields), self.now)

    def wait(self, seconds: float = TIMEOUT) -> None:
        self.now += seconds
        self.out += self.reduction.expire(self.now)

    def finish(self) -> None:
        self.out += self.reduction.finish()

    def restart(self) -> None:
        state = json.loads(json.dumps(self.reduction.state()))
        self.reduction = Reduction(TIMEOUT, STATISTICS)
        self.reduction.restore(state, self.now)

    def metrics(self) -> list[dict[str, Any]]:
        return [record for record in self.out if record["kind"] == "metrics"]

    def notes(self) -> list[tuple[str, Any]]:
        return [
            (record["event"].removeprefix("asynclog."), record.get("ranks", record.get("rank")))
            for record in self.out
            if record["kind"] == "note"
        ]

    def steps(self, name: str) -> list[tuple[int, int]]:
        """Return step and number of ranks of each record that has a name."""
        return [(each["step"], each["ranks"]) for each in self.metrics() if name in each["metrics"]]


def test_statistics() -> None:
    """Mean, least, most, sum, deviation and count of the ranks, and who came last."""
    run = _Run(4)
    for rank, value in enumerate((4.0, 1.0, 2.0, 5.0)):
        run.add(rank, 7, {"loss": value}, split="train")
    [record] = run.out
    assert record["metrics"] == {
        "loss": 3.0,
        "loss/min": 1.0,
        "loss/max": 5.0,
        "loss/sum": 12.0,
        "loss/std": pytest.approx(math.sqrt(2.5)),
        "loss/count": 4,
    }
    assert (record["step"], record["split"], record["ranks"]) == (7, "train", 4)
    assert (record["slowest_rank"], record["lag"]) == (3, 0.000003)
    assert record["timestamp"].endswith(".000003Z")
    assert record["quiet"] is True


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_of_ranks(data: st.DataObject) -> None:
    """However the ranks interleave, and whenever it is restarted, each step comes out once."""
    world = data.draw(st.integers(1, 6), "world")
    count = data.draw(st.integers(1, 5), "steps")
    numbers = st.floats(-1e6, 1e6)
    values = {
        (rank, step, name): data.draw(numbers)
        for rank in range(world)
        for step in range(count)
        for name in "ab"
    }
    order = data.draw(st.permutations([rank for rank in range(world) for _ in range(count)]))
    run, at = _Run(world), dict.fromkeys(range(world), 0)
    for rank in order:
        step = at[rank]
        at[rank] += 1
        run.add(rank, step, {name: values[rank, step, name] for name in "ab"}, split="train")
        if data.draw(st.booleans()):
            run.restart()
    for name in "ab":
        assert run.steps(name) == [(step, world) for step in range(count)]
    for record in run.metrics():
        for name in "ab":
            found = [values[rank, record["step"], name] for rank in range(world)]
            metrics = record["metrics"]
            assert metrics[name] == pytest.approx(statistics.fmean(found), abs=1e-6)
            if world > 1:
                assert metrics[f"{name}/sum"] == pytest.approx(math.fsum(found), abs=1e-6)
                assert (metrics[f"{name}/min"], metrics[f"{name}/max"]) == (min(found), max(found))
                deviation = statistics.pstdev(found)
                assert metrics[f"{name}/std"] == pytest.approx(deviation, rel=1e-6, abs=1e-6)
    assert run.reduction.due(run.now) is None


def test_one_rank_stays_as_it_is() -> None:
    """A process without a rank, and a metric of one rank only, keep their values and names."""
    run = _Run()
    run.add(None, 1, {"loss": 0.5})
    assert run.out[0]["metrics"] == {"loss": 0.5}
    assert "slowest_rank" not in run.out[0]


def test_metric_of_one_rank_is_waited_for_once() -> None:
    """What only rank 0 reports goes out after the first time-out, and at once from then on."""
    run = _Run(3)
    for step in range(4):
        run.add(0, step, {"lr": 0.1})
        for rank in range(3):
            run.add(rank, step, {"loss": 1.0})
    assert run.steps("loss") == [(step, 3) for step in range(4)]
    assert run.steps("lr") == []
    run.wait()
    assert run.steps("lr") == [(step, 1) for step in range(4)]
    run.add(0, 4, {"lr": 0.1})
    assert run.steps("lr")[-1] == (4, 1)
    assert run.notes() == [], "nothing is wrong with it"


def test_missing_rank() -> None:
    """A rank that hangs is named once, and nobody waits for it again until it has caught up."""
    run = _Run(3)
    for rank in range(3):
        run.add(rank, 0, {"loss": 1.0})
    run.add(0, 1, {"loss": 1.0})
    run.add(1, 1, {"loss": 1.0})
    run.wait(TIMEOUT - 1.001)
    assert run.steps("loss") == [(0, 3)]
    assert run.reduction.due(run.now) == pytest.approx(1.0, abs=0.01)
    run.wait(1)
    assert run.steps("loss") == [(0, 3), (1, 2)]
    run.restart()
    for step in range(2, 5):
        run.add(0, step, {"loss": 1.0})
        run.add(1, step, {"loss": 1.0})
    assert run.steps("loss")[2:] == [(2, 2), (3, 2), (4, 2)]
    assert run.notes() == [("ranks_missing", [2])]
    for step in range(1, 4):
        run.add(2, step, {"loss": 1.0})
    assert run.notes()[1:] == [("rank_late", 2)]
    run.add(2, 4, {"loss": 1.0})
    assert run.notes()[2:] == [("rank_back", 2)]
    assert run.out[-1]["late"] == 4
    assert len(run.metrics()) == 5, "what is late is in no value"
    for rank in (0, 1, 2):
        run.add(rank, 5, {"loss": 1.0})
    assert run.steps("loss")[5:] == [(5, 3)]


def test_rank_that_leaves_a_step_out() -> None:
    """A rank that has gone on to a later step is not waited for; the order of steps is kept."""
    run = _Run(2)
    run.add(0, 0, {"loss": 1.0})
    run.add(0, 1, {"loss": 1.0})
    run.add(0, 2, {"loss": 1.0})
    run.add(1, 2, {"loss": 1.0})
    assert run.steps("loss") == [(0, 1), (1, 1), (2, 2)]
    run.add(1, 1, {"loss": 1.0})
    assert run.notes() == [("rank_late", 1)]
    for rank in (0, 1):
        run.add(rank, 3, {"loss": 1.0})
    assert run.steps("loss")[3:] == [(3, 2)]
    assert run.notes()[1:] == [("rank_back", 1)]


def test_rank_that_has_died() -> None:
    """Nobody waits for a rank whose process is gone, until it is started again."""
    run = _Run(2)
    run.add(0, 0, {"loss": 1.0})
    run.out += run.reduction.end(1)
    run.add(0, 1, {"loss": 1.0})
    assert run.steps("loss") == [(0, 1), (1, 1)]
    run.add(1, 2, {"loss": 1.0})
    assert len(run.metrics()) == 2
    run.add(0, 2, {"loss": 1.0})
    assert run.steps("loss")[2:] == [(2, 2)]


def test_steps_that_come_again() -> None:
    """Training that goes back to a checkpoint reports steps once more: they come out once more."""
    run = _Run(2)
    for step in (0, 1, 2, 1, 2, 3):
        for rank in (0, 1):
            run.add(rank, step, {"loss": float(step)})
    assert [step for step, _ in run.steps("loss")] == [0, 1, 2, 1, 2, 3]


def test_same_step_several_times() -> None:
    """The first report of a step belongs to the first of the others, the second to the second."""
    run = _Run(2)
    for value in (1.0, 2.0, 3.0):
        run.add(0, 5, {"loss": value})
    for value in (3.0, 4.0, 5.0):
        run.add(1, 5, {"loss": value})
    assert [record["metrics"]["loss"] for record in run.metrics()] == [2.0, 3.0, 4.0]


def test_without_steps() -> None:
    """Calls without a step are counted: the first of each rank belong together, and so on."""
    run = _Run(2)
    for rank in (0, 0, 1, 1):
        run.add(rank, None, {"loss": 1.0})
    assert [record["ranks"] for record in run.metrics()] == [2, 2]
    assert "step" not in run.out[0]


def test_numbers_that_are_none() -> None:
    """NaN and infinities come through as the line schema writes them."""
    run = _Run(2)
    run.add(0, 0, {"a": "NaN", "b": "Infinity", "c": 1.0, "d": "text"})
    run.add(1, 0, {"a": 1.0, "b": 1.0, "c": "-Infinity", "d": "text"})
    metrics = run.out[0]["metrics"]
    assert [metrics[f"a{each}"] for each in ("", "/min", "/max", "/sum", "/std")] == ["NaN"] * 5
    assert (metrics["b"], metrics["b/max"], metrics["b/min"]) == ("Infinity", "Infinity", 1.0)
    assert (metrics["c"], metrics["c/std"]) == ("-Infinity", "NaN")
    assert "d" not in metrics
    run = _Run(2)
    run.add(0, 0, {"a": "NaN"})
    run.restart()
    run.add(1, 0, {"a": 1.0})
    assert run.out[0]["metrics"]["a"] == "NaN"


def test_size_of_the_job() -> None:
    """It is a setting, what the records say last, or what has reported by the first time-out."""
    run = _Run(8, world_size=2)
    run.add(0, 0, {"loss": 1.0})
    run.add(1, 0, {"loss": 1.0})
    assert run.steps("loss") == [(0, 2)]
    run = _Run()
    for rank in range(3):
        run.add(rank, 0, {"loss": 1.0})
    assert run.metrics() == []
    run.wait()
    for rank in range(3):
        run.add(rank, 1, {"loss": 1.0})
    assert run.steps("loss") == [(0, 3), (1, 3)]
    run = _Run(2)
    for size in (2, 3):
        run.world = size
        for rank in range(size):
            run.add(rank, size, {"loss": 1.0})
    assert run.steps("loss") == [(2, 2), (3, 3)]


def test_end_of_the_run() -> None:
    """At the end everything goes out, oldest first, and nobody is called missing."""
    run = _Run(2)
    for step in range(3):
        run.add(0, step, {"loss": 1.0, "lr": 0.1})
    run.finish()
    assert run.steps("loss") == run.steps("lr") == [(step, 1) for step in range(3)]
    assert run.notes() == []
    for rank in (0, 1):
        run.add(rank, 3, {"loss": 1.0})
    assert run.steps("loss")[3:] == [(3, 2)], "who is started again is waited for again"


def test_memory_is_bounded() -> None:
    """A rank that hangs for long costs values that wait no longer, not memory."""
    run = _Run(2)
    for step in range(MAX_OPEN + 100):
        run.add(0, step, {"loss": 1.0})
    state = run.reduction.state()
    assert len(state["waiting"]) <= MAX_OPEN
    assert len(run.metrics()) == MAX_OPEN + 100 - len(state["waiting"])


def test_best_and_mode_go_along() -> None:
    """What a call says about best values is said of the reduced ones; different ones do not mix."""
    run = _Run(2)
    for rank in range(2):
        run.add(rank, 0, {"score": 1.0}, mode="min")
        run.add(rank, 0, {"noise": 1.0}, best=False)
    modes: Iterable[Any] = [(each.get("mode"), each.get("best")) for each in run.metrics()]
    assert list(modes) == [("min", None), (None, False)]


@pytest.mark.parametrize(
    "fields",
    [
        {"rank": 999_999},
        {"rank": -1},
        {"rank": "x", "world_size": "x"},
        {"world_size": 10**9},
        {"mode": ["min"]},
        {"split": {"a": 1}},
        {"step": 1.5},
        {"timestamp": 7},
        {"timestamp": "yesterday"},
        {"metrics": {"loss": 10**400, "x": None, "y": [1]}},
        {"metrics": [1]},
        {"metrics": None},
    ],
)
def test_records_of_others(fields: dict[str, Any]) -> None:
    """A record that makes no sense does no harm, whoever has written it."""
    run = _Run(2)
    event = {**_event(0, 0, {"loss": 1.0}, world_size=2), **fields}
    run.out += run.reduction.add(event, run.now)
    run.restart()
    for step in (1, 2):
        for rank in (0, 1):
            run.add(rank, step, {"accuracy": 1.0})
    assert run.steps("accuracy") == [(1, 2), (2, 2)]
    run.finish()


def test_many_ranks() -> None:
    """A thousand ranks in any order, some of them absent, are one value a step."""
    run, ranks = _Run(1000), list(range(1000))
    for step in range(3):
        random.Random(step).shuffle(ranks)
        for rank in ranks:
            run.add(rank, step, {"loss": float(rank)})
    assert run.steps("loss") == [(step, 1000) for step in range(3)]
    assert run.out[0]["metrics"]["loss"] == pytest.approx(499.5)
