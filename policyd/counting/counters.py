"""What a limit counts with: usage, reservations, commits, for sums and for distinct members.

U + R + A (POLICY.md "Words"): what the window holds, what open transactions hold, and what this
step would add. A counter knows nothing of a maximum, so that a changed one keeps the counts.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from policyd.clock import WallTime
from policyd.counting.distinct import Hasher, WindowMembers
from policyd.counting.window import Timeline, WindowSums


class Claim(NamedTuple):
    """What one step would add to *key*: an *amount*, or the hashed *members*."""

    key: str
    amount: int
    members: Sequence[int] = ()


class Figures(NamedTuple):
    """The arithmetic of one claim."""

    used: int
    reserved: int
    asked: int

    @property
    def total(self) -> int:
        """What the usage would come to."""
        return self.used + self.reserved + self.asked


class BucketState(NamedTuple):
    """What one bucket holds, as kept on disk; *pairs* only of distinct members."""

    start: float
    counts: Mapping[str, int]
    pairs: array[int]


class Counter(ABC):
    """The counts of one limit."""

    @abstractmethod
    def figures(self, claim: Claim, now: WallTime) -> Figures:
        """Return U, R and A of *claim*."""

    @abstractmethod
    def commit(self, claim: Claim, now: WallTime) -> None:
        """Add *claim* to the usage; its reservation is released separately."""

    @abstractmethod
    def reserve(self, claim: Claim) -> None:
        """Hold *claim* for an open transaction."""

    @abstractmethod
    def release(self, claim: Claim) -> None:
        """Give up what *reserve* held for the equal claim."""

    @abstractmethod
    def tidy(self, now: WallTime, at_most: int) -> int:
        """Let time pass, forget up to *at_most* entries that are out of the window; say how many.

        Figures are exact without it; it frees the memory.
        """

    @property
    @abstractmethod
    def sums(self) -> WindowSums:
        """The usage of every key, bucket by bucket."""

    @property
    def timeline(self) -> Timeline:
        """The buckets."""
        return self.sums.timeline

    def falls_by(self, claim: Claim, amount: int, now: WallTime) -> WallTime | None:
        """Return when U + A of *claim* will have fallen by *amount*, if nothing else happens.

        None if time alone does not bring it about.
        """
        self.tidy(now, 0)
        stays = self._stays(claim)
        for number, counts in self.sums.buckets():
            amount -= counts.get(claim.key, 0) - stays.get(number, 0)
            if amount <= 0:
                return self.timeline.leaves(number)
        return None

    def _stays(self, claim: Claim) -> Mapping[int, int]:  # noqa: ARG002 - a sum forgets it all
        """Return how much of each bucket *claim* asks for again when the bucket has gone."""
        return {}

    @abstractmethod
    def dump(self) -> Iterator[BucketState]:
        """Yield the live buckets, oldest first."""

    @abstractmethod
    def restore(self, buckets: Iterable[BucketState], width: float, now: WallTime) -> None:
        """Take what *dump* gave into this empty counter; its buckets were *width* seconds wide."""

    @abstractmethod
    def _check(self) -> None:
        """Assert the invariants."""


class SumCounter(Counter):
    """Counts of messages, recipients or bytes."""

    def __init__(self, window: float) -> None:
        self._sums = WindowSums(window)
        self._held: dict[str, int] = {}

    @property
    def sums(self) -> WindowSums:
        return self._sums

    def figures(self, claim: Claim, now: WallTime) -> Figures:
        self._sums.advance(now)
        return Figures(self._sums.sum(claim.key), self._held.get(claim.key, 0), claim.amount)

    def commit(self, claim: Claim, now: WallTime) -> None:
        self._sums.advance(now)
        if claim.amount:
            self._sums.add(self.timeline.current(now), claim.key, claim.amount)

    def reserve(self, claim: Claim) -> None:
        if claim.amount:
            self._held[claim.key] = self._held.get(claim.key, 0) + claim.amount

    def release(self, claim: Claim) -> None:
        if claim.amount:
            self._held[claim.key] -= claim.amount
            if not self._held[claim.key]:
                del self._held[claim.key]

    def tidy(self, now: WallTime, at_most: int) -> int:
        self._sums.advance(now)
        return self._sums.tidy(at_most)

    def dump(self) -> Iterator[BucketState]:
        for number, counts in self._sums.buckets():
            yield BucketState(self.timeline.start(number), counts, array("Q"))

    def restore(self, buckets: Iterable[BucketState], width: float, now: WallTime) -> None:
        for bucket in buckets:
            number = self.timeline.place(bucket.start, width, now)
            for key, amount in bucket.counts.items():
                self._sums.add(number, key, amount)

    def _check(self) -> None:
        self._sums._check()
        assert all(amount > 0 for amount in self._held.values())


class DistinctCounter(Counter):
    """Counts of distinct members.

    What transactions hold is a union: a member that two of them hold, or that the window holds
    already, is no further one. Unions are worked out when asked for; a limit that reserves never
    lets more be held than its maximum.
    """

    def __init__(self, window: float, hasher: Hasher) -> None:
        self._members = WindowMembers(window, hasher)
        self._held: dict[str, dict[int, int]] = {}  # key -> member -> by how many transactions

    @property
    def sums(self) -> WindowSums:
        return self._members.sums

    def figures(self, claim: Claim, now: WallTime) -> Figures:
        members = self._members
        members.advance(now)
        asked: Iterable[int] = members.unknown(claim.key, claim.members)
        reserved = 0
        if held := self._held.get(claim.key):
            reserved = len(members.unknown(claim.key, held))
            asked = [member for member in asked if member not in held]
        return Figures(members.count(claim.key), reserved, len(set(asked)))

    def _stays(self, claim: Claim) -> Mapping[int, int]:
        return self._members.whereabouts(claim.key, claim.members)

    def commit(self, claim: Claim, now: WallTime) -> None:
        self._members.advance(now)
        self._members.add(claim.key, claim.members, now)

    def reserve(self, claim: Claim) -> None:
        held = self._held.setdefault(claim.key, {})
        for member in claim.members:
            held[member] = held.get(member, 0) + 1

    def release(self, claim: Claim) -> None:
        held = self._held[claim.key]
        for member in claim.members:
            held[member] -= 1
            if not held[member]:
                del held[member]
        if not held:
            del self._held[claim.key]

    def tidy(self, now: WallTime, at_most: int) -> int:
        self._members.advance(now)
        return self._members.tidy(at_most)

    def dump(self) -> Iterator[BucketState]:
        for number, counts, pairs in self._members.buckets():
            yield BucketState(self.timeline.start(number), counts, pairs)

    def restore(self, buckets: Iterable[BucketState], width: float, now: WallTime) -> None:
        for bucket in buckets:
            number = self.timeline.place(bucket.start, width, now)
            self._members.restore(number, bucket.counts, bucket.pairs)

    def _check(self) -> None:
        self._members._check()
        assert all(held and min(held.values()) > 0 for held in self._held.values())
