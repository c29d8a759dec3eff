"""One bucket's counts as bytes: versioned, checksummed, and never code.

First the version and a CRC-32 of all that follows: the length of the counts and, compressed, the
counts as JSON and after them the hashes of distinct members, 8 bytes each.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Mapping

_FRAME = struct.Struct("<4sI")
_LENGTH = struct.Struct("<I")
_VERSION = b"pd01"


class CodecError(ValueError):
    """These bytes are not what *encode* made."""


def encode(counts: Mapping[str, int], pairs: array[int]) -> bytes:
    """Return *counts* and *pairs* as bytes."""
    # what was no UTF-8 in a request is an escaped surrogate here, and so in JSON's ASCII form
    text = json.dumps(counts, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    packed = zlib.compress(text + _little_endian(pairs).tobytes(), level=1)
    rest = _LENGTH.pack(len(text)) + packed
    return _FRAME.pack(_VERSION, zlib.crc32(rest)) + rest


def decode(data: bytes) -> tuple[dict[str, int], array[int]]:
    """Return what *encode* was given; raise CodecError if *data* is anything else."""
    try:
        rest = _checked(data)
        (length,) = _LENGTH.unpack_from(rest)
        plain = zlib.decompress(rest[_LENGTH.size :])
        counts = json.loads(plain[:length])
        pairs = array("Q")
        pairs.frombytes(plain[length:])
    except (struct.error, zlib.error, ValueError, RecursionError) as error:
        raise CodecError(str(error)) from error
    if not isinstance(counts, dict) or not all(
        type(amount) is int and amount > 0 for amount in counts.values()
    ):
        raise CodecError("the counts are not counts")
    return counts, _little_endian(pairs)


def _checked(data: bytes) -> bytes:
    """Return what follows the checksum."""
    version, checksum = _FRAME.unpack_from(data)
    if version != _VERSION:
        raise CodecError(f"version {version!r} is not known")
    rest = data[_FRAME.size :]
    if zlib.crc32(rest) != checksum:
        raise CodecError("the checksum is wrong")
    return rest


def _little_endian(pairs: array[int]) -> array[int]:
    if sys.byteorder == "big":
        pairs = array("Q", pairs)
        pairs.byteswap()
    return pairs
