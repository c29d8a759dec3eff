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
from policyd.counting.shards import SHARDS, Shards

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

    def nearest(self, scope: str, size: int, life: float, now: WallTime) -> Group | None:
        """Return the group that a message of *size* is most alike to, the older one of two.

        Those that were not prolonged for a *life* before *now* have ended.
        """
        best: Group | None = None
        least = 0
        least_cell, most_cell = self._cells(size)
        for cell in range(least_cell, most_cell + 1):
            key = f"{scope}\n{cell}"
            packed = self.cells.dicts[hash(key) % SHARDS].get(key)
            if packed is None:
                continue
            for group in _GROUP.iter_unpack(packed):
                difference = abs(group[0] - size)
                if (
                    difference <= self._tolerated(group[0])
                    and group[2] + life > now
                    and (best is None or (difference, group[1]) < (least, best.serial))
                ):
                    best = Group(*group)
                    least = difference
        return best

    def put(self, scope: str, group: Group) -> None:
        """Put in *group*, in the place of what it was before."""
        key = f"{scope}\n{self._cell(group.size)}"
        cells = self.cells.dicts[hash(key) % SHARDS]
        packed = cells.get(key)
        new = _GROUP.pack(*group)
        if packed is None:
            cells[key] = new
            self.count += 1
            self.weight += _CELL + len(key) + _GROUP.size
            return
        at = _place_of(packed, group.serial)
        cells[key] = packed[:at] + new + packed[at + _GROUP.size :]
        if at == len(packed):
            self.count += 1
            self.weight += _GROUP.size

    def remove(self, scope: str, group: Group) -> None:
        """Take out *group*, if it is there."""
        key, packed = self._found(scope, group)
        at = _place_of(packed, group.serial)
        self._keep(key, packed, packed[:at] + packed[at + _GROUP.size :])

    def places(self) -> Iterator[Place]:
        """Yield all cells; while groups come and go, those that are there all the time."""
        for part in self.cells:
            for key in filter(part.__contains__, list(part)):
                yield Place(key.rpartition("\n")[0], key)

    def groups(self, place: Place) -> list[Group]:
        """Return the groups in *place*."""
        return list(unpack(self.cells.of(place.key).get(place.key, b"")))

    def _found(self, scope: str, group: Group) -> tuple[str, bytes]:
        key = f"{scope}\n{self._cell(group.size)}"
        return key, self.cells.of(key).get(key, b"")

    def _keep(self, key: str, before: bytes, after: bytes) -> None:
        self.count += (len(after) - len(before)) // _GROUP.size
        self.weight += _weight(key, after) - _weight(key, before)
        if after:
            self.cells.of(key)[key] = after
        elif before:
            del self.cells.of(key)[key]

    def _tolerated(self, size: int) -> float:
        """Return how much a message may differ from a group of *size*."""
        return size * self._tolerance / 100 if self._percent else self._tolerance

    def _cells(self, size: int) -> tuple[int, int]:
        """Return the first and the last cell of the groups that *size* may be alike to."""
        tolerance = self._tolerance
        if not self._percent:
            return self._cell(size - tolerance), self._cell(size + tolerance)
        if not self._log_width:
            return self._cell(size), self._cell(size)
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
                assert place.key == self._found(place.scope, group)[0]
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
