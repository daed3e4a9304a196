"""MetricsCsv, MetricsJsonl and Best: every value once, in files that other programs read."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asynclog.exceptions import SettingError
from asynclog.sinks import Best, MetricsCsv, MetricsJsonl, ranked
from asynclog.sinks.metric_sinks import HEADER, rows_of
from asynclog.typing import Run

STAMP = "2026-01-31T12:00:00.123456Z"
WALL_TIME = "1769860800.123456"


def metrics(step: Any = 0, split: Any = "val", **values: Any) -> dict[str, Any]:
    """Return the fields of a record of metrics."""
    return {"kind": "metrics", "step": step, "split": split, "metrics": values}


@pytest.fixture
def batch(make_line: Callable[..., bytes], make_batch: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that makes a batch of records given as dicts of fields."""

    def batch(*records: dict[str, Any]) -> Any:
        lines = [make_line(**{"event": "metrics", **record}) for record in records]
        return make_batch(
            *(line.replace(b"2025-01-23T14:30:22.123456Z", STAMP.encode()) for line in lines)
        )

    return batch


def table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as the standard library reads them."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_rows(run: Run, batch: Callable[..., Any]) -> None:
    """One row for each value, under the header; other records are left alone."""
    sink = MetricsCsv().make()
    sink.open(run)
    sink.write_blocking(
        batch(
            metrics(0, "train", loss=0.5, acc=1),
            {"event": "hello", "metrics": {"loss": 1.0}},
            {"kind": "hparams", "params": {"lr": 1}},
            metrics(7, "val", **{"nested/loss": 1e-300}),
        )
    )
    assert (run.directory / "metrics.csv").read_text() == (
        "step,split,name,value,wall_time\n"
        f"0,train,loss,0.5,{WALL_TIME}\n"
        f"0,train,acc,1,{WALL_TIME}\n"
        f"7,val,nested/loss,1e-300,{WALL_TIME}\n"
    )
    assert float(WALL_TIME) == datetime.fromisoformat(STAMP).timestamp()


def test_the_file_is_there_at_once(run: Run) -> None:
    """Opening makes the file with its header, readable by the group and nobody else."""
    old = os.umask(0)
    try:
        MetricsCsv("deep/metrics.csv").make().open(run)
    finally:
        os.umask(old)
    path = run.directory / "deep" / "metrics.csv"
    assert path.read_bytes() == HEADER
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_existing_file_is_gone_on_with(run: Run, batch: Callable[..., Any]) -> None:
    """Rows that are there stay, also those of another program; a torn one is cut."""
    run.directory.mkdir()
    path = run.directory / "metrics.csv"
    path.write_text("step,split,name,value,wall_time\n0,train,loss,0.5,1706017822\n1,tra")
    sink = MetricsCsv().make()
    sink.open(run)
    sink.write_blocking(batch(metrics(1, "train", loss=0.25)))
    assert [(row["step"], row["value"]) for row in table(path)] == [("0", "0.5"), ("1", "0.25")]


def test_what_is_missing_or_odd(run: Run, batch: Callable[..., Any]) -> None:
    """No step and no split are empty; NaN and infinities have their names; true counts as 1."""
    sink = MetricsCsv().make()
    sink.open(run)
    record = metrics(None, None, a="NaN", b="Infinity", c="-Infinity", d=True)
    del record["step"], record["split"]
    sink.write_blocking(batch(record, {"kind": "metrics", "metrics": [1]}, {"kind": "metrics"}))
    rows = table(run.directory / "metrics.csv")
    assert [row["value"] for row in rows] == ["NaN", "Infinity", "-Infinity", "1"]
    assert {(row["step"], row["split"]) for row in rows} == {("", "")}


