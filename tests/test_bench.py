"""The benchmarks run: every library with a handful of events, and a bad peer spoils nothing."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

OWN = (
    "none",
    "dependencies",
    "structlog-direct",
    "structlog-direct-user",
    "asynclog",
    "asynclog-user",
    "asynclog-slow-sink",
)
PEERS = (
    "structlog-ainfo",
    "stdlib-queue",
    "picologging-queue",
    "rapidlog",
    "opentelemetry-batch",
    "instructlab-async",
    "logxide",
    "loguru-direct",
    "loguru-enqueue",
)
# These lose events even when nobody hurries them; the others lose none of a handful.
LOSE_SOME = frozenset({"instructlab-async", "logxide"})


def run_bench(place: Path, libraries: Sequence[str], *options: str) -> dict[str, Any]:
    """Run the bench at its smallest, one round, and return what it wrote."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "--tiny", "--rounds", "1"),
            *("--json", str(place / "results.json")),
            *("--markdown", str(place / "benchmarks.md")),
            *("--directory", str(place)),
            *("--library", *libraries),
            *options,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (place / "results.json").exists(), done.stderr
    document = json.loads((place / "results.json").read_text())
    page = (place / "benchmarks.md").read_text()
    return {"done": done, "document": document, "page": page, "left": list(place.iterdir())}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run asynclog and what it is compared with under every scenario."""
    return run_bench(tmp_path_factory.mktemp("bench"), OWN)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import modules of the bench, which is no installed package, by their names."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"bench.{name}")

    return load


@pytest.mark.slow
def test_nothing_breaks(run: dict[str, Any]):
    """Every library runs under every scenario without an error."""
    errors = [
        f"{one['scenario']}/{one['library']}: {one['error']}"
        for one in run["document"]["rounds"]
        if "error" in one
    ]
    assert errors == []
    assert run["done"].returncode == 0, run["done"].stderr


@pytest.mark.slow
def test_every_line_is_valid_and_complete(run: dict[str, Any]):
    """What the libraries wrote is read back, and every call is accounted for."""
    checked = 0
    for one in run["document"]["rounds"]:
        written = one.get("written")
        if not written:
            continue
        name = f"{one['scenario']}/{one['library']}"
        for problem in ("broken", "incomplete", "doubled", "lost", "late", "unfinished"):
            assert not written[problem], f"{name}: {written}"
        assert not written["error"], name
        assert written["lines"] + written["dropped"] == written["calls"], name
        checked += written["calls"]
    assert checked > 0


@pytest.mark.slow
def test_asynclog_takes_part_in_every_scenario(run: dict[str, Any]):
    """Both forms of asynclog and their references are measured side by side."""
    seen = {(one["scenario"], one["library"]) for one in run["document"]["rounds"]}
    for scenario in {scenario for scenario, _ in seen} - {"import"}:
        for library in ("structlog-direct", "structlog-direct-user", "asynclog", "asynclog-user"):
            assert (scenario, library) in seen
    assert {("import", "asynclog"), ("import", "dependencies")} <= seen


@pytest.mark.slow
def test_results_say_where_they_come_from(run: dict[str, Any]):
    """The raw results name the machine, the interpreter and the versions."""
    machine = run["document"]["machine"]
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["kernel"]
    assert machine["python"].startswith("3.")
    assert {"structlog", "orjson"} <= machine["versions"].keys()


@pytest.mark.slow
def test_page_has_gates_and_tables(run: dict[str, Any]):
    """The page shows the promised figures with a verdict, and a table for each scenario."""
    page: str = run["page"]
    assert "## Promised figures" in page
    assert page.count("\n| library") >= 12
    assert "| lost or wrong |" in page
    assert "tiny run" in page


@pytest.mark.slow
def test_nothing_is_left_behind(run: dict[str, Any]):
    """The directories the libraries wrote into are gone."""
    assert {path.name for path in run["left"]} == {"results.json", "benchmarks.md"}


def test_every_library_is_known_here(bench: Any):
    """A further adapter is tested too: it has to be named in this file."""
    assert set(bench("adapters").load_adapters()) == {*OWN, *PEERS}


@pytest.mark.slow
@pytest.mark.parametrize("library", PEERS)
def test_peer_runs_end_to_end(library: str, bench: Any, tmp_path: Path):
    """A peer logs, what it wrote is read back, and every call is written or named as lost."""
    adapter = bench("adapters").load_adapters()[library]
    if adapter.missing():
        pytest.skip(f"not installed: {', '.join(adapter.missing())}")
    run = run_bench(tmp_path, [library], "--only", "full_speed", "throughput_1", "filtered")
    assert run["done"].returncode == 0, run["done"].stderr
    rounds = {one["scenario"]: one for one in run["document"]["rounds"]}
    assert {"full_speed", "throughput_1", "filtered"} - rounds.keys() == adapter.skips.keys() & {
        "throughput_1",
        "filtered",
    }
    for one in rounds.values():
        assert "error" not in one, one["error"]
        written = one["written"]
        accounted = written["lines"] + written["dropped"] + written["lost"] + written["unwritten"]
        assert accounted == written["calls"], written
        assert not written["doubled"], written
        if library not in LOSE_SOME:
            for problem in ("lost", "incomplete", "broken", "late", "unfinished", "error"):
                assert not written[problem], written
    assert set(adapter.distributions) <= run["document"]["machine"]["versions"].keys()


class TestBounded:
    """A measuring process ends in the time it is given, whatever it does."""

    def test_hanging_process_is_stopped_with_its_children(self, bench: Any):
        """A process that hangs is killed, and so is a child in a session of its own."""
        program = (
            "import os, subprocess, sys, time\n"
            "child = subprocess.Popen(\n"
            "    [sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True\n"
            ")\n"
            "print(os.getpid(), child.pid, flush=True)\n"
            "time.sleep(600)\n"
        )
        command = [sys.executable, "-c", program]
        ended = bench("bounded").run_bounded(command, ROOT, os.environ, 1.5)
        assert ended.status is None
        for pid in ended.output.split():
            _wait_until_gone(int(pid))

    def test_child_that_outlives_its_parent_is_killed(self, bench: Any):
        """A process that ends at once is not waited for because of a child that stays."""
        program = (
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            "print(child.pid)\n"
        )
        ended = bench("bounded").run_bounded([sys.executable, "-c", program], ROOT, os.environ, 60)
        assert ended.status == 0
        _wait_until_gone(int(ended.output))

    def test_crash_is_named_by_its_signal(self, bench: Any):
        """A process that is killed by a signal says so in words."""
        program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        ended = bench("bounded").run_bounded([sys.executable, "-c", program], ROOT, os.environ, 60)
        assert ended.words() == "killed by SIGKILL"


def test_library_that_hangs_is_left_out(bench: Any, monkeypatch: pytest.MonkeyPatch):
    """After two rounds that had to be stopped a library does not hold up the scenario again."""
    runner, scenarios, adapters = bench("runner"), bench("scenarios"), bench("adapters")
    known = adapters.load_adapters()

    def run_once(plan: Any, scenario: Any, library: Any) -> dict[str, Any]:
        hangs = library.name == "picologging-queue"
        return {"error": "stopped after 60 s", "hung": True} if hangs else {"metrics": {}}

    monkeypatch.setattr(runner, "run_once", run_once)
    plan = runner.Plan(
        scenarios=[scenarios.SCENARIOS["throughput_4"], scenarios.SCENARIOS["burst"]],
        libraries=[known["structlog-direct"], known["picologging-queue"]],
        scale="tiny",
        rounds=4,
        directory=Path(),
    )
    records: list[dict[str, Any]] = runner.run_plan(plan, str)
    count = [(one["scenario"], one["library"]) for one in records].count
    assert count(("throughput_4", "structlog-direct")) == 4
    assert count(("throughput_4", "picologging-queue")) == 2
    assert count(("burst", "picologging-queue")) == 2


def test_peers_take_part_in_rounds_spread_evenly(bench: Any):
    """asynclog and its references run in every round, a peer in some from first to last."""
    runner, scenarios = bench("runner"), bench("scenarios")
    known = bench("adapters").load_adapters()
    plan = runner.Plan([], [], "full", None, Path())
    scenario = scenarios.SCENARIOS["loop"]
    rounds = range(plan.rounds_of(scenario))

    def taken(library: str) -> list[int]:
        return [i for i in rounds if plan.takes_part(known[library], scenario, i)]

    assert taken("asynclog") == list(rounds)
    assert taken("stdlib-queue") == [0, 5, 10]


def test_failing_peer_fails_nothing(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The run's status is that of asynclog and its references; a bad peer is in the table."""
    main, known = bench("__main__"), bench("adapters").load_adapters()
    rounds = [{"scenario": "burst", "library": "stdlib-queue", "round": 0, "error": "oh: no"}]
    machine = bench("machine").describe([], ROOT)

    def measure(options: Any, libraries: Any) -> dict[str, Any]:
        return {"machine": machine, "scale": "tiny", "rounds": rounds}

    monkeypatch.setattr(main, "measure", measure)
    assert main.main(["--library", "stdlib-queue"]) == 0
    assert "**`oh: no`** in 1 of 1 round" in capsys.readouterr().out
    rounds[0]["library"] = "asynclog"
    assert "asynclog" in known
    assert main.main(["--library", "asynclog"]) == 1


