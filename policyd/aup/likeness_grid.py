"""Groups of similar messages by their sizes, so that the nearest ones are found at once.

The sizes are cut into cells some tolerances wide, so that the groups that are near enough to a size
are in one cell, or in two side by side. A cell's groups are packed into bytes: a million groups are
nothing for the garbage collector to follow.
"""

import struct
from collections.abc import Iterable, Iterator
from math import log1p
from typing import Final, NamedTuple

from policyd.aup.policy import Likeness
from policyd.clock import WallTime
from policyd.counting.shards import Shards

_GROUP: Final = struct.Struct("<QQd")
_WIDTH: Final = 4
"""Tolerances to a cell. A wider one has more groups in it, narrower ones are two more often."""

_CELL: Final = 200
"""Bytes that a cell takes, beside its key and its groups, about."""


class Group(NamedTuple):
    """A group of messages that are alike.

    *serial* names it for good, *size* is that of its first message, *last* when it was prolonged.
    """

    size: int
    serial: int
    last: WallTime


def pack(groups: Iterable[Group]) -> bytes:
    """Return *groups* as bytes."""
    return b"".join(_GROUP.pack(*group) for group in groups)


def unpack(data: bytes) -> Iterator[Group]:
    """Yield the groups that *pack* made *data* of; raise ValueError if it did not."""
    if len(data) % _GROUP.size:
        raise ValueError("a group is cut short")
    for size, serial, last in _GROUP.iter_unpack(data):
        yield Group(size, serial, WallTime(last))


class Place(NamedTuple):
    """A cell: the *scope* of its groups, and its *key* in the grid."""

    scope: str
    key: str


class Spot:
    """Where in the grid a group is: *at* a place in what is *packed* in the cell of a *key*.

    It has that *size* and *serial*; one that is yet to be opened has 0, and its place is the end.
    """

    __slots__ = ("at", "key", "packed", "serial", "size")

    def __init__(self, key: str, packed: bytes, size: int) -> None:
        self.key = key
        self.packed = packed
        self.at = len(packed)
        self.size = size
        self.serial = 0


