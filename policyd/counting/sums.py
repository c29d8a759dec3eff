"""Sums per key in a sliding window.

An entry of a run is what has been counted of the key up to the end of a bucket. The sum of some
buckets is the difference of two entries, so it takes no adding up; when older buckets are cut off,
the last of them stays, as what the others began from.
"""

import struct
from typing import Final

from policyd.counting.runs import ENTRY, is_live, number_at, start_of
from policyd.counting.usage import RUN, Usage

_ENTRY: Final = struct.Struct("<QI")
_MOST: Final = 0xFFFFFFFFFFFFFFFF
"""Amounts are what they are modulo one more than this: no window holds as many bytes."""

_NUMBERS: Final = 0xFFFFFFFF


class WindowSums(Usage):
    """Sums per key in a sliding window."""

    __slots__ = ()

    def sum_from(self, key: str, number: int) -> int:
        """Return what *key* comes to in the live bucket *number* and those after it."""
        run = self._runs.of(key).get(key)
        if run is None:
            return 0
        size = len(run)
        reached: int
        last: int
        reached, last = _ENTRY.unpack_from(run, size - ENTRY)
        if not is_live(last, number):
            return 0
        if size == ENTRY:  # most often
            return reached
        return (reached - _before(run, start_of(run, number))) & _MOST

    def parts(self, key: str) -> list[tuple[int, int]]:
        """Return each live bucket that has something of *key*, and how much, oldest first."""
        run = self._runs.of(key).get(key, b"")
        first = self.timeline.first
        start = start_of(run, first)
        before = _before(run, start)
        found = []
        for at in range(start, len(run), ENTRY):
            reached: int = _ENTRY.unpack_from(run, at)[0]
            found.append((number_at(run, at, first), (reached - before) & _MOST))
            before = reached
        return found

    def add(self, number: int, key: str, amount: int) -> None:
        """Add *amount* to *key* in the bucket *number*, the latest that there is."""
        runs = self._runs.of(key)
        run = runs.get(key)
        number &= _NUMBERS
        if run is None:
            runs[key] = _ENTRY.pack(amount & _MOST, number)
            self._weight += RUN + len(key) + ENTRY
            return
        at = len(run) - ENTRY
        reached: int
        last: int
        reached, last = _ENTRY.unpack_from(run, at)
        entry = _ENTRY.pack((reached + amount) & _MOST, number)
        if last == number:
            runs[key] = run[:at] + entry if at else entry
        else:
            runs[key] = run + entry
            self._weight += ENTRY

    def _shorten(self, key: str) -> None:
        run = self._runs.of(key).get(key)
        if run is None:
            return
        start = start_of(run, self.timeline.first)
        if start == len(run):
            self.forget(key)
        elif start > ENTRY:
            self._keep(key, run, run[start - ENTRY :])

    def _check(self) -> None:
        """Assert that runs are in order, and nothing is held for nothing."""
        self.timeline._check()
        weight = 0
        for key, run in self._runs.items():
            assert run
            assert len(run) % ENTRY == 0
            numbers = [number for number, _ in self.parts(key)]
            assert numbers == sorted(set(numbers))
            assert set(numbers) <= set(self.timeline.open_numbers())
            assert self.sum(key) == sum(amount for _, amount in self.parts(key))
            weight += RUN + len(key) + len(run)
        assert self._weight == weight


def _before(run: bytes, start: int) -> int:
    """Return what was counted before the entry that begins at *start*."""
    return int.from_bytes(run[start - ENTRY : start - 4], "little") if start else 0
