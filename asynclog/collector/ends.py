"""What feeds the sinks: a stream for some, the files for those that follow, and names for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from .._settings import AnySink
from ..sinks import JsonlFile, Reduced
from ..sinks.template import matching
from ..typing import BlockingSink, Run, Sink, SinkDeclaration
from .follow import Feed, Follower
from .reduce_feed import ReducedFile, ReducingFeed
from .trail import Followed, Trail
from .writer import SinkWriter


class Named(NamedTuple):
    """A sink and what it is called.

    Attributes:
        name: Its own name, numbered where two share one.
        sink: The sink.
        inside: Name of the :class:`Reduced` that wraps it, empty when none does.
    """

    name: str
    sink: AnySink
    inside: str = ""


def named(sinks: Sequence[AnySink]) -> list[Named]:
    """Give every sink a name of its own; those that another wraps come behind it."""
    seen: dict[str, int] = {}
    found: list[Named] = []

    def add(sink: AnySink, inside: str = "") -> str:
        name = getattr(sink, "name", None) or type(sink).__name__
        seen[name] = seen.get(name, 0) + 1
        name = name if seen[name] == 1 else f"{name}-{seen[name]}"
        found.append(Named(name, sink, inside))
        return name

    for sink in sinks:
        name = add(sink)
        for inner in sink.sinks if isinstance(sink, Reduced) else ():
            add(inner, name)
    return found


def ends(
    sinks: Sequence[AnySink],
    run: Run,
    durable: JsonlFile | None,
    written: Callable[[], Sequence[Followed]],
    alive: Callable[[], bool],
) -> tuple[list[SinkWriter], list[Follower]]:
    """Return what feeds sinks; nothing is opened yet.

    Args:
        sinks: The sinks, the durable file among them.
        run: The run they are told of.
        durable: What the durable files are called, None without any.
        written: Returns the durable files that are written now.
        alive: Says whether any process may still log; called from other threads.

    Raises:
        SettingError: A sink cannot be made.
    """
    writers: list[SinkWriter] = []
    followers: list[Follower] = []
    reduced: dict[str, tuple[Follower, ReducedFile]] = {}
    for each in named(sinks):
        name, sink, inside = each
        if sink is durable:
            continue
        if inside:
            source, file = reduced[inside]
            made = made_of(sink)
            followers.append(_follower(each, made, reduced_trail(each, made, run, file), source))
        elif durable is None or not getattr(sink, "follows", False):
            writers.append(SinkWriter(name, made_of(sink)))
        elif isinstance(sink, Reduced):
            file, trail = ReducedFile(run), _trail(name, sink, run, durable, written)
            feed = ReducingFeed(sink, trail, file, alive)
            reduced[name] = Follower(name, feed, trail, remote=False), file
            followers.append(reduced[name][0])
        else:
            made = made_of(sink)
            followers.append(_follower(each, made, _trail(name, made, run, durable, written)))
    return writers, followers


def made_of(sink: AnySink) -> Sink | BlockingSink:
    """Return the sink itself, made if it is a declaration."""
    return sink.make() if isinstance(sink, SinkDeclaration) else sink


def reduced_trail(each: Named, made: object, run: Run, file: ReducedFile) -> Trail:
    """Return where a sink inside of :class:`Reduced` reads."""
    return Trail(
        run.directory,
        f"{each.name}.{each.inside}{run.suffix}",
        getattr(made, "kinds", None),
        written=lambda: [file],
        existing=[file.path],
    )


def _trail(
    name: str,
    made: object,
    run: Run,
    durable: JsonlFile,
    written: Callable[[], Sequence[Followed]],
) -> Trail:
    return Trail(
        run.directory,
        name + run.suffix,
        getattr(made, "kinds", None),
        written=written,
        existing=matching(durable.path, run.directory, run.suffix),
    )


def _follower(
    each: Named, made: Sink | BlockingSink, trail: Trail, source: Follower | None = None
) -> Follower:
    return Follower(
        each.name,
        Feed(cast("BlockingSink", made), trail),
        trail,
        remote=getattr(each.sink, "heavy", False),
        gathers=getattr(each.sink, "gathers", 0.0),
        source=source,
    )
