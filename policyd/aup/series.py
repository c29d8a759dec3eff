"""What the engine gives to be kept, and takes back: series of what was counted, by time.

A limit's counts are a series, the groups of similar mail and the kept verdicts are others. Whoever
keeps them need not know what they are about: entries of one bucket and key are added up, those that
ended long enough ago are needed no more.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from policyd.counting.changes import Bucket


class Series(NamedTuple):
    """What was counted of one thing; *meaning* says what these are counts of.

    The *buckets* are in the order in which they are to be given back. Those that end at *oldest* or
    before are needed no more, and none ends after *latest*, whatever it was when it was kept: the
    clock may have been stepped back. Both in seconds of the wall clock.
    """

    meaning: str
    oldest: float
    latest: float
    buckets: Sequence[Bucket]


Kept = Mapping[str, Series]
"""Series by their names."""

Forget = Mapping[str, Callable[[str], bool]]
"""What tells of each key whether it is to be forgotten, by the names of series."""
