"""Which messages are alike, told by their size.

The policy protocol shows no content. A mail merge has one size, give or take a name, and so
messages of one scope (an account, or a domain) are put into groups by size: a message joins the
live group whose first size is nearest, within the tolerance, and opens one otherwise. It is a
heuristic; a sender who pads his mail defeats it.

Nothing here ever walks through all groups in one go: what has to be done to all of them, such as
forgetting those that have ended, is done to some at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from policyd.aup.likeness_grid import Grid, Group, Place, Spot, pack, unpack
from policyd.aup.policy import Likeness, LikenessBy
from policyd.clock import WallTime
from policyd.counting.changes import Changes
from policyd.oldest_first import OldestFirst

EVERYTHING: Final = "any"
"""The group of all messages when the rule file says ``by: any``."""

MOVED_AT_ONCE: Final = 1000
"""Cells, when the tolerance changes; more of them are moved when there is time."""


class Groups:
    """The live groups; they live *life* seconds after they were last prolonged."""

    def __init__(self, likeness: Likeness, life: float) -> None:
        self._likeness = likeness
        self._life = life
        self._grid = Grid(likeness)
        self._next_grid: Grid | None = None  # what the groups are on their way into
        self._moving: Iterator[Place] = iter(())
        self._waste: list[dict[str, bytes]] = []  # of grids that are of no more use
        self._next_serial = 1
        self._changes = Changes()
        self._tidied: Iterator[Place] = iter(())
        self._eviction: OldestFirst[Place] = OldestFirst()
        self._asked: tuple[str, int, WallTime] | None = None  # what is found is joined next
        self._spot: Spot

    def __len__(self) -> int:
        return self._grid.count

    @property
    def weight(self) -> int:
        """The memory that is held, in bytes, about."""
        return self._grid.weight + (0 if self._next_grid is None else self._next_grid.weight)

    def obey(self, likeness: Likeness, life: float) -> None:
        """Go on under changed rules, with the groups that there are.

        Where there are many, a changed tolerance holds only when *tidy* has been through them.
        """
        self._asked = None
        self._life = life
        self._likeness = likeness
        if self._next_grid is not None:
            self._waste.extend(self._next_grid.cells)
            self._next_grid = None
        if not self._grid.is_for(likeness):
            self._next_grid = Grid(likeness)
            self._moving = self._grid.places()
            self._move(MOVED_AT_ONCE)

    @property
    def next_name(self) -> str:
        """The likeness of the group that is opened next."""
        return str(self._next_serial)

    def find(self, scope: str, size: int, now: WallTime) -> str | None:
        """Return the likeness of a message of *size* bytes; None if it is like no other yet."""
        if self._likeness.without_content is LikenessBy.ANY:
            return EVERYTHING
        serial = self._nearest(scope, size, now).serial
        return str(serial) if serial else None

    def join(self, scope: str, size: int, now: WallTime) -> str:
        """Return the likeness of a message that is committed: its group is prolonged, or opened."""
        if self._likeness.without_content is LikenessBy.ANY:
            return EVERYTHING
        spot = self._nearest(scope, size, now)
        self._asked = None
        serial = spot.serial
        if not serial:
            serial = self._next_serial
            self._next_serial += 1
        self._changes.note(scope, self._grid.prolong(spot, serial, now))
        if self._next_grid is not None:
            self._next_grid.put(scope, Group(spot.size, serial, now))
        return str(serial)

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Forget groups that have ended; look at the next *at_most*, return how many have."""
        self._asked = None
        self._move(at_most)
        while self._waste and at_most > 0:
            at_most -= len(self._waste.pop())
        ended = 0
        for _ in range(min(at_most, len(self))):
            place = next(self._tidied, None)
            if place is None:
                self._tidied = self._grid.places()
                place = next(self._tidied, None)
            if place is None:
                break
            for group in self._grid.groups(place):
                if group.last > now:  # the clock was stepped back
                    self._put(place.scope, group._replace(last=now))
                elif not self._lives(group, now) and ended < at_most:
                    self._forget(place, group)
                    ended += 1
        return ended

    def evict(self, at_most: int, is_near: Callable[[str, str], bool]) -> int:
        """Look at groups in up to *at_most* places and forget those that memory can be spared of.

        That is what was prolonged longest ago; *is_near* tells of a scope and a likeness whether
        something counted under them is near its limit. Return how many they were.
        """
        self._asked = None
        evicted = 0
        for _ in range(at_most):
            place = self._eviction.next_place(self._grid.places)
            if place is None:
                break
            for group in self._grid.groups(place):
                near = is_near(place.scope, str(group.serial))
                if self._eviction.may_go(group.last, near=near):
                    self._forget(place, group)
                    evicted += 1
        return evicted

    def take(self) -> Changes:
        """Return, by scope and packed, the groups opened or prolonged since the last call.

        A group may be there several times; it is what the last of them says.
        """
        changes, self._changes = self._changes, Changes()
        return changes

    def whole(self) -> dict[str, bytes]:
        """Return all groups, by scope and packed."""
        found: dict[str, bytearray] = {}
        for place in self._grid.places():
            found.setdefault(place.scope, bytearray()).extend(pack(self._grid.groups(place)))
        return {scope: bytes(packed) for scope, packed in found.items()}

    def restore(self, entries: Mapping[str, bytes]) -> None:
        """Take what *take* or *whole* gave; raise ValueError if it is nothing of theirs."""
        self._asked = None
        for scope, packed in entries.items():
            for group in unpack(packed):
                self._put(scope, group)
                self._next_serial = max(self._next_serial, group.serial + 1)

    def _nearest(self, scope: str, size: int, now: WallTime) -> Spot:
        if self._asked != (scope, size, now):
            self._asked = scope, size, now
            self._spot = self._grid.nearest(scope, size, self._life, now)
        return self._spot

    def _put(self, scope: str, group: Group) -> None:
        self._asked = None
        self._grid.put(scope, group)
        if self._next_grid is not None:
            self._next_grid.put(scope, group)

    def _forget(self, place: "Place", group: Group) -> None:
        self._grid.remove(place.scope, group)
        if self._next_grid is not None:
            self._next_grid.remove(place.scope, group)

    def _move(self, at_most: int) -> None:
        """Move the groups of up to *at_most* cells on their way into another grid."""
        if self._next_grid is None:
            return
        for place in islice(self._moving, at_most):
            for group in self._grid.groups(place):
                self._next_grid.put(place.scope, group)
            at_most -= 1
        if at_most > 0:
            self._waste.extend(self._grid.cells)
            self._grid, self._next_grid = self._next_grid, None
            self._tidied = iter(())
            self._eviction = OldestFirst()

    def _lives(self, group: Group, now: WallTime) -> bool:
        return group.last + self._life > now

    def _check(self) -> None:
        """Assert that every group is where it belongs."""
        self._grid._check()
        for place in self._grid.places():
            assert all(group.serial < self._next_serial for group in self._grid.groups(place))