def _rounds(p50: Sequence[float], scenario: str = "full_speed") -> list[dict[str, Any]]:
    """Make rounds in which the reference takes 1,000 ns, or 1,000 times as long in each."""
    return [
        {
            "scenario": scenario,
            "library": library,
            "round": number,
            "metrics": {"p50_ns": cost * 1000 * (number + 1)},
        }
        for number, ratio in enumerate(p50)
        for library, cost in (("structlog-direct", 1.0), ("asynclog", ratio))
    ]


@pytest.mark.parametrize(
    ("now", "status", "verdict"),
    [
        # 5 % at least, and three times the distance of the stored quartiles: 0.0525 here
        ((0.20, 0.21, 0.22), 0, "as good"),
        ((0.25, 0.25, 0.90), 0, "as good"),
        ((0.20, 0.28, 0.28), 1, "**worse**"),
        ((0.10, 0.10, 0.10), 0, "as good"),
    ],
)
def test_run_is_compared_with_a_stored_one_by_its_ratios(
    bench: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    now: Sequence[float],
    status: int,
    verdict: str,
):
    """A ratio that is worse than the stored spread explains ends in status 1; times count not."""
    main = bench("__main__")
    machine = bench("machine").describe([], ROOT)
    stored = tmp_path / "ratios.json"
    stored.write_text(json.dumps({"rounds": _rounds((0.19, 0.20, 0.20, 0.21, 0.22, 0.23))}))
    asked: list[tuple[list[str], list[str]]] = []

    def measure(options: Any, libraries: dict[str, Any]) -> dict[str, Any]:
        asked.append((options.only, list(libraries)))
        return {"machine": machine, "scale": "quick", "rounds": _rounds(now)}

    monkeypatch.setattr(main, "measure", measure)
    assert main.main(["--quick", "--against", str(stored)]) == status
    table = capsys.readouterr().out.partition("## Compared with")[2]
    assert verdict in table
    assert "0.205x" in table
    assert asked == [(["full_speed"], ["structlog-direct", "asynclog"])]


