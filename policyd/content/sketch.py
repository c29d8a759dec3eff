"""Keyed hashes of runs of three words, and the smallest of them.

Which hashes are the smallest depends on a secret, so that no sender can choose his words by them,
and no text can be read from them. A word is hashed by BLAKE2b, and remembered; three of them are
mixed by multiplying with numbers that are secret too, which is ten times as fast as to hash each
run.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from heapq import nsmallest
from typing import Final

from policyd.content.fingerprint import SKETCH

_KNOWN: Final = 50_000
"""Words whose hash is remembered."""

_HALF: Final = 0xFFFF_FFFF

_LARGE_AND_ODD: Final = 1 << 28 | 1
"""Bits of a factor: with 29 of them the sum of three products takes three digits of an int."""


class Sketcher:
    """Makes the hashes of one installation, which *secret* (up to 64 bytes) is the key of."""

    __slots__ = ("_factors", "_secret", "_words")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._words = _Words(secret)
        drawn = blake2b(digest_size=12, key=secret, person=b"factors").digest()
        self._factors = tuple(
            int.from_bytes(drawn[at : at + 4], "little") >> 3 | _LARGE_AND_ODD for at in (0, 4, 8)
        )

    def shingles(self, words: Sequence[str]) -> set[int]:
        """Return the hashes of all runs of three *words*."""
        known = self._words
        hashes = [known[word] for word in words]
        first, second, third = self._factors
        return {
            (a * first + b * second + c * third) >> 20 & _HALF
            for a, b, c in zip(hashes, hashes[1:], hashes[2:], strict=False)
        }

    def sketch(self, shingles: Iterable[int]) -> tuple[int, ...]:
        """Return the smallest of *shingles*, in ascending order."""
        return tuple(nsmallest(SKETCH, shingles))

    def exact(self, parts: Iterable[bytes]) -> tuple[int, ...]:
        """Return the one hash of *parts*, in two numbers."""
        made = blake2b(digest_size=8, key=self._secret, person=b"exact")
        for part in parts:
            made.update(len(part).to_bytes(4, "little"))
            made.update(part)
        value = int.from_bytes(made.digest(), "little")
        return value >> 32, value & _HALF


class _Words(dict[str, int]):
    """The hashes of words; each is worked out when first met."""

    def __init__(self, secret: bytes) -> None:
        super().__init__()
        self._secret = secret

    def __missing__(self, word: str) -> int:
        if len(self) > _KNOWN:
            self.clear()
        data = word.encode("utf-8", "surrogatepass")
        digest = blake2b(data, digest_size=4, key=self._secret, person=b"word").digest()
        self[word] = value = int.from_bytes(digest, "little")
        return value
