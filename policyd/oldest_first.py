"""What to forget first when memory is short: what nobody has had a use for for the longest time.

Senders can invent names without end. Forgetting makes us lenient, so whoever is near a limit is
spared as long as there is anything else to forget.
"""

from collections.abc import Callable, Iterator
from math import inf
from typing import Generic, TypeVar

PlaceT = TypeVar("PlaceT")


class OldestFirst(Generic[PlaceT]):
    """A walk over all places where something is kept, again and again.

    It lets go of the older half; if it finds none of those, of any; and at last of those near a
    limit.
    """

    def __init__(self) -> None:
        self._places: Iterator[PlaceT] = iter(())
        self._old = -inf  # what was last used no later is old
        self._spares = True
        self._found = True  # as if there had been a walk before
        self._oldest = inf
        self._sum = 0.0
        self._left = 0

    def next_place(self, walk: Callable[[], Iterator[PlaceT]]) -> PlaceT | None:
        """Return where to look next; None at the end of a *walk*."""
        place = next(self._places, None)
        if place is None:
            self._spares = self._found or self._old < inf
            self._old = self._mean if self._found else inf
            self._found = self._old == -inf
            self._oldest, self._sum, self._left = inf, 0.0, 0
            self._places = walk()
        return place

    @property
    def _mean(self) -> float:
        """When those that the last walk left were used; -inf if it left none."""
        # in floating point a mean can be less than all that it is of
        return max(self._sum / self._left, self._oldest) if self._left else -inf

    def may_go(self, last: float, *, near: bool) -> bool:
        """Tell whether to forget what was *last* used then, and is *near* a limit or not."""
        if last <= self._old and not (near and self._spares):
            self._found = True
            return True
        self._oldest = min(self._oldest, last)
        self._sum += last
        self._left += 1
        return False
