"""Distinct members per key in a sliding window: when each was last counted.

A member is counted once, in the bucket in which it was last seen, so that the number of members of
a key is a sum in a window like any other: seen again, a member moves from its old bucket to the
present one. Of each key the members stand in one run of bytes, 12 for each: a 64-bit hash and the
number of the bucket. What is counted is appended, so the run is in the order of the buckets, and
what has left the window is at its beginning. The hashes are keyed: they cannot be read, only tested
by whoever has the key, and no sender can choose addresses that collide.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from policyd.clock import WallTime
from policyd.counting.shards import SHARDS, Shards
from policyd.counting.window import Timeline, WindowSums

HASH_SIZE: Final = 8
"""Bytes of a member."""

_ENTRY: Final = HASH_SIZE + 4
_RUN: Final = 130
"""Bytes that a run takes beside its entries, about."""

_NUMBERS: Final = 2**32
_FEW: Final = 32
"""Members looked for one by one; for more of them it is faster to take the run apart once."""


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

    __slots__ = ("_runs", "_weight", "sums")

    def __init__(self, window: float) -> None:
        self.sums = WindowSums(window)
        self._runs: Shards[bytes] = Shards()
        self._weight = 0

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
        run = self._runs.of(key).get(key)
        if run is None:
            return members
        places = _places(run, self._start(key, run), members)
        return [member for member, at in zip(members, places, strict=True) if at < 0]

    def whereabouts(self, key: str, members: Sequence[bytes]) -> Mapping[int, int]:
        """Return how many of the *members* of *key* each live bucket has."""
        run = self._runs.of(key).get(key, b"")
        places = _places(run, self._start(key, run), list(set(members)))
        return Counter(self._number(run, at) for at in places if at >= 0)

    def add(self, key: str, members: Sequence[bytes], now: WallTime) -> tuple[int, bytes]:
        """Let time pass; count the *members* of *key* at *now*.

        Return the number of the bucket, and those that it did not have.
        """
        number = self.sums.current(now)
        return number, self.add_to(number, key, members)

    def add_to(self, number: int, key: str, members: Sequence[bytes]) -> bytes:
        """Count the *members* of *key* in the bucket *number*, the latest that there is."""
        runs = self._runs.dicts[hash(key) % SHARDS]
        run = runs.get(key, b"")
        stamp = (number % _NUMBERS).to_bytes(4, "little")
        if 0 < len(members) <= _FEW and len(set(members)) == len(members):
            for member in members:
                if member in run:
                    break
            else:  # most often: all are new
                self.sums.add(number, key, len(members))
                new = stamp.join(members) + stamp
                self._weight += len(new) if run else _RUN + len(new)
                runs[key] = run + new
                return b"".join(members)
        moved: list[int] = []
        added: dict[bytes, None] = {}
        places = _places(run, self._start(key, run), members)
        for member, at in zip(members, places, strict=True):
            if at >= 0:
                before = self._number(run, at)
                if before == number:
                    continue
                if member not in added:
                    self.sums.subtract(before, key, 1)
                    moved.append(at)
            added[member] = None
        if not added:
            return b""
        self.sums.add(number, key, len(added))
        self._keep(runs, key, _without(run, moved) + stamp.join(added) + stamp)
        return b"".join(added)

    def tidy(self, at_most: int) -> int:
        """Forget up to *at_most* entries of gone buckets; return how many."""
        return self.sums.tidy(at_most, self._shorten)

    def forget(self, number: int, key: str) -> None:
        """Forget what the live bucket *number* has of *key*."""
        runs = self._runs.of(key)
        run = runs[key]
        gone = [
            at
            for at in range(self._start(key, run), len(run), _ENTRY)
            if self._number(run, at) == number
        ]
        self.sums.subtract(number, key, len(gone))
        self._keep(runs, key, _without(run, gone))

    def buckets(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Yield each live bucket, oldest first: its number, and the members of every key."""
        found: dict[int, dict[str, bytes]] = {}
        for key, run in self._runs.items():
            for at in range(self._start(key, run), len(run), _ENTRY):
                members = found.setdefault(self._number(run, at), {})
                members[key] = members.get(key, b"") + run[at : at + HASH_SIZE]
        for number in sorted(found):
            yield number, found[number]

    def _start(self, key: str, run: bytes) -> int:
        """Return where in *run* those begin that are in the window."""
        return len(run) - _ENTRY * self.sums.sum(key)

    def _number(self, run: bytes, at: int) -> int:
        """Return the number of the bucket of the live member *at* that place of *run*."""
        first = self.timeline.first
        number = int.from_bytes(run[at + HASH_SIZE : at + _ENTRY], "little")
        return first + (number - first) % _NUMBERS

    def _shorten(self, key: str, members: int) -> None:
        runs = self._runs.of(key)
        self._keep(runs, key, runs[key][_ENTRY * members :])

    def _keep(self, runs: dict[str, bytes], key: str, run: bytes) -> None:
        before = runs.get(key)
        self._weight += len(run) if before is None else len(run) - len(before)
        if run:
            runs[key] = run
            if before is None:
                self._weight += _RUN
        elif before is not None:
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
        for key, run in self._runs.items():
            assert len(run) % _ENTRY == 0
            start = self._start(key, run)
            assert start >= 0
            numbers = [self._number(run, at) for at in range(start, len(run), _ENTRY)]
            assert numbers == sorted(numbers)
            live.discard(key)
        assert not live
        assert self._weight == sum(_RUN + len(run) for _, run in self._runs.items())


def _places(run: bytes, start: int, members: Sequence[bytes]) -> Sequence[int]:
    """Return where in *run*, from *start* on, each of the *members* is; -1 where it is not."""
    if len(members) > _FEW:
        known = {run[at : at + HASH_SIZE]: at for at in range(start, len(run), _ENTRY)}
        return [known.get(member, -1) for member in members]
    places = []
    for member in members:
        at = run.find(member, start)
        while at >= 0 and at % _ENTRY:
            at = run.find(member, at + 1)
        places.append(at)
    return places


def _without(run: bytes, places: Sequence[int]) -> bytes:
    """Return *run* without the entries at *places*."""
    if not places:
        return run
    kept, at = [], 0
    for place in sorted(places):
        kept.append(run[at:place])
        at = place + _ENTRY
    kept.append(run[at:])
    return b"".join(kept)
