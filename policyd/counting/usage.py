"""What a sliding window holds, key by key: for each key a run of bytes (runs.py).

A run tells of each bucket what was counted in it, in the order of the buckets. So usage is exact
however long ago anybody tidied up: what has left the window stands at the beginning of a run, and
is not counted. It is cut off by a walk over all keys that is made now and then, in slices. That is
one entry of a dict for each key, one look at it when something is counted, and nothing for the
garbage collector to follow. No dict grows so big that its growing would be felt.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Final

from policyd.clock import WallTime
from policyd.counting.runs import ENTRY, number_at, start_of
from policyd.counting.shards import Shards
from policyd.counting.window import Timeline

RUN: Final = 150
"""Bytes that a run takes beside its entries and the characters of its key, about."""

_SOME: Final = 256
"""Keys that are listed together."""

_WALKS: Final = 16
"""Walks in one window at most: what has left it takes memory for so much of it longer."""


class Usage(ABC):
    """What the *timeline*'s window holds."""

    __slots__ = ("_next_walk", "_runs", "_walk", "_walked", "_weight", "timeline")

    def __init__(self, window: float) -> None:
        self.timeline = Timeline(window)
        self._runs: Shards[bytes] = Shards()
        self._weight = 0
        self._walk: Iterator[str] | None = None
        self._walked = 0  # the oldest bucket that was live when the last walk began
        self._next_walk = 0.0  # not before then

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self._runs)

    @property
    def weight(self) -> int:
        """The memory that is held, in bytes, about."""
        return self._weight

    def advance(self, now: WallTime) -> None:
        """Let time pass."""
        self.timeline.advance(now)

    def drop(self) -> None:
        """Let go of everything; *tidy* forgets it."""
        self.timeline.close()
        self._next_walk = 0.0

    def sum(self, key: str) -> int:
        """Return what *key* comes to, as of the last *advance*."""
        return self.sum_from(key, self.timeline.first)

    @abstractmethod
    def sum_from(self, key: str, number: int) -> int:
        """Return what *key* comes to in the live bucket *number* and those after it."""

    @abstractmethod
    def parts(self, key: str) -> list[tuple[int, int]]:
        """Return each live bucket that has something of *key*, and how much, oldest first."""

    def last(self, key: str) -> int | None:
        """Return the bucket in which *key* was last counted; None if the window has none of it."""
        run, first = self._runs.of(key).get(key), self.timeline.first
        if run is None or start_of(run[-ENTRY:], first):
            return None
        return number_at(run, len(run) - ENTRY, first)

    def forget(self, key: str) -> None:
        """Forget all there is of *key*."""
        runs = self._runs.of(key)
        run = runs.pop(key, None)
        if run is not None:
            self._weight -= RUN + len(key) + len(run)

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Let time pass; free the memory of what is out of the window, of up to *at_most* keys.

        Return how many were looked at.
        """
        self.timeline.advance(now)
        looked = 0
        while looked < at_most and (walk := self._walk or self._walk_due(now)) is not None:
            self._walk = walk
            key = next(walk, None)
            if key is None:
                self._walk = None
            else:
                self._shorten(key)
                looked += 1
        return looked

    def slices(self, at_most: int) -> Iterator[Sequence[str]]:
        """Yield all keys, *at_most* at a time; what comes meanwhile may be missing."""
        for part in self._runs:
            keys = list(part)
            for at in range(0, len(keys), at_most):
                yield keys[at : at + at_most]

    def keys(self) -> Iterator[str]:
        """Yield all keys; what comes meanwhile may be missing."""
        for keys in self.slices(_SOME):
            yield from keys

    def buckets(self) -> dict[int, dict[str, int]]:
        """Return what each live bucket holds, oldest first, by number."""
        found: dict[int, dict[str, int]] = {n: {} for n in self.timeline.open_numbers()}
        for key in self.keys():
            for number, amount in self.parts(key):
                found[number][key] = amount
        return found

    def _walk_due(self, now: WallTime) -> Iterator[str] | None:
        """Return a walk that is to begin; None if nothing has left, or it is not long ago."""
        first, pause = self.timeline.first, self.timeline.window / _WALKS
        # a clock that was stepped back is no reason to wait
        if first == self._walked or self._next_walk - pause <= now < self._next_walk:
            return None
        self._walked, self._next_walk = first, now + pause
        return self.keys()

    @abstractmethod
    def _shorten(self, key: str) -> None:
        """Forget what *key* has of buckets that are gone."""

    def _keep(self, key: str, before: bytes, after: bytes) -> None:
        """Let the run of *key*, which is as *before*, be what is left of it *after*."""
        if after:
            self._runs.of(key)[key] = after
            self._weight += len(after) - len(before)
        else:
            self.forget(key)

    @abstractmethod
    def _check(self) -> None:
        """Assert the invariants."""
