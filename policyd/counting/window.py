"""Time in buckets, and sums per key in a sliding window of them.

A window of W seconds is cut into buckets whose edges are in UTC epoch time. What is counted goes
into the bucket of its moment and is forgotten when the whole bucket has left the window: between W
and W plus one bucket later, never before (POLICY.md "Windows").

Buckets are numbered in the order in which they were opened. A number never changes, while the time
that it stands for may: when the clock is stepped back, the buckets that would now lie in the future
are relabelled as the present one. So no step makes a bucket of the future, none locks anybody out
for longer than the window, and a step costs as much as there are buckets, not keys.

Sums are kept bucket by bucket (number -> {key: sum}) beside one running total per key. That is
flat dicts of text and numbers: about 85 bytes a key, and nothing for the garbage collector to
follow. A bucket that has left the window is taken apart in slices, yet a sum is exact meanwhile.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from policyd.clock import WallTime

_MOST_BUCKETS: Final = 288
"""About so many to a window; 24 hours come to buckets of 5 minutes."""

_WIDTHS: Final = (
    *(1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2),  # exact in binary, so edges are too
    *(1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 14400, 21600, 43200, 86400, 172800),
)


def bucket_width(window: float) -> float:
    """Return the width, in seconds, of the buckets for a *window* of at least one second."""
    return max(width for width in _WIDTHS if width * _MOST_BUCKETS <= window or width == _WIDTHS[0])


class Timeline:
    """The numbered buckets of one sliding *window*, in seconds.

    Every method is given the present and must be given all steps of the clock that matter:
    *advance* is where time passes.
    """

    __slots__ = ("_first", "_quiet_from", "_quiet_until", "_starts", "width", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self.width = bucket_width(window)
        self._first = 0  # the number of the oldest bucket
        self._starts: deque[float] = deque()  # of the live buckets, never descending
        self._quiet_from = self._quiet_until = 0.0  # in between, advance has nothing to do

    @property
    def first(self) -> int:
        """The number of the oldest live bucket, or of the next one to open."""
        return self._first

    def advance(self, now: WallTime) -> Iterable[int]:
        """Let time pass and return the numbers of the buckets that left the window."""
        if self._quiet_from <= now < self._quiet_until:
            return ()
        starts, current = self._starts, self._start_of(now)
        for at in range(len(starts) - 1, -1, -1):
            if starts[at] <= current:
                break
            starts[at] = current
        before = self._first
        while starts and starts[0] + self.width <= now - self.window:
            starts.popleft()
            self._first += 1
        self._quiet_from, self._quiet_until = current, current + self.width
        if starts:
            self._quiet_until = min(self._quiet_until, self.leaves(self._first))
        return range(before, self._first)

    def current(self, now: WallTime) -> int:
        """Return the number of the bucket of *now*, after *advance*, and open it if need be."""
        quiet = self._quiet_from <= now < self._quiet_until
        start = self._quiet_from if quiet else self._start_of(now)
        if not self._starts or self._starts[-1] < start:
            self._starts.append(start)
        return self._first + len(self._starts) - 1

    def leaves(self, number: int) -> WallTime:
        """Return when the live bucket *number* will have left the window."""
        return WallTime(self._starts[number - self._first] + self.width + self.window)

    def open_numbers(self) -> range:
        """Return the numbers of the live buckets, oldest first."""
        return range(self._first, self._first + len(self._starts))

    def start(self, number: int) -> WallTime:
        """Return the time that the live bucket *number* stands for."""
        return WallTime(self._starts[number - self._first])

    def place(self, start: float, width: float, now: WallTime) -> int:
        """Return the number of a bucket for what a bucket of another *width* held.

        To be called for one *start* after the other, oldest first. The last moment of the old
        bucket decides, so that nothing is forgotten early; the future is none.
        """
        last = min(start + width - _WIDTHS[0], now)
        if self._starts:
            last = max(last, self._starts[-1])
        self._quiet_until = 0.0
        return self.current(WallTime(last))

    def _start_of(self, now: float) -> float:
        return math.floor(now / self.width) * self.width

    def _check(self) -> None:
        """Assert the invariants."""
        starts = list(self._starts)
        assert starts == sorted(starts)
        assert all(start == self._start_of(start) for start in starts)


class WindowSums:
    """Sums per key in a sliding window."""

    __slots__ = ("_buckets", "_leaving", "_totals", "timeline")

    def __init__(self, window: float) -> None:
        self.timeline = Timeline(window)
        self._buckets: dict[int, dict[str, int]] = {}
        self._leaving: deque[dict[str, int]] = deque()  # out of the window, still in the totals
        self._totals: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self._totals)

    def advance(self, now: WallTime) -> Iterable[int]:
        """Let time pass; return the numbers of the buckets that left the window."""
        gone = self.timeline.advance(now)
        for number in gone:
            if bucket := self._buckets.pop(number, None):
                self._leaving.append(bucket)
        return gone

    def sum(self, key: str) -> int:
        """Return the sum of *key*, as of the last *advance*."""
        total = self._totals.get(key, 0)
        if self._leaving:
            total -= sum(bucket.get(key, 0) for bucket in self._leaving)
        return total

    def add(self, number: int, key: str, amount: int) -> None:
        """Add *amount* to *key* in the live bucket *number*."""
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
        bucket[key] = bucket.get(key, 0) + amount
        self._totals[key] = self._totals.get(key, 0) + amount

    def subtract(self, number: int, key: str, amount: int) -> None:
        """Take *amount* of *key* out of the live bucket *number* again."""
        _decrease(self._buckets[number], key, amount)
        _decrease(self._totals, key, amount)

    def tidy(self, at_most: int) -> int:
        """Take up to *at_most* entries of gone buckets out of the totals; return how many."""
        done = 0
        while self._leaving and done < at_most:
            bucket = self._leaving[0]
            while bucket and done < at_most:
                key, amount = bucket.popitem()
                _decrease(self._totals, key, amount)
                done += 1
            if not bucket:
                self._leaving.popleft()
        return done

    def buckets(self) -> Iterator[tuple[int, dict[str, int]]]:
        """Yield the live buckets and what they hold, oldest first."""
        for number in self.timeline.open_numbers():
            yield number, self._buckets.get(number, {})

    def _check(self) -> None:
        """Assert that the totals are the sums of the buckets, and nothing is held for nothing."""
        self.timeline._check()
        sums: dict[str, int] = {}
        for bucket in (*self._buckets.values(), *self._leaving):
            for key, amount in bucket.items():
                assert amount > 0
                sums[key] = sums.get(key, 0) + amount
        assert sums == self._totals
        assert set(self._buckets) <= set(self.timeline.open_numbers())


def _decrease(sums: dict[str, int], key: str, amount: int) -> None:
    left = sums[key] - amount
    if left:
        sums[key] = left
    else:
        del sums[key]
