"""structlog: its loggers log into our pipeline, and what users have configured with it is kept."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.processors import (
    CallsiteParameter,
    CallsiteParameterAdder,
    EventRenamer,
    JSONRenderer,
    KeyValueRenderer,
    LogfmtRenderer,
    StackInfoRenderer,
    TimeStamper,
    add_log_level,
)
from structlog.stdlib import ProcessorFormatter

import asynclog
from asynclog._levels import LevelTable
from asynclog._line.encoder import LineEncoder
from asynclog._logger.chain import encode_line
from asynclog._logger.system import (
    BoundLogger,
    LogSystem,
    adopt_user_configuration,
    configure_structlog,
    structlog_configuration,
)

AT_IMPORT = structlog.get_logger("early")


class Lines:
    """Takes lines as a producer does, and keeps them."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes, _level: int) -> bool:
        """Take a line."""
        self.lines.append(line)
        return True

    async def aput(self, line: bytes, level: int) -> bool:
        """Take a line."""
        return self.put(line, level)

    def count_drop(self, _level: int, reason: str) -> None:
        """Fail: no record here is beyond encoding."""
        raise AssertionError(reason)

    @property
    def last(self) -> dict[str, Any]:
        """The last line parsed."""
        return json.loads(self.lines[-1])

    @property
    def events(self) -> list[dict[str, Any]]:
        """All lines parsed."""
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def system() -> LogSystem:
    """Return loggers without a pipeline, level info."""
    return LogSystem(Lines(), LineEncoder(), LevelTable(20))


@pytest.fixture
def lines(system: LogSystem) -> Any:
    """Return what was logged."""
    return system.target


def add_x(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Add a field, as a user's processor does."""
    event_dict["x"] = 1
    return event_dict


# Our configuration


def test_structlog_logs_into_the_system(system: LogSystem, lines: Lines):
    """The positional name is the logger's; bound values and fields are in the line."""
    structlog.configure(**structlog_configuration(system))
    log = structlog.get_logger("app", a=1).bind(b=2)
    assert type(log) is BoundLogger
    log.info("hello", c=3)
    structlog.get_logger().info("hello")
    structlog.get_logger(logger_name="named").info("hello")
    assert [event.get("logger") for event in lines.events] == ["app", None, "named"]
    assert {key: lines.events[0][key] for key in "abc"} == {"a": 1, "b": 2, "c": 3}


def test_a_logger_made_before_the_configuration_works_after_it(system: LogSystem, lines: Lines):
    """A module's logger is a proxy that looks at the configuration when it is used."""
    structlog.configure(**structlog_configuration(system))
    # this module's own would keep the system beyond this test
    log = structlog.get_logger("late")
    log.info("hello")
    log.bind(a=1).info("hello")
    assert type(AT_IMPORT).__name__ == "BoundLoggerLazyProxy"
    assert [event["logger"] for event in lines.events] == ["late", "late"]


def test_user_processors_come_with_the_configuration(system: LogSystem, lines: Lines):
    """They run before the line is made."""
    structlog.configure(**structlog_configuration(system, [add_x]))
    structlog.get_logger("app").info("hello")
    assert lines.last["x"] == 1
    assert structlog.get_config()["processors"] is system.processors


def test_importing_configures_nothing():
    """structlog is as it was until start() or configure()."""
    script = """if True:
        import structlog
        before = structlog.get_config()
        import asynclog
        asynclog.get_logger("app")
        assert not structlog.is_configured()
        assert structlog.get_config() == before
    """
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=30)


def test_configuring_again_changes_the_system(system: LogSystem, lines: Lines):
    """The last configured pipeline gets the records of structlog's loggers."""
    other = LogSystem(Lines(), LineEncoder(), LevelTable(20))
    configure_structlog(other)
    configure_structlog(system)
    configure_structlog(system)
    structlog.get_logger().info("hello")
    assert len(lines.lines) == 1


