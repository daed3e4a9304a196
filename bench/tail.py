"""How soon the last records of a large run are shown: ``python -m bench.tail [--gigabytes N]``.

``asynclog tail`` as a program, from its start to its end, on a run of one megabyte and on a large
one, in turns; and what one event costs that is read in order. The lines are as a service logs them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

BEGIN = datetime(2026, 1, 31, tzinfo=UTC)
MEGABYTE = 7_000
BLOCK = 700_000


def lines(first: int, count: int) -> bytes:
    return b"".join(
        b'{"timestamp":"%s","level":"info","event":"request handled","logger":"app",'
        b'"request_id":%d,"status":200,"path":"/api/users/%d","ms":12.5}\n'
        % (
            f"{BEGIN + timedelta(milliseconds=number):%Y-%m-%dT%H:%M:%S.%fZ}".encode(),
            number,
            number,
        )
        for number in range(first, first + count)
    )


def write(directory: Path, gigabytes: float) -> None:
    directory.mkdir()
    with open(directory / "events.jsonl", "wb") as file:
        if gigabytes:
            block = lines(0, BLOCK)
            while file.tell() < gigabytes * 1e9:
                file.write(block)
        file.write(lines(BLOCK, MEGABYTE))


def tail(run: Path) -> float:
    command = [sys.executable, "-m", "asynclog.cli", "tail", str(run)]
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def read(run: Path) -> float:
    from asynclog.reading import read_run

    begun = time.process_time()
    count = sum(1 for _ in read_run(run))
    return (time.process_time() - begun) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        small, medium, large = (Path(place) / name for name in ("small", "medium", "large"))
        write(small, 0)
        write(medium, 0.2)
        write(large, arguments.gigabytes)
        times: dict[Path, list[float]] = {small: [], large: []}
        for number in range(arguments.rounds + 1):
            for run, found in times.items():
                took = tail(run)
                if number:
                    found.append(took)
        for run, found in times.items():
            size = (run / "events.jsonl").stat().st_size / 1e6
            print(f"tail of {size:9,.0f} MB: {statistics.median(found) * 1e3:6.0f} ms")
        ratio = statistics.median(times[large]) / statistics.median(times[small])
        print(f"ratio of the medians: {ratio:.2f}")
        print(f"read_run: {read(medium) * 1e6:.1f} us an event (CPU)")


if __name__ == "__main__":
    main()
