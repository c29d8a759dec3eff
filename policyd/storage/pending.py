"""What was counted and is not in the buckets on disk yet."""

from collections.abc import Callable
from math import inf
from typing import Final

from policyd.aup.series import Forget, Kept, Series
from policyd.counting.changes import Bucket, Entries

MOST: Final = 3_000_000
"""Entries; half a gigabyte or so."""


class Pending:
    """The sum of all changes since it was last cleared.

    What is out of its window is forgotten. Of more than *most* entries, the oldest are: while a
    disk takes nothing, somebody may invent keys that memory has long let go of.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._series: dict[str, _Pending] = {}

    def add(self, kept: Kept) -> None:
        """Add the changes in *kept*, which stay as they are until the next call, and no longer.

        A series that is not named is over.
        """
        for name in [name for name in self._series if name not in kept]:
            del self._series[name]
        for name, series in kept.items():
            found = self._series.get(name)
            if found is None or found.meaning != series.meaning:
                found = self._series[name] = _Pending(series.meaning)
            found.add(series)
        self._shrink()

    def forget(self, which: Forget) -> None:
        """Forget the keys that *which* tells of, by series."""
        for name, is_over in which.items():
            if (found := self._series.get(name)) is not None:
                found.forget(is_over)

    def clear(self) -> None:
        """Forget everything."""
        self._series.clear()

    def series(self) -> Kept:
        """Return the sum of the changes."""
        return {name: one.series() for name, one in self._series.items()}

    def _shrink(self) -> None:
        """Forget the oldest buckets of the largest series while there are too many entries."""
        while sum(one.entries for one in self._series.values()) > self._most:
            max(self._series.values(), key=lambda one: one.entries).forget_oldest()


class _Pending:
    """The changes of one series."""

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning
        self._buckets: dict[float, Entries] = {}

    def add(self, series: Series) -> None:
        buckets, self._buckets = self._buckets, {}
        given = series.buckets
        if len({min(end, series.latest) for end, _ in given}) < len(given):
            # of two that end together the first takes in the second
            given = [Bucket(end, entries.copy()) for end, entries in given]
        for end, entries in (*buckets.items(), *given):
            if end > series.oldest:
                self._put(min(end, series.latest), entries)

    @property
    def entries(self) -> int:
        return sum(map(len, self._buckets.values()))

    def forget(self, is_over: Callable[[str], bool]) -> None:
        for end, entries in list(self._buckets.items()):
            for key in list(filter(is_over, entries)):
                del entries[key]
            if not entries:
                del self._buckets[end]

    def forget_oldest(self) -> None:
        del self._buckets[min(self._buckets)]

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
