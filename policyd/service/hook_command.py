"""A program that is told something: one run of it, in a process group of its own."""

import os
import signal
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

_SETSID: Final = "/usr/bin/setsid"
"""Of util-linux: makes the process the leader of a session and becomes the program.

Only with a process group of its own can a program be ended together with what it has started.
"""

_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}

MOST_SAID: Final = 500
"""Bytes of standard error that the log shows."""

_LAST_WORDS: Final = 1.0
"""Seconds that a program which has exited may leave its standard error open to children."""


class Command(ProcessProtocol):
    """Runs *command* with *data* on its standard input.

    *ended* fires with what went wrong, with "" if the program exited with 0.
    """

    def __init__(self, reactor: Any, command: Sequence[str], data: bytes) -> None:
        self.ended: Deferred[str] = Deferred()
        self._reactor = reactor
        self._command = command
        self._data = data
        self._group = 0
        self._said = bytearray()
        self._outcome: str | None = None  # as long as the program has not exited
        self._is_open = True  # its standard error
        self._killing: IDelayedCall | None = None
        self._listening: IDelayedCall | None = None

    def begin(self) -> "Command":
        """Start the program; raise OSError if there cannot be another process."""
        # What it says on standard output is nobody's: no work of this process.
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._reactor.spawnProcess(
                self,
                _SETSID,
                [_SETSID, *self._command],
                env=_ENVIRONMENT,
                path="/",
                childFDs={0: "w", 1: nowhere, 2: "r"},
            )
        finally:
            os.close(nowhere)
        return self

    def end(self, grace: float) -> None:
        """Ask the program and its children to end, and kill those that have not in *grace*."""
        if self._outcome is not None and self._killing is None:
            self._hear_no_more()
            return
        if self._killing is None:
            self._signal(signal.SIGTERM)
        elif self._killing.getTime() > self._reactor.seconds() + grace:
            self._killing.cancel()
        else:
            return
        self._killing = self._reactor.callLater(grace, self._kill)

    def connectionMade(self) -> None:
        """Hand over the data."""
        transport: Any = self.transport
        self._group = transport.pid
        transport.write(self._data)
        transport.closeStdin()

    def errReceived(self, data: bytes) -> None:
        """Keep the first of what the program says."""
        self._said += data[: MOST_SAID - len(self._said)]

    def processExited(self, reason: Failure) -> None:
        """Be told that the program is no more; its children may be."""
        self._outcome = _outcome(reason.value)
        if self._killing is not None:
            self._outcome = self._outcome or "exit status 0"
            if not self._signal(0):
                self._killing.cancel()
                self._killing = None
        self._settle()

    def processEnded(self, reason: Failure) -> None:  # noqa: ARG002
        """Be told that nothing more will be said."""
        self._is_open = False
        self._settle()

    def _kill(self) -> None:
        self._killing = None
        self._signal(signal.SIGKILL)
        self._settle()

    def _settle(self) -> None:
        """Say that it is over, as soon as it is."""
        if self._outcome is None or self._killing is not None or self.ended.called:
            return
        if self._is_open:
            if self._listening is None:
                self._listening = self._reactor.callLater(_LAST_WORDS, self._hear_no_more)
            return
        if self._listening is not None and self._listening.active():
            self._listening.cancel()
        words = self._said.decode("utf-8", "backslashreplace").strip()
        self.ended.callback(": ".join(filter(None, [self._outcome, self._outcome and words])))

    def _hear_no_more(self) -> None:
        if self._is_open:
            self._is_open = False
            transport: Any = self.transport
            transport.loseConnection()
        self._settle()

    def _signal(self, number: int) -> bool:
        """Send a signal to the group, 0 for none; tell whether there was anybody."""
        has_exited = self._outcome is not None
        try:
            if has_exited and _exists(self._group):
                return False  # the number is another's by now
            os.killpg(self._group, number)
        except ProcessLookupError:
            if not has_exited:  # but it has not come to have a group yet
                os.kill(self._group, number)
            return not has_exited
        except PermissionError:
            pass  # whoever is in the group has become another user
        return True


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _outcome(error: BaseException | None) -> str:
    if not isinstance(error, ProcessTerminated):
        return ""
    if error.signal is not None:
        return f"killed by {signal.Signals(error.signal).name}"
    return f"exit status {error.exitCode}"