def test_a_record_with_a_time_of_its_own() -> None:
    """A time stamp with another zone is converted, one that is none leaves its column empty."""
    record = {**metrics(0, "val", a=1), "timestamp": "2026-01-31T13:00:00.123456+01:00"}
    assert rows_of(record) == [f"0,val,a,1,{WALL_TIME}\n"]
    assert rows_of({**record, "timestamp": "2026-01-31T12:00:00.123456"})[0].endswith(
        WALL_TIME + "\n"
    )
    assert rows_of({**record, "timestamp": "yesterday"}) == ["0,val,a,1,\n"]


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63),
            st.none() | st.text(max_size=10),
            st.text(max_size=10),
            st.floats() | st.integers(-(2**63), 2**63),
        ),
        max_size=10,
    )
)
def test_any_names_and_values_come_back(
    records: list[tuple[int | None, str | None, str, float]],
) -> None:
    """A reader gets back names with commas, quotes and spaces, and every value exactly."""
    text = HEADER.decode()
    wanted: list[tuple[str, ...]] = []
    for step, split, name, value in records:
        plain = value if abs(value) < float("inf") else {"nan": "NaN"}.get(str(value), "Infinity")
        text += "".join(rows_of({"step": step, "split": split, "metrics": {name: plain}}))
        printable = [ranked_text(part) for part in ("" if split is None else split, name)]
        wanted.append(("" if step is None else str(step), *printable, str(plain), ""))
    assert text.count("\n") == len(records) + 1
    found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert [tuple(row) for row in found[1:]] == wanted


def ranked_text(text: str) -> str:
    """Return a name with its control characters spelled out."""
    from asynclog.sinks.escape import escape

    return escape(text)


def test_pandas_reads_it(run: Run, batch: Callable[..., Any]) -> None:
    """pandas makes numbers of the numbers, NaN and infinities included, and times of the times."""
    pandas = pytest.importorskip("pandas")
    sink = MetricsCsv().make()
    sink.open(run)
    sink.write_blocking(
        batch(
            metrics(0, "train", loss=0.5, **{'a, "b"': 1}),
            metrics(1, "train", loss="NaN"),
            metrics(2, "train", loss="-Infinity"),
            metrics(3, "val", loss=1e-300),
        )
    )
    frame = pandas.read_csv(run.directory / "metrics.csv")
    assert list(frame.columns) == ["step", "split", "name", "value", "wall_time"]
    loss = frame[frame["name"] == "loss"]
    assert loss["step"].tolist() == [0, 1, 2, 3]
    assert str(loss["value"].tolist()) == "[0.5, nan, -inf, 1e-300]"
    assert frame["name"].tolist()[1] == 'a, "b"'
    times = pandas.to_datetime(frame["wall_time"], unit="s", utc=True)
    assert times[0].isoformat(timespec="microseconds") == "2026-01-31T12:00:00.123456+00:00"


def test_every_rank_has_its_file(run: Run, batch: Callable[..., Any]) -> None:
    """Records go by their rank, whatever the rank of the collector is."""
    records = [{**metrics(n, "val", loss=n), "rank": n} for n in (0, 1, 12)]
    odd = [{**metrics(9, "val", loss=9), "rank": rank} for rank in (-1, "x", 10**9, True, None)]
    for declaration in (MetricsCsv(), MetricsJsonl(), Best()):
        sink = declaration.make()
        sink.open(replace(run, rank=1))
        sink.write_blocking(batch(*records, *odd, metrics(5, "val", loss=5)))
    names = {path.name for path in run.directory.iterdir()}
    assert names == {
        f"{stem}{rank}.{extension}"
        for stem, extension in (("metrics", "csv"), ("metrics", "jsonl"), ("best", "json"))
        for rank in ("", "_rank1", "_rank12")
    }
    assert [row["step"] for row in table(run.directory / "metrics_rank12.csv")] == ["12"]
    assert len(table(run.directory / "metrics.csv")) == 7
    best = json.loads((run.directory / "best_rank1.json").read_text())
    assert best == {"val/loss": {"value": 1, "step": 1, "mode": "min"}}


