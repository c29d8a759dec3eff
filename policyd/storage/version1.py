"""What version 1 of the schema kept, read once, by the version that replaces it.

Version 1 knew the distinct recipients of a bucket, not which keys they belonged to. Limits on
distinct recipients therefore start empty; all else goes on.
"""

import json
import sqlite3
import struct
import zlib
from math import inf

from policyd.aup.likeness_grid import Group, pack
from policyd.aup.series import Series
from policyd.counting.changes import Bucket
from policyd.storage.codec import CodecError
from policyd.storage.contents import Contents

_DISTINCT = "distinct-recipients "
"""What the meaning of such a limit begins with."""


def read(database: sqlite3.Connection) -> Contents:
    """Return what the *database* holds.

    Raise CodecError, sqlite3.Error or another ValueError if it cannot be read.
    """
    ((secret,),) = database.execute("SELECT value FROM meta WHERE name = 'secret'")
    kept: dict[str, Series] = {}
    for limit, meaning, width in database.execute("SELECT id, meaning, width FROM limits"):
        buckets = []
        if not meaning.startswith(_DISTINCT):
            rows = database.execute(
                "SELECT start, counts FROM buckets WHERE limit_id = ? ORDER BY number", (limit,)
            )
            buckets = [Bucket(start + width, _decode(counts)) for start, counts in rows]
        else:
            meaning = ""  # noqa: PLW2901 - another one than any limit has
        kept[f"limit {limit}"] = Series(meaning, -inf, inf, buckets)
    groups: dict[str, list[Bucket]] = {}
    for kind, scope, *group in database.execute(
        "SELECT kind, scope, size, serial, last FROM likeness_groups ORDER BY last"
    ):
        name = scope.decode("utf-8", "surrogateescape")
        found = Group(*group)
        groups.setdefault(kind, []).append(Bucket(found.last, {name: pack([found])}))
    for kind, buckets in groups.items():
        kept[f"likeness {kind}"] = Series("size", -inf, inf, buckets)
    return Contents(secret, kept)


def _decode(data: bytes) -> dict[str, int]:
    try:
        version, checksum = struct.unpack_from("<4sI", data)
        if version != b"pd01" or zlib.crc32(data[8:]) != checksum:
            raise CodecError("the checksum is wrong")
        (length,) = struct.unpack_from("<I", data, 8)
        counts = json.loads(zlib.decompress(data[12:])[:length])
        return {str(key): int(amount) for key, amount in counts.items()}
    except (struct.error, zlib.error, AttributeError) as error:
        raise CodecError(str(error)) from error
