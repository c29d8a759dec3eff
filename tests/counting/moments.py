"""Times and windows for the tests of counting."""

import math

from hypothesis import strategies as st

from policyd.clock import WallTime
from policyd.counting.window import bucket_width

DAY = 86400
START = WallTime(1_800_000_000.0 - 1_800_000_000 % (400 * DAY))
"""An edge of every bucket there is."""

WINDOWS = st.one_of(
    st.sampled_from([1, 2, 4, 5, 10, 60, 90, 600, 3600, 10_001, DAY, 7 * DAY, 30 * DAY]),
    st.integers(1, 400 * DAY),
)


def at(seconds: float) -> WallTime:
    return WallTime(START + seconds)


def bucket(when: float, width: float) -> float:
    """Return the start of the bucket that *when* is in."""
    return math.floor(when / width) * width


def forgotten(when: float, window: float, now: float) -> bool:
    """Tell whether what was counted at *when* has left the window."""
    width = bucket_width(window)
    return bucket(when, width) + width <= now - window


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
