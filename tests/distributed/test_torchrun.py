"""torchrun under `asynclog run`, and with the plug-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "4"]
RECORDS = 200
TRAINING = f"""
    import logging
    import sys

    import torch
    import torch.distributed as dist
    from torch.utils.data import DataLoader, Dataset

    logger = logging.getLogger("data")


    class Numbers(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, index):
            logger.info("item %d", index)
            sys.stdout.write("item ")
            sys.stdout.flush()
            print(index)
            return torch.tensor([float(index)])


    # here for workers that are spawned, too: they import this module anew
    logging.basicConfig(level=logging.INFO)


    def main():
        dist.init_process_group("gloo")
        rank = dist.get_rank()
        for number in range({RECORDS}):
            logging.info("record %d", number)
            sys.stdout.write(f"rank {{rank}} ")
            sys.stdout.flush()
            print("line", number)
        loader = DataLoader(
            Numbers(), batch_size=5, num_workers=2, multiprocessing_context=sys.argv[1]
        )
        total = torch.tensor([sum(float(batch.sum()) for batch in loader)])
        dist.all_reduce(total)
        print("total", total.item())
        dist.destroy_process_group()


    if __name__ == "__main__":
        main()
"""
DYING = """
    import os, signal, sys, time
    from torch.distributed.elastic.multiprocessing.errors import record

    @record
    def main():
        print("started", flush=True)
        if os.environ["RANK"] == "2":
            if len(sys.argv) > 1:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("bad batch")
        time.sleep(30)

    main()
"""


def _plugged_in(job: Any, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TORCHRUN, "--logs-specs", "asynclog", program, *arguments],
        cwd=job.directory,
        env={**os.environ, "ASYNCLOG_RUN_DIR": str(job.run_dir), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _under_the_launcher(
    job: Any, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return job.run(*TORCHRUN, program, *arguments, OMP_NUM_THREADS="1")


WAYS = [
    pytest.param(_under_the_launcher, id="launcher"),
    pytest.param(_plugged_in, id="plug-in"),
]
Way = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "method"),
    [
        pytest.param(_under_the_launcher, "fork", id="launcher-fork"),
        pytest.param(_plugged_in, "fork", id="plug-in-fork"),
        # torch starts in eight processes more: too much for every run
        pytest.param(_under_the_launcher, "spawn", id="launcher-spawn", marks=pytest.mark.faults),
        pytest.param(_plugged_in, "spawn", id="plug-in-spawn", marks=pytest.mark.faults),
    ],
)
def test_training(job: Any, way: Way, method: str) -> None:
    """Every record of 12 processes is there once, in each one's order, and no line is spliced."""
    done = way(job, job.program(TRAINING, "train.py"), method)
    assert done.returncode == 0, done.stderr
    for rank in range(4):
        events = [event for event in job.events() if event.get("rank") == rank]
        logged = [event for event in events if event.get("kind") != "output"]
        mine = [event for event in logged if event["event"].startswith("record ")]
        assert [event["event"] for event in mine] == [f"record {n}" for n in range(RECORDS)]
        [trainer] = {event["pid"] for event in mine}
        items = [event for event in logged if event["event"].startswith("item ")]
        assert len(items) + len(mine) == len(logged)
        workers = {(event["worker"], event["pid"]) for event in items}
        assert {worker for worker, _ in workers} == {0, 1}
        # each has a pid, and all are told from the trainer
        assert len({trainer, *(pid for _, pid in workers)}) == 3
        for worker, pid in workers:
            # batches of five, in turns
            indices = [n for n in range(20) if n // 5 % 2 == worker]
            expected = [f"item {n}" for n in indices]
            assert [event["event"] for event in items if event["pid"] == pid] == expected
            assert job.printed(rank=rank, stream="stdout", pid=pid) == expected
        lines = job.printed(rank=rank, stream="stdout", pid=trainer)
        assert lines == [*(f"rank {rank} line {n}" for n in range(RECORDS)), "total 760.0"]
    assert done.stdout.count("total 760.0") == 1
    assert "[rank 0] total 760.0\n" in done.stdout
    assert not (job.run_dir / "crash.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_killed_rank(job: Any, way: Way) -> None:
    """The report names the rank that was killed and the signal; torchrun ends as ever."""
    done = way(job, job.program(DYING, "train.py"), "kill")
    assert done.returncode == 1
    crash = job.crash()
    assert (crash["first"]["rank"], crash["first"]["cause"]) == (2, "was killed by SIGKILL")
    assert {other["rank"] for other in crash["others"]} == {0, 1, 3}
    assert [event["event"] for event in crash["last_records"]] == ["started"]
    assert "first: rank 2" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_raising_rank(job: Any, way: Way) -> None:
    """The report has the exception that torchrun's error file tells of."""
    done = way(job, job.program(DYING, "train.py"))
    assert done.returncode == 1
    first = job.crash()["first"]
    assert (first["rank"], first["status"]) == (2, 1)
    assert "ValueError: bad batch" in first["error"]
    assert "first: rank 2" in done.stderr


@pytest.mark.slow
def test_restarts(job: Any) -> None:
    """A job that torchrun brings to a good end has no crash report; all attempts are in the run."""
    code = """
        import os, sys
        attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        print("attempt", attempt)
        sys.exit(attempt < 1 and os.environ["RANK"] == "1")
    """
    program = job.program(code, "train.py")
    done = job.run(*TORCHRUN, "--max-restarts", "2", program)
    assert done.returncode == 0, done.stderr
    assert "attempt 0" in job.printed(rank=1)
    for rank in range(4):
        assert "attempt 1" in job.printed(rank=rank)
    assert not (job.run_dir / "crash.json").exists()
    assert "rank 1 ended with exit status 1" in done.stderr


@pytest.mark.slow
def test_documented_job(job: Any) -> None:
    """The job of the guide runs: each record once, and a file for each worker if asked for."""
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "launching.md").read_text()
    found = re.search(
        r"```\{code-block\} python\n(# train.py.*?)```\n+```sh\n(.*?)\n```", guide, re.DOTALL
    )
    assert found is not None
    job.program(found[1], "train.py")
    done = subprocess.run(
        ["sh", "-c", found[2].replace("torchrun", f"{sys.executable} -m torch.distributed.run")],
        cwd=job.directory,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ASYNCLOG_LOG_DIR": "worker_logs"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[rank 0] sum: 1.0\n"
    job.run_dir = job.directory / "runs" / "exp1"
    steps = Counter((event["rank"], event["event"]) for event in job.events() if "loss" in event)
    assert steps == {(rank, f"step {number}"): 1 for rank in range(2) for number in range(10)}
    for rank in range(2):
        [path] = job.directory.glob(f"worker_logs/*/*[[]{rank}].log")
        lines = [line.split(":", 3)[3] for line in path.read_text().splitlines()]
        said = [line for line in lines if "step" in line]
        assert said == [f"INFO: train:step {n}  loss={rank}.0" for n in range(10)]
        assert "INFO: sum: 1.0" in lines
