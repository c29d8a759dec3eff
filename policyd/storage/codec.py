"""One bucket's counts as bytes: versioned, checksummed, and never code.

The frame is the version, a CRC-32 of the rest and the length of the counts; the rest, compressed,
is the counts as JSON and after them the hashes of distinct members, 8 bytes each.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Mapping

_FRAME = struct.Struct("<4sII")
_VERSION = b"pd01"


class CodecError(ValueError):
    """These bytes are not what *encode* made."""


def encode(counts: Mapping[str, int], pairs: array[int]) -> bytes:
    """Return *counts* and *pairs* as bytes."""
    # what was no UTF-8 in a request is an escaped surrogate here, and so in JSON's ASCII form
    text = json.dumps(counts, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    rest = zlib.compress(text + _little_endian(pairs).tobytes(), level=1)
    return _FRAME.pack(_VERSION, zlib.crc32(rest), len(text)) + rest


def decode(data: bytes) -> tuple[dict[str, int], array[int]]:
    """Return what *encode* was given; raise CodecError if *data* is anything else."""
    try:
        version, checksum, length = _FRAME.unpack_from(data)
        rest = data[_FRAME.size :]
        if version != _VERSION:
            raise CodecError(f"version {version!r} is not known")
        if zlib.crc32(rest) != checksum:
            raise CodecError("the checksum is wrong")
        plain = zlib.decompress(rest)
        counts = json.loads(plain[:length])
        pairs = array("Q")
        pairs.frombytes(plain[length:])
    except (struct.error, zlib.error, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CodecError(str(error)) from error
    if not isinstance(counts, dict) or not all(
        type(amount) is int and amount > 0 for amount in counts.values()
    ):
        raise CodecError("the counts are not counts")
    return counts, _little_endian(pairs)


def _little_endian(pairs: array[int]) -> array[int]:
    if sys.byteorder == "big":
        pairs = array("Q", pairs)
        pairs.byteswap()
    return pairs
