"""Which campaigns may be alike to a message: an index from hashes to serial numbers.

It is a table of 64-bit numbers in many small parts, 16 bytes a hash, as a dict would take six
times as much. It may be wrong in both ways: what was forgotten stays in it until a part is full and
made anew, and of a hash that very many campaigns of a scope share it knows some. So what it names
is a candidate, no more. Nothing of it is on the disk.
"""

from array import array
from collections.abc import Callable
from typing import Final

_PARTS: Final = 4096
_LEAST: Final = 8
"""Places of a part, at the beginning."""

_SAME: Final = 16
"""Entries of one hash in one scope; a hash of more tells little."""

_MIX: Final = 0x9E37_79B9_7F4A_7C15
_WORD: Final = 0xFFFF_FFFF_FFFF_FFFF
_SERIAL: Final = 0xFFFF_FFFF


class Index:
    """Serial numbers by scope and hash; *lives* tells of one whether it still means something."""

    __slots__ = ("_lives", "_parts", "_used")

    def __init__(self, lives: Callable[[int], bool]) -> None:
        self._lives = lives
        self._parts = [array("Q", bytes(8 * _LEAST)) for _ in range(_PARTS)]
        self._used = array("L", bytes(8 * _PARTS))

    def add(self, scope: str, hashes: tuple[int, ...], serial: int) -> None:
        """Enter *serial* under each of *hashes*."""
        base = hash(scope)
        low = serial & _SERIAL
        for one in hashes:
            key = (base + one * _MIX) & _WORD
            self._enter(key % _PARTS, key >> 32, low)

    def candidates(self, scope: str, hashes: tuple[int, ...]) -> dict[int, int]:
        """Return the serial numbers, of 32 bits, under *hashes*: under how many of them each."""
        base = hash(scope)
        found: dict[int, int] = {}
        for one in hashes:
            key = (base + one * _MIX) & _WORD
            part = self._parts[key % _PARTS]
            tag = key >> 32
            last = len(part) - 1
            at = tag & last
            while entry := part[at]:
                if entry >> 32 == tag:
                    serial = entry & _SERIAL
                    found[serial] = found.get(serial, 0) + 1
                at = (at + 1) & last
        return found

    def _enter(self, number: int, tag: int, serial: int) -> None:
        part = self._parts[number]
        last = len(part) - 1
        at = tag & last
        entry = tag << 32 | serial
        same: list[int] = []
        while there := part[at]:
            if there == entry:
                return
            if there >> 32 == tag:
                same.append(at)
            at = (at + 1) & last
        if len(same) >= _SAME:
            part[same[serial % _SAME]] = entry
            return
        part[at] = entry
        self._used[number] += 1
        if 3 * self._used[number] > 2 * len(part):
            self._make_anew(number)

    def _make_anew(self, number: int) -> None:
        """Make a part anew: without what means nothing any more, half full at most."""
        entries = [entry for entry in self._parts[number] if entry and self._lives(entry & _SERIAL)]
        size = _LEAST
        while size < 2 * len(entries):
            size *= 2
        part = array("Q", bytes(8 * size))
        last = size - 1
        for entry in entries:
            at = entry >> 32 & last
            while part[at]:
                at = (at + 1) & last
            part[at] = entry
        self._parts[number] = part
        self._used[number] = len(entries)

    def _check(self) -> None:
        """Assert that every entry can be found."""
        for used, part in zip(self._used, self._parts, strict=True):
            assert used == sum(map(bool, part)) < len(part)
            last = len(part) - 1
            for place, entry in enumerate(part):
                at = entry >> 32 & last
                while entry and at != place:
                    assert part[at]
                    at = (at + 1) & last
