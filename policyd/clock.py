"""The two kinds of time, kept apart by their types.

*Wall* time (UTC, seconds since the epoch) labels what is counted: windows are about days that
people know. It may be stepped. *Monotonic* time (seconds, of no meaning outside this process)
measures how long something has been open. The pure part is given both and reads no clock.
"""

from typing import NamedTuple, NewType

WallTime = NewType("WallTime", float)
MonotonicTime = NewType("MonotonicTime", float)


class Instant(NamedTuple):
    """One moment, on both clocks."""

    wall: WallTime
    monotonic: MonotonicTime
