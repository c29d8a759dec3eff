"""Entries of a bucket as bytes: versioned, checksummed, and never code.

First the version and a CRC-32 of all that follows: how many keys there are, the length of their
part and, packed by zlib, that part, a number for each key and then the bytes. The keys' part is the
keys in UTF-8, with a NUL between two of them. A number has 64 bits, the lowest first; it is the
key's sum, or how many of the bytes are its own.

A key with a NUL in it, or a greater number, is no reason to lose what was counted: then all is
written as in version 2, which is read as well. There the keys' part is JSON that has the numbers in
it, and how many keys there are is not told.
"""

import json
import struct
import zlib
from collections.abc import Collection
from typing import Final, cast

from policyd.counting.changes import Entries

_FRAME: Final = struct.Struct("<4sI")
_SIZES: Final = struct.Struct("<II")
_LENGTH: Final = struct.Struct("<I")
_SUMS: Final = b"pdS3"
_BYTES: Final = b"pdB3"
_JSON_SUMS: Final = b"pdS2"
_JSON_BYTES: Final = b"pdB2"

_NUMBER: Final = 8
"""Bytes."""

_NO_SUMS: Final = "the sums are not sums"
_SEPARATOR: Final = "\0"
_LONE: Final = "surrogatepass"
"""What was no UTF-8 in a request is lone surrogates in a key, and they stay what they are.

Made the bytes again that they stand for, some that come together would be read as a letter.
"""


class CodecError(ValueError):
    """These bytes are not what *encode* made."""


def encode(
    keys: Collection[str],
    values: Collection[int] | Collection[bytes],
    *,
    compressed: bool = True,
) -> bytes:
    """Return as bytes what the *keys* have: *values* that are sums or bytes, all of them.

    What is *compressed* is smaller and takes twice the time.
    """
    tail, version, json_version = b"", _SUMS, _JSON_SUMS
    if isinstance(next(iter(values), 0), bytes):
        runs = cast("Collection[bytes]", values)
        tail, version, json_version = b"".join(runs), _BYTES, _JSON_BYTES
        values = list(map(len, runs))
    amounts = cast("Collection[int]", values)
    plain = _plain(keys, amounts)
    if plain is None:
        version, plain = json_version, _json(keys, amounts)
    head, text = plain
    rest = head + zlib.compress(text + tail, level=1 if compressed else 0)
    return _FRAME.pack(version, zlib.crc32(rest)) + rest


def decode(data: bytes) -> Entries:
    """Return what *encode* was given; raise CodecError if *data* is anything else."""
    try:
        version, rest = _checked(data)
        read = _read_plain if version in (_SUMS, _BYTES) else _read_json
        sums, tail = read(rest)
    except (struct.error, zlib.error, ValueError, RecursionError) as error:
        raise CodecError(str(error)) from error
    has_bytes = version in (_BYTES, _JSON_BYTES)
    if sum(sums.values()) != len(tail) if has_bytes else tail:
        raise CodecError("there are more or fewer bytes than its keys have")
    return _apart(sums, tail) if has_bytes else sums


def _checked(data: bytes) -> tuple[bytes, bytes]:
    """Return the version, and what follows the checksum."""
    version, checksum = _FRAME.unpack_from(data)
    if version not in (_SUMS, _BYTES, _JSON_SUMS, _JSON_BYTES):
        raise CodecError(f"version {version!r} is not known")
    rest = data[_FRAME.size :]
    if zlib.crc32(rest) != checksum:
        raise CodecError("the checksum is wrong")
    return version, rest


def _plain(keys: Collection[str], amounts: Collection[int]) -> tuple[bytes, bytes] | None:
    """Return the sizes, and keys and numbers; None if these cannot be written in this way."""
    together = _SEPARATOR.join(keys)
    if keys and together.count(_SEPARATOR) >= len(keys):
        return None
    text = together.encode("utf-8", _LONE)
    try:
        numbers = struct.pack(f"<{len(amounts)}Q", *amounts)
    except struct.error:
        return None
    return _SIZES.pack(len(amounts), len(text)), text + numbers


def _read_plain(rest: bytes) -> tuple[dict[str, int], bytes]:
    """Return the number of each key, and what follows the numbers."""
    count, length = _SIZES.unpack_from(rest)
    plain = zlib.decompress(rest[_SIZES.size :])
    amounts = struct.unpack_from(f"<{count}Q", plain, length)
    together = plain[:length].decode("utf-8", _LONE)
    keys = together.split(_SEPARATOR) if count or together else []
    sums = dict(zip(keys, amounts, strict=True))
    if len(sums) < count:
        raise CodecError("a key is there twice")
    if 0 in amounts:
        raise CodecError(_NO_SUMS)
    return sums, plain[length + count * _NUMBER :]


def _json(keys: Collection[str], amounts: Collection[int]) -> tuple[bytes, bytes]:
    """Return the length of the keys' part, and that part, as version 2 has them."""
    sums = dict(zip(keys, amounts, strict=True))
    # a lone surrogate is an escaped one in JSON's ASCII form
    text = json.dumps(sums, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(text)), text


def _read_json(rest: bytes) -> tuple[dict[str, int], bytes]:
    """Return the number of each key, and what follows the keys' part."""
    (length,) = _LENGTH.unpack_from(rest)
    plain = zlib.decompress(rest[_LENGTH.size :])
    sums = json.loads(plain[:length])
    if not isinstance(sums, dict) or not all(
        type(amount) is int and amount > 0 for amount in sums.values()
    ):
        raise CodecError(_NO_SUMS)
    return sums, plain[length:]


def _apart(lengths: dict[str, int], tail: bytes) -> dict[str, bytes]:
    entries = {}
    at = 0
    for key, length in lengths.items():
        entries[key] = tail[at : at + length]
        at += length
    return entries
