"""A dict that is never felt when it grows.

A dict of a million keys stops everything for 20 to 50 ms when it has to grow. One that is split in
many grows in many small steps.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

_SHARDS: Final = 64
"""With more there is less that the processor's caches hold; of so many none is felt either."""

_BITS_BELOW: Final = 40
"""Of a hash. A dict sorts by the lowest ones, so those of its keys must not all be the same."""

V = TypeVar("V")


class Shards(Generic[V]):
    """Many dicts, each with the keys whose hash falls to it."""

    __slots__ = ("_dict", "_dicts", "_key")

    def __init__(self) -> None:
        self._dicts: list[dict[str, V]] = [{} for _ in range(_SHARDS)]
        self._key = ""
        self._dict = self._find("")

    def __len__(self) -> int:
        return sum(map(len, self._dicts))

    def __iter__(self) -> Iterator[dict[str, V]]:
        """Yield the dicts."""
        return iter(self._dicts)

    def of(self, key: str) -> dict[str, V]:
        """Return the dict that *key* belongs to."""
        if key is not self._key:  # what is looked at is often changed next
            self._key = key
            self._dict = self._find(key)
        return self._dict

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield all keys and values."""
        for part in self._dicts:
            yield from part.items()

    def _find(self, key: str) -> dict[str, V]:
        return self._dicts[hash(key) >> _BITS_BELOW & (_SHARDS - 1)]
