"""What was counted and is not in the buckets on disk yet."""

from math import inf

from policyd.aup.series import Kept, Series
from policyd.counting.counters import Bucket, Entries


class Pending:
    """The sum of all changes since it was last cleared.

    It never comes to more than is counted: what is out of its window is forgotten.
    """

    def __init__(self) -> None:
        self._series: dict[str, _Pending] = {}

    def add(self, kept: Kept) -> None:
        """Add the changes in *kept*. What it does not name is over."""
        for name in [name for name in self._series if name not in kept]:
            del self._series[name]
        for name, series in kept.items():
            found = self._series.get(name)
            if found is None or found.meaning != series.meaning:
                found = self._series[name] = _Pending(series.meaning)
            found.add(series)

    def clear(self) -> None:
        """Forget everything."""
        self._series.clear()

    def series(self) -> Kept:
        """Return the sum of the changes."""
        return {name: one.series() for name, one in self._series.items()}


class _Pending:
    """The changes of one series."""

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning
        self._buckets: dict[float, Entries] = {}

    def add(self, series: Series) -> None:
        buckets, self._buckets = self._buckets, {}
        # of two that end together the first takes in the second: what is given is copied
        given = ((end, entries.copy()) for end, entries in series.buckets)
        for end, entries in (*buckets.items(), *given):
            if end > series.oldest:
                self._put(min(end, series.latest), entries)

    def series(self) -> Series:
        return Series(
            self.meaning, -inf, inf, [Bucket(end, self._buckets[end]) for end in self._buckets]
        )

    def _put(self, end: float, entries: Entries) -> None:
        held = self._buckets.get(end)
        if held is None:
            self._buckets[end] = entries
            return
        for key, value in entries.items():
            held[key] = held[key] + value if key in held else value  # type: ignore[assignment,operator]