def test_capture_logs_sees_the_records_of_existing_loggers(system: LogSystem, lines: Lines):
    """structlog.testing.capture_logs works, and everything is as before after it."""
    for processors in (None, [add_x]):
        structlog.configure(**structlog_configuration(system, processors))
        log = structlog.get_logger("app").bind(a=1)
        log.info("before")
        with (
            structlog.testing.capture_logs() as captured,
            structlog.contextvars.bound_contextvars(v=1),
        ):
            log.info("hello", b=2)
            log.warn("careful")
            system.get_logger("typed").error("oh %s", "no")
            log.debug("below the level")
            try:
                raise ValueError
            except ValueError:
                log.exception("bad")
        log.info("after")
        assert captured == [
            {"a": 1, "b": 2, "event": "hello", "log_level": "info"},
            {"a": 1, "event": "careful", "log_level": "warning"},
            {"event": "oh no", "log_level": "error"},
            {"a": 1, "event": "bad", "exc_info": True, "log_level": "error"},
        ]
    assert [event["event"] for event in lines.events] == ["before", "after"] * 2


@pytest.mark.anyio
async def test_capture_logs_sees_async_calls(system: LogSystem, lines: Lines):
    """The a* methods run the same processors."""
    structlog.configure(**structlog_configuration(system))
    with structlog.testing.capture_logs() as captured:
        await structlog.get_logger("app").ainfo("hello")
    assert captured == [{"event": "hello", "log_level": "info"}]
    assert lines.lines == []


def test_bound_contextvars_are_in_the_line(system: LogSystem, lines: Lines):
    """Also with processors, which see them."""
    seen: list[Any] = []

    def look(_logger: Any, _method: str, event_dict: Any) -> Any:
        seen.append(event_dict.get("request"))
        return event_dict

    for processors in (None, [look]):
        structlog.configure(**structlog_configuration(system, processors))
        with structlog.contextvars.bound_contextvars(request=7):
            structlog.get_logger().info("hello")
        assert lines.last["request"] == 7
    assert seen == [7]


def test_our_logger_is_a_bindable_logger(system: LogSystem):
    """structlog's protocols hold."""
    log = system.get_logger("app").bind(a=1)
    assert isinstance(log, structlog.typing.BindableLogger)
    assert structlog.get_context(log) == {"a": 1}
    with structlog.contextvars.bound_contextvars(b=2):
        assert structlog.contextvars.get_merged_contextvars(log) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("processors", "chain"),
    [
        ([structlog.contextvars.merge_contextvars, add_log_level], []),
        ([add_log_level, TimeStamper(fmt="iso", utc=True), JSONRenderer()], []),
        ([add_x, structlog.dev.ConsoleRenderer()], [add_x]),
        ([add_x, encode_line], [add_x]),
    ],
)
def test_what_a_line_has_anyway_is_left_out(
    system: LogSystem, processors: list[Any], chain: list[Any]
):
    """Processors at the end that add level or time, renderers, merging at the beginning."""
    system.set_processors(processors)
    assert system.processors == [*chain, encode_line]


def test_time_stamps_of_processors_are_kept(system: LogSystem, lines: Lines):
    """Equivalents of structlog's give the same text, others are left as they are."""

    def late(_logger: Any, _method: str, event_dict: Any) -> Any:
        event_dict["copy"] = event_dict.get("timestamp")
        return event_dict

    system.set_processors([TimeStamper(fmt="iso", utc=True), late])
    system.get_logger().info("hello")
    assert lines.last["timestamp"] == lines.last["copy"]
    assert lines.last["copy"][-1] == "Z"
    assert len(lines.last["copy"]) == 27
    system.set_processors([TimeStamper(fmt="iso", utc=True, key="when"), late])
    system.get_logger().info("hello")
    assert lines.last["when"][:10] == lines.last["timestamp"][:10]
    system.set_processors([TimeStamper(fmt="%Y"), late])
    system.get_logger().info("hello")
    assert lines.last["timestamp"] == lines.last["copy"]
    assert len(lines.last["copy"]) == 4
    system.set_processors([TimeStamper(), late])
    system.get_logger().info("hello")
    assert lines.last["timestamp_"] == lines.last["copy"]
    assert isinstance(lines.last["copy"], float)


