"""Wandb inside Reduced: one row a step for all ranks, read back from W&B's transaction log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("wandb")

PROGRAM = """
    sinks = [asynclog.JsonlFile(), asynclog.Reduced([asynclog.Wandb("project", mode="offline")])]
    with asynclog.running("run", sinks=sinks, stop_timeout=60):
        for step in range({first}, {last}):
            for rank in range(3):
                ranked = log.bind(rank=rank, world_size=3)
                ranked.log_metrics({{"loss": step + rank}}, step=step, split="train")
            if step == {kill}:
                asynclog.flush_sync()
                until(lambda: asynclog.stats().sinks["wandb"].written >= step // 2, "W&B")
                os.kill(collector(), 9)
"""


@pytest.mark.slow
def test_one_row_for_all_ranks(
    run_program: Callable[..., Any], replay: Callable[..., str], wandb_runs: Callable[[], Any]
) -> None:
    """Each step is there once, with the mean of all ranks and the rest, though a collector dies.

    The next start goes on with the same W&B run, and a replay finds nothing left to send.
    """
    run_program(PROGRAM.format(first=0, last=200, kill=100))
    run_program(PROGRAM.format(first=200, last=220, kill=-1))
    assert "0 records" in replay("wandb")
    found = wandb_runs()
    rows = [row for row in found.rows if "train/loss" in row]
    assert [row["train/step"] for row in rows] == [*range(220)]
    for step, row in enumerate(rows):
        values = {name: row[f"train/loss/{name}"] for name in ("min", "max", "sum", "count")}
        assert values == {"min": step, "max": step + 2, "sum": 3 * step + 3, "count": 3}
        assert row["train/loss"] == step + 1
        assert row["train/loss/std"] == pytest.approx((2 / 3) ** 0.5)
    assert not any(name.startswith("rank") for row in found.rows for name in row)
    assert [row["_step"] for row in found.rows] == [*range(len(found.rows))]
    assert len(found.ids) == 1
