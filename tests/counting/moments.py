"""Times, windows and awkward members for the tests of counting, and a plain account of the past."""

import math
from typing import Any

from hypothesis import strategies as st

from policyd.clock import WallTime
from policyd.counting.bounds import Bounds
from policyd.counting.counters import DistinctCounter, SumCounter
from policyd.counting.window import bucket_width

DAY = 86400
START = WallTime(1_800_000_000.0 - 1_800_000_000 % (400 * DAY))
"""An edge of every bucket there is."""

BEFORE = 1 / 1024
"""Seconds; a moment that a float of today's time still shows."""

WINDOWS = st.one_of(
    st.sampled_from([1, 2, 4, 5, 10, 60, 90, 600, 3600, 10_001, DAY, 7 * DAY, 30 * DAY]),
    st.integers(1, 400 * DAY),
)

FIRST_NUMBERS = [0, 2**32 - 2, 2**33 - 1]
"""Of buckets; a member is kept with 32 bits of them."""

BOUNDS = st.builds(
    Bounds,
    few=st.sampled_from([0, 2, 32]),
    members=st.sampled_from([1, 3, 1024]),
    piece=st.sampled_from([1, 2]),
)
"""Most of them so low that a few members and keys are beyond them."""

MEMBERS = [
    bytes.fromhex(member)
    for member in (
        *("0000000000000000", "0000000001000000", "0100000000000000", "0100000001000000"),
        *("00000000ffffffff", "ffffffff00000000", "ffffffffffffffff", "feffffffffffffff"),
    )
]
"""Their halves are like numbers of buckets, so each is found across the edges of others."""


def made(make: type[SumCounter] | type[DistinctCounter], window: float, bounds: Bounds) -> Any:
    """Return a counter that changes its ways at *bounds*, if there is anything to change."""
    return make(window, bounds) if make is DistinctCounter else make(window)


def at(seconds: float) -> WallTime:
    return WallTime(START + seconds)


def bucket(when: float, width: float) -> float:
    """Return the start of the bucket that *when* is in."""
    return math.floor(when / width) * width


def ends(when: float, window: float) -> float:
    """Return when the bucket that *when* is in ends."""
    width = bucket_width(window)
    return bucket(when, width) + width


def forgotten(when: float, window: float, now: float) -> bool:
    """Tell whether what was counted at *when* has left the window."""
    return ends(when, window) <= now - window


def steps(window: float) -> st.SearchStrategy[float]:
    """Return steps of the clock that matter to *window*: forward and back, long and short."""
    width = bucket_width(window)
    lengths = [0.0, width / 4, width, 1.5 * width, window / 7, window - width, window]
    lengths += [window + width, 3 * window]
    return st.one_of(
        st.sampled_from(lengths),
        st.sampled_from(lengths),
        st.sampled_from([-length for length in lengths]),
        st.floats(-2 * window, 2 * window).map(lambda step: round(step * 64) / 64),
    )


class Past:
    """A record of all that was counted; what is gone is gone.

    Each knows when its bucket ends. A step back makes it end with the present one; another window
    changes nothing of it.
    """

    def __init__(self, window: float) -> None:
        self.window = window
        self.records: list[tuple[float, str, Any]] = []  # end, key, what

    def count(self, now: float, key: str, *counted: Any) -> None:
        self.records += [(ends(now, self.window), key, one) for one in counted]

    def advance(self, now: float) -> None:
        latest = ends(now, self.window)
        aged = [(min(end, latest), key, one) for end, key, one in self.records]
        self.records = [record for record in aged if record[0] > now - self.window]

    def of(self, key: str) -> list[Any]:
        return [one for _, name, one in self.records if name == key]

    def sums(self) -> dict[tuple[float, str], int]:
        """Return the sum of the amounts of each bucket and key."""
        sums: dict[tuple[float, str], int] = {}
        for end, key, amount in self.records:
            sums[end, key] = sums.get((end, key), 0) + amount
        return {where: amount for where, amount in sums.items() if amount}

    def members(self) -> dict[tuple[float, str], set[Any]]:
        """Return the members of each bucket and key; each is where it was seen last."""
        last: dict[tuple[str, Any], float] = {}
        for end, key, member in self.records:
            last[key, member] = max(end, last.get((key, member), end))
        found: dict[tuple[float, str], set[Any]] = {}
        for (key, member), end in last.items():
            found.setdefault((end, key), set()).add(member)
        return found
