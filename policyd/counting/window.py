"""Time in buckets, and sums per key in a sliding window of them.

A window of W seconds is cut into buckets whose edges are in UTC epoch time. What is counted goes
into the bucket of its moment and is forgotten when the whole bucket has left the window: between W
and W plus one bucket later, never before (POLICY.md "Windows").

Buckets are numbered in the order in which they were opened. A number never changes, while the time
at which its bucket ends may: when the clock is stepped back, the buckets that would now lie in the
future end with the present one. So no step makes a bucket of the future, none locks anybody out
for longer than the window, and a step costs as much as there are buckets, not keys. Nor does a
window that the rules change: the buckets that there are keep their ends.

Sums are kept bucket by bucket (number -> {key: sum}) beside one running total per key. That is
flat dicts of text and numbers: about 85 bytes a key, and nothing for the garbage collector to
follow. No dict grows so big that its growing would be felt. A bucket that has left the window is
taken apart in slices, yet a sum is exact meanwhile.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from policyd.clock import WallTime
from policyd.counting.bounds import USUAL
from policyd.counting.shards import SHARDS, Shards

_MOST_BUCKETS: Final = 288
"""About so many to a window; 24 hours come to buckets of 5 minutes."""

_WIDTHS: Final = (
    *(1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2),  # exact in binary, so edges are too
    *(1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 14400, 21600, 43200, 86400, 172800),
)


_ENTRY: Final = 120
"""Bytes that an entry of a dict takes, beside the characters of its key, about."""

_NOTHING: Final[Mapping[str, int]] = {}


def bucket_width(window: float) -> float:
    """Return the width, in seconds, of the buckets for a *window* of at least one second."""
    return max(width for width in _WIDTHS if width * _MOST_BUCKETS <= window or width == _WIDTHS[0])


class Timeline:
    """The numbered buckets of one sliding *window*, in seconds.

    Every method is given the present and must be given all steps of the clock that matter:
    *advance* is where time passes. From *quiet_from* on and before *quiet_until* it has nothing to
    do; *present* is the number of the bucket of that time, None as long as it is not open.
    """

    __slots__ = ("_ends", "_first", "present", "quiet_from", "quiet_until", "width", "window")

    def __init__(self, window: float) -> None:
        self._first = 0  # the number of the oldest bucket
        self.present: int | None = None
        self._ends: deque[float] = deque()  # of the live buckets, never descending
        self.obey(window)

    def obey(self, window: float) -> None:
        """Let the window be *window* seconds from now on."""
        self.window = window
        self.width = bucket_width(window)
        self.present = None
        self.quiet_from = self.quiet_until = 0.0

    @property
    def first(self) -> int:
        """The number of the oldest live bucket, or of the next one to open."""
        return self._first

    def advance(self, now: WallTime) -> Iterable[int]:
        """Let time pass and return the numbers of the buckets that left the window."""
        if self.quiet_from <= now < self.quiet_until:
            return ()
        self.present = None
        ends, latest = self._ends, self.latest(now)
        for at in range(len(ends) - 1, -1, -1):
            if ends[at] <= latest:
                break
            ends[at] = latest
        before = self._first
        while ends and ends[0] <= self.oldest(now):
            ends.popleft()
            self._first += 1
        self.quiet_from, self.quiet_until = latest - self.width, latest
        if ends:
            self.quiet_until = min(self.quiet_until, self.leaves(self._first))
        return range(before, self._first)

    def current(self, now: WallTime) -> int:
        """Return the number of the bucket of *now*, after *advance*, and open it if need be."""
        if self.quiet_from <= now < self.quiet_until:
            if self.present is None:
                self.present = self._open(self.quiet_from + self.width)
            return self.present
        return self._open(self.latest(now))

    def close(self) -> None:
        """Let all buckets leave the window before their time."""
        self._first += len(self._ends)
        self._ends.clear()
        self.present = None

    def split(self) -> int:
        """Open another bucket that ends with the current one; return its number."""
        self._ends.append(self._ends[-1])
        self.present = None
        return self._first + len(self._ends) - 1

    def restore(self, end: float, now: WallTime) -> int | None:
        """Return the number of a bucket that ended at *end*; None if it has left the window.

        To be called for one *end* after the other, oldest first. The future is none.
        """
        self.advance(now)
        if end <= self.oldest(now):
            return None
        self.quiet_until = 0.0
        self.present = None
        return self._open(min(end, self.latest(now)))

    def leaves(self, number: int) -> WallTime:
        """Return when the live bucket *number* will have left the window."""
        return WallTime(self.end(number) + self.window)

    def open_numbers(self) -> range:
        """Return the numbers of the live buckets, oldest first."""
        return range(self._first, self._first + len(self._ends))

    def end(self, number: int) -> float:
        """Return when the live bucket *number* ends."""
        return self._ends[number - self._first]

    def latest(self, now: WallTime) -> float:
        """Return when the bucket of *now* ends; none ends later."""
        return (math.floor(now / self.width) + 1) * self.width

    def oldest(self, now: WallTime) -> float:
        """Return what the buckets that are in the window at *now* ended after."""
        return now - self.window

    def _open(self, end: float) -> int:
        if not self._ends or self._ends[-1] < end:
            self._ends.append(end)
        return self._first + len(self._ends) - 1

    def _check(self) -> None:
        """Assert the invariants."""
        ends = list(self._ends)
        assert ends == sorted(ends)


class WindowSums:
    """Sums per key in a sliding window.

    A bucket has no more than *most_keys*; then there are several that end together.
    """

    __slots__ = ("_buckets", "_leaving", "_most_keys", "_totals", "_weight", "timeline")

    def __init__(self, window: float, most_keys: int = USUAL.keys) -> None:
        self._most_keys = most_keys
        self.timeline = Timeline(window)
        self._buckets: dict[int, dict[str, int]] = {}
        self._leaving: deque[dict[str, int]] = deque()  # out of the window, still in the totals
        self._totals: Shards[int] = Shards()
        self._weight = 0

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self._totals)

    @property
    def weight(self) -> int:
        """The memory that is held, in bytes, about."""
        return self._weight

    def advance(self, now: WallTime) -> None:
        """Let time pass."""
        timeline = self.timeline
        if timeline.quiet_from <= now < timeline.quiet_until:
            return
        for number in timeline.advance(now):
            if bucket := self._buckets.pop(number, None):
                self._leaving.append(bucket)

    def drop(self) -> None:
        """Let go of everything; *tidy* forgets it."""
        self.timeline.close()
        self._leaving.extend(self._buckets.values())
        self._buckets = {}

    def sum(self, key: str) -> int:
        """Return the sum of *key*, as of the last *advance*."""
        total = self._totals.dicts[hash(key) % SHARDS].get(key, 0)
        if self._leaving:
            total -= sum(bucket.get(key, 0) for bucket in self._leaving)
        return total

    def current(self, now: WallTime) -> int:
        """Let time pass; return the number of the bucket to count in at *now*."""
        timeline = self.timeline
        number = timeline.present
        if number is None or not timeline.quiet_from <= now < timeline.quiet_until:
            self.advance(now)
            number = timeline.current(now)
        bucket = self._buckets.get(number)
        if bucket is not None and len(bucket) >= self._most_keys:
            number = timeline.split()
        return number

    def add(self, number: int, key: str, amount: int) -> None:
        """Add *amount* to *key* in the live bucket *number*."""
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
        totals = self._totals.dicts[hash(key) % SHARDS]
        total = totals.get(key)
        if total is None:  # and so it is in no bucket
            totals[key] = bucket[key] = amount
            self._weight += 2 * (_ENTRY + len(key))
            return
        totals[key] = total + amount
        here = bucket.get(key)
        if here is None:
            bucket[key] = amount
            self._weight += _ENTRY + len(key)
        else:
            bucket[key] = here + amount

    def subtract(self, number: int, key: str, amount: int) -> None:
        """Take *amount* of *key* out of the live bucket *number* again."""
        self._weight -= _decrease(self._buckets[number], key, amount)
        self._weight -= _decrease(self._totals.of(key), key, amount)

    def tidy(self, at_most: int, forgot: Callable[[str, int], None] | None = None) -> int:
        """Take up to *at_most* entries of gone buckets out of the totals; return how many.

        *forgot* is told each of them.
        """
        done = 0
        while self._leaving and done < at_most:
            bucket = self._leaving[0]
            while bucket and done < at_most:
                key, amount = bucket.popitem()
                self._weight -= _weight(key) + _decrease(self._totals.of(key), key, amount)
                if forgot is not None:
                    forgot(key, amount)
                done += 1
            if not bucket:
                self._leaving.popleft()
        return done

    def slices(self, at_most: int) -> Iterator[Sequence[str]]:
        """Yield all keys, *at_most* at a time; what comes meanwhile may be missing."""
        for part in self._totals:
            keys = list(part)
            for at in range(0, len(keys), at_most):
                yield keys[at : at + at_most]

    def held(self, number: int) -> Mapping[str, int]:
        """Return what the bucket *number* holds."""
        return self._buckets.get(number, _NOTHING)

    def buckets(self) -> Iterator[tuple[int, Mapping[str, int]]]:
        """Yield the live buckets and what they hold, oldest first."""
        for number in self.timeline.open_numbers():
            yield number, self.held(number)

    def _check(self) -> None:
        """Assert that the totals are the sums of the buckets, and nothing is held for nothing."""
        self.timeline._check()
        sums: dict[str, int] = {}
        weight = 0
        for bucket in (*self._buckets.values(), *self._leaving):
            for key, amount in bucket.items():
                assert amount > 0
                sums[key] = sums.get(key, 0) + amount
                weight += _weight(key)
        assert sums == dict(self._totals.items())
        assert self._weight == weight + sum(map(_weight, sums))
        assert set(self._buckets) <= set(self.timeline.open_numbers())


def _weight(key: str) -> int:
    return _ENTRY + len(key)


def _decrease(sums: dict[str, int], key: str, amount: int) -> int:
    """Take *amount* from *key*; return how much lighter *sums* are."""
    left = sums[key] - amount
    if left:
        sums[key] = left
        return 0
    del sums[key]
    return _ENTRY + len(key)
