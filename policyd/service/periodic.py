"""Things done again and again, also after one of them has failed."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

Report = Callable[[str, Failure], None]


class Periodic:
    """Call *work* every *interval* seconds; a call that returns a Deferred is waited for.

    Twisted's LoopingCall ends for good when its function raises. This one tells *report* and goes
    on, and its interval may change while a call is under way.
    """

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        interval: float,
        work: Callable[[], Deferred[Any] | None],
        report: Report,
    ) -> None:
        self._clock = clock
        self._name = name
        self._interval = interval
        self._work = work
        self._report = report
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Begin, one interval from now."""
        self._next = self._clock.callLater(self._interval, self._run)

    def again_every(self, interval: float) -> None:
        """Change the interval, in seconds."""
        if interval == self._interval:
            return
        self._interval = interval
        if self._next is not None:
            self._next.cancel()
            self.start()

    def _run(self) -> None:
        self._next = None
        done = maybeDeferred(self._work)
        done.addErrback(lambda failure: self._report(self._name, failure))
        done.addCallback(lambda _: self.start())
