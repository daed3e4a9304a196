"""Jobs of several ranks under `asynclog run`: kills one of them, or everything, and counts.

As a program, for any number of rounds: ``python -m tests.faults.job_trials segfault 50``; prints
one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .board import KINDS, Board, compare, faults_in
from .trial import PATIENCE, wait_for

HERE = Path(__file__).parent
LAUNCHER = [sys.executable, "-m", "asynclog.cli", "run"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
RANKS = 4
RECORDS = 1500
MEMORY = 96 << 20

CAUSES = {
    "kill": "was killed by SIGKILL",
    "segfault": "was killed by SIGSEGV",
    "abort": "was killed by SIGABRT",
    "exit": "ended with exit status 9",
    "memory error": "ended with exit status 1",
    "oom": "was killed by SIGKILL",
}
"""Ways to die, and what the report says of each."""


@contextmanager
def memory_group() -> Generator[str | None, None, None]:
    """Make a control group with a limit on memory; None where that is not allowed."""
    name = f"asynclog-{os.getpid()}"
    for parent, limit in (
        (Path("/sys/fs/cgroup"), "memory.max"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    ):
        group = parent / name
        with suppress(OSError):
            group.mkdir()
        if not (group / limit).exists():
            with suppress(OSError):
                group.rmdir()
            continue
        (group / limit).write_text(str(MEMORY))
        try:
            yield str(group)
        finally:
            with suppress(OSError):
                group.rmdir()
        return
    yield None


def resident(pid: int) -> int:
    """Return the bytes of memory that a process uses, 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def processes_of(session: int) -> list[int]:
    """Return the living processes of a session."""
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                stat = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                if int(stat[3]) == session and stat[0] != "Z":
                    found.append(int(entry))
    return found


