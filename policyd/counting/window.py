"""Time in buckets, and a sliding window of them.

A window of W seconds is cut into buckets whose edges are in UTC epoch time. What is counted goes
into the bucket of its moment and is forgotten when the whole bucket has left the window: between W
and W plus one bucket later, never before (POLICY.md "Windows").

Buckets are numbered in the order in which they were opened. A number never changes, while the time
at which its bucket ends may: when the clock is stepped back, the buckets that would now lie in the
future end with the present one. So no step makes a bucket of the future, none locks anybody out
for longer than the window, and a step costs as much as there are buckets, not keys. Nor does a
window that the rules change: the buckets that there are keep their ends.
"""

import math
from bisect import bisect_right
from collections import deque
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

    def advance(self, now: WallTime) -> None:
        """Let time pass."""
        if self.quiet_from <= now < self.quiet_until:
            return
        self.present = None
        ends, latest = self._ends, self.latest(now)
        for at in range(len(ends) - 1, -1, -1):
            if ends[at] <= latest:
                break
            ends[at] = latest
        while ends and ends[0] <= self.oldest(now):
            ends.popleft()
            self._first += 1
        self.quiet_from, self.quiet_until = latest - self.width, latest
        if ends:
            self.quiet_until = min(self.quiet_until, self.leaves(self._first))

    def current(self, now: WallTime) -> int:
        """Let time pass; return the number of the bucket of *now*, and open it if need be."""
        self.advance(now)
        if self.present is None:
            self.present = self._open(self.latest(now))
        return self.present

    def close(self) -> None:
        """Let all buckets leave the window before their time."""
        self._first += len(self._ends)
        self._ends.clear()
        self.present = None

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

    def number_after(self, end: float) -> int:
        """Return the number of the first live bucket that ends after *end*, or of the next one."""
        return self._first + bisect_right(self._ends, end)

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