def test_call_sites_are_those_of_the_caller(system: LogSystem, lines: Lines):
    """structlog's own processors look past our frames, for every kind of method."""
    system.set_processors(
        [
            CallsiteParameterAdder([CallsiteParameter.FUNC_NAME, CallsiteParameter.FILENAME]),
            StackInfoRenderer(),
        ]
    )
    log = system.get_logger()
    log.info("hello", stack_info=True)
    log.exception("hello", stack_info=True)
    log.log(30, "hello", stack_info=True)
    for event in lines.events:
        assert event["func_name"] == "test_call_sites_are_those_of_the_caller"
        assert event["filename"] == "test_structlog_integration.py"
        assert "asynclog/_" not in event["stack"]
        assert event["stack"].splitlines()[-1].strip().startswith("log.")


# A configuration of the user's


@pytest.mark.parametrize(
    "renderer",
    [
        JSONRenderer(),
        KeyValueRenderer(),
        LogfmtRenderer(),
        structlog.dev.ConsoleRenderer(),
        structlog.stdlib.render_to_log_kwargs,
        ProcessorFormatter.wrap_for_formatter,
        lambda _l, _m, event_dict: json.dumps(event_dict).encode(),
        lambda _l, _m, event_dict: ((event_dict.pop("event"),), {"extra": event_dict}),
    ],
)
def test_a_users_chain_is_kept_but_for_its_renderer(system: LogSystem, lines: Lines, renderer: Any):
    """Renderers that we know and ones that we do not give way to the line."""
    structlog.configure(processors=[add_x, renderer])
    configure_structlog(system)
    log = structlog.get_logger("app")
    for number in range(3):
        log.info("hello", number=number)
    for number, event in enumerate(lines.events):
        event.pop("timestamp")
        assert event == {
            "level": "info",
            "event": "hello",
            "logger": "app",
            "number": number,
            "x": 1,
        }


def test_a_last_processor_that_does_not_render_is_kept(system: LogSystem, lines: Lines):
    """What gives an event dict is a processor like any other, wherever it stands."""
    structlog.configure(processors=[add_x])
    configure_structlog(system)
    for _ in range(2):
        structlog.get_logger("app").info("hello")
    assert [event["x"] for event in lines.events] == [1, 1]


def test_event_renamer_stays(system: LogSystem, lines: Lines):
    """It is no renderer: the user wants the event under another name."""
    structlog.configure(processors=[EventRenamer("message"), JSONRenderer()])
    configure_structlog(system)
    structlog.get_logger().info("hello")
    assert lines.last["message"] == "hello"
    assert lines.last["event"] == ""


