"""Walks over all keys, in many turns of the reactor: mail goes on in between.

There may be millions of keys. Of so many a turn sees *AT_ONCE*, a millisecond of work, and one walk
is made at a time, however many administrators ask for one.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from policyd.counting.counters import Counter

AT_ONCE: Final = 2000
"""Keys."""

_Part = TypeVar("_Part")


class Walks:
    """Makes walks; *clock* is a reactor's."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._one_at_a_time = DeferredLock()

    async def over(self, counter: Counter, look: Callable[[Sequence[str]], None]) -> int:
        """Let *look* see all keys of *counter*, some at a time; return how many there were.

        What is counted for the first time meanwhile may be missing.
        """
        await self._one_at_a_time.acquire()
        try:
            seen = in_turn = 0
            for keys in counter.usage.slices(AT_ONCE):
                if in_turn + len(keys) > AT_ONCE:
                    await self._next_turn()
                    in_turn = 0
                look(keys)
                seen += len(keys)
                in_turn += len(keys)
            return seen
        finally:
            self._one_at_a_time.release()

    async def find(self, counter: Counter, is_wanted: Callable[[str], bool]) -> list[str]:
        """Return the keys of *counter* that *is_wanted* tells to be."""
        found: list[str] = []
        await self.over(counter, lambda keys: found.extend(filter(is_wanted, keys)))
        return found

    async def through(
        self, parts: Iterable[Sequence[_Part]], look: Callable[[Sequence[_Part]], None]
    ) -> None:
        """Let *look* see *parts*, one a turn; none should have more than *AT_ONCE*."""
        await self._one_at_a_time.acquire()
        try:
            for part in parts:
                look(part)
                await self._next_turn()
        finally:
            self._one_at_a_time.release()

    def _next_turn(self) -> Deferred[None]:
        done: Deferred[Any] = Deferred()
        self._clock.callLater(0, done.callback, None)
        return done
