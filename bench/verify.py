"""Reads back what a library wrote: how many events, and which are lost, wrong or doubled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import workload
from bench.adapters import Adapter


@dataclass
class Written:
    """What became of the calls of one run.

    Attributes:
        calls: Calls made, warm-up included.
        lines: Different events found in the files, those with wrong fields too.
        dropped: Events the library itself says it dropped.
        lost: Calls of which there is neither a line nor a counted drop.
        broken: Lines that are no JSON object.
        incomplete: Events with a field missing or changed.
        wrong: How often, for each field that was (``"level missing"``, ``"status changed"``).
        doubled: Lines beyond the first of an event.
        late: Lines that came after the library had said that all is in the file.
        other: Lines the library wrote about itself.
        unfinished: The library did not come to an end in the time given.
        unwritten: Calls it had not yet written by then; such a run has no ``lost``.
        error: What ``stop`` raised.
    """

    calls: int = 0
    lines: int = 0
    dropped: int = 0
    lost: int = 0
    broken: int = 0
    incomplete: int = 0
    wrong: dict[str, int] = field(default_factory=dict[str, int])
    doubled: int = 0
    late: int = 0
    other: int = 0
    unfinished: bool = False
    unwritten: int = 0
    error: str = ""

    def to_data(self) -> dict[str, Any]:
        return asdict(self)


def read_back(adapter: Adapter, directory: Path, calls: int, numbers: int) -> Written:
    """Parse every line of the adapter's files and account for every call."""
    import orjson

    written = Written(calls=calls)
    seen = bytearray(numbers)
    for path in adapter.files(directory):
        with path.open("rb") as file:
            for line in file:
                _account(written, seen, adapter, line, orjson.loads)
    return written


def _account(written: Written, seen: bytearray, adapter: Adapter, line: bytes, loads: Any) -> None:
    try:
        record = loads(line)
    except ValueError:
        written.broken += 1
        return
    if not isinstance(record, dict) or not line.endswith(b"\n"):
        written.broken += 1
        return
    fields = adapter.fields(record)  # pyright: ignore[reportUnknownArgumentType]
    if fields is None:
        written.other += 1
        return
    number = _number(fields)
    numbered = isinstance(fields.get(workload.SEQUENCE), int)
    if not numbered or not workload.is_complete(fields, adapter.expected):
        _name_wrong(written, fields, adapter.expected)
    if number is None:
        return
    if not 0 <= number < len(seen) or seen[number]:
        written.doubled += 1
        return
    seen[number] = 1
    written.lines += 1


def _number(fields: Mapping[str, Any]) -> int | None:
    number = fields.get(workload.SEQUENCE)
    if isinstance(number, int):
        return number
    return int(number) if isinstance(number, str) and number.isdecimal() else None


def _name_wrong(written: Written, fields: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    written.incomplete += 1
    names = [name for name in ("timestamp", workload.SEQUENCE) if fields.get(name) in (None, "")]
    wrong = [f"{name} missing" for name in names]
    if workload.SEQUENCE not in names and not isinstance(fields[workload.SEQUENCE], int):
        wrong.append(f"{workload.SEQUENCE} changed")
    for name, value in expected.items():
        if fields.get(name) is None:
            wrong.append(f"{name} missing")
        elif fields[name] != value:
            wrong.append(f"{name} changed")
    for words in wrong:
        written.wrong[words] = written.wrong.get(words, 0) + 1