def test_wrapper_and_context_class_of_the_user_are_kept(system: LogSystem, lines: Lines):
    """Only the processors' end and the logger factory are ours."""
    wrapper = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(
        processors=[add_x, JSONRenderer()],
        wrapper_class=wrapper,
        context_class=OrderedDict,
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    adopt_user_configuration(system)
    config = structlog.get_config()
    assert config["wrapper_class"] is wrapper
    assert config["context_class"] is OrderedDict
    assert config["cache_logger_on_first_use"] is False
    log = structlog.get_logger("app", a=1)
    log.info("no")
    log.warning("yes %s", "indeed", b=2)
    assert len(lines.lines) == 1
    assert lines.last["event"] == "yes indeed"
    assert lines.last["logger"] == "app"
    assert (lines.last["a"], lines.last["b"], lines.last["x"]) == (1, 2, 1)


def test_structlogs_default_wrapper_class_gives_way(system: LogSystem, lines: Lines):
    """Nobody chose it, and ours has the same methods."""
    structlog.configure(processors=[add_x, JSONRenderer()])
    configure_structlog(system)
    assert structlog.get_config()["wrapper_class"] is BoundLogger


def test_processors_chosen_for_asynclog_go_first(system: LogSystem, lines: Lines):
    """Who gives asynclog processors does not want those given to structlog."""
    structlog.configure(processors=[lambda *_: pytest.fail("used"), JSONRenderer()])
    system.set_processors([add_x])
    configure_structlog(system, chosen=True)
    structlog.get_logger().info("hello")
    assert lines.last["x"] == 1


def test_adopting_twice_changes_nothing(system: LogSystem, lines: Lines):
    """A second start keeps what the first one kept."""
    structlog.configure(processors=[add_x, lambda _l, _m, event: json.dumps(event)])
    for _ in range(2):
        configure_structlog(system)
        structlog.get_logger().info("hello")
    adopt_user_configuration(system)
    structlog.get_logger().info("hello")
    assert [event["x"] for event in lines.events] == [1, 1, 1]
    assert len(system.processors) == 3


def test_a_configuration_after_ours_still_arrives(system: LogSystem, lines: Lines):
    """structlog.configure(processors=...) after start() leaves our factory: JSON is understood."""
    configure_structlog(system)
    structlog.configure(processors=[add_log_level, add_x, JSONRenderer()])
    structlog.get_logger("app").warning("hello", a=1)
    assert lines.last["x"] == 1
    assert list(lines.last)[:4] == ["timestamp", "level", "event", "logger"]
    assert lines.last["level"] == "warning"
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    structlog.get_logger("app").error("hello", a=2)
    assert lines.last["level"] == "error"
    assert lines.last["event"] == "hello"
    assert lines.last["a"] == 2


# Other wrapper classes


WRAPPERS = [
    structlog.make_filtering_bound_logger(0),
    structlog.make_filtering_bound_logger(10),
    structlog.stdlib.BoundLogger,
    structlog.BoundLogger,
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("method", ["info", "warning", "error", "critical"])
def test_every_wrapper_class_logs(system: LogSystem, lines: Lines, wrapper: Any, method: str):
    """The chain's line goes through the wrapped logger's methods."""
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, JSONRenderer()], wrapper_class=wrapper
    )
    configure_structlog(system)
    log = structlog.get_logger("app").bind(a=1)
    with structlog.contextvars.bound_contextvars(v=2):
        getattr(log, method)("hello", b=[3])
    event = lines.last
    assert event["level"] == method
    assert (event["event"], event["logger"]) == ("hello", "app")
    assert (event["a"], event["b"], event["v"]) == (1, [3], 2)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_our_levels_apply_under_every_wrapper_class(system: LogSystem, lines: Lines, wrapper: Any):
    """Before any processor runs; what the wrapper class filters is its own business."""
    ran: list[str] = []

    def look(_logger: Any, _method: str, event_dict: Any) -> Any:
        ran.append(event_dict["event"])
        return event_dict

    structlog.configure(processors=[look, JSONRenderer()], wrapper_class=wrapper)
    configure_structlog(system)
    system.levels.set_level("app", "warning")
    log = structlog.get_logger("app")
    log.info("no")
    log.warning("yes")
    system.levels.set_level("app", "error")
    log.warning("no")
    assert ran == ["yes"]
    assert [event["event"] for event in lines.events] == ["yes"]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_lazy_values_under_every_wrapper_class(system: LogSystem, lines: Lines, wrapper: Any):
    """They are worked out for the line, and only if the level passes."""
    structlog.configure(processors=[JSONRenderer()], wrapper_class=wrapper)
    configure_structlog(system)
    log = structlog.get_logger("app").bind(a=asynclog.lazy(lambda: 1))
    log.debug("no", b=asynclog.lazy(lambda: pytest.fail("evaluated")))
    log.info("hello", b=asynclog.lazy(lambda: 2))
    assert (lines.last["a"], lines.last["b"]) == (1, 2)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_exceptions_under_every_wrapper_class(system: LogSystem, lines: Lines, wrapper: Any):
    """exception() is an error with the exception as data."""
    structlog.configure(processors=[JSONRenderer()], wrapper_class=wrapper)
    configure_structlog(system)
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("app").exception("bad", exc_info=True)
    assert lines.last["level"] == "error"
    assert lines.last["exception"]["message"] == "broken"