def test_more_events_a_second_are_no_regression(bench: Any):
    """Where more is better, less is worse."""
    spread, comparison = bench("summary").Spread, bench("regression").Comparison
    stored = spread.of([2.9, 3.0, 3.1])
    for median, worse in ((9.0, False), (2.8, False), (2.5, True)):
        fresh = spread.of([median])
        assert comparison("throughput_1", "asynclog", "-", stored, fresh, True).worse is worse


@pytest.mark.parametrize("content", ["", "[]", '{"rounds": []}', '{"rounds": [{"scenario": "x"}]}'])
def test_stored_run_that_is_none_is_refused_at_once(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
):
    """Whoever names the wrong file learns so before anything is measured."""
    stored = tmp_path / "ratios.json"
    stored.write_text(content)
    with pytest.raises(SystemExit) as ended:
        bench("__main__").main(["--against", str(stored)])
    assert ended.value.code == 2
    assert "--against" in capsys.readouterr().err


def test_stored_ratios_can_be_compared_with(bench: Any):
    """What goes with the docs holds both forms of asynclog and their references."""
    document = json.loads((ROOT / "bench" / "ratios.json").read_text())
    results = bench("summary").Results(document["rounds"], bench("adapters").load_adapters())
    scenarios = list(bench("scenarios").SCENARIOS.values())
    found = bench("regression").compare(results, results, scenarios)
    figures = {(one.scenario, one.library) for one in found}
    assert {("full_speed", "asynclog"), ("full_speed", "asynclog-user")} <= figures
    assert not [one for one in found if one.worse]


