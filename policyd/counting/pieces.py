"""The members of one key with a great many of them: several runs instead of one.

A run of bytes is searched, and copied when anything is added. So when it has grown long it is cut
into pieces, and the hash of a member says in which one it is. As the members become more, one piece
after the other is divided in two, and nothing is ever done to all of them in one go (linear
hashing). The empty pieces of a key that had many once are left: they weigh next to nothing. How
many members each bucket has is counted beside them, as nobody could look at all of them for that.
"""

from collections.abc import Iterable

from policyd.counting.runs import ENTRY, HASH_SIZE, digest, split_off, start_of


class Pieces:
    """The *runs* of one key; *size* is that of all of them, in bytes."""

    __slots__ = ("_counts", "runs", "size")

    def __init__(self, run: bytes, counts: Iterable[tuple[int, int]]) -> None:
        self.runs = [run]
        self.size = len(run)
        self._counts = dict(counts)  # of the members in each bucket, oldest first

    def parts(self, first: int) -> list[tuple[int, int]]:
        """Return how many members there are in each bucket from *first* on, oldest first."""
        while self._counts and (oldest := next(iter(self._counts))) < first:
            del self._counts[oldest]
        return list(self._counts.items())

    def count_from(self, number: int, first: int) -> int:
        """Return how many members there are from the bucket *number* on; *first* is the oldest."""
        return sum([many for bucket, many in self.parts(first) if bucket >= number])

    def moved(self, left: Iterable[int], number: int, many: int) -> None:
        """Note *many* members in the bucket *number*, some of which have *left* these others."""
        counts = self._counts
        for before in left:
            counts[before] -= 1
            if not counts[before]:
                del counts[before]
        if many:
            counts[number] = counts.get(number, 0) + many

    def of(self, member: bytes) -> int:
        """Return which run *member* belongs to."""
        many = len(self.runs)
        full = 1 << (many.bit_length() - 1)  # as many had their turn when the last round ended
        at = digest(member) & (2 * full - 1)
        return at if at < many else at - full

    def sorted_out(self, members: Iterable[bytes]) -> dict[int, list[bytes]]:
        """Return which *members* belong to which run."""
        found: dict[int, list[bytes]] = {}
        for member in members:
            found.setdefault(self.of(member), []).append(member)
        return found

    def keep(self, at: int, run: bytes) -> None:
        """Let the run *at* that place be *run*."""
        self.size += len(run) - len(self.runs[at])
        self.runs[at] = run

    def divide(self, most: int) -> None:
        """Divide runs until there are no more than *most* members to one, on average."""
        while self.size > most * ENTRY * len(self.runs):
            many = len(self.runs)
            full = 1 << (many.bit_length() - 1)
            stays, moves = split_off(self.runs[many - full], full)
            self.runs[many - full] = stays
            self.runs.append(moves)

    def shorten(self, at: int, at_most: int, first: int) -> int:
        """Forget what *at_most* runs, from that *at* this place on, have before the bucket *first*.

        Return how many were looked at.
        """
        after = min(at + at_most, len(self.runs))
        for place in range(at, after):
            run = self.runs[place]
            if start := start_of(run, first):
                self.keep(place, run[start:])
        return after - at

    def _check(self) -> None:
        """Assert that every member is where it belongs."""
        assert self.size == sum(map(len, self.runs))
        for at, run in enumerate(self.runs):
            assert all(
                self.of(run[place : place + HASH_SIZE]) == at for place in range(0, len(run), ENTRY)
            )
