"""The project's own rules: who imports whom, what importing costs, and that the docs are true."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import asynclog

PACKAGE = Path(asynclog.__file__).parent
ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Imports go to lower rows only.
LAYERS = (
    ("cli", "testing"),
    ("__init__",),
    ("experiment", "distributed", "stdlib", "capture", "metrics", "prometheus", "report"),
    ("_lifecycle",),
    ("pipeline", "reading"),
    ("_logger", "collector"),
    ("intake", "sinks", "processors"),
    ("_line",),
    ("leaves",),
)
DEPTH = {room: number for number, layer in enumerate(LAYERS) for room in layer}
# Other private modules are leaves.
LEAVES = ("exceptions", "typing")
# A restored logger asks for the default pipeline of its new process, when it is called.
EXCEPTIONS = {("asynclog._logger.default", "asynclog._lifecycle")}
HEAVY = (
    "torch",
    "wandb",
    "tensorboard",
    "tensorboardX",
    "mlflow",
    "nats",
    "sqlite3",
    "rich",
    "numpy",
    "click",
    "trio",
    "uvicorn",
    "httpx",
    "sklearn",
    "bokeh",
    "multiprocessing",
)


def _room(module: str) -> str:
    """Return the part of the package that a module belongs to and that decides its layer."""
    name = module.split(".")[1] if "." in module else "__init__"
    private = name.startswith("_") and name not in DEPTH
    return "leaves" if private or name in LEAVES else name


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(_modules())


class _Imports(ast.NodeVisitor):
    """Collects what a module imports from the package, but for what only type checkers see.

    Attributes:
        found: Module and line of each import.
        at_once: Modules imported with the module itself, not later inside a function.
    """

    def __init__(self, module: str, path: Path) -> None:
        self.found: list[tuple[str, int]] = []
        self.at_once: set[str] = set()
        self._package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        self._depth = 0
        self.visit(ast.parse(path.read_text(encoding="utf-8")))

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._inside(node)

    def _inside(self, node: ast.AST) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._note(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            base = importlib.util.resolve_name("." * node.level + base, self._package)
        for alias in node.names:
            whole = f"{base}.{alias.name}"
            self._note(whole if whole in MODULES else base, node.lineno)

    def _note(self, name: str, line: int) -> None:
        if name.partition(".")[0] == "asynclog":
            self.found.append((name, line))
            if not self._depth:
                self.at_once.add(name)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module: str) -> None:
    """A module imports from its own room and from lower layers, never upwards or sideways."""
    room = _room(module)
    assert room in DEPTH, f"{module} has no layer yet: give it one in {Path(__file__).name}"
    wrong = [
        f"line {line}: {imported}"
        for imported, line in _Imports(module, MODULES[module]).found
        if _room(imported) != room
        and DEPTH[_room(imported)] <= DEPTH[room]
        and (module, imported) not in EXCEPTIONS
    ]
    assert not wrong, f"{module} imports upwards or sideways: {wrong}"


def test_no_import_cycles() -> None:
    """No module needs, while it is imported, one that needs it."""
    needs = {module: _Imports(module, path).at_once for module, path in MODULES.items()}
    done: set[str] = set()

    def follow(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"import cycle: {' -> '.join((*way, module))}"
        if module not in done:
            for needed in sorted(needs.get(module, ())):
                if needed != module:
                    follow(needed, (*way, module))
            done.add(module)

    for module in sorted(needs):
        follow(module, ())


def _run(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_import_is_light(tmp_path: Path) -> None:
    """Importing asynclog loads nothing heavy that its dependencies do not load themselves."""
    code = f"""
import json, sys
import structlog, anyio, orjson
heavy = {HEAVY!r}
before = set(sys.modules)
import asynclog
print(json.dumps([name for name in heavy if name in sys.modules and name not in before]))
"""
    result = _run(code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == []


def test_import_changes_nothing(tmp_path: Path) -> None:
    """Importing starts no thread, opens no file and configures neither structlog nor logging."""
    code = """
