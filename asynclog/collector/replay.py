"""Replay: sends a backend what it has not got of a run, or all of it, when nobody collects."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..exceptions import SettingError
from ..intake.ring import Origin
from ..intake.spool import Spool
from ..sinks import JsonlFile, Reduced, from_data, to_data
from ..sinks.rotation import make_directories
from ..sinks.template import matching, suffixes
from ..typing import Run, SinkDeclaration
from .ends import Named, named, reduced_trail
from .follow import Feed
from .plan import Plan
from .recovery import recover
from .reduce_feed import ReducedFile, ReducingFeed
from .trail import Trail

SETTINGS: Final = Path(".asynclog") / "run.json"
"""File in the run directory that says which sinks follow its files."""


class Replayed(NamedTuple):
    """What a replay did.

    Attributes:
        sent: Records that the backend took.
        left: Records that it can still be sent.
        error: Why it has not taken all; empty when it has.
    """

    sent: int
    left: int
    error: str = ""


class InUseError(SettingError):
    """The run is being collected: its own collector sends everything."""

    def __init__(self, run_dir: Path) -> None:
        rule = "must not be in use: its running collector sends everything itself"
        super().__init__("the run", rule, str(run_dir))


def remember_followers(plan: Plan) -> None:
    """Store in the run directory which sinks follow its files, for a later replay.

    Raises:
        OSError: It cannot be written.
    """
    durable = plan.durable()
    if durable is None:
        return
    sinks: dict[str, Any] = {}
    wrapped: dict[str, str] = {}
    for name, sink, inside in named(plan.sinks):
        if getattr(sink, "follows", False):
            try:
                sinks[name] = to_data(sink)
            except SettingError:
                # a live object: only its own program can make it
                continue
            if inside:
                wrapped[name] = inside
    if not sinks:
        return
    path = plan.run_dir / SETTINGS
    make_directories(path.parent)
    data = {
        "version": 1,
        "started": plan.started.isoformat(),
        "durable": to_data(durable),
        "sinks": sinks,
        "inside": wrapped,
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    with os.fdopen(descriptor, "w") as file:
        json.dump(data, file)
    os.replace(temporary, path)


def replay(
    run_dir: str | os.PathLike[str],
    sink: str,
    *,
    whole: bool = False,
    spool_dir: Path | None = None,
) -> Replayed:
    """Send a backend what it has not got.

    First brings back what killed processes left. It may be killed at any point and run again.

    Args:
        run_dir: Directory of the run.
        sink: Name of one of the run's sinks, or the kind of any other, which then gets the whole
            run with its default settings.
        whole: Send the whole run, as a new one where the backend knows runs.
        spool_dir: Place of the spools when the run had one of its own.

    Raises:
        SettingError: The run is in use, or there is no such sink.
        MissingExtraError: The backend's package is not installed.
        Exception: The backend cannot be opened.
    """
    directory = Path(os.path.abspath(run_dir))
    recover(directory, spool_dir)
    spool = Spool(directory, spool_dir)
    spool.prepare()
    if not spool.elect():
        raise InUseError(directory)
    try:
        settings = _settings(directory)
        declaration = _declaration(settings, sink)
        if whole and isinstance(declaration, Reduced):
            raise SettingError(
                "--all",
                "must not be asked for with what reduces",
                sink,
                "Each of its sinks can be sent the whole run",
            )
        durable = from_data(settings["durable"])
        assert isinstance(durable, JsonlFile)
        plan = Plan(
            directory, spool_dir, datetime.fromisoformat(settings["started"]), (durable,), 0.0, 0.0
        )
        origin = Origin(os.uname().nodename, os.getpid())
        found = Replayed(0, 0)
        # on a shared disk, each collector has had files and cursors of its own
        for suffix in suffixes(durable.path, directory):
            run = plan.run(origin, suffix)
            existing = matching(durable.path, directory, suffix)
            found = _sum(found, _send(settings, sink, declaration, run, existing, whole))
        return found
    finally:
        spool.leave()


def _send(
    settings: Mapping[str, Any],
    name: str,
    declaration: SinkDeclaration,
    run: Run,
    existing: list[Path],
    whole: bool,
) -> Replayed:
    """Send what one collector has written."""
    if isinstance(declaration, Reduced):
        return _reduce(declaration, name, ReducedFile(run), run, existing)
    made: Any = declaration.make()
    inside = settings.get("inside", {}).get(name)
    if inside is None:
        kinds = getattr(made, "kinds", None)
        trail = Trail(run.directory, name + run.suffix, kinds, existing=existing)
    else:
        file = ReducedFile(run)
        wrapper = from_data(settings["sinks"][inside])
        assert isinstance(wrapper, Reduced)
        _reduce(wrapper, inside, file, run, existing)
        trail = reduced_trail(Named(name, declaration, inside), made, run, file)
    return _feed(Feed(made, trail), trail, run, whole or name not in settings["sinks"])


def _reduce(
    settings: Reduced, name: str, file: ReducedFile, run: Run, existing: list[Path]
) -> Replayed:
    """Reduce what is left to reduce; nobody reports any more."""
    trail = Trail(run.directory, name + run.suffix, settings.kinds, existing=existing)
    return _feed(ReducingFeed(settings, trail, file, lambda: False), trail, run, False)


def _sum(one: Replayed, other: Replayed) -> Replayed:
    errors = dict.fromkeys(error for error in (one.error, other.error) if error)
    return Replayed(one.sent + other.sent, one.left + other.left, "; ".join(errors))


def _feed(feed: Feed, trail: Trail, run: Run, from_start: bool) -> Replayed:
    if not from_start and not trail.begun():
        # its collector had no such sink
        return Replayed(0, 0)
    sent, error = 0, ""
    feed.begin(from_start=from_start)
    feed.open(run)
    try:
        while count := feed.step():
            sent += count
        feed.flush()
    except Exception as failed:
        error = f"{type(failed).__name__}: {failed}"
    finally:
        feed.close()
    refused = feed.dropped()
    left = trail.left() if error else 0
    if refused:
        error = error or f"refused: {', '.join(f'{n:,} ({why})' for why, n in refused.items())}"
    return Replayed(sent - sum(refused.values()), left, error)


def _settings(directory: Path) -> Mapping[str, Any]:
    try:
        data = json.loads((directory / SETTINGS).read_text())
        if data["version"] != 1:
            raise ValueError(f"it has version {data['version']}, this asynclog reads 1")
        datetime.fromisoformat(data["started"])
        if type(data["sinks"]) is not dict or not isinstance(from_data(data["durable"]), JsonlFile):
            raise ValueError("it does not describe a run")
        return data
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(SETTINGS.name, f"cannot be read ({error})", str(directory)) from error
    return {
        "started": datetime.now(UTC).isoformat(),
        "durable": to_data(JsonlFile()),
        "sinks": {},
    }


def _declaration(settings: Mapping[str, Any], name: str) -> SinkDeclaration:
    data = settings["sinks"].get(name)
    declaration = from_data({"kind": name} if data is None else data)
    if not getattr(declaration, "follows", False):
        known = ", ".join(settings["sinks"]) or "none"
        raise SettingError(
            "sink", f"must be one that can be fed from files (the run's own: {known})", name
        )
    return declaration
