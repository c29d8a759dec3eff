"""A dict that is never felt when it grows.

A dict of a million keys stops everything for 20 to 50 ms when it has to grow. One that is split in
many grows in many small steps.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

_SHARDS: Final = 256

V = TypeVar("V")


class Shards(Generic[V]):
    """Many dicts, each with the keys whose hash falls to it."""

    __slots__ = ("_dicts",)

    def __init__(self) -> None:
        self._dicts: list[dict[str, V]] = [{} for _ in range(_SHARDS)]

    def __len__(self) -> int:
        return sum(map(len, self._dicts))

    def __iter__(self) -> Iterator[dict[str, V]]:
        """Yield the dicts."""
        return iter(self._dicts)

    def of(self, key: str) -> dict[str, V]:
        """Return the dict that *key* belongs to."""
        return self._dicts[hash(key) % _SHARDS]

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield all keys and values."""
        for part in self._dicts:
            yield from part.items()
