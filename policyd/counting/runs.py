"""Runs of bytes: an entry of 12 for each thing that is counted of one key.

An entry is 64 bits, such as a member's hash, and the low 32 bits of the number of the bucket that
it belongs to. What is counted is appended, so a run is in the order of the buckets, and what has
left the window, in buckets whose numbers are below *first*, is at its beginning.
"""

from collections.abc import Sequence
from typing import Final

HASH_SIZE: Final = 8
"""Bytes of a member."""

ENTRY: Final = 12
"""Bytes of a member and the number of its bucket."""

_NUMBERS: Final = 0xFFFFFFFF
_PAST: Final = 0x80000000
"""No window has as many buckets, so what is that far ahead is behind."""


def stamp(number: int) -> bytes:
    """Return the bucket *number* as an entry has it."""
    return (number & _NUMBERS).to_bytes(4, "little")


def is_live(low: int, first: int) -> bool:
    """Tell whether the bucket whose number has the *low* 32 bits is *first* or after it."""
    return (low - first) & _NUMBERS < _PAST


def number_at(run: bytes, at: int, first: int) -> int:
    """Return the number of the bucket of the live entry *at* that place of *run*."""
    number = int.from_bytes(run[at + HASH_SIZE : at + ENTRY], "little")
    return first + ((number - first) & _NUMBERS)


def start_of(run: bytes, first: int) -> int:
    """Return where in *run* those begin that are in the window."""
    if not run or _is_live(run, 0, first):
        return 0
    dead, live = 0, len(run) // ENTRY
    # of what is cut off now and then, there is most often little
    if live > 1 and _is_live(run, ENTRY, first):
        return ENTRY
    while live - dead > 1:
        middle = (dead + live) // 2
        if _is_live(run, middle * ENTRY, first):
            live = middle
        else:
            dead = middle
    return live * ENTRY


def are_new(run: bytes, members: Sequence[bytes]) -> bool:
    """Tell whether *members* are different ones, and nothing in *run* is like them.

    It may be the edge of two entries that is, or what has left the window.
    """
    if len(set(members)) < len(members):
        return False
    if run:
        for member in members:
            if member in run:
                return False
    return True


def places(run: bytes, start: int, members: Sequence[bytes], few: int) -> Sequence[int]:
    """Return where in *run*, from *start* on, each of the *members* is; -1 where it is not.

    More than a *few* are found in less time by taking the run apart once.
    """
    if len(members) > few:
        known = {run[at : at + HASH_SIZE]: at for at in range(start, len(run), ENTRY)}
        return [known.get(member, -1) for member in members]
    found = []
    for member in members:
        at = run.find(member, start)
        while at >= 0 and at % ENTRY:
            at = run.find(member, at + 1)
        found.append(at)
    return found


def without(run: bytes, gone: Sequence[int]) -> bytes:
    """Return *run* without the entries at the places that are *gone*."""
    if not gone:
        return run
    kept: list[bytes] = []
    at = 0
    for place in sorted(gone):
        kept.append(run[at:place])
        at = place + ENTRY
    kept.append(run[at:])
    return b"".join(kept)


def split_off(run: bytes, bit: int) -> tuple[bytes, bytes]:
    """Return the entries of *run* whose members have no *bit* set in them, and the others."""
    left: list[bytes] = []
    right: list[bytes] = []
    for at in range(0, len(run), ENTRY):
        entry = run[at : at + ENTRY]
        (right if digest(entry) & bit else left).append(entry)
    return b"".join(left), b"".join(right)


def digest(member: bytes) -> int:
    """Return 32 bits of *member* as a number."""
    return int.from_bytes(member[:4], "little")


def _is_live(run: bytes, at: int, first: int) -> bool:
    return is_live(int.from_bytes(run[at + HASH_SIZE : at + ENTRY], "little"), first)
