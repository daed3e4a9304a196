"""The same run, reduced by asynclog and by torch.distributed: the values agree."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import lines, until

PROGRAM = """
import json, sys
import torch
import torch.distributed as dist
import asynclog
from asynclog import JsonlFile, MetricsCsv, Reduced

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(rank)
found = []
sinks = [JsonlFile(), Reduced(MetricsCsv(), timeout="10 min")]
with asynclog.running(sys.argv[1], sinks=sinks, collector="process"):
    for step in range(20):
        loss = torch.randn((), dtype=torch.float64)
        asynclog.log_metrics({"loss": loss.item()}, step=step, split="train")
        reduced = {}
        for name in ("SUM", "MIN", "MAX"):
            value = loss.clone()
            dist.all_reduce(value, getattr(dist.ReduceOp, name))
            reduced[name.lower()] = value.item()
        square = (loss - reduced["sum"] / world) ** 2
        dist.all_reduce(square)
        found.append([reduced["sum"] / world, *reduced.values(), (square / world).sqrt().item()])
dist.destroy_process_group()
if rank == 0:
    with open(sys.argv[2], "w") as file:
        json.dump(found, file)
"""


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_like_all_reduce(run_dir: Path, tmp_path: Path, spool_dir: Path) -> None:
    """Mean, sum, least, most and deviation are those that all_reduce gives under torchrun."""
    program, expected = tmp_path / "train.py", tmp_path / "expected.json"
    program.write_text(PROGRAM)
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(program), str(run_dir), str(expected)),
        ],
        check=True,
        timeout=180,
    )
    until(lambda: not list(spool_dir.rglob("*.ring")))
    records = [each for each in lines(run_dir / "reduced.jsonl") if each["kind"] == "metrics"]
    assert [(each["step"], each["ranks"]) for each in records] == [(n, 2) for n in range(20)]
    for record, wanted in zip(records, json.loads(expected.read_bytes()), strict=True):
        names = ("loss", "loss/sum", "loss/min", "loss/max", "loss/std")
        assert [record["metrics"][name] for name in names] == pytest.approx(wanted, rel=1e-12)
