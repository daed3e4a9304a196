"""AddRank: which process of a distributed job."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from asynclog.processors import AddRank


def added(processor: AddRank, **given: Any) -> dict[str, Any]:
    """Return what a processor makes of a record."""
    event: dict[str, Any] = {"event": "x", **given}
    result = dict(processor(None, "info", event))
    assert result.pop("event") == "x"
    return result


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8"},
        {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8"},
        {"PMI_RANK": "3", "MPI_LOCALRANKID": "1", "PMI_SIZE": "8"},
        {
            "OMPI_COMM_WORLD_RANK": "3",
            "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            "OMPI_COMM_WORLD_SIZE": "8",
        },
        {
            "MV2_COMM_WORLD_RANK": "3",
            "MV2_COMM_WORLD_LOCAL_RANK": "1",
            "MV2_COMM_WORLD_SIZE": "8",
        },
        {"JSM_NAMESPACE_RANK": "3", "LOCAL_RANK": "1", "JSM_NAMESPACE_SIZE": "8"},
        {
            "RANK": "3",
            "LOCAL_RANK": "1",
            "WORLD_SIZE": "8",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
            "SLURM_NTASKS": "2",
        },
    ],
)
def test_launchers_tell_the_rank(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in variables of its own; torchrun's go first."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert added(AddRank()) == {"rank": 3, "local_rank": 1, "world_size": 8}


def test_rank_zero_is_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero is not nothing."""
    monkeypatch.setenv("RANK", "0")
    assert added(AddRank()) == {"rank": 0}


def test_nothing_is_added_outside_a_distributed_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for what is no number, nor for a number of ranks alone."""
    assert added(AddRank()) == {}
    monkeypatch.setenv("RANK", "none")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert added(AddRank()) == {}


def test_what_the_record_has_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that was handed on keeps the rank it was made in."""
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert added(AddRank(), rank=7) == {"rank": 7, "world_size": 8}


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes later in this process does not count."""
    monkeypatch.setenv("RANK", "3")
    processor = AddRank()
    assert added(processor) == {"rank": 3}
    monkeypatch.setenv("RANK", "4")
    assert added(processor) == {"rank": 3}


def test_a_forked_child_reads_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launchers that fork set the child's rank behind the fork."""
    monkeypatch.setenv("RANK", "3")
    processor = AddRank()
    added(processor)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ["RANK"] = "5"
        os.write(writing, json.dumps(added(processor)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        assert json.load(pipe) == {"rank": 5}
    os.waitpid(child, 0)


def test_a_process_group_is_asked_once_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be initialised after the first record, and is not asked any more then."""
    ready = False
    asked = 0

    def is_initialized() -> bool:
        nonlocal asked
        asked += 1
        return ready

    module = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=is_initialized,
        get_rank=lambda: 2,
        get_world_size=lambda: 4,
    )
    processor = AddRank()
    assert added(processor) == {}
    monkeypatch.setitem(sys.modules, "torch.distributed", module)  # type: ignore[arg-type]
    assert added(processor) == {}
    ready = True
    assert added(processor) == {"rank": 2, "world_size": 4}
    before = asked
    assert added(processor) == {"rank": 2, "world_size": 4}
    assert asked == before


def test_a_half_imported_torch_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may be importing it at this moment."""
    monkeypatch.setitem(sys.modules, "torch.distributed", SimpleNamespace())  # type: ignore[arg-type]
    assert added(AddRank()) == {}


def test_a_real_process_group(tmp_path: Any) -> None:
    """Of torch itself, without variables in the environment."""
    distributed = pytest.importorskip("torch.distributed")
    processor = AddRank()
    assert added(processor) == {}
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        assert added(processor) == {"rank": 0, "world_size": 1}
    finally:
        distributed.destroy_process_group()
