"""What was counted lately, and is yet to be kept.

It is noted in lists, which takes less time than to look up what was noted before, and is added up
when it is kept: by a thread that nobody waits for.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast, overload

Entries = dict[str, int] | dict[str, bytes]
"""What is kept of each key: a sum, or bytes, such as hashed members, one after the other."""


class Bucket(NamedTuple):
    """What was counted in a bucket that ends at *end*, or a part of it."""

    end: float
    entries: Entries


class Changes:
    """What was counted in one bucket, or a part of it: one of the *values* for each of the *keys*.

    A key may be there several times; then its values are added up. After a value that is nothing,
    0 or no bytes, what came before is forgotten.
    """

    __slots__ = ("keys", "values")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.values: list[Any] = []

    def __len__(self) -> int:
        return len(self.keys)

    def note(self, key: str, value: int | bytes) -> None:
        """Note that *key* has so much more, or nothing."""
        self.keys.append(key)
        self.values.append(value)

    def entries(self) -> Entries:
        """Return what the keys come to."""
        entries = dict(zip(self.keys, self.values, strict=True))
        if len(entries) == len(self.keys) and all(self.values):
            return entries
        found: dict[str, list[Any]] = {}
        for key, value in zip(self.keys, self.values, strict=True):
            if value:
                found.setdefault(key, []).append(value)
            else:
                found.pop(key, None)
        return cast("Entries", {key: _sum(values) for key, values in found.items()})


class Taken(Sequence[Bucket]):
    """Buckets that are made of *changes*, each with the end of its bucket, once they are looked at.

    Whoever made the changes has let go of them.
    """

    def __init__(self, changes: Iterable[tuple[float, Changes]]) -> None:
        self._changes = [(end, some) for end, some in changes if some]
        self._buckets: list[Bucket] | None = None

    def __len__(self) -> int:
        return len(self._changes)

    @overload
    def __getitem__(self, at: int) -> Bucket: ...
    @overload
    def __getitem__(self, at: slice) -> list[Bucket]: ...
    def __getitem__(self, at: int | slice) -> Bucket | list[Bucket]:
        if self._buckets is None:
            self._buckets = [Bucket(end, some.entries()) for end, some in self._changes]
        return self._buckets[at]


def _sum(values: Sequence[Any]) -> int | bytes:
    return b"".join(values) if isinstance(values[0], bytes) else sum(values)
