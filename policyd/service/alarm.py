"""A timer that is set and set again; it rings once, at the earliest of the times."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Alarm:
    """Calls *ring* after so many seconds of *clock*."""

    def __init__(self, clock: IReactorTime, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._call: IDelayedCall | None = None

    def within(self, seconds: float) -> None:
        """Ring in *seconds* from now, unless it rings before that anyway."""
        at = self._clock.seconds() + max(seconds, 0.0)
        if self._call is not None:
            if self._call.getTime() <= at:
                return
            self._call.cancel()
        self._call = self._clock.callLater(max(seconds, 0.0), self._rings)

    def off(self) -> None:
        """Do not ring."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _rings(self) -> None:
        self._call = None
        self._ring()
