"""Distinct members per key in a sliding window: when each was last counted.

A member is counted once, in the bucket in which it was last seen: seen again, it moves from its old
bucket to the present one. An entry of a key's run is a member, so there are as many members as
entries in the window, of 12 bytes each. Once they are many, a key has several runs (pieces.py). The
hashes are keyed: they cannot be read, only tested by whoever has the key, and no sender can choose
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
from policyd.counting.usage import RUN, Usage

_STEPS: Final = 5
"""What shortening a piece counts for when there is a limit to how much is done."""


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


class WindowMembers(Usage):
    """Distinct members per key in a sliding window."""

    __slots__ = ("_bounds", "_pieces", "_stamp", "_stamped", "_swept")

    def __init__(self, window: float, bounds: Bounds = USUAL) -> None:
        super().__init__(window)
        self._bounds = bounds
        self._pieces: dict[str, Pieces] = {}  # of the keys that have no one run
        self._swept: dict[str, int] = {}  # heavy keys that are walked through; up to which piece
        self._stamped = -1  # the bucket of which this is the stamp
        self._stamp = b""

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self._runs) + len(self._pieces)

    def sum_from(self, key: str, number: int) -> int:
        """Return how many members *key* has in the live bucket *number* and those after it."""
        run = self._runs.of(key).get(key)
        if run is not None:
            return (len(run) - start_of(run, number)) // ENTRY
        pieces = self._pieces.get(key) if self._pieces else None
        return 0 if pieces is None else pieces.count_from(number, self.timeline.first)

    def parts(self, key: str) -> list[tuple[int, int]]:
        """Return each live bucket that has something of *key*, and how much, oldest first."""
        first = self.timeline.first
        pieces = self._pieces.get(key)
        if pieces is not None:
            return pieces.parts(first)
        run = self._runs.of(key).get(key, b"")
        numbers = Counter(number_at(run, at, first) for at in _live(run, first))
        return list(numbers.items())

    def last(self, key: str) -> int | None:
        """Return the bucket in which *key* was last counted; None if the window has none of it."""
        pieces = self._pieces.get(key)
        if pieces is None:
            return super().last(key)
        parts = pieces.parts(self.timeline.first)
        return parts[-1][0] if parts else None

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

    def add(self, number: int, key: str, members: Sequence[bytes]) -> bytes:
        """Count the *members* of *key* in the bucket *number*, the latest that there is.

        Return those that it did not have, in their order.
        """
        if self._pieces and key in self._pieces:
            return self._add_to_pieces(number, key, members)
        runs = self._runs.of(key)
        run = runs.get(key)
        grown, added, _ = self._added(number, run or b"", members)
        if added:
            runs[key] = grown
            self._weight += len(grown) - (-RUN - len(key) if run is None else len(run))
            if len(grown) > self._bounds.members * ENTRY:
                self._cut(key)
        return b"".join(added)

    def forget(self, key: str) -> None:
        """Forget all there is of *key*."""
        super().forget(key)
        pieces = self._pieces.pop(key, None)
        if pieces is not None:
            self._swept.pop(key, None)
            self._weight -= RUN + len(key) + pieces.size

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Let time pass; free the memory of what is out of the window, of up to *at_most* keys.

        Return how many were looked at; a piece of a heavy key counts as several.
        """
        looked = super().tidy(now, at_most)
        while self._swept and looked < at_most:
            looked += self._sweep(at_most - looked)
        return looked

    def slices(self, at_most: int) -> Iterator[Sequence[str]]:
        """Yield all keys, *at_most* at a time; what comes meanwhile may be missing."""
        yield from super().slices(at_most)
        if heavy := list(self._pieces):
            yield heavy

    def members(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Yield each live bucket, oldest first: its number, and the members of every key."""
        first = self.timeline.first
        found: dict[int, dict[str, list[bytes]]] = {}
        for key, run in self._all_runs():
            for at in _live(run, first):
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
        self, number: int, run: bytes, members: Sequence[bytes]
    ) -> tuple[bytes, Sequence[bytes], Sequence[int]]:
        """Return *run* with the *members* in the bucket *number*, and those that are new there.

        And of those that stood in an older bucket, which one that was.
        """
        if number != self._stamped:
            self._stamped, self._stamp = number, stamp(number)
        stamped = self._stamp
        if 0 < len(members) <= self._bounds.few and are_new(run, members):  # most often
            return run + stamped.join(members) + stamped, members, ()
        first = self.timeline.first
        left: list[int] = []
        moved: list[int] = []
        added: dict[bytes, None] = {}
        found = places(run, start_of(run, first), members, self._bounds.few)
        for member, at in zip(members, found, strict=True):
            if at >= 0:
                before = number_at(run, at, first)
                if before == number:
                    continue
                if member not in added:
                    left.append(before)
                    moved.append(at)
            added[member] = None
        if not added:
            return run, (), ()
        return without(run, moved) + stamped.join(added) + stamped, list(added), left

    def _add_to_pieces(self, number: int, key: str, members: Sequence[bytes]) -> bytes:
        pieces = self._pieces[key]
        before = pieces.size
        new: set[bytes] = set()
        for at, some in pieces.sorted_out(members).items():
            run, added, left = self._added(number, pieces.runs[at], some)
            pieces.keep(at, run)
            pieces.moved(left, number, len(added))
            new.update(added)
        pieces.divide(self._bounds.piece)
        self._weight += pieces.size - before
        return b"".join([member for member in dict.fromkeys(members) if member in new])

    def _cut(self, key: str) -> None:
        """Keep *key*, which has grown heavy, in pieces from now on."""
        parts = self.parts(key)
        pieces = self._pieces[key] = Pieces(self._runs.of(key).pop(key), parts)
        pieces.divide(self._bounds.piece)

    def _shorten(self, key: str) -> None:
        run = self._runs.of(key).get(key)
        if run is not None:
            if start := start_of(run, self.timeline.first):
                self._keep(key, run, run[start:])
        elif key in self._pieces:
            self._swept[key] = 0  # a few at a time

    def _sweep(self, at_most: int) -> int:
        """Forget what is gone of some pieces of one key; return how many steps that took.

        Up to *at_most*; a piece takes as long as several keys do.
        """
        key, at = next(iter(self._swept.items()))
        pieces = self._pieces[key]
        before = pieces.size
        looked = pieces.shorten(at, max(at_most // _STEPS, 1), self.timeline.first)
        self._weight += pieces.size - before
        self._swept[key] = at + looked
        if at + looked == len(pieces.runs):
            del self._swept[key]
        if not pieces.size:
            self.forget(key)
        return min(looked * _STEPS, at_most)

    def _check(self) -> None:
        """Assert that members are in order, and are counted as many as they are."""
        self.timeline._check()
        first = self.timeline.first
        found: dict[str, Counter[int]] = {}
        for key, run in self._all_runs():
            assert len(run) % ENTRY == 0
            numbers = [number_at(run, at, first) for at in _live(run, first)]
            assert numbers == sorted(numbers)
            found.setdefault(key, Counter()).update(numbers)
        for key, counts in found.items():
            assert sorted(counts.items()) == self.parts(key)
            assert self.sum(key) == counts.total()
            assert set(counts) <= set(self.timeline.open_numbers())
        for key, pieces in self._pieces.items():
            assert key not in self._runs.of(key)
            pieces._check()
        assert set(self._swept) <= set(self._pieces)
        assert all(run for _, run in self._runs.items())
        names = sum(map(len, found))
        assert self._weight == len(self) * RUN + names + sum(
            len(run) for _, run in self._all_runs()
        )


def _live(run: bytes, first: int) -> range:
    """Return where the entries of *run* are that are in the window."""
    return range(start_of(run, first), len(run), ENTRY)
