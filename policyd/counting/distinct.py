"""Distinct members per key in a sliding window: when each was last counted.

A member is counted once, in the bucket in which it was last seen, so that the number of members of
a key is a sum in a window like any other: seen again, a member moves from its old bucket to the
present one. Which bucket a member is in stands in one flat dict for all keys, under a 64-bit number
made of the key and the member: their hashes, either of them evenly spread, combined by exclusive
or. A key is hashed with a newline after it, which no member has: an address may be both, and the
number of A and B must not be that of B and A. The hashes are keyed: they cannot
be read, only tested by whoever has the key, and no sender can choose addresses that collide.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from hashlib import blake2b

from policyd.clock import WallTime
from policyd.counting.window import Timeline, WindowSums


class Hasher:
    """The keyed hash that members and keys are known by; *secret* is up to 64 bytes."""

    __slots__ = ("_hash",)

    def __init__(self, secret: bytes) -> None:
        # within a message the same few texts are asked for by one limit after the other
        self._hash = lru_cache(maxsize=4096)(partial(_keyed_hash, secret))

    def __call__(self, text: str) -> int:
        """Return 64 bits that stand for *text*."""
        return self._hash(text)


def _keyed_hash(secret: bytes, text: str) -> int:
    data = text.encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(data, digest_size=8, key=secret).digest(), "little")


class WindowMembers:
    """Distinct members per key in a sliding window; *hasher* is applied to keys."""

    __slots__ = ("_hasher", "_last", "_leaving", "_seen", "sums")

    def __init__(self, window: float, hasher: Hasher) -> None:
        self.sums = WindowSums(window)
        self._hasher = hasher
        self._last: dict[int, int] = {}  # key and member -> the bucket it was last counted in
        self._seen: dict[int, array[int]] = {}  # bucket -> what was counted in it, or moved on
        self._leaving: deque[tuple[int, array[int]]] = deque()

    @property
    def timeline(self) -> Timeline:
        """The buckets."""
        return self.sums.timeline

    def advance(self, now: WallTime) -> None:
        """Let time pass."""
        for number in self.sums.advance(now):
            if seen := self._seen.pop(number, None):
                self._leaving.append((number, seen))

    def count(self, key: str) -> int:
        """Return how many members *key* has, as of the last *advance*."""
        return self.sums.sum(key)

    def unknown(self, key: str, members: Iterable[int]) -> list[int]:
        """Return those of the *members* that *key* does not have."""
        last, first, salt = self._last, self.timeline.first, self._salt(key)
        return [member for member in members if last.get(salt ^ member, -1) < first]

    def whereabouts(self, key: str, members: Iterable[int]) -> Mapping[int, int]:
        """Return how many of the *members* of *key* each live bucket has."""
        last, first, salt = self._last, self.timeline.first, self._salt(key)
        numbers = (last.get(salt ^ member, -1) for member in set(members))
        return Counter(number for number in numbers if number >= first)

    def add(self, key: str, members: Iterable[int], now: WallTime) -> None:
        """Count the *members* of *key*, at *now*, after *advance*."""
        last, first, salt = self._last, self.timeline.first, self._salt(key)
        number = self.timeline.current(now)
        seen = self._seen.get(number)
        if seen is None:
            seen = self._seen[number] = array("Q")
        added = 0
        for member in members:
            pair = salt ^ member
            before = last.get(pair, -1)
            if before == number:
                continue
            if before >= first:
                self.sums.subtract(before, key, 1)
            last[pair] = number
            seen.append(pair)
            added += 1
        if added:
            self.sums.add(number, key, added)

    def tidy(self, at_most: int) -> int:
        """Forget up to *at_most* entries of gone buckets; return how many."""
        done = self.sums.tidy(at_most)
        while self._leaving and done < at_most:
            number, seen = self._leaving[0]
            while seen and done < at_most:
                pair = seen.pop()
                if self._last.get(pair) == number:
                    del self._last[pair]
                done += 1
            if not seen:
                self._leaving.popleft()
        return done

    def buckets(self) -> Iterator[tuple[int, dict[str, int], array[int]]]:
        """Yield each live bucket, oldest first: number, members per key, and which they are."""
        for number, counts in self.sums.buckets():
            pairs = (pair for pair in self._seen.get(number, ()) if self._last[pair] == number)
            yield number, counts, array("Q", pairs)

    def restore(self, number: int, counts: Mapping[str, int], pairs: array[int]) -> None:
        """Put back what *buckets* gave, into the live bucket *number*; older ones first."""
        for key, count in counts.items():
            self.sums.add(number, key, count)
        self._seen.setdefault(number, array("Q")).extend(pairs)
        self._last.update(dict.fromkeys(pairs, number))

    def _salt(self, key: str) -> int:
        return self._hasher(f"{key}\n")

    def _check(self) -> None:
        """Assert that the counts are those of the members, bucket by bucket."""
        self.sums._check()
        per_bucket: dict[int, int] = {}
        for number in self._last.values():
            per_bucket[number] = per_bucket.get(number, 0) + 1
        first = self.timeline.first
        for number, counts in self.sums.buckets():
            assert sum(counts.values()) == per_bucket.get(number, 0)
        for number in per_bucket:
            assert number >= first or number in (gone for gone, _ in self._leaving)
        for pair, number in self._last.items():
            if number >= first:
                assert pair in self._seen[number]
