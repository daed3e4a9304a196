"""The command that was asked for: how it starts, the signals it gets, and how it ended.

Like a shell: Ctrl-C reaches the command once, from the terminal itself; signals sent to the
launcher alone are handed on to it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from ..exceptions import AsynclogError

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
PASSED_ON: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
OF_A_TERMINAL: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Those with which somebody at a terminal ends a program."""
SI_KERNEL: Final = 0x80
"""What ``si_code`` says of a signal that the terminal has sent (Linux)."""


class CannotStartError(AsynclogError):
    """A command that cannot be started.

    Attributes:
        status: The exit status that a shell would give.
    """

    def __init__(self, command: str, reason: str, status: int) -> None:
        super().__init__(f"{command}: {reason}")
        self.status = status


def check(command: str, environment: Mapping[str, str] = os.environ) -> None:
    """Find out whether a command can be started at all.

    Raises:
        CannotStartError: It cannot.
    """
    path = environment.get("PATH")
    if os.path.dirname(command) and os.path.isdir(command):
        raise CannotStartError(command, "is a directory", NOT_EXECUTABLE)
    if shutil.which(command, path=path) is None:
        if shutil.which(command, os.F_OK, path) is None:
            raise CannotStartError(command, "command not found", NOT_FOUND)
        raise CannotStartError(command, "permission denied", NOT_EXECUTABLE)


class Program:
    """A command with pipes for its output; made in the main thread, before all other threads.

    From then on signals wait until :meth:`wait` looks at them, in all threads made later.

    Attributes:
        pid: Its process id.
        output: The reading ends of its standard output and error.
        status: How it has ended, negative for a signal; 0 until then.
        hurry: Whether somebody at a terminal has asked for the end.
    """

    def __init__(self) -> None:
        self._signals = {
            number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN
        }
        self._own_group = not _in_foreground()
        self._early: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        (out, self._out), (err, self._err) = os.pipe(), os.pipe()
        self.output: tuple[int, int] = out, err
        self.pid: int = 0
        self.status: int = 0
        self.hurry: bool = False
        for number in self._signals:
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_BLOCK, {*self._signals, signal.SIGCHLD})

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            CannotStartError: It cannot be started.
        """
        waited = {*self._signals, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waited)
        try:
            self._process = subprocess.Popen(
                list(command),
                stdout=self._out,
                stderr=self._err,
                env=environment,
                # a terminal stops what reads from it in another group than the one in front
                process_group=0 if self._own_group else None,
            )
        except OSError as error:
            status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            raise CannotStartError(command[0], error.strerror or str(error), status) from error
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, waited)
            os.close(self._out)
            os.close(self._err)
        self.pid = self._process.pid

    def wait(self, look: Callable[[], object] = lambda: None) -> int:
        """Hand on signals until it ends; return its status, negative for a signal.

        Args:
            look: Called whenever a process may have ended.
        """
        assert self._process is not None
        for number in self._early:
            self.hurry |= number in OF_A_TERMINAL
            self._pass_on(number)
        while (status := self._process.poll()) is None:
            found = signal.sigwaitinfo({*self._signals, signal.SIGCHLD})
            self.hurry |= found.si_signo in OF_A_TERMINAL
            look()
            if found.si_signo in self._signals and (self._own_group or found.si_code != SI_KERNEL):
                self._pass_on(found.si_signo)
        # what has ended it may have come here as well, and not have been looked at
        while self.interrupted():
            pass
        self.status = status
        return status

    def interrupted(self) -> bool:
        """Say whether a signal has come since the command has ended."""
        found = signal.sigtimedwait(self._signals, 0)
        self.hurry |= found is not None and found.si_signo in OF_A_TERMINAL
        return found is not None

    def _note(self, number: int, frame: object) -> None:
        self._early.append(number)

    def _pass_on(self, number: int) -> None:
        assert self._process is not None
        # to the command alone: whatever launches workers ends them itself, in its own way
        self._process.send_signal(number)


def hand_on_signals(pid: int) -> None:
    """Hand on the signals that this process gets to another one, from now on."""

    def hand_on(number: int, frame: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in PASSED_ON:
        signal.signal(number, hand_on)


def exit_status(status: int) -> int:
    """Return what a shell would report: 128 and the number of the signal that ended a program."""
    return 128 - status if status < 0 else status


def _in_foreground() -> bool:
    """Say whether a terminal sends its signals to the group of this process."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        try:
            if os.tcgetpgrp(stream.fileno()) == os.getpgrp():
                return True
        except (AttributeError, OSError, ValueError):
            continue
    return False
