"""What a limit counts with: usage, reservations, commits, for sums and for distinct members.

U + R + A (POLICY.md "Words"): what the window holds, what open transactions hold, and what this
step would add. A counter knows nothing of a maximum, so that a changed one keeps the counts.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from policyd.clock import WallTime
from policyd.counting.bounds import USUAL, Bounds
from policyd.counting.changes import Bucket, Changes, Taken
from policyd.counting.distinct import WindowMembers
from policyd.counting.runs import HASH_SIZE
from policyd.counting.sums import WindowSums
from policyd.counting.usage import Usage
from policyd.counting.window import Timeline
from policyd.oldest_first import OldestFirst


class Claim:
    """What one step would add to *key*: an *amount*, or the hashed *members*."""

    __slots__ = ("amount", "key", "members")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, key: str, amount: int, members: Sequence[bytes] = ()) -> None:
        self.key = key
        self.amount = amount
        self.members = members

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Claim)
            and self.key == other.key
            and self.amount == other.amount
            and self.members == other.members
        )

    def __repr__(self) -> str:
        return f"Claim({self.key!r}, {self.amount!r}, {self.members!r})"


class Figures(NamedTuple):
    """The arithmetic of one claim."""

    used: int
    reserved: int
    asked: int

    @property
    def total(self) -> int:
        """What the usage would come to."""
        return self.used + self.reserved + self.asked


class Counter(ABC):
    """The counts of one limit."""

    @abstractmethod
    def figures(self, claim: Claim, now: WallTime) -> Figures:
        """Return U, R and A of *claim*."""

    @abstractmethod
    def may_exceed(self, most: int, claims: Sequence[Claim], now: WallTime) -> bool:
        """Tell whether U + R + A of any of the *claims* may be more than *most*.

        It takes less time than to say what it is.
        """

    @abstractmethod
    def commit(self, claim: Claim, now: WallTime) -> None:
        """Add *claim* to the usage; its reservation is released separately."""

    def commit_all(self, claims: Sequence[Claim], now: WallTime) -> None:
        """Add each of the *claims*."""
        for claim in claims:
            self.commit(claim, now)

    @abstractmethod
    def reserve(self, claim: Claim) -> None:
        """Hold *claim* for an open transaction."""

    @abstractmethod
    def release(self, claim: Claim) -> None:
        """Give up what *reserve* held for the equal claim."""

    @abstractmethod
    def tidy(self, now: WallTime, at_most: int) -> int:
        """Let time pass; look at up to *at_most* keys for what is out of the window; say how many.

        Figures are exact without it; it frees the memory.
        """

    @property
    @abstractmethod
    def usage(self) -> Usage:
        """The usage of every key, bucket by bucket."""

    @property
    def weight(self) -> int:
        """The memory that is held, in bytes, about."""
        return self.usage.weight

    @property
    def timeline(self) -> Timeline:
        """The buckets."""
        return self.usage.timeline

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self.usage)

    @abstractmethod
    def parts(self) -> Iterator[tuple[str, "BucketCounter"]]:
        """Yield what is kept of the counter, each part with what its series is called by."""

    def falls_by(self, claim: Claim, amount: int, now: WallTime) -> WallTime | None:
        """Return when U + A of *claim* will have fallen by *amount*, if nothing else happens.

        None if time alone does not bring it about.
        """
        self.tidy(now, 0)
        stays = self._stays(claim)
        for number, counted in self.usage.parts(claim.key):
            amount -= counted - stays.get(number, 0)
            if amount <= 0:
                return self.timeline.leaves(number)
        return None

    def _stays(self, claim: Claim) -> Mapping[int, int]:  # noqa: ARG002 - a sum forgets it all
        """Return how much of each bucket *claim* asks for again when the bucket has gone."""
        return {}

    @abstractmethod
    def evict(self, at_most: int, spare: float) -> int:
        """Look at up to *at_most* keys and forget those that memory can be spared of.

        Return how many they were. What comes to *spare* is near its limit.
        """

    @abstractmethod
    def forget(self, key: str) -> None:
        """Forget what the window holds of *key*; what is reserved stays."""

    @abstractmethod
    def _check(self) -> None:
        """Assert the invariants."""


class BucketCounter(Counter):
    """Counts that are kept by themselves, bucket by bucket; also what changed since last taken."""

    def __init__(self) -> None:
        self._changes: dict[int, Changes] = {}
        self._eviction: OldestFirst[str] = OldestFirst()

    def parts(self) -> Iterator[tuple[str, "BucketCounter"]]:
        yield "", self

    def take(self) -> Taken:
        """Return what was counted since the last call, oldest first."""
        changes, self._changes = self._changes, {}
        live = self.timeline.open_numbers()
        return Taken([(self.timeline.end(n), changes[n]) for n in sorted(changes) if n in live])

    @abstractmethod
    def whole(self) -> list[Bucket]:
        """Return all that the window holds, oldest first."""

    @abstractmethod
    def restore(self, buckets: Iterable[Bucket], now: WallTime) -> None:
        """Take what *take* or *whole* gave, in that order, into this empty counter."""

    def tidy(self, now: WallTime, at_most: int) -> int:
        looked = self.usage.tidy(now, at_most)
        self._forget_changes()
        return looked

    def evict(self, at_most: int, spare: float) -> int:
        usage = self.usage
        evicted = 0
        for _ in range(at_most):
            key = self._eviction.next_place(usage.keys)
            if key is None:
                break
            last = usage.last(key)
            if last is not None and self._eviction.may_go(last, near=usage.sum(key) >= spare):
                usage.forget(key)
                evicted += 1
        return evicted

    def forget(self, key: str) -> None:
        self.usage.forget(key)
        for changes in self._changes.values():
            changes.note(key, 0)

    def _change(self, number: int, key: str, value: int | bytes) -> None:
        """Note what was counted in the bucket *number*."""
        changes = self._changes.get(number)
        if changes is None:
            changes = self._changes[number] = Changes()
        changes.note(key, value)

    def _forget_changes(self) -> None:
        """Forget what nobody took and is out of the window."""
        first = self.timeline.first
        for number in [number for number in self._changes if number < first]:
            del self._changes[number]


class SumCounter(BucketCounter):
    """Counts of messages, recipients or bytes."""

    def __init__(self, window: float) -> None:
        super().__init__()
        self._sums = WindowSums(window)
        self._held: dict[str, int] = {}

    @property
    def usage(self) -> Usage:
        return self._sums

    def figures(self, claim: Claim, now: WallTime) -> Figures:
        self._sums.advance(now)
        return Figures(self._sums.sum(claim.key), self._held.get(claim.key, 0), claim.amount)

    def may_exceed(self, most: int, claims: Sequence[Claim], now: WallTime) -> bool:
        sums, held = self._sums, self._held
        sums.advance(now)
        for claim in claims:
            reserved = held.get(claim.key, 0) if held else 0
            if sums.sum(claim.key) + claim.amount + reserved > most:
                return True
        return False

    def commit(self, claim: Claim, now: WallTime) -> None:
        key, amount = claim.key, claim.amount
        if amount:
            number = self.timeline.current(now)
            self._sums.add(number, key, amount)
            self._change(number, key, amount)

    def reserve(self, claim: Claim) -> None:
        if claim.amount:
            self._held[claim.key] = self._held.get(claim.key, 0) + claim.amount

    def release(self, claim: Claim) -> None:
        if claim.amount:
            self._held[claim.key] -= claim.amount
            if not self._held[claim.key]:
                del self._held[claim.key]

    def whole(self) -> list[Bucket]:
        end = self.timeline.end
        return [Bucket(end(n), held) for n, held in self._sums.buckets().items() if held]

    def restore(self, buckets: Iterable[Bucket], now: WallTime) -> None:
        for end, entries in sorted(buckets, key=_end):
            if (number := self.timeline.restore(end, now)) is not None:
                for key, amount in entries.items():
                    self._sums.add(number, key, int(amount))

    def _check(self) -> None:
        self._sums._check()
        assert all(amount > 0 for amount in self._held.values())


class DistinctCounter(BucketCounter):
    """Counts of distinct members.

    What transactions hold is a union: a member that two of them hold, or that the window holds
    already, is no further one. Unions are worked out when asked for; a limit that reserves never
    lets more be held than its maximum.
    """

    def __init__(self, window: float, bounds: Bounds = USUAL) -> None:
        super().__init__()
        self._members = WindowMembers(window, bounds)
        self._held: dict[str, dict[bytes, int]] = {}  # key -> member -> by how many transactions

    @property
    def usage(self) -> Usage:
        return self._members

    def figures(self, claim: Claim, now: WallTime) -> Figures:
        members = self._members
        members.advance(now)
        asked = members.unknown(claim.key, claim.members)
        reserved = 0
        if held := self._held.get(claim.key):
            reserved = len(members.unknown(claim.key, list(held)))
            asked = [member for member in asked if member not in held]
        return Figures(members.sum(claim.key), reserved, len(set(asked)))

    def may_exceed(self, most: int, claims: Sequence[Claim], now: WallTime) -> bool:
        members, held = self._members, self._held
        members.advance(now)
        for claim in claims:
            reserved = len(held.get(claim.key, ())) if held else 0
            if members.sum(claim.key) + len(claim.members) + reserved > most:
                return True
        return False

    def _stays(self, claim: Claim) -> Mapping[int, int]:
        return self._members.whereabouts(claim.key, claim.members)

    def commit(self, claim: Claim, now: WallTime) -> None:
        key = claim.key
        number = self.timeline.current(now)
        added = self._members.add(number, key, claim.members)
        if added:
            self._change(number, key, added)

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

    def whole(self) -> list[Bucket]:
        end = self.timeline.end
        return [Bucket(end(number), members) for number, members in self._members.members()]

    def restore(self, buckets: Iterable[Bucket], now: WallTime) -> None:
        for end, entries in sorted(buckets, key=_end):
            if (number := self.timeline.restore(end, now)) is not None:
                given: Mapping[str, Any] = entries  # bytes of any kind
                for key, members in given.items():
                    self._members.add(number, key, _apart(bytes(members)))

    def _check(self) -> None:
        self._members._check()
        assert all(held and min(held.values()) > 0 for held in self._held.values())


def _end(bucket: Bucket) -> float:
    return bucket.end


def _apart(members: bytes) -> list[bytes]:
    return [members[at : at + HASH_SIZE] for at in range(0, len(members), HASH_SIZE)]