@dataclass
class Round:
    """One job.

    Attributes:
        directory: Where all of it lies.
        way: How its victim dies, None for nobody.
        victim: Its rank.
        after: Seconds after which it dies.
        group: A control group with a limit on memory.
        torchrun: Whether torchrun launches the ranks.
    """

    directory: Path
    way: str | None = None
    victim: int = 0
    after: float = 0.0
    group: str | None = None
    torchrun: bool = False
    records: int = RECORDS
    early: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.run_dir = self.directory / "run"
        self.board = Board.make(self.directory / "board", RANKS)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the job in a session of its own."""
        fault = {"rank": self.victim, "way": self.way, "after": self.after, "cgroup": self.group}
        arguments = [
            str(HERE / "rank.py"),
            str(self.directory / "board"),
            str(RANKS),
            str(self.records),
            json.dumps(fault if self.way else {}),
        ]
        job = [sys.executable, str(HERE / "plain_job.py"), str(RANKS)]
        if self.torchrun:
            job = [*TORCHRUN, "--nproc-per-node", str(RANKS)]
        with (
            (self.directory / "out").open("wb") as out,
            (self.directory / "err").open("wb") as err,
        ):
            return subprocess.Popen(
                [*LAUNCHER, "--run-dir", str(self.run_dir), "--", *job, *arguments],
                cwd=self.directory,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait_for_work(self) -> None:
        """Wait until every rank logs, or the victim dies: a launcher may end the others then."""
        wait_for(
            lambda: (
                self.board.died(self.victim)
                or all(self.board.acknowledged(rank, len(KINDS) - 1) for rank in range(RANKS))
            ),
            f"not all ranks log: {self.said()}",
        )

    def said(self) -> str:
        """Return what the launcher has said."""
        return self.all_said()[-2000:]

    def all_said(self) -> str:
        """Return all that it has said."""
        return (self.directory / "err").read_text()

    def run(self) -> int:
        """Run the job, its victim dying; return the launcher's status."""
        launcher = self.start()
        try:
            self.wait_for_work()
            if self.way == "kill":
                time.sleep(self.after)
                self.kill_victim()
            elif self.way == "oom" and self.group is None:
                pid = self.board.pid(self.victim)
                wait_for(lambda: resident(pid) > MEMORY, "no memory is taken")
                os.kill(pid, signal.SIGKILL)
            if self.way is not None:
                self.wait_for_report()
            self.board.end()
            return launcher.wait(PATIENCE)
        finally:
            self.kill_all(launcher)

    def run_into_everything_killed(self, randomness: random.Random) -> None:
        """Run the job until all of its processes are killed, in any order."""
        launcher = self.start()
        try:
            self.wait_for_work()
            time.sleep(self.after)
        finally:
            self.kill_all(launcher, randomness)

    def kill_victim(self) -> None:
        """Kill it, and note when."""
        self.board.dies(self.victim, time.time_ns())
        os.kill(self.board.pid(self.victim), signal.SIGKILL)

    def run_without_launcher(self) -> None:
        """Run the job to its end, its launcher being killed meanwhile."""
        launcher = self.start()
        try:
            self.wait_for_work()
            time.sleep(self.after)
            launcher.kill()
            launcher.wait()
            wait_for(
                lambda: all(
                    self.board.acknowledged(rank, kind) == self.records
                    for rank in range(RANKS)
                    for kind in range(len(KINDS))
                ),
                f"not all ranks go on: {self.said()}",
            )
            if self.way is not None:
                # it knows its way about by then, however slowly it got there
                wait_for(lambda: "goes on in its place" in self.all_said(), "nobody takes over")
                self.kill_victim()
                self.wait_for_report()
            self.board.end()
            wait_for(lambda: not processes_of(launcher.pid), "something lives on")
        finally:
            self.kill_all(launcher)

    @staticmethod
    def kill_all(
        launcher: subprocess.Popen[bytes], randomness: random.Random | None = None
    ) -> None:
        """Kill what is left of the job, and wait until it is gone."""
        pids = processes_of(launcher.pid)
        if randomness is not None:
            randomness.shuffle(pids)
        while pids:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            launcher.wait()
            pids = processes_of(launcher.pid)

    def recover(self) -> str:
        """Run `asynclog recover`; return what it says."""
        command = [sys.executable, "-m", "asynclog.cli", "recover", str(self.run_dir)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def wait_for_report(self) -> None:
        """Wait for the first crash report, keep it, and note how long it has taken."""
        path = self.run_dir / "crash.json"
        wait_for(path.exists, f"no crash report: {self.said()}")
        self.seconds = time.time() - self.board.died(self.victim) / 1e9
        self.early = json.loads(path.read_bytes())

    def count(self, *, printed: bool = True) -> Counter[str]:
        """Compare the files with what was acknowledged; printed lines if they are to be there."""
        files = [*self.run_dir.glob("events*.jsonl*")]
        spliced = 0

        def identify_line(event: dict[str, Any]) -> tuple[tuple[int, str], int] | None:
            nonlocal spliced
            if event.get("kind") != "output" or not event["event"].startswith("line "):
                return None
            number = event["event"].removeprefix("line ")
            if number.isdecimal():
                return (event["rank"], "line"), int(number)
            spliced += 1
            return None

        counts = compare(files, self._acknowledged("own", "std"), identify_record)
        lines = compare(files, self._acknowledged("line"), identify_line)
        for name in ("doubled", "disordered", "invented"):
            counts[name] += lines[name]
        counts["lost"] += lines["lost"] if printed else 0
        counts.update(
            trials=1,
            spliced=spliced,
            printed=lines["acknowledged"],
            printed_lost=lines["lost"],
        )
        return counts

    def _acknowledged(self, *kinds: str) -> dict[tuple[int, str], int]:
        return {
            (rank, kind): self.board.acknowledged(rank, KINDS.index(kind))
            for rank in range(RANKS)
            for kind in kinds
        }

    def misreported(self) -> list[str]:
        """Return what is wrong with the crash reports: the early one and the last one."""
        wrong: list[str] = []
        last = json.loads((self.run_dir / "crash.json").read_bytes())
        for name, report in (("early", self.early), ("last", last)):
            first = report["first"]
            if first.get("rank") != self.victim or first["pid"] != self.board.pid(self.victim):
                wrong.append(f"{name}: {first}, not rank {self.victim}")
            expected = CAUSES[str(self.way)]
            if self.group is not None:
                expected += " (out of memory: the kernel has killed a process of "
            if not first["cause"].startswith(expected):
                wrong.append(f"{name}: {first['cause']}, not {expected}")
        if self.way == "memory error" and "MemoryError" not in last["first"].get("error", ""):
            wrong.append(f"{last['first']} does not tell of a MemoryError")
        return wrong + self._wrong_last_words(last["last_records"])

    def _wrong_last_words(self, records: list[dict[str, Any]]) -> list[str]:
        found: dict[int, int] = {}
        for record in records:
            if record.get("logger") in KINDS:
                found[KINDS.index(record["logger"])] = record["n"]
            elif record["event"].startswith("line "):
                found[2] = int(record["event"][5:])
        newest = {kind: self.board.acknowledged(self.victim, kind) - 1 for kind in found}
        if all(found[kind] - newest[kind] in (0, 1) for kind in found):
            return []
        return [f"the last words are {found}, not {newest}"]


def identify_record(event: dict[str, Any]) -> tuple[tuple[int, str], int] | None:
    """Return rank, kind and number of a record of a rank."""
    kind = event.get("logger")
    return ((event["rank"], kind), event["n"]) if kind in KINDS else None


def everything_dies(directory: Path, randomness: random.Random) -> Counter[str]:
    """Run one job whose processes are all killed at a random instant; return the counts."""
    job = Round(directory, after=randomness.uniform(0, 0.25))
    job.run_into_everything_killed(randomness)
    counts = Counter(recovered="brought back" in job.recover())
    # what was in a pipe has died with its last reader
    counts += job.count(printed=False)
    job.board.close()
    return counts


def launcher_dies(directory: Path, randomness: random.Random, *, then_a_rank: bool) -> Counter[str]:
    """Run one job whose launcher is killed, and a rank later on or not; return the counts."""
    way = "kill" if then_a_rank else None
    job = Round(directory, way, randomness.randrange(RANKS), randomness.uniform(0, 0.25))
    job.run_without_launcher()
    # what it had read and not yet logged has died with it
    counts = job.count(printed=False)
    wrong = job.misreported() if way else []
    if not way and (job.run_dir / "crash.json").exists():
        wrong.append("a crash report of a job that went well")
    if "goes on in its place" not in job.all_said():
        wrong.append("nobody has said so")
    counts["misreported"] += len(wrong)
    for text in wrong:
        print(text, job.said(), sep="\n", file=sys.stderr)
    job.board.close()
    return counts


def one_rank_dies(
    directory: Path, way: str, randomness: random.Random, *, torchrun: bool = False
) -> tuple[Counter[str], Round]:
    """Run one job whose victim dies at a random instant; return the counts."""
    with memory_group() as group:
        job = Round(
            directory,
            way,
            randomness.randrange(RANKS),
            randomness.uniform(0, 0.2),
            group if way == "oom" else None,
            torchrun,
        )
        status = job.run()
    counts = job.count()
    wrong = job.misreported()
    if not status:
        wrong.append("the launcher ends with 0")
    counts["misreported"] += len(wrong)
    for text in wrong:
        print(text, job.said(), sep="\n", file=sys.stderr)
    job.board.close()
    return counts, job


def main(arguments: Sequence[str]) -> None:
    """Run some rounds of one fault."""
    way, rounds = arguments[0], int(arguments[1])
    torchrun = "torchrun" in arguments
    randomness = random.Random()
    total: Counter[str] = Counter()
    seconds: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            if way == "everything":
                total += everything_dies(Path(directory), randomness)
                continue
            if way == "launcher":
                then = randomness.random() < 0.5
                total += launcher_dies(Path(directory), randomness, then_a_rank=then)
                continue
            counts, job = one_rank_dies(Path(directory), way, randomness, torchrun=torchrun)
            total += counts
            seconds.append(job.seconds)
    result: dict[str, Any] = {"way": way, **total, "faults": faults_in(total)}
    if seconds:
        result["report_seconds"] = [min(seconds), statistics.median(seconds), max(seconds)]
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
