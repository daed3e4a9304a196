"""The crash report: what ended first, by what, and what it had logged last."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .._json import dumps, loads
from .._origin import without_origin
from ..sinks.escape import escape
from ..sinks.render import local_time, render
from ..sinks.rotation import FILE_MODE
from .deaths import Death
from .job_console import PLACE
from .last_records import LAST_RECORDS, last_records

JSON_NAME: Final = "crash.json"
TEXT_NAME: Final = "crash.txt"
SHOWN_AGAIN: Final = 10
"""Records that the console shows of a process that is no rank: it has shown them before."""
JUST_BEFORE: Final = 30.0
"""Seconds before the end of the command in which the end of another process may be its cause."""


def cause(status: int | None, explanation: str = "") -> str:
    """Return in words how a process ended."""
    if status is None:
        return "ended, how is unknown"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"was killed by {name}{f' ({explanation})' if explanation else ''}"
    return f"ended with exit status {status}"


@dataclass
class CrashReport:
    """Why a command failed, as far as that can be known.

    Attributes:
        data: What is stored.
        run_dir: Where.
    """

    data: dict[str, Any]
    run_dir: Path

    @classmethod
    def of(
        cls,
        command: Sequence[str],
        pid: int,
        status: int | None,
        deaths: Sequence[Death],
        run_dir: Path,
    ) -> CrashReport:
        """Find out what happened.

        Args:
            command: Program and arguments.
            pid: Its process id.
            status: How it ended, negative for a signal; None if it goes on.
            deaths: Ends of processes below it, in their order.
            run_dir: Directory of the run, whose files are complete.
        """
        bad = _suspects(deaths, pid)
        first = _first(bad)
        data: dict[str, Any] = {
            "time": _utc(time.time()),
            "command": list(command),
            "status": status,
            "cause": cause(status) if status is not None else "goes on",
            "first": _described(first) if first is not None else _command(pid, status, deaths),
            "others": [_described(each) for each in bad if each is not first],
        }
        rank = first.printer.rank if first is not None else None
        whose = first.printer.pid if first is not None else pid
        data["last_records"] = last_records(run_dir, whose, rank, LAST_RECORDS)
        return cls(data, run_dir)

    @staticmethod
    def discard(run_dir: Path) -> None:
        """Remove a report of a job that has come to a good end after all; never raises."""
        for name in (JSON_NAME, TEXT_NAME):
            with suppress(OSError):
                (run_dir / name).unlink()

    def store(self) -> None:
        """Write ``crash.json`` and ``crash.txt`` into the run directory; never raises."""
        try:
            _replace(self.run_dir / JSON_NAME, dumps(self.data) + b"\n")
            text = self.text(colors=False, shown=LAST_RECORDS)
            _replace(self.run_dir / TEXT_NAME, text.encode(errors="backslashreplace"))
        except OSError:
            # a full disk: it is shown all the same
            pass

    def text(self, *, colors: bool = False, shown: int | None = None) -> str:
        """Return the report for people.

        Args:
            colors: Whether records are coloured.
            shown: How many of the last records; as many as make sense unless given.
        """
        first = self.data["first"]
        name = shlex.join(self.data["command"])
        lines = [
            f"asynclog: {escape(name)} {self.data['cause']}",
            f"  first: {_who(first)} {first['cause']} at {local_time(first['time'])}"
            if "time" in first
            else f"  first: {_who(first)} {first['cause']}",
        ]
        if first.get("error"):
            lines.append(f"  error: {escape(first['error'])}")
        lines.extend(f"  then: {_who(other)} {other['cause']}" for other in self.data["others"])
        records = self.data["last_records"]
        if records:
            part = records[-(shown or (LAST_RECORDS if "rank" in first else SHOWN_AGAIN)) :]
            lines.append(f"  its last {len(part)} records:")
            for record in part:
                lines.extend(f"    {line}" for line in _shown(record, colors).split("\n"))
        lines.append(f"  report: {self.run_dir / TEXT_NAME}, {JSON_NAME}")
        return "\n".join([*lines, ""])


def _suspects(deaths: Sequence[Death], pid: int) -> list[Death]:
    """Return the ends that may be causes: of ranks in the last attempt, else of any process."""
    ranks = [death for death in deaths if death.printer.rank is not None]
    if ranks:
        attempt = max(death.printer.attempt for death in ranks)
        ranks = [death for death in ranks if death.printer.attempt == attempt]
        return [death for death in ranks if death.status != 0]
    since = time.time() - JUST_BEFORE
    return [
        death for death in deaths if death.bad and death.time >= since and death.printer.pid != pid
    ]


def _first(bad: Sequence[Death]) -> Death | None:
    """Return the first that failed; of those whose end is known, if there are any."""
    known = [death for death in bad if death.bad or _error_of(death)]
    return known[0] if known else bad[0] if bad else None


def _described(death: Death) -> dict[str, Any]:
    told = _error_of(death)
    printer = death.printer
    data: dict[str, Any] = dict(printer.fields)
    data["time"] = told.get("time") or _utc(death.time)
    data["status"] = death.status
    data["cause"] = cause(death.status, death.explanation)
    error = told.get("message") or death.error
    if error:
        data["error"] = error
    if "traceback" in told:
        data["traceback"] = told["traceback"]
    return data


def _command(pid: int, status: int | None, deaths: Sequence[Death]) -> dict[str, Any]:
    own = [death for death in deaths if death.printer.pid == pid]
    data = {"pid": pid, "status": status, "cause": cause(status), "time": _utc(time.time())}
    if own:
        data["time"] = _utc(own[0].time)
        if own[0].error:
            data["error"] = own[0].error
    return data


def _error_of(death: Death) -> dict[str, Any]:
    """Return what a rank of torchrun has left of its exception; empty if nothing."""
    if not death.printer.error_file:
        return {}
    try:
        message = loads(Path(death.printer.error_file).read_bytes())["message"]
        if isinstance(message, str):
            return {"message": message}
        extra = message.get("extraInfo", {})
        found = {"message": str(message["message"]), "traceback": extra.get("py_callstack")}
        stamp = extra.get("timestamp")
        if stamp is not None:
            found["time"] = _utc(float(stamp))
        return {name: value for name, value in found.items() if value is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _who(data: dict[str, Any]) -> str:
    rank = f"rank {data['rank']}" if "rank" in data else "process"
    where = f" on {data['host']}" if "host" in data else ""
    return f"{rank} (pid {data.get('pid', 'unknown')}{where})"


def _shown(record: dict[str, Any], colors: bool) -> str:
    if record.get("kind") == "output":
        return escape(str(record.get("event", "")))
    plain = without_origin(record)
    return render({name: plain[name] for name in plain if name not in PLACE}, colors)


def _utc(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1e6):06d}Z"


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(temporary, flags, FILE_MODE), "wb") as file:
        file.write(content)
    os.replace(temporary, path)
