"""The command line: ``python -m bench [--quick] [--only SCENARIO ...] [--library L ...]``.

With ``--against FILE`` it is a regression check.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import gates, machine, regression, report
from bench.adapters import Adapter, load_adapters
from bench.runner import Plan, run_plan
from bench.scenarios import SCENARIOS
from bench.summary import Results


def make_parser(libraries: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure asynclog and its peers under the same scenarios.",
    )
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="short runs, three rounds")
    scale.add_argument("--tiny", action="store_true", help="a few events: does it run at all")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="SCENARIO",
        choices=list(SCENARIOS),
        help=f"of {', '.join(SCENARIOS)}",
    )
    parser.add_argument("--library", nargs="+", metavar="L", choices=libraries)
    parser.add_argument("--rounds", type=int, metavar="N", help="the same number for all scenarios")
    parser.add_argument("--json", type=Path, metavar="FILE", help="raw rounds and the machine")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables")
    parser.add_argument(
        "--from",
        dest="earlier",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="measure nothing, make the tables of earlier --json files; where two hold the same "
        "scenario the later one counts",
    )
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="where the libraries write (default: TMPDIR)"
    )
    parser.add_argument("--check", action="store_true", help="exit status 1 if a gate is missed")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="measure what is in an earlier --json file, and compare asynclog's ratios to its "
        "references with those there (never times); exit status 1 if one has become worse by more "
        "than their spread explains. bench/ratios.json goes with docs/benchmarks.md",
    )
    return parser


def choose(
    libraries: dict[str, type[Adapter]], names: Sequence[str] | None
) -> dict[str, type[Adapter]]:
    """Return the libraries to run: those asked for, else all that are installed."""
    chosen: dict[str, type[Adapter]] = {}
    for name, library in libraries.items():
        if names is not None and name not in names:
            continue
        missing = library.missing()
        if missing:
            print(f"{name}: skipped, not installed: {', '.join(missing)}", file=sys.stderr)
            continue
        chosen[name] = library
    return chosen


def measure(options: argparse.Namespace, libraries: dict[str, type[Adapter]]) -> dict[str, Any]:
    """Run what is asked for and return the raw results."""
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=options.directory))
    try:
        plan = Plan(
            scenarios=[SCENARIOS[name] for name in options.only or SCENARIOS],
            libraries=list(libraries.values()),
            scale="quick" if options.quick else "tiny" if options.tiny else "full",
            rounds=options.rounds,
            directory=directory,
        )
        distributions = [name for one in libraries.values() for name in one.distributions]
        where = machine.describe(distributions, directory)
        records = run_plan(plan, lambda text: print(text, file=sys.stderr, flush=True))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {"machine": where, "scale": plan.scale, "rounds": records}


def merge(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the results of several files as one; machine and scale are those of the last."""
    merged: dict[str, Any] = {}
    rounds: list[dict[str, Any]] = []
    for path in paths:
        document = json.loads(path.read_text(encoding="utf-8"))
        anew = {one["scenario"] for one in document["rounds"]}
        rounds = [one for one in rounds if one["scenario"] not in anew] + document["rounds"]
        merged = document
    return {**merged, "rounds": rounds}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit status."""
    known = load_adapters()
    parser = make_parser(list(known))
    options = parser.parse_args(arguments)
    stored = None if options.against is None else read_stored(parser, options, known)
    if options.earlier is not None:
        document = merge(options.earlier)
        seen = {one["library"] for one in document["rounds"]}
        libraries = {name: one for name, one in known.items() if name in seen}
    else:
        libraries = choose(known, options.library)
        document = measure(options, libraries)
    records = document["rounds"]
    results = Results(records, libraries)
    verdicts = gates.judge(results)
    measured = {one["scenario"] for one in records}
    page = report.render(
        results,
        verdicts,
        document["machine"],
        [scenario for name, scenario in SCENARIOS.items() if name in measured],
        document["scale"],
    )
    print(page)
    if options.json is not None:
        _write(options.json, json.dumps(document, indent=1) + "\n")
    if options.markdown is not None:
        _write(options.markdown, page)
    slower = False
    if stored is not None:
        comparisons = regression.compare(stored, results, list(SCENARIOS.values()))
        print(f"## Compared with {options.against}\n\n{regression.comparison_table(comparisons)}")
        # nothing to compare is no good news
        slower = not comparisons or any(one.worse for one in comparisons)
    # A peer that hangs, crashes or loses lines is named in the tables and fails nothing.
    broke = any("error" in one and not libraries[one["library"]].peer for one in records)
    missed = options.check and any(verdict.passed is False for verdict in verdicts)
    return 1 if broke or missed or slower else 0


def read_stored(
    parser: argparse.ArgumentParser, options: argparse.Namespace, known: dict[str, type[Adapter]]
) -> Results:
    """Return the results to compare with; what else is not asked for is measured as there."""
    try:
        rounds = json.loads(options.against.read_text(encoding="utf-8"))["rounds"]
        scenarios = {one["scenario"] for one in rounds} & SCENARIOS.keys()
        libraries = {one["library"] for one in rounds} & known.keys()
    except (OSError, ValueError, LookupError, TypeError) as error:
        parser.error(f"--against {options.against}: is no file that --json wrote: {error!r}")
    if not scenarios or not libraries:
        parser.error(f"--against {options.against}: has no scenario and library of this bench")
    options.only = options.only or [name for name in SCENARIOS if name in scenarios]
    options.library = options.library or [name for name in known if name in libraries]
    return Results(rounds, known)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