import logging, os, signal, sys, threading
import structlog, anyio, orjson
descriptors = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
hooks = sys.excepthook, threading.excepthook, sys.stdout, sys.stderr
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
import asynclog
assert threading.active_count() == 1
assert not descriptors or os.listdir("/proc/self/fd") == descriptors
assert (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr) == hooks
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
assert not structlog.is_configured()
assert not logging.getLogger().handlers
"""
    result = _run(code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_names_what_is_public() -> None:
    """``__all__`` names exactly what the package offers, in order."""
    offered = {
        name
        for name, value in vars(asynclog).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    typing_only = {"annotations", "TYPE_CHECKING", "Any"}
    lazy = {"Best", "Console", "JsonlFile", "MLflow", "MetricsCsv", "MetricsJsonl", "Nats"}
    lazy |= {"Otlp", "Reduced", "TensorBoard", "TextFile", "Wandb", "sweep_params"}
    lazy |= {"get_best_metric", "log_every", "set_timers", "should_run", "stage", "timer"}
    assert (offered - typing_only) | lazy | {"__version__"} == set(asynclog.__all__)
    assert list(asynclog.__all__) == sorted(asynclog.__all__)


def _public() -> Iterator[tuple[str, Any]]:
    for name in asynclog.__all__:
        value = getattr(asynclog, name)
        if name.startswith("__"):
            continue
        yield name, value
        if inspect.isclass(value):
            for member, attribute in vars(value).items():
                if not member.startswith("_") and (
                    inspect.isfunction(attribute)
                    or isinstance(attribute, (property, classmethod, staticmethod))
                ):
                    yield f"{name}.{member}", attribute


@pytest.mark.parametrize(("name", "value"), list(_public()), ids=lambda item: str(item)[:60])
def test_public_names_have_docstrings(name: str, value: Any) -> None:
    """Every public name, method and property says what it does."""
    assert inspect.getdoc(value), f"{name} has no docstring"


def test_version_is_the_installed_one() -> None:
    """The version in the code is that of the installed distribution and of the changelog."""
    assert importlib.metadata.version("asynclog") == asynclog.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {asynclog.__version__}" in changelog


def _bounds() -> dict[str, str]:
    """Return the lower bound of each core dependency."""
    bounds = {}
    for text in PROJECT["dependencies"]:
        requirement = Requirement(text)
        [bound] = [each.version for each in requirement.specifier if each.operator == ">="]
        bounds[requirement.name] = bound
    return bounds


def test_lowest_versions_are_tested() -> None:
    """The tox environment ``lowest`` installs exactly the lower bounds that are promised."""
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    pins = [Requirement(line) for line in tox["testenv:lowest"]["deps"].split()]
    installed = {pin.name: Version(str(pin.specifier)[2:]) for pin in pins}
    assert installed == {name: Version(bound) for name, bound in _bounds().items()}


def test_constraints_keep_the_bounds() -> None:
    """constraints.txt pins each core dependency to a version that the project allows."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {pin.name.lower(): str(pin.specifier)[2:] for pin in pins}
    for text in PROJECT["dependencies"]:
        requirement = Requirement(text)
        assert pinned[requirement.name.lower()] in requirement.specifier
    assert pinned["torch"] == "2.13.0"


def _code_blocks() -> Iterator[Any]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        # those marked "types only" are looked at in test_docs.py
        fence = r"(?<!<!-- types only -->\n)^```python\n(.*?)^```$"
        for match in re.finditer(fence, text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 2
            yield pytest.param(match[1], id=f"{path.relative_to(ROOT)}:{line}")


@pytest.mark.slow
@pytest.mark.parametrize("code", list(_code_blocks()))
def test_documented_code_runs(code: str, tmp_path: Path) -> None:
    """A Python example from the README or the docs runs as it is, without a warning."""
    for node in ast.walk(ast.parse(code)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            if top != "asynclog" and importlib.util.find_spec(top) is None:
                pytest.skip(f"{top} is not installed here")
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


def _shell_blocks() -> Iterator[Any]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(?:sh|bash)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            for command in re.findall(r"^(?:\$ )?asynclog .*$", match[1], re.MULTILINE):
                yield pytest.param(command, id=f"{path.relative_to(ROOT)}: {command}")


@pytest.mark.parametrize("command", list(_shell_blocks()))
def test_documented_commands_exist(command: str) -> None:
    """An ``asynclog`` command in the README or the docs names a command and options that exist."""
    main = importlib.import_module("asynclog.cli").main
    # what follows a -- is another program's
    words = command.removeprefix("$ ").split("#")[0].split(" -- ")[0].split()[1:]
    known = main.commands[words[0]]
    options = {option for parameter in known.params for option in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= options
