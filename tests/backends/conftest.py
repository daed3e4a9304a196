"""What the tests of backends share: programs that log, readers of what a backend has, a server."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 120.0
"""Seconds that a program, a server or a collector may take on a loaded machine."""

PRELUDE = """
import asynclog, os, sys, time, zlib, struct
from pathlib import Path
from asynclog._line.encoder import Kind

log = asynclog.get_logger("train")
run_dir = Path("run").absolute()


def record(kind, **fields):
    log.info(kind, kind=Kind(kind), quiet=True, **fields)


def until(condition, what="it", patience=120.0):
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def image(name, red, **fields):
    rows = b"".join(b"\\0" + bytes((red, 0, 0)) * 4 for _ in range(3))
    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum
    head = struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 0, 0)
    png = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head)
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path = f"media/images/{name}-{red}.png"
    (run_dir / path).parent.mkdir(parents=True, exist_ok=True)
    (run_dir / path).write_bytes(png)
    record("image", name=name, path=path, width=4, height=3, **fields)


def collector():
    return asynclog.stats().collector_pid
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return what starts a program that logs; it is killed at the end if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, **environment: str) -> subprocess.Popen[str]:
        program = tmp_path / f"program{len(started)}.py"
        program.write_text(PRELUDE + textwrap.dedent(code))
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "MLFLOW"))}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(program)],
            cwd=tmp_path,
            # their own files, too, stay in the test's directory
            env={**clean, "HOME": str(tmp_path / "home"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def run_program(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., tuple[str, str]]:
    """Return what runs a program to its end and returns its output and its complaints."""

    def run_program(code: str, *, exit_code: int = 0, **environment: str) -> tuple[str, str]:
        process = start(code, **environment)
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == exit_code, f"{output}\n{errors}"
        return output, errors

    return run_program


@pytest.fixture
def replay(run_program: Callable[..., tuple[str, str]]) -> Callable[..., str]:
    """Return what runs ``asynclog replay`` once nobody collects any more, and what it said."""

    def replay(sink: str, *options: str, **environment: str) -> str:
        output, _ = run_program(
            f"""
            import subprocess
            command = ["-m", "asynclog.cli", "replay", "run", "--sink", *{[sink, *options]}]
            def done():
                done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
                return None if "must not be in use" in done.stderr else done
            done = until(done, "the collector's end")
            assert done.returncode == 0, done.stderr
            print(done.stdout)
            """,
            **environment,
        )
        return output

    return replay


@pytest.fixture
def until() -> Callable[..., Any]:
    """Return what waits until a condition holds, and returns what it gave."""

    def until(condition: Callable[[], Any], what: str = "it") -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.05)
        return found

    return until


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Return the address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed_port() -> str:
    """Return an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


# W&B


def read_log(path: Path) -> list[Any]:
    """Read W&B's transaction log by its format alone: LevelDB's, behind a header of 7 bytes.

    https://github.com/google/leveldb/blob/main/doc/log_format.md; the checksums are W&B's own,
    CRC-32 of type and data. A torn end, as a kill leaves it, ends the reading.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    records, position, begun = [], 7, b""
    while position + 7 <= len(content):
        room = 32768 - position % 32768
        if room < 7:
            position += room
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, position)
        data = content[position + 7 : position + 7 + length]
        if not kind or len(data) < length:
            break
        assert zlib.crc32(bytes((kind,)) + data) == checksum, f"{path} at {position}"
        begun += data
        position += 7 + length
        if kind in (1, 4):
            records.append(Record.FromString(begun))
            begun = b""
    return records


class WandbRuns:
    """What the offline logs below a run directory hold."""

    def __init__(self, run_dir: Path) -> None:
        paths = sorted(run_dir.glob("wandb/offline-run-*/run-*.wandb"))
        self.logs = [read_log(path) for path in paths]
        self.ids = {path.stem.removeprefix("run-") for path in paths}

    def of_kind(self, kind: str) -> list[Any]:
        """Return the records of a kind, of all starts."""
        return [
            getattr(record, kind)
            for log in self.logs
            for record in log
            if record.WhichOneof("record_type") == kind
        ]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the history, in the order of the logs."""
        rows = []
        for history in self.of_kind("history"):
            row: dict[str, Any] = {}
            for item in history.item:
                *around, last = list(item.nested_key) or [item.key]
                place = row
                for key in around:
                    place = place.setdefault(key, {})
                place[last] = json.loads(item.value_json)
            rows.append(row)
        return rows

    @property
    def config(self) -> dict[str, Any]:
        """The config as it was in the end."""
        config = {}
        for run in self.of_kind("run"):
            config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        for update in self.of_kind("config"):
            config |= {item.key: json.loads(item.value_json) for item in update.update}
        return config


@pytest.fixture
def wandb_runs(run_dir: Path) -> Callable[[], WandbRuns]:
    """Return what reads W&B's logs in the run directory."""
    return lambda: WandbRuns(run_dir)


# TensorBoard


@pytest.fixture
def event_accumulator(run_dir: Path) -> Callable[..., Any]:
    """Return what reads event files as TensorBoard does."""

    def event_accumulator(directory: str = "tb") -> Any:
        from tensorboard.backend.event_processing import event_accumulator

        everything = dict.fromkeys(("scalars", "tensors", "images", "histograms"), 0)
        accumulator = event_accumulator.EventAccumulator(str(run_dir / directory), everything)
        return accumulator.Reload()

    return event_accumulator


