"""The figures asynclog has promised, and whether this run shows them."""

from __future__ import annotations

from dataclasses import dataclass

from bench.scenarios import SCENARIOS
from bench.summary import Results

ENOUGH_ROUNDS = 15
DEFAULT = "asynclog"
USER = "asynclog-user"
SLOW_SINK = "asynclog-slow-sink"


@dataclass(frozen=True)
class Verdict:
    """One gate: what was asked, what was measured, and whether it holds (None: not measured)."""

    name: str
    limit: str
    measured: str
    passed: bool | None


def judge(results: Results) -> list[Verdict]:
    """Return the verdict on every gate."""
    return [
        _ratio(results, "caller p50, user processors", "full_speed", USER, "p50_ns", 0.35),
        _ratio(results, "caller p50, default chain", "full_speed", DEFAULT, "p50_ns", 0.25),
        _ratio(results, "CPU per event", "throughput_1", DEFAULT, "cpu_us", 0.40),
        _ratio(
            results,
            "events per second to disk, 1 thread",
            "throughput_1",
            DEFAULT,
            "events_per_s",
            2.5,
            at_least=True,
        ),
        *(
            _over_share(results, library, mode)
            for library in (DEFAULT, USER)
            for mode in ("idle", "busy")
        ),
        _lateness(results, "loop", "loop lateness p99, logging", DEFAULT),
        _lateness(results, "loop_slow", "loop lateness p99, 20 ms file", DEFAULT),
        _lateness(results, "loop_slow", "loop lateness p99, 20 ms sink", SLOW_SINK),
        _growth(results, "memory growth in the burst, 20 ms file", DEFAULT),
        _growth(results, "memory growth in the burst, 20 ms sink", SLOW_SINK),
        *_imports(results),
        _accounted(results),
    ]


def _ratio(
    results: Results,
    name: str,
    scenario: str,
    library: str,
    key: str,
    limit: float,
    *,
    at_least: bool = False,
) -> Verdict:
    ratio = results.ratio(scenario, library, key)
    sign = ">=" if at_least else "<="
    asked = f"{sign} {limit:.2f}x"
    if ratio is None:
        return Verdict(name, asked, "-", None)
    passed = ratio.median >= limit if at_least else ratio.median <= limit
    return Verdict(name, asked, f"{ratio.median:.3f}x [{ratio.low:.3f}, {ratio.high:.3f}]", passed)


def _over_share(results: Results, library: str, mode: str) -> Verdict:
    name = f"calls over 1 ms beside a CPU-bound thread, {mode} caller, {library}"
    over = sum(results.values("cpu_beside", library, f"{mode}_over_calls"))
    calls = sum(results.values("cpu_beside", library, f"{mode}_calls"))
    if not calls:
        return Verdict(name, "<= 0.1 %", "-", None)
    share = over / calls
    return Verdict(name, "<= 0.1 %", f"{share:.3%} ({over:,.0f} of {calls:,.0f})", share <= 0.001)


def _lateness(results: Results, scenario: str, name: str, library: str) -> Verdict:
    asked = "median <= upper quartile without logging"
    with_logging = results.spread(scenario, library, "p99_ns")
    without = results.spread(scenario, "none", "p99_ns")
    if with_logging is None or without is None:
        return Verdict(name, asked, "-", None)
    measured = f"{with_logging.median / 1e6:.3f} ms against {without.high / 1e6:.3f} ms"
    if min(with_logging.rounds, without.rounds) < ENOUGH_ROUNDS:
        measured += f" ({with_logging.rounds} rounds, {ENOUGH_ROUNDS} needed)"
    return Verdict(name, asked, measured, with_logging.median <= without.high)


def _growth(results: Results, name: str, library: str) -> Verdict:
    growth = results.spread("burst", library, "growth_mib")
    if growth is None:
        return Verdict(name, "<= 32 MiB", "-", None)
    return Verdict(name, "<= 32 MiB", f"{growth.most:.1f} MiB at most", growth.most <= 32)


def _imports(results: Results) -> list[Verdict]:
    asked = "<= 1.15x"
    whole = results.ratio("import", DEFAULT, "wall_ms", "dependencies")
    shortest = [
        results.spread("import", library, "min_ms") for library in ("none", "dependencies", DEFAULT)
    ]
    verdicts = [
        Verdict("import, whole process", asked, "-", None)
        if whole is None
        else Verdict(
            "import, whole process",
            asked,
            f"{whole.median:.3f}x [{whole.low:.3f}, {whole.high:.3f}]",
            whole.median <= 1.15,
        )
    ]
    if all(shortest):
        bare, dependencies, ours = (spread.least for spread in shortest if spread is not None)
        net = (ours - bare) / (dependencies - bare)
        verdicts.append(
            Verdict(
                "import, shortest, without the interpreter's own start",
                asked,
                f"{net:.3f}x",
                net <= 1.15,
            )
        )
    return verdicts


def _accounted(results: Results) -> Verdict:
    name = "accepted = written + dropped, every line valid and complete"
    problems: list[str] = []
    calls = 0
    for scenario in SCENARIOS:
        for library in (DEFAULT, USER, SLOW_SINK):
            sums = results.written(scenario, library)
            calls += sums["calls"]
            wrong = {
                key: sums[key]
                for key in (
                    "lost",
                    "broken",
                    "incomplete",
                    "doubled",
                    "late",
                    "unfinished",
                    "failed",
                )
                if sums[key]
            }
            problems += [f"{scenario}/{library}: {count} {key}" for key, count in wrong.items()]
    if not calls and not problems:
        return Verdict(name, "0 exceptions", "-", None)
    return Verdict(
        name, "0 exceptions", "; ".join(problems) or f"0 in {calls:,} calls", not problems
    )
