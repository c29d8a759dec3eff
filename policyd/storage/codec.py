"""Entries of a bucket as bytes: versioned, checksummed, and never code.

First the version and a CRC-32 of all that follows: the length of the keys' part and, compressed,
that part as JSON and after it the bytes. The JSON has a number for each key: its sum, or how many
of the bytes are its own.
"""

import json
import struct
import zlib
from typing import Final, cast

from policyd.counting.counters import Entries

_FRAME: Final = struct.Struct("<4sI")
_LENGTH: Final = struct.Struct("<I")
_SUMS: Final = b"pdS2"
_BYTES: Final = b"pdB2"


class CodecError(ValueError):
    """These bytes are not what *encode* made."""


def encode(entries: Entries) -> bytes:
    """Return *entries*, which are sums or bytes all of them, as bytes."""
    version, sums, tail = _SUMS, entries, b""
    if isinstance(next(iter(entries.values()), 0), bytes):
        runs = cast(dict[str, bytes], entries)
        version, tail = _BYTES, b"".join(runs.values())
        sums = dict(zip(runs, map(len, runs.values()), strict=True))
    # what was no UTF-8 in a request is an escaped surrogate here, and so in JSON's ASCII form
    text = json.dumps(sums, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    rest = _LENGTH.pack(len(text)) + zlib.compress(text + tail, level=1)
    return _FRAME.pack(version, zlib.crc32(rest)) + rest


def decode(data: bytes) -> Entries:
    """Return what *encode* was given; raise CodecError if *data* is anything else."""
    try:
        version, rest = _checked(data)
        (length,) = _LENGTH.unpack_from(rest)
        plain = zlib.decompress(rest[_LENGTH.size :])
        sums = json.loads(plain[:length])
        tail = plain[length:]
    except (struct.error, zlib.error, ValueError, RecursionError) as error:
        raise CodecError(str(error)) from error
    if not isinstance(sums, dict) or not all(
        type(amount) is int and amount > 0 for amount in sums.values()
    ):
        raise CodecError("the sums are not sums")
    if sum(sums.values()) != len(tail) if version == _BYTES else tail:
        raise CodecError("there are more or fewer bytes than its keys have")
    return _apart(sums, tail) if version == _BYTES else sums


def _checked(data: bytes) -> tuple[bytes, bytes]:
    """Return the version, and what follows the checksum."""
    version, checksum = _FRAME.unpack_from(data)
    if version not in (_SUMS, _BYTES):
        raise CodecError(f"version {version!r} is not known")
    rest = data[_FRAME.size :]
    if zlib.crc32(rest) != checksum:
        raise CodecError("the checksum is wrong")
    return version, rest


def _apart(lengths: dict[str, int], tail: bytes) -> dict[str, bytes]:
    entries = {}
    at = 0
    for key, length in lengths.items():
        entries[key] = tail[at : at + length]
        at += length
    return entries
