"""Puts into words what the rounds of a library lost, garbled, or hung on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "nothing"


def troubles(records: Sequence[Mapping[str, Any]]) -> str:
    """Return what went wrong in these rounds of one library, ``"nothing"`` if nothing did."""
    written = [record["written"] for record in records if record.get("written")]
    sums = Counter[str]()
    wrong = Counter[str]()
    for one in written:
        sums.update({key: value for key, value in one.items() if type(value) is int})
        wrong.update(one.get("wrong", {}))
    words = [*_lines(sums, wrong), *_rounds(records, written)]
    return "; ".join(words) or NOTHING


def _lines(sums: Counter[str], wrong: Counter[str]) -> list[str]:
    words: list[str] = []
    if sums["lost"]:
        words.append(f"**{sums['lost']:,} of {sums['calls']:,} lost**")
    if sums["incomplete"]:
        count = "all" if sums["incomplete"] == sums["lines"] else f"{sums['incomplete']:,}"
        names = ", ".join(name for name, _ in wrong.most_common())
        words.append(f"**{count} with wrong fields** ({names})")
    if sums["broken"]:
        words.append(f"**{sums['broken']:,} broken lines**")
    if sums["doubled"]:
        words.append(f"**{sums['doubled']:,} doubled**")
    if sums["late"]:
        words.append(f"**{sums['late']:,} not yet written when it said that all was**")
    return words


def _rounds(
    records: Sequence[Mapping[str, Any]], written: Sequence[Mapping[str, Any]]
) -> list[str]:
    words: list[str] = []
    unfinished = [one for one in written if one["unfinished"]]
    if unfinished:
        left = sum(one["unwritten"] for one in unfinished)
        words.append(
            f"**did not end** in {_share(len(unfinished), records)}, {left:,} not written by then"
        )
    refused = Counter(one["error"] for one in written if one["error"])
    words += [f"**`{error}`** in {_share(n, records)}" for error, n in refused.items()]
    failed = Counter(_failure(record) for record in records if "error" in record)
    words += [f"**{failure}** in {_share(n, records)}" for failure, n in failed.items()]
    return words


def _failure(record: Mapping[str, Any]) -> str:
    if record.get("hung"):
        return f"hangs, {record['error']}"
    if record.get("crashed"):
        return str(record["crashed"])
    return f"`{record['error'].strip().splitlines()[-1]}`"


def _share(count: int, records: Sequence[Mapping[str, Any]]) -> str:
    return f"{count} of {len(records)} round{'s'[: len(records) != 1]}"