def test_reading_back_names_what_is_wrong(bench: Any, tmp_path: Path):
    """Lost, doubled, broken and changed events are told apart, and fields are named."""
    workload, verify = bench("workload"), bench("verify")
    good = {**workload.EXPECTED, "timestamp": "2026-01-31T12:00:00Z"}
    lines = [
        json.dumps({**good, "seq": 0}),
        json.dumps({**good, "seq": 1, "level": None}),
        json.dumps({**good, "seq": "2", "status": "200"}),
        json.dumps({**good, "seq": 0}),
        json.dumps({**good, "seq": 3})[:-9],
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")

    adapter = bench("adapters").Adapter()
    written = verify.read_back(adapter, tmp_path, calls=5, numbers=5)
    assert (written.lines, written.doubled, written.broken, written.incomplete) == (3, 1, 1, 2)
    assert written.wrong == {"level missing": 1, "seq changed": 1, "status changed": 1}


GOOD = {"calls": 10, "lines": 10, "unfinished": False, "error": ""}


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([{"written": GOOD}], "nothing"),
        ([{"written": {**GOOD, "lines": 8, "lost": 2}}], "**2 of 10 lost**"),
        (
            [{"written": {**GOOD, "incomplete": 10, "wrong": {"level missing": 10}}}],
            "**all with wrong fields** (level missing)",
        ),
        ([{"written": {**GOOD, "broken": 3}}], "**3 broken lines**"),
        ([{"written": {**GOOD, "late": 1}}], "**1 not yet written when it said that all was**"),
        (
            [{"written": {**GOOD, "unfinished": True, "unwritten": 4}}, {"written": GOOD}],
            "**did not end** in 1 of 2 rounds, 4 not written by then",
        ),
        (
            [{"error": "stopped after 60 s", "hung": True}],
            "**hangs, stopped after 60 s** in 1 of 1 round",
        ),
        (
            [{"error": "killed by SIGSEGV: ...", "crashed": "killed by SIGSEGV"}],
            "**killed by SIGSEGV** in 1 of 1 round",
        ),
        ([{"error": "Traceback\nValueError: x"}], "**`ValueError: x`** in 1 of 1 round"),
    ],
)
def test_troubles_are_put_into_words(bench: Any, records: list[dict[str, Any]], words: str):
    """The column says what was lost, garbled or hung on, and nothing otherwise."""
    assert bench("troubles").troubles(records) == words


def test_table_says_why_a_library_takes_no_part(bench: Any):
    """Where a scenario does not apply to a library its row gives the reason."""
    known = bench("adapters").load_adapters()
    libraries = {"structlog-ainfo": known["structlog-ainfo"]}
    results = bench("summary").Results([], libraries)
    table = bench("report").scenario_table(results, bench("scenarios").SCENARIOS["throughput_4"])
    assert "n/a: its calls belong to one event loop" in table


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still lives")
