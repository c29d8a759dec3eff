"""Distinct members per key in a sliding window: when each was last counted.

A member is counted once, in the bucket in which it was last seen, so that the number of members of
a key is a sum in a window like any other: seen again, a member moves from its old bucket to the
present one. Of each key the members stand in one run of bytes (runs.py), or in several once they
are many (pieces.py): nothing for the garbage collector to follow, and 12 bytes a member. The hashes
are keyed: they cannot be read, only tested by whoever has the key, and no sender can choose
addresses that collide.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from policyd.clock import WallTime
from policyd.counting.bounds import USUAL, Bounds
from policyd.counting.pieces import Pieces
from policyd.counting.runs import (
    ENTRY,
    HASH_SIZE,
    are_new,
    number_at,
    places,
    stamp,
    start_of,
    without,
)
from policyd.counting.shards import SHARDS, Shards
from policyd.counting.window import Timeline, WindowSums

_STEPS: Final = 5
"""What shortening a piece counts for when there is a limit to how much is done."""

_RUN: Final = 130
"""Bytes that a run takes beside its entries, about."""


class Hasher:
    """The keyed hash that members are known by; *secret* is up to 64 bytes."""

    __slots__ = ("_begun",)

    def __init__(self, secret: bytes) -> None:
        self._begun = blake2b(digest_size=HASH_SIZE, key=secret)  # a copy costs half of a new one

    def __call__(self, text: str) -> bytes:
        """Return the member that stands for *text*."""
        hashing = self._begun.copy()
        hashing.update(text.encode("utf-8", "surrogateescape"))
        return hashing.digest()


class WindowMembers:
    """Distinct members per key in a sliding window."""

    __slots__ = ("_bounds", "_pieces", "_runs", "_stamp", "_stamped", "_swept", "_weight", "sums")

    def __init__(self, window: float, bounds: Bounds = USUAL) -> None:
        self.sums = WindowSums(window, bounds.keys)
        self._bounds = bounds
        self._runs: Shards[bytes] = Shards()
        self._pieces: dict[str, Pieces] = {}  # of the keys that have no one run
        self._swept: dict[str, int] = {}  # heavy keys with members that are gone; up to which piece
        self._weight = 0
        self._stamped = -1  # the bucket of which this is the stamp
        self._stamp = b""

    @property
    def timeline(self) -> Timeline:
        """The buckets."""
        return self.sums.timeline

    @property
    def weight(self) -> int:
        """The memory that is held, in bytes, about."""
        return self.sums.weight + self._weight

    def unknown(self, key: str, members: Sequence[bytes]) -> Sequence[bytes]:
        """Return those of the *members* that *key* does not have, as of the last *advance*."""
        known: set[bytes] = set()
        for run, some in self._searched(key, members):
            found = places(run, start_of(run, self.timeline.first), some, self._bounds.few)
            known.update(member for member, at in zip(some, found, strict=True) if at >= 0)
        return [member for member in members if member not in known] if known else members

    def whereabouts(self, key: str, members: Sequence[bytes]) -> Mapping[int, int]:
        """Return how many of the *members* of *key* each live bucket has."""
        first = self.timeline.first
        numbers: Counter[int] = Counter()
        for run, some in self._searched(key, list(set(members))):
            found = places(run, start_of(run, first), some, self._bounds.few)
            numbers.update(number_at(run, at, first) for at in found if at >= 0)
        return numbers

    def add(self, key: str, members: Sequence[bytes], now: WallTime) -> tuple[int, bytes]:
        """Let time pass; count the *members* of *key* at *now*.

        Return the number of the bucket, and those that it did not have.
        """
        number = self.sums.current(now)
        return number, self.add_to(number, key, members)

    def add_to(self, number: int, key: str, members: Sequence[bytes]) -> bytes:
        """Count the *members* of *key* in the bucket *number*, the latest that there is.

        Return those that it did not have, in their order.
        """
        if self._pieces and key in self._pieces:
            return self._add_to_pieces(number, key, members)
        runs = self._runs.dicts[hash(key) % SHARDS]
        run = runs.get(key, b"")
        grown, added = self._added(number, key, run, members)
        if added:
            self.sums.add(number, key, len(added))
            runs[key] = grown
            self._weight += len(grown) - len(run) if run else _RUN + len(grown)
            if len(grown) > self._bounds.members * ENTRY:
                self._cut(key)
        return b"".join(added)

    def tidy(self, at_most: int) -> int:
        """Forget up to *at_most* entries of gone buckets, or look at pieces; return how many."""
        done = self.sums.tidy(at_most, self._shorten)
        while self._swept and done < at_most:
            done += self._sweep(at_most - done)
        return done

    def forget(self, number: int, key: str) -> None:
        """Forget what the live bucket *number* has of *key*."""
        pieces = self._pieces.get(key)
        runs = [self._runs.of(key)[key]] if pieces is None else pieces.runs
        for at, run in enumerate(list(runs)):
            gone = [
                place
                for place in range(start_of(run, self.timeline.first), len(run), ENTRY)
                if number_at(run, place, self.timeline.first) == number
            ]
            if gone:
                self.sums.subtract(number, key, len(gone))
                left = without(run, gone)
                self._weight -= len(run) - len(left)
                if pieces is None:
                    self._runs.of(key)[key] = left
                else:
                    pieces.keep(at, left)
        self._leave(key)

    def buckets(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Yield each live bucket, oldest first: its number, and the members of every key."""
        first = self.timeline.first
        found: dict[int, dict[str, list[bytes]]] = {}
        for key, run in self._all_runs():
            for at in range(start_of(run, first), len(run), ENTRY):
                members = found.setdefault(number_at(run, at, first), {})
                members.setdefault(key, []).append(run[at : at + HASH_SIZE])
        for number in sorted(found):
            yield number, {key: b"".join(members) for key, members in found[number].items()}

    def _all_runs(self) -> Iterator[tuple[str, bytes]]:
        yield from self._runs.items()
        for key, pieces in self._pieces.items():
            for run in pieces.runs:
                yield key, run

    def _searched(
        self, key: str, members: Sequence[bytes]
    ) -> Sequence[tuple[bytes, Sequence[bytes]]]:
        """Return the runs of *key* in which each of the *members* is, if it is anywhere."""
        pieces = self._pieces.get(key)
        if pieces is None:
            run = self._runs.of(key).get(key)
            return () if run is None else ((run, members),)
        return [(pieces.runs[at], some) for at, some in pieces.sorted_out(members).items()]

    def _added(
        self, number: int, key: str, run: bytes, members: Sequence[bytes]
    ) -> tuple[bytes, Sequence[bytes]]:
        """Return *run* with the *members* in the bucket *number*, and those that are new there.

        What stood in older buckets is taken out of their sums.
        """
        if number != self._stamped:
            self._stamped, self._stamp = number, stamp(number)
        stamped = self._stamp
        if 0 < len(members) <= self._bounds.few and are_new(run, members):  # most often
            return run + stamped.join(members) + stamped, members
        first = self.timeline.first
        moved: list[int] = []
        added: dict[bytes, None] = {}
        found = places(run, start_of(run, first), members, self._bounds.few)
        for member, at in zip(members, found, strict=True):
            if at >= 0:
                before = number_at(run, at, first)
                if before == number:
                    continue
                if member not in added:
                    self.sums.subtract(before, key, 1)
                    moved.append(at)
            added[member] = None
        if not added:
            return run, ()
        return without(run, moved) + stamped.join(added) + stamped, list(added)

    def _add_to_pieces(self, number: int, key: str, members: Sequence[bytes]) -> bytes:
        pieces = self._pieces[key]
        before = pieces.size
        new: set[bytes] = set()
        for at, some in pieces.sorted_out(members).items():
            run, added = self._added(number, key, pieces.runs[at], some)
            pieces.keep(at, run)
            new.update(added)
        if new:
            self.sums.add(number, key, len(new))
        pieces.divide(self._bounds.piece)
        self._weight += pieces.size - before
        return b"".join([member for member in dict.fromkeys(members) if member in new])

    def _cut(self, key: str) -> None:
        """Keep *key*, which has grown heavy, in pieces from now on."""
        pieces = self._pieces[key] = Pieces(self._runs.of(key).pop(key))
        pieces.divide(self._bounds.piece)

    def _shorten(self, key: str, _: int) -> None:
        """Forget what *key* has of buckets that are gone."""
        if key in self._pieces:
            self._swept[key] = 0  # a few at a time
            return
        runs = self._runs.of(key)
        # it has none if what is gone was forgotten with what was gone before it
        if start := start_of(runs.get(key, b""), self.timeline.first):
            runs[key] = runs[key][start:]
            self._weight -= start
            self._leave(key)

    def _sweep(self, at_most: int) -> int:
        """Forget what is gone of some pieces of one key; return how many steps that took.

        Up to *at_most*; a piece takes as long as several entries do.
        """
        key, at = next(iter(self._swept.items()))
        pieces = self._pieces[key]
        before = pieces.size
        looked = pieces.shorten(at, max(at_most // _STEPS, 1), self.timeline.first)
        self._weight += pieces.size - before
        self._swept[key] = at + looked
        if not pieces.size or at + looked == len(pieces.runs):
            del self._swept[key]
            self._leave(key)
        return min(looked * _STEPS, at_most)

    def _leave(self, key: str) -> None:
        """Let go of *key* if it has no members any more."""
        pieces = self._pieces.get(key)
        if pieces is not None:
            if pieces.size:
                return
            del self._pieces[key]
            self._swept.pop(key, None)
        else:
            runs = self._runs.of(key)
            if runs.get(key) != b"":
                return
            del runs[key]
        self._weight -= _RUN

    def _check(self) -> None:
        """Assert that the counts are those of the members, bucket by bucket."""
        self.sums._check()
        for number, held in self.buckets():
            assert {key: len(run) // HASH_SIZE for key, run in held.items()} == dict(
                self.sums.held(number)
            )
        live = {key for _, counts in self.sums.buckets() for key in counts}
        for key, run in self._all_runs():
            assert len(run) % ENTRY == 0
            start = start_of(run, self.timeline.first)
            numbers = [
                number_at(run, at, self.timeline.first) for at in range(start, len(run), ENTRY)
            ]
            assert numbers == sorted(numbers)
            live.discard(key)
        assert not live
        for key, pieces in self._pieces.items():
            assert key not in self._runs.of(key)
            assert pieces.size
        assert set(self._swept) <= set(self._pieces)
        for pieces in self._pieces.values():
            pieces._check()
        keys = len(self._runs) + len(self._pieces)
        assert self._weight == keys * _RUN + sum(len(run) for _, run in self._all_runs())
