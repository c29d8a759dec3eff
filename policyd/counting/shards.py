"""A dict that is never felt when it grows.

A dict of a million keys stops everything for 20 to 50 ms when it has to grow. One that is split in
many grows in many small steps.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

SHARDS: Final = 256

V = TypeVar("V")


class Shards(Generic[V]):
    """Many dicts, each with the keys whose hash falls to it.

    *dicts* are they; that of a key is at its hash modulo *SHARDS*.
    """

    __slots__ = ("dicts",)

    def __init__(self) -> None:
        self.dicts: list[dict[str, V]] = [{} for _ in range(SHARDS)]

    def __len__(self) -> int:
        return sum(map(len, self.dicts))

    def __iter__(self) -> Iterator[dict[str, V]]:
        """Yield the dicts."""
        return iter(self.dicts)

    def of(self, key: str) -> dict[str, V]:
        """Return the dict that *key* belongs to."""
        return self.dicts[hash(key) % SHARDS]

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield all keys and values."""
        for part in self.dicts:
            yield from part.items()
