"""Which messages are alike, told by their size.

The policy protocol shows no content. A mail merge has one size, give or take a name, and so
messages of one scope (an account, or a domain) are put into groups by size: a message joins the
live group whose first size is nearest, within the tolerance, and opens one otherwise. It is a
heuristic; a sender who pads his mail defeats it.

All groups of all scopes stand in one sorted map, (scope, first size) -> group.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sortedcontainers import SortedDict

from policyd.aup.policy import Likeness, LikenessBy
from policyd.clock import WallTime

EVERYTHING: Final = "any"
"""The group of all messages when the rule file says ``by: any``."""


class Group(NamedTuple):
    """A group of messages that are alike.

    *serial* names it for good, *size* is that of its first message, *last* when it was prolonged.
    """

    scope: str
    size: int
    serial: int
    last: WallTime


class Groups:
    """The live groups; they live *life* seconds after they were last prolonged."""

    def __init__(self, likeness: Likeness, life: float) -> None:
        self._likeness = likeness
        self._life = life
        self._groups: SortedDict[tuple[str, int], Group] = SortedDict()
        self._next_serial = 1
        self._next_looked_at = 0
        self._asked: tuple[str, int, WallTime] | None = None  # what is found is joined next
        self._answer: Group | None = None

    def __len__(self) -> int:
        return len(self._groups)

    def obey(self, likeness: Likeness, life: float) -> None:
        """Go on under changed rules, with the groups that there are."""
        self._asked = None
        self._likeness = likeness
        self._life = life

    def find(self, scope: str, size: int, now: WallTime) -> str | None:
        """Return the likeness of a message of *size* bytes; None if it is like no other yet."""
        if self._likeness.by is LikenessBy.ANY:
            return EVERYTHING
        group = self._nearest(scope, size, now)
        return None if group is None else str(group.serial)

    def join(self, scope: str, size: int, now: WallTime) -> str:
        """Return the likeness of a message that is committed: its group is prolonged, or opened."""
        if self._likeness.by is LikenessBy.ANY:
            return EVERYTHING
        group = self._nearest(scope, size, now)
        if group is None:
            group = Group(scope, size, self._next_serial, now)
            self._next_serial += 1
        else:
            group = group._replace(last=now)
        self._groups[group.scope, group.size] = group
        self._asked = None
        return str(group.serial)

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Forget groups that have ended; look at the next *at_most*, return how many have."""
        ended = 0
        for _ in range(min(at_most, len(self._groups))):
            if self._next_looked_at >= len(self._groups):
                self._next_looked_at = 0
            if self._lives(self._groups.peekitem(self._next_looked_at)[1], now):
                self._next_looked_at += 1
            else:
                self._groups.popitem(self._next_looked_at)
                ended += 1
        return ended

    def dump(self) -> Iterator[Group]:
        """Yield the groups, oldest first."""
        return iter(sorted(self._groups.values(), key=lambda group: group.serial))

    def restore(self, groups: Iterable[Group]) -> None:
        """Take what *dump* gave."""
        self._asked = None
        for group in groups:
            self._groups[group.scope, group.size] = group
            self._next_serial = max(self._next_serial, group.serial + 1)

    def _nearest(self, scope: str, size: int, now: WallTime) -> Group | None:
        if self._asked != (scope, size, now):
            self._asked = scope, size, now
            self._answer = self._look_up(scope, size, now)
        return self._answer

    def _look_up(self, scope: str, size: int, now: WallTime) -> Group | None:
        at = self._groups.bisect_left((scope, size))
        below = self._first_alike(range(at - 1, -1, -1), scope, size, now)
        above = self._first_alike(range(at, len(self._groups)), scope, size, now)
        return min(
            (group for group in (below, above) if group is not None),
            key=lambda group: (abs(group.size - size), group.serial),
            default=None,
        )

    def _first_alike(self, places: range, scope: str, size: int, now: WallTime) -> Group | None:
        """Return the first live group at *places* of the map, which lead away from *size*."""
        for place in places:
            group = self._groups.peekitem(place)[1]
            if group.scope != scope or abs(group.size - size) > self._tolerance(group):
                return None
            if self._lives(group, now):
                return group
        return None

    def _tolerance(self, group: Group) -> float:
        tolerance = self._likeness.tolerance
        return group.size * tolerance / 100 if self._likeness.percent else tolerance

    def _lives(self, group: Group, now: WallTime) -> bool:
        return group.last + self._life > now

    def _check(self) -> None:
        """Assert that every group is where it belongs."""
        for (scope, size), group in self._groups.items():
            assert (scope, size) == (group.scope, group.size)
            assert group.serial < self._next_serial