class Grid:
    """Groups by scope and cell, for the tolerance of one *likeness*.

    *cells* are the packed groups by key, *count* is the number of groups, *weight* the memory that
    they take, in bytes, about.
    """

    def __init__(self, likeness: Likeness) -> None:
        self.cells: Shards[bytes] = Shards()
        self.count = 0
        self.weight = 0
        self._tolerance = tolerance = likeness.tolerance
        self._percent = likeness.percent
        self._log_width = (
            -log1p(-tolerance / 100) * _WIDTH if self._percent and 0 < tolerance < 100 else 0.0
        )

    def is_for(self, likeness: Likeness) -> bool:
        """Tell whether the tolerance is that of *likeness*."""
        return (self._tolerance, self._percent) == (likeness.tolerance, likeness.percent)

    def nearest(self, scope: str, size: int, life: float, now: WallTime) -> Spot:
        """Return where the group is that a message of *size* is most alike to, the older of two.

        If it is like none, that is where its own would be.

        Those that were not prolonged for a *life* before *now* have ended.
        """
        own = self._cell(size)
        spot = self._spot(scope, own, size)
        self._search(spot, spot.key, spot.packed, size, now - life)
        least, most = self._cells(size, own)
        for cell in range(least, most + 1):
            if cell != own:
                key = f"{scope}\n{cell}"
                packed = self.cells.of(key).get(key)
                if packed is not None:
                    self._search(spot, key, packed, size, now - life)
        return spot

    def prolong(self, spot: Spot, serial: int, now: WallTime) -> bytes:
        """Let the group at *spot*, which is as it was found, have been prolonged *now*.

        It is the one of that *serial*, or is opened by that name. Return it, packed.
        """
        packed, at = spot.packed, spot.at
        new = _GROUP.pack(spot.size, serial, now)
        cells = self.cells.of(spot.key)
        if not packed:
            cells[spot.key] = new
            self._grow(_CELL + len(spot.key) + _GROUP.size)
        elif at == len(packed):
            cells[spot.key] = packed + new
            self._grow(_GROUP.size)
        else:
            cells[spot.key] = packed[:at] + new + packed[at + _GROUP.size :]
        return new

    def put(self, scope: str, group: Group) -> None:
        """Put in *group*, in the place of what it was before."""
        spot = self._spot(scope, self._cell(group.size), group.size)
        spot.at = _place_of(spot.packed, group.serial)
        self.prolong(spot, group.serial, group.last)

    def remove(self, scope: str, group: Group) -> None:
        """Take out *group*, if it is there."""
        spot = self._spot(scope, self._cell(group.size), group.size)
        key, before, at = spot.key, spot.packed, _place_of(spot.packed, group.serial)
        after = before[:at] + before[at + _GROUP.size :]
        self.count += (len(after) - len(before)) // _GROUP.size
        self.weight += _weight(key, after) - _weight(key, before)
        if after:
            self.cells.of(key)[key] = after
        elif before:
            del self.cells.of(key)[key]

    def places(self) -> Iterator[Place]:
        """Yield all cells; while groups come and go, those that are there all the time."""
        for part in self.cells:
            for key in filter(part.__contains__, list(part)):
                yield Place(key.rpartition("\n")[0], key)

    def groups(self, place: Place) -> list[Group]:
        """Return the groups in *place*."""
        return list(unpack(self.cells.of(place.key).get(place.key, b"")))

    def _spot(self, scope: str, cell: int, size: int) -> Spot:
        """Return where in its *cell* a group of *size* would be opened."""
        key = f"{scope}\n{cell}"
        return Spot(key, self.cells.of(key).get(key, b""), size)

    def _search(self, spot: Spot, key: str, packed: bytes, size: int, ended: float) -> None:
        """Let *spot* be at the nearest group, if that is in *packed*, the cell with that *key*."""
        for at in range(0, len(packed), _GROUP.size):
            first: int
            serial: int
            last: float
            first, serial, last = _GROUP.unpack_from(packed, at)
            difference = abs(first - size)
            if difference > self._tolerated(first) or last <= ended:
                continue
            if spot.serial and (difference, serial) >= (abs(spot.size - size), spot.serial):
                continue
            spot.key, spot.packed, spot.at = key, packed, at
            spot.size, spot.serial = first, serial

    def _grow(self, weight: int) -> None:
        self.count += 1
        self.weight += weight

    def _tolerated(self, size: int) -> float:
        """Return how much a message may differ from a group of *size*."""
        return size * self._tolerance / 100 if self._percent else self._tolerance

    def _cells(self, size: int, own: int) -> tuple[int, int]:
        """Return the first and the last cell of the groups that *size* may be alike to.

        Its *own* is one of them.
        """
        tolerance = self._tolerance
        if not self._percent:
            return self._cell(size - tolerance), self._cell(size + tolerance)
        if not self._log_width:
            return own, own
        # a hair further than it must be, for what floating point rounds away
        least, most = size / (1 + tolerance / 100), size / (1 - tolerance / 100)
        return self._cell(least * (1 - 1e-9)), self._cell(most * (1 + 1e-9))

    def _cell(self, size: float) -> int:
        """Return the cell of *size*."""
        if not self._percent:
            return int(size // (_WIDTH * (self._tolerance + 1)))
        if self._log_width:
            return int(log1p(size) / self._log_width)
        return int(size) if self._tolerance == 0 else 0

    def _check(self) -> None:
        """Assert that every group is in its cell, and once."""
        count = weight = 0
        for place in self.places():
            groups = self.groups(place)
            assert groups
            assert len({group.serial for group in groups}) == len(groups)
            for group in groups:
                assert place.key == f"{place.scope}\n{self._cell(group.size)}"
            count += len(groups)
            weight += _weight(place.key, pack(groups))
        assert (count, weight) == (self.count, self.weight)


def _place_of(packed: bytes, serial: int) -> int:
    """Return where in *packed* the group of that *serial* is, or its end."""
    for at in range(0, len(packed), _GROUP.size):
        if _GROUP.unpack_from(packed, at)[1] == serial:
            return at
    return len(packed)


def _weight(key: str, packed: bytes) -> int:
    return _CELL + len(key) + len(packed) if packed else 0
