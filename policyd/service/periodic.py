"""Things done again and again, also after one of them has failed."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

Report = Callable[[str, Failure], None]


class Periodic:
    """Call *work* every *interval* seconds; a call that returns a Deferred is waited for.

    A LoopingCall ends for good when its function raises. This one tells *report* and goes on.
    """

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        interval: float,
        work: Callable[[], Deferred[Any] | None],
        report: Report,
    ) -> None:
        self._name = name
        self._work = work
        self._report = report
        self._loop = LoopingCall(self._guarded)
        self._loop.clock = clock
        self.interval = interval

    def start(self) -> None:
        """Begin, one interval from now."""
        self._loop.start(self.interval, now=False)

    def stop(self) -> None:
        """Make no further call."""
        if self._loop.running:
            self._loop.stop()

    def again_every(self, interval: float) -> None:
        """Change the interval, in seconds."""
        if interval != self.interval:
            self.interval = interval
            self.stop()
            self.start()

    def _guarded(self) -> Deferred[Any]:
        # whatever goes wrong, the next call may succeed
        return maybeDeferred(self._work).addErrback(lambda f: self._report(self._name, f))