def test_ranks_are_bounded(
    run: Run, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who calls everything a rank does not get files without end."""
    monkeypatch.setattr(ranked, "MAX_FILES", 3)
    monkeypatch.setattr("asynclog.sinks.best_sink.MAX_FILES", 3)
    for declaration in (MetricsCsv(), Best()):
        sink = declaration.make()
        sink.open(run)
        sink.write_blocking(batch(*({**metrics(n, loss=1), "rank": n} for n in range(10))))
    assert len(list(run.directory.glob("metrics*.csv"))) == 3
    assert len(list(run.directory.glob("best*.json"))) == 3
    assert len(table(run.directory / "metrics.csv")) == 8


def test_jsonl(run: Run, batch: Callable[..., Any]) -> None:
    """Metrics and hyperparameters as they are, other records not."""
    sink = MetricsJsonl().make()
    sink.open(run)
    given = batch(metrics(0, loss=1), {"event": "x"}, {"kind": "hparams", "params": {"lr": 0.1}})
    sink.write_blocking(given)
    lines = (run.directory / "metrics.jsonl").read_bytes().splitlines()
    assert lines == [given.lines[0], given.lines[2]]


@pytest.mark.parametrize("kind", [MetricsCsv, MetricsJsonl, Best])
@pytest.mark.parametrize("path", ["", "/abs", "../out", "{nope}", 3])
def test_paths_are_checked(kind: type[Any], path: Any) -> None:
    """A path that is none, or leads out of the run directory, is refused at once."""
    with pytest.raises(SettingError, match=r"^path m(ust|ay)"):
        kind(path)


def test_a_link_is_refused(run: Run, tmp_path: Path) -> None:
    """A symbolic link in the file's place is not followed, and start says so."""
    run.directory.mkdir()
    (tmp_path / "elsewhere").write_text("")
    (run.directory / "metrics.csv").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a symbolic link, which is refused"):
        MetricsCsv().make().open(run)


def test_something_else_in_its_place(run: Run) -> None:
    """A FIFO in the file's place is refused instead of waited for."""
    run.directory.mkdir()
    os.mkfifo(run.directory / "metrics.csv")
    with pytest.raises(OSError, match="is no regular file"):
        MetricsCsv().make().open(run)


# Exactly once


class FullDisk:
    """Lets writes through until so many bytes are written."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.write = os.write

    def __call__(self, descriptor: int, content: Any) -> int:
        """Write what there is room for."""
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = self.write(descriptor, content[: self.room])
        self.room -= count
        return count


def test_full_disk(run: Run, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a write fails, in whichever file: the same batch once more gives every row once."""
    records = batch(*({**metrics(n, loss=n), "rank": n % 3} for n in range(9)))
    for room in range(0, 400, 7):
        place = replace(run, directory=run.directory / str(room))
        place.directory.mkdir(parents=True)
        sink = MetricsCsv().make()
        sink.open(place)
        sink.restore(None)
        sink.write_blocking(batch(metrics(100, loss=1)))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", FullDisk(room))
            try:
                sink.write_blocking(records)
            except OSError:
                pass
            else:
                continue
        sink.write_blocking(records)
        steps = [
            row["step"]
            for name in ("metrics.csv", "metrics_rank1.csv", "metrics_rank2.csv")
            for row in table(place.directory / name)
        ]
        assert steps == ["100", *(str(rank + step) for rank in range(3) for step in (0, 3, 6))]
    assert room > 300


class Killed(RuleBasedStateMachine):
    """A sink that is fed from a cursor and killed at any point, against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.run = Run(Path(self.place.name), "run", datetime.now(UTC), "host", 1)
        self.records: list[dict[str, Any]] = []
        self.cursor = 0
        self.saved: tuple[int, Any] | None = None
        self.sink: Any = None
        self.start()

    def start(self) -> None:
        """Open the sink as the follower does: what the cursor file says, then save it again."""
        self.sink = self.declaration().make()
        self.sink.open(self.run)
        self.cursor, state = self.saved or (0, None)
        self.sink.restore(json.loads(json.dumps(state)))
        self.saved = (self.cursor, self.state())

    def declaration(self) -> Any:
        """Return what is tested."""
        return MetricsCsv()

    def state(self) -> Any:
        """Return the state as a cursor file holds it."""
        return json.loads(json.dumps(self.sink.state()))

    def batch(self, records: list[dict[str, Any]]) -> Any:
        """Return a batch of records."""
        return SimpleNamespace(events=records)

    @rule(rank=st.integers(0, 2), count=st.integers(1, 4))
    def log(self, rank: int, count: int) -> None:
        """Log some records."""
        for _ in range(count):
            record = {"timestamp": STAMP, "kind": "metrics", "rank": rank}
            self.records.append({**record, "step": len(self.records), "metrics": {"loss": 0.5}})

    @rule(count=st.integers(1, 5), saves=st.booleans())
    def write(self, count: int, saves: bool) -> None:
        """Write a batch; killed before the cursor is saved, or not."""
        end = min(len(self.records), self.cursor + count)
        self.sink.write_blocking(self.batch(self.records[self.cursor : end]))
        if saves:
            self.cursor = end
            self.saved = (end, self.state())
        else:
            self.start()

    @precondition(lambda self: self.cursor < len(self.records))
    @rule(count=st.integers(1, 5), room=st.integers(0, 200), again=st.booleans())
    def fail(self, count: int, room: int, again: bool) -> None:
        """Write a part of a batch only; killed then, or alive to try once more."""
        end = min(len(self.records), self.cursor + count)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", FullDisk(room))
            try:
                self.sink.write_blocking(self.batch(self.records[self.cursor : end]))
            except OSError:
                pass
            else:
                again = False
        if again:
            self.write(end - self.cursor, saves=True)
        else:
            self.start()

    @invariant()
    def nothing_is_missing_or_doubled(self) -> None:
        """Up to the cursor every record is there, and no record twice or out of its order."""
        for rank in range(3):
            name = f"metrics_rank{rank}.csv" if rank else "metrics.csv"
            path = self.run.directory / name
            found = [int(row["step"]) for row in table(path)] if path.exists() else []
            steps = [record["step"] for record in self.records if record["rank"] == rank]
            assert found == steps[: len(found)]
            assert len(found) >= sum(step < self.cursor for step in steps)

    def teardown(self) -> None:
        """Remove the files."""
        self.place.cleanup()


TestKilled = Killed.TestCase
TestKilled.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


def test_killed_at_any_byte_of_the_first_batch() -> None:
    """However much of the first batch was written, header included: the file is right after it."""
    for room in range(150):
        machine = Killed()
        for rank in (0, 1):
            machine.log(rank, 1)
        machine.fail(count=2, room=room, again=bool(room % 2))
        machine.log(1, 1)
        machine.write(count=3, saves=True)
        machine.nothing_is_missing_or_doubled()
        machine.teardown()


def test_what_was_there_before_the_first_batch_stays(run: Run, batch: Callable[..., Any]) -> None:
    """Rows of another program survive a kill in the very first batch, in files of all ranks."""
    run.directory.mkdir()
    old = b"step,split,name,value,wall_time\n0,train,loss,0.5,1706017822\n"
    for name in ("metrics.csv", "metrics_rank1.csv"):
        (run.directory / name).write_bytes(old)
    records = batch(metrics(1, loss=1), {**metrics(1, loss=1), "rank": 1})
    first = MetricsCsv().make()
    first.open(run)
    first.restore(None)
    saved = first.state()
    first.write_blocking(records)
    second = MetricsCsv().make()
    second.open(run)
    second.restore(saved)
    second.write_blocking(records)
    for name in ("metrics.csv", "metrics_rank1.csv"):
        assert [row["step"] for row in table(run.directory / name)] == ["0", "1"]


def test_from_the_start_again(run: Run, batch: Callable[..., Any]) -> None:
    """Fed everything once more, with the cursor lost, the file is what it was."""
    parts = [batch(*(metrics(step, loss=step) for step in range(n, n + 5))) for n in (0, 5, 10)]
    for _ in range(2):
        sink = MetricsCsv().make()
        sink.open(run)
        sink.restore(None)
        for part in parts:
            sink.write_blocking(part)
    assert [row["step"] for row in table(run.directory / "metrics.csv")] == [
        str(step) for step in range(15)
    ]


def test_a_state_that_makes_no_sense(run: Run, batch: Callable[..., Any], tmp_path: Path) -> None:
    """Whatever a cursor file holds, nothing outside of the run directory is touched."""
    outside = tmp_path / "outside"
    outside.write_text("keep\n")
    for sizes in ([], {"../outside": 0, str(outside): 0, "gone.csv": 3, "metrics.csv": "x", "": 0}):
        sink = MetricsCsv().make()
        sink.open(run)
        try:
            sink.restore({"sizes": sizes})
        except OSError:
            continue
        sink.write_blocking(batch(metrics(1, loss=1)))
    assert outside.read_text() == "keep\n"


def test_a_file_that_is_taken_away(run: Run, batch: Callable[..., Any]) -> None:
    """It is made anew, with its header."""
    sink = MetricsCsv().make()
    sink.open(run)
    sink.restore(None)
    path = run.directory / "metrics.csv"
    for step in range(3):
        sink.write_blocking(batch(metrics(step, loss=1)))
        path.rename(path.with_name(f"old{step}.csv"))
    sink.write_blocking(batch(metrics(3, loss=1)))
    assert [row["step"] for row in table(path)] == ["3"]
    assert [row["step"] for row in table(run.directory / "old1.csv")] == ["1"]


# best.json


def best_json(run: Run) -> dict[str, Any]:
    """Return what best.json says, by a strict parser."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads((run.directory / "best.json").read_text(), parse_constant=refuse)


def test_best(run: Run, batch: Callable[..., Any]) -> None:
    """Least loss and most accuracy by split, first of equal ones, never NaN."""
    sink = Best().make()
    sink.open(run)
    sink.write_blocking(
        batch(
            metrics(0, loss="NaN", acc=0.1),
            metrics(1, loss=0.5, acc=0.9),
            metrics(2, loss=0.5, acc=0.8),
            metrics(3, "train", loss=0.4, power=3),
            {**metrics(4, "train", loss=0.1), "best": False},
            {**metrics(5, "train", weird=7), "mode": "max"},
        )
    )
    assert best_json(run) == {
        "train/loss": {"value": 0.4, "step": 3, "mode": "min"},
        "train/power": {"value": 3, "step": 3, "mode": "min"},
        "train/weird": {"value": 7, "step": 5, "mode": "max"},
        "val/acc": {"value": 0.9, "step": 1, "mode": "max"},
        "val/loss": {"value": 0.5, "step": 1, "mode": "min"},
    }
    assert stat.S_IMODE((run.directory / "best.json").stat().st_mode) & ~0o640 == 0
    assert [path.name for path in run.directory.iterdir()] == ["best.json"]


def test_best_on_resume(run: Run, batch: Callable[..., Any]) -> None:
    """A new run goes on with the file that is there; records seen twice change nothing."""
    records = batch(metrics(0, loss=0.5), metrics(1, loss=0.25))
    for _ in range(2):
        sink = Best().make()
        sink.open(run)
        sink.write_blocking(records)
    sink.write_blocking(batch(metrics(2, loss=0.3)))
    assert best_json(run) == {"val/loss": {"value": 0.25, "step": 1, "mode": "min"}}


def test_best_is_only_written_when_it_changes(run: Run, batch: Callable[..., Any]) -> None:
    """What is no better costs no write."""
    sink = Best().make()
    sink.open(run)
    sink.write_blocking(batch(metrics(0, loss=1)))
    before = (run.directory / "best.json").stat()
    sink.write_blocking(batch(metrics(1, loss=2)))
    after = (run.directory / "best.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_best_after_a_failure(
    run: Run, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that failed leaves the old file whole, and is made up for by the next call."""
    sink = Best().make()
    sink.open(run)
    sink.write_blocking(batch(metrics(0, loss=1)))
    better = batch(metrics(1, loss=0.5))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", FullDisk(0))
        with pytest.raises(OSError, match="No space"):
            sink.write_blocking(better)
    assert best_json(run)["val/loss"]["value"] == 1
    sink.write_blocking(better)
    assert best_json(run)["val/loss"]["value"] == 0.5


def test_unreadable_best(
    run: Run, batch: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """A file that is no JSON is put aside and said; the run goes on."""
    run.directory.mkdir()
    (run.directory / "best.json").write_text('{"val/loss": {"value": NaN, "st')
    sink = Best().make()
    sink.open(run)
    sink.write_blocking(batch(metrics(1, loss=0.5)))
    assert best_json(run)["val/loss"]["value"] == 0.5
    assert (run.directory / "best.json.unreadable").exists()
    assert "best.json cannot be read" in capfd.readouterr().err
