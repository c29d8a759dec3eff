"""What to forget when memory is short: first of all what was counted longest ago.

Senders can invent keys without end. Forgetting makes us lenient, so a key that is near its limit
is spared, and so is what was counted long ago of a key that has been counted since: as long as
there is anything else to forget.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from policyd.counting.window import WindowSums


class _Mercy(IntEnum):
    """Whom a walk over all entries spares."""

    NEAR_AND_ACTIVE = 0
    NEAR = 1
    NONE = 2


_NOWHERE: Final[Iterator[tuple[int, str]]] = iter(())


class Eviction:
    """A walk over the entries of *sums*, oldest first, again and again."""

    __slots__ = ("_found", "_mercy", "_places", "_spared", "_sums")

    def __init__(self, sums: WindowSums) -> None:
        self._sums = sums
        self._places = _NOWHERE
        self._mercy = _Mercy.NEAR_AND_ACTIVE
        self._found = False  # whether this walk has found anything
        self._spared = False  # whether it has spared anything

    def choose(self, at_most: int, spare: float) -> Iterator[tuple[int, str]]:
        """Look at *at_most* entries further on; yield bucket and key of those to forget.

        Keys with a sum of *spare* and more are near their limit.
        """
        sums = self._sums
        for _ in range(at_most):
            place = next(self._places, None)
            if place is None:
                self._walk_again()
                return
            number, key = place
            amount = sums.held(number).get(key, 0)
            if not amount:
                continue
            if self._may_go(amount, sums.sum(key), spare):
                self._found = True
                yield place
            else:
                self._spared = True

    def _may_go(self, amount: int, total: int, spare: float) -> bool:
        if self._mercy is _Mercy.NONE:
            return True
        return total < spare and (self._mercy is _Mercy.NEAR or amount == total)

    def _walk_again(self) -> None:
        if self._found or not self._spared:
            self._mercy = _Mercy.NEAR_AND_ACTIVE
        else:
            self._mercy = _Mercy(self._mercy + 1)
        self._found = self._spared = False
        self._places = self._walk()

    def _walk(self) -> Iterator[tuple[int, str]]:
        # copies: what is looked at in many turns changes in between
        for number in list(self._sums.timeline.open_numbers()):
            for key in list(self._sums.held(number)):
                yield number, key
