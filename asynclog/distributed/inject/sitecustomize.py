"""Runs at the start of every Python process below `asynclog run`, before the program does.

Gives the process streams of its own, so that its lines are told from those of others, and lets its
`logging` join the run at the first record. Imports nothing that Python has not imported itself,
but for one small extension module. What fails here leaves the process as it was.

It stands in the way of a ``sitecustomize`` of the user's, and therefore runs that as well.
"""

from __future__ import annotations

import os
import sys
from typing import Any

OUTPUT = "ASYNCLOG_OUTPUT"
"""Where the launcher listens, behind the inodes of the pipes that it reads: ``12,13:/path``."""
TOLD = (
    "RANK",
    "SLURM_PROCID",
    "PMI_RANK",
    "OMPI_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",
    "LOCAL_RANK",
    "SLURM_LOCALID",
    "MPI_LOCALRANKID",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "WORLD_SIZE",
    "SLURM_NTASKS",
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "JSM_NAMESPACE_SIZE",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_ERROR_FILE",
)
"""Variables that the launcher is told of: which process of the job this is."""


def connect_streams() -> None:
    """Lead standard output and error of this process into pipes of its own.

    Only where they lead to the launcher: a file or a pipe of the program's own is left alone.
    """
    inodes, _, path = os.environ.get(OUTPUT, "").partition(":")
    if not path:
        return
    known = inodes.split(",")
    numbers = [number for number in (1, 2) if _leads_to(number, known)]
    if not numbers:
        return
    import _socket

    header = "\n".join(
        [
            "1",
            str(os.getpid()),
            ",".join(map(str, numbers)),
            *(f"{name}={os.environ[name]}" for name in TOLD if name in os.environ),
        ]
    )
    pipes = [os.pipe() for _ in numbers]
    launcher = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        # never wait for a launcher that is busy, or stopped
        launcher.setblocking(False)
        launcher.connect(path)
        ends = b"".join(end.to_bytes(4, sys.byteorder) for end, _ in pipes)
        launcher.sendmsg([os.fsencode(header)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, ends)])
    except OSError:
        for _, end in pipes:
            os.close(end)
    else:
        for number, (_, end) in zip(numbers, pipes, strict=True):
            os.dup2(end, number)
            os.close(end)
            known.append(str(os.fstat(number).st_ino))
        os.environ[OUTPUT] = f"{','.join(known)}:{path}"
    finally:
        launcher.close()
        for end, _ in pipes:
            os.close(end)


def _leads_to(number: int, known: list[str]) -> bool:
    try:
        return str(os.fstat(number).st_ino) in known
    except OSError:
        return False


def flush_lines() -> None:
    """Have Python hand on whole lines at once: those of a killed process would be lost."""
    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        if stream is not None and not stream.isatty():
            stream.reconfigure(line_buffering=True)


class _LoggingLoader:
    """Loads ``logging`` as it would be loaded, and prepares it.

    Args:
        loader: Python's own.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        self._loader.exec_module(module)
        try:
            module.__spec__.loader = module.__loader__ = self._loader
            join_logging(module)
        except Exception:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_finders: list[Any] = sys.meta_path


class _Finder:
    """Notices that ``logging`` is being imported."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name != "logging":
            return None
        from importlib.machinery import PathFinder

        _finders.remove(_Finder)
        spec: Any = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LoggingLoader(spec.loader)
        return spec


def join_logging(logging: Any) -> None:
    """Have every record that reaches a handler, or would, go into the run as well.

    At the loggers' method and not by a handler on the root logger: ``basicConfig`` does nothing
    where there is a handler, and ``dictConfig`` removes it.
    """
    plain = logging.Logger.callHandlers
    joined: list[Any] = []

    def callHandlers(self: Any, record: Any) -> None:
        if not joined:
            # a record logged by what is imported here goes the plain way
            joined.append(plain)
            try:
                from importlib import import_module

                found = import_module("asynclog.distributed.unmodified").joined(plain)
            except Exception:
                found = plain
            joined[0] = found
        joined[0](self, record)

    logging.Logger.callHandlers = callHandlers


def run_users_own() -> None:
    """Run the ``sitecustomize`` that Python would have found without this one."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.dirname(os.path.abspath(__file__))
    places = [place for place in sys.path if os.path.abspath(place or ".") != here]
    sys.path[:] = places
    spec = PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        ours = sys.modules.get("sitecustomize")
        sys.modules["sitecustomize"] = module
        try:
            spec.loader.exec_module(module)
        except ImportError:
            if ours is not None:
                sys.modules["sitecustomize"] = ours
            raise


def _is_collector() -> bool:
    return "asynclog.collector" in sys.orig_argv


def _quietly(function: Any) -> None:
    try:
        function()
    except Exception:
        pass


def _reconnect() -> None:
    _quietly(connect_streams)


def set_up() -> None:
    """Do all of it."""
    if os.environ.get("ASYNCLOG_JOIN") and not _is_collector():
        _quietly(connect_streams)
        _quietly(flush_lines)
        if os.environ.get(OUTPUT):
            os.register_at_fork(after_in_child=_reconnect)
        if "logging" in sys.modules:
            _quietly(lambda: join_logging(sys.modules["logging"]))
        else:
            _finders.insert(0, _Finder)
    run_users_own()


if __name__ == "sitecustomize":
    set_up()
