"""Every error asynclog raises on purpose; each class owns its wording."""

from __future__ import annotations

from collections.abc import Sequence


class AsynclogError(Exception):
    """Base class of all errors that asynclog raises on purpose."""


class SettingError(AsynclogError, ValueError):
    """A setting breaks a rule.

    Args:
        setting: Name of the setting as the user wrote it, e.g. ``"max_bytes"``.
        rule: What must hold, worded to follow the name, e.g. ``"must be positive"``.
        value: What was given.
        hint: What to do about it, a whole sentence without its full stop.
    """

    def __init__(self, setting: str, rule: str, value: object, hint: str = "") -> None:
        self.setting = setting
        self.rule = rule
        self.value = value
        self.hint = hint
        super().__init__(setting, rule, value, hint)

    def __str__(self) -> str:
        text = f"{self.setting} {self.rule}, got: {self.value!r}"
        return f"{text}. {self.hint}." if self.hint else text


class MissingExtraError(AsynclogError, ImportError):
    """An optional package is needed and not installed.

    Args:
        feature: What was asked for, e.g. ``"asynclog demo"``.
        package: The import that failed, e.g. ``"uvicorn"``.
        extra: The extra of asynclog that installs it, e.g. ``"demo"``.
    """

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package {package}, which is not installed. "
            f"Install it with: python -m pip install 'asynclog[{extra}]'"
        )


class SpoolError(AsynclogError, OSError):
    """The spool directory (the home of the rings) cannot be used safely.

    Args:
        path: The directory or file in question.
        rule: What must hold, worded to follow the path.
        hint: What to do about it, a whole sentence without its full stop.
    """

    def __init__(self, path: object, rule: str, hint: str = "") -> None:
        text = f"spool {path} {rule}"
        super().__init__(f"{text}. {hint}." if hint else text)


class AlreadyStartedError(AsynclogError, RuntimeError):
    """A running pipeline was asked to start with other settings.

    Args:
        run_dir: The run directory in which it runs.
        changed: Names of the settings that are not what they were.
    """

    def __init__(self, run_dir: object, changed: Sequence[str]) -> None:
        super().__init__(
            f"the pipeline runs already, in {run_dir}, with other settings "
            f"({', '.join(changed)}); stop it first (await asynclog.stop(), or "
            "asynclog.stop_sync()), or use a Pipeline of its own for a second run"
        )