def test_the_stdlib_wrapper_finds_what_it_looks_for(system: LogSystem, lines: Lines):
    """Its processors and pass-through attributes work on our wrapped logger."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_log_level_number,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ExtraAdder(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    configure_structlog(system)
    log = structlog.stdlib.get_logger("app")
    log.debug("no")
    log.info("%s there", "hello", a=1)
    log.log(logging.WARNING, "%(x)s", {"x": 1})
    assert [event["event"] for event in lines.events] == ["hello there", "1"]
    assert lines.events[0]["logger"] == "app"
    assert lines.events[0]["level_number"] == 20
    assert (log.name, log.level, log.disabled, log.parent) == ("app", 20, False, None)
    assert (log.propagate, log.handlers, log.hasHandlers()) == (False, (), True)
    assert log.isEnabledFor(20)
    assert not log.isEnabledFor(10)
    assert log.getEffectiveLevel() == 20
    log.setLevel(logging.DEBUG)
    log.debug("now")
    assert lines.last["event"] == "now"


def test_arguments_that_nobody_formatted_are_formatted(system: LogSystem, lines: Lines):
    """structlog.stdlib.BoundLogger leaves them to a processor that is not always there."""
    structlog.configure(processors=[JSONRenderer()], wrapper_class=structlog.stdlib.BoundLogger)
    configure_structlog(system)
    structlog.get_logger().info("%s there", "hello")
    structlog.get_logger().info("%d there", "hello")
    assert lines.events[0]["event"] == "hello there"
    assert "positional_args" not in lines.events[0]
    assert lines.events[1]["event"] == "%d there"
    assert lines.events[1]["positional_args"] == ["hello"]


@pytest.mark.anyio
async def test_async_methods_of_the_filtering_wrapper(
    system: LogSystem, lines: Lines, anyio_backend_name: str
):
    """They are structlog's own: through an executor, on asyncio only."""
    if anyio_backend_name == "trio":
        pytest.skip("structlog's own do not work on trio")
    structlog.configure(processors=[JSONRenderer()], wrapper_class=WRAPPERS[1])
    adopt_user_configuration(system)
    await structlog.get_logger("app").ainfo("hello")
    assert lines.last["event"] == "hello"


@pytest.mark.parametrize("wrapper", [WRAPPERS[0], structlog.stdlib.BoundLogger])
def test_loggers_of_other_wrapper_classes_can_be_pickled(wrapper: Any):
    """Their wrapped logger becomes the default pipeline's."""
    system = asynclog._lifecycle.default_pipeline().loggers
    structlog.configure(processors=[JSONRenderer()], wrapper_class=wrapper)
    adopt_user_configuration(system)
    log = pickle.loads(pickle.dumps(structlog.get_logger("app").bind(a=1)))
    assert log._logger is system.outlet("app")
    assert log._context == {"a": 1}


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (('{"event":"x","a":1}',), {}, {"event": "x", "a": 1}),
        (("text\n",), {}, {"event": "text"}),
        ((), {"event": "x", "a": 1}, {"event": "x", "a": 1}),
        ((), {}, {"event": ""}),
        (("%s", "x"), {"exc_info": None}, {"event": "x"}),
        ((b"\xff",), {}, {"event": "\\xff"}),
    ],
)
def test_the_wrapped_logger_takes_what_it_is_given(
    system: LogSystem, lines: Lines, args: tuple[Any, ...], kwargs: dict[str, Any], expected: Any
):
    """Whatever last processor there is under whatever wrapper class."""
    system.outlet("app").warning(*args, **kwargs)
    assert lines.last["level"] == "warning"
    assert {key: lines.last[key] for key in expected} == expected
    assert set(lines.last) == {"timestamp", "level", "logger", *expected}


def test_the_wrapped_logger_never_raises(system: LogSystem, monkeypatch: pytest.MonkeyPatch):
    """What cannot be encoded is counted."""
    counted: list[Any] = []
    monkeypatch.setattr(system.target, "count_drop", lambda *args: counted.append(args))
    monkeypatch.setattr(LineEncoder, "encode", lambda *_, **__: 1 / 0)
    outlet = system.outlet("app")
    methods: list[Callable[..., None]] = [outlet.info, outlet.msg, outlet.fatal, outlet.exception]
    for method in methods:
        method("hello")
    outlet.log(45, "hello")
    assert counted == [(level, "failed") for level in (20, 20, 50, 40, 45)]