# MLflow


class MlflowServer:
    """A tracking server on localhost; it can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it answers."""
        store, artifacts = self._directory / "mlflow.db", self._directory / "artifacts"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(self.port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{store}"),
                *("--artifacts-destination", str(artifacts)),
            ],
            cwd=self._directory,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                # half a dozen processes that nobody here asks for
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "HOME": str(self._directory),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, "the MLflow server has ended"
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                assert time.monotonic() < deadline, "the MLflow server does not answer"
                time.sleep(0.1)

    def stop(self) -> None:
        """End it and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def get(self, path: str, **query: Any) -> Any:
        """Ask its REST API."""
        url = f"{self.uri}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, **body: Any) -> Any:
        """Tell its REST API something."""
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def runs(self, experiment: str = "Default") -> list[Any]:
        """Return the runs of an experiment."""
        found = self.get("experiments/get-by-name", experiment_name=experiment)["experiment"]
        answer = self.post("runs/search", experiment_ids=[found["experiment_id"]])
        return answer.get("runs", [])

    def history(self, run_id: str, key: str) -> list[Any]:
        """Return all values of a metric."""
        answer = self.get("metrics/get-history", run_id=run_id, metric_key=key, max_results=20_000)
        return answer.get("metrics", [])

    def artifact(self, run: Any, path: str) -> bytes:
        """Return a file that was uploaded."""
        place = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
        url = f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{place}/{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()


def _needs_mlflow() -> None:
    try:
        importlib.metadata.version("mlflow")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the whole of MLflow for a server")


@pytest.fixture(scope="session")
def one_mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """Return a server that all tests share which leave it running."""
    _needs_mlflow()
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[MlflowServer]:
    """Return a server of the test's own, to be stopped and started."""
    _needs_mlflow()
    directory = tmp_path / "server"
    directory.mkdir()
    server = MlflowServer(directory)
    server.start()
    yield server
    server.stop()


# A server that speaks as much of W&B's protocol as its client needs


class WandbServer:
    """Takes runs, their rows, config, files and end; may be away, and remembers everything."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.config: dict[str, Any] = {}
        self.exit_codes: list[int] = []
        self.files: dict[str, bytes] = {}
        self.keys: set[str] = set()
        self._server: ThreadingHTTPServer | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer from now on."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                scheme, _, secret = (self.headers.get("Authorization") or "").partition(" ")
                if scheme == "Basic":
                    owner.keys.add(base64.b64decode(secret).decode().removeprefix("api:"))
                answer = json.dumps(owner.answer(self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_PUT = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def answer(self, path: str, body: bytes) -> Any:
        """Return what W&B's server would, for what asynclog's tests need."""
        if path.startswith("/store/"):
            self.files[path.removeprefix("/store/")] = body
            return {}
        data = json.loads(body)
        if path.endswith("/file_stream"):
            return self._stream(path.split("/")[-2], data)
        return {"data": self._query(data.get("operationName"), data.get("variables") or {})}

    def _stream(self, run: str, data: dict[str, Any]) -> Any:
        rows = self.rows.setdefault(run, [])
        if history := data.get("files", {}).get("wandb-history.jsonl"):
            del rows[history["offset"] :]
            rows += map(json.loads, history["content"])
        if data.get("complete"):
            self.exit_codes.append(data["exitcode"])
        return {"exitcode": None, "limits": {}}

    def _query(self, name: str | None, variables: dict[str, Any]) -> Any:
        project = {"id": "p", "name": "project", "entity": {"id": "e", "name": "me"}}
        if name == "RunResumeStatus":
            rows = self.rows.get(variables["name"])
            bucket = rows and {
                "id": "b",
                "name": variables["name"],
                "displayName": variables["name"],
                "summaryMetrics": "{}",
                "config": json.dumps({k: {"value": v} for k, v in self.config.items()}),
                "historyLineCount": len(rows),
                "eventsLineCount": 0,
                "logLineCount": 0,
                "historyTail": json.dumps([json.dumps(rows[-1])]),
                "eventsTail": "[]",
                "tags": [],
                "notes": "",
                "wandbConfig": json.dumps({"t": 1}),
            }
            return {"model": {**project, "bucket": bucket or None}}
        if name == "UpsertBucket":
            for key, entry in json.loads(variables.get("config") or "{}").items():
                self.config[key] = entry.get("value", entry)
            run = {
                "id": "b",
                "name": variables["name"],
                "displayName": variables.get("displayName") or "",
                "description": "",
                "config": "{}",
                "sweepName": "",
                "historyLineCount": len(self.rows.get(variables["name"], ())),
                "project": project,
            }
            return {"upsertBucket": {"bucket": run, "inserted": True}}
        if name == "CreateRunFiles":
            files = [
                {"name": file, "uploadUrl": f"{self.url}/store/{file}"}
                for file in variables["files"]
            ]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if name == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        return {}


@pytest.fixture
def wandb_server() -> Iterator[WandbServer]:
    """Return a server that takes what W&B's client sends; to be started."""
    server = WandbServer()
    yield server
    server.stop()
