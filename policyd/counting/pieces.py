"""The members of one key with a great many of them: several runs instead of one.

A run of bytes is searched, and copied when anything is added. So when it has grown long it is cut
into pieces, and the hash of a member says in which one it is. As the members become more, one piece
after the other is divided in two, and nothing is ever done to all of them in one go (linear
hashing). The empty pieces of a key that had many once are left: they weigh next to nothing.
"""

from collections.abc import Iterable

from policyd.counting.runs import ENTRY, HASH_SIZE, digest, split_off, start_of


class Pieces:
    """The *runs* of one key; *size* is that of all of them, in bytes."""

    __slots__ = ("runs", "size")

    def __init__(self, run: bytes) -> None:
        self.runs = [run]
        self.size = len(run)

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
