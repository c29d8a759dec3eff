"""All that a database holds, as plain values."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from math import inf
from typing import Any, Final

from policyd.aup.series import Kept, Series
from policyd.aup.transaction import TransactionState
from policyd.counting.changes import Bucket, Entries
from policyd.storage.codec import decode, encode
from policyd.storage.complaint import reason
from policyd.storage.rows import CorruptError, Row, Rows

LEDGERS: Final = ("incidents", "suspensions", "exemptions", "notices", "audit")
"""Tables whose rows stand for themselves."""

LONGEST_SECRET: Final = 64
"""Bytes that the hash takes as its key (hashlib.blake2b.MAX_KEY_SIZE)."""

_CHUNK: Final = 2000
"""Entries encoded in one go; nothing else runs meanwhile."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is kept: *secret* is the key of the hashes, *kept* what was counted.

    *journal* is the part of *kept* that is not in the buckets yet.
    """

    secret: bytes
    kept: Kept = field(default_factory=dict)
    journal: Kept = field(default_factory=dict)
    transactions: tuple[TransactionState, ...] = ()
    ledgers: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)


def read(database: sqlite3.Connection) -> Contents:
    """Return what the *database* holds, having checked it.

    Raise CorruptError, CodecError, sqlite3.Error or another ValueError if it cannot be read.
    """
    rows = Rows(database)
    rows.check()
    settings = {row["name"]: row["value"] for _, row in rows.read("settings")}
    names = dict(rows.read("series"))
    counted = chain(_buckets(rows, "buckets", names), _buckets(rows, "journal", names))
    secret = settings.get("secret")
    if not isinstance(secret, bytes) or not 0 < len(secret) <= LONGEST_SECRET:
        raise CorruptError("the secret is missing, or is none")
    return Contents(
        secret=secret,
        kept=_series(names.values(), counted),
        journal=_series(names.values(), _buckets(rows, "journal", names)),
        transactions=tuple(transaction(str(row["data"])) for _, row in rows.read("transactions")),
        ledgers={table: tuple(row for _, row in rows.read(table)) for table in LEDGERS},
    )


def write(database: sqlite3.Connection, contents: Contents) -> None:
    """Put *contents* into a *database* that has empty tables."""
    rows = Rows(database)
    with rows.transaction():
        rows.insert("settings", name="secret", value=contents.secret)
        for name, series in contents.kept.items():
            serial = rows.insert("series", name=name, meaning=series.meaning)
            for bucket in series.buckets:
                for part in parts(bucket.entries):
                    rows.insert("buckets", series=serial, end=bucket.end, entries=part)
        for state in contents.transactions:
            rows.insert("transactions", data=transaction_text(state))
        for table, ledger in contents.ledgers.items():
            for row in ledger:
                rows.insert(table, **row)


def parts(entries: Entries, *, compressed: bool = True) -> Iterator[bytes]:
    """Yield *entries*, encoded, in parts of a size that does not keep others waiting."""
    keys: Iterator[str] = iter(entries)
    values: Iterator[Any] = iter(entries.values())
    for _ in range(0, len(entries), _CHUNK):
        some, theirs = tuple(islice(keys, _CHUNK)), tuple(islice(values, _CHUNK))
        yield encode(some, theirs, compressed=compressed)


def transaction_text(state: TransactionState) -> str:
    """Return *state* as ASCII."""
    attributes = dict(state.attributes)
    return json.dumps(state._replace(attributes=attributes)._asdict())


def transaction(text: str) -> TransactionState:
    """Return what *transaction_text* was given; raise ValueError if *text* is nothing of it."""
    try:
        given = json.loads(text)
        return TransactionState(
            host=str(given["host"]),
            attributes={str(name): str(value) for name, value in given["attributes"].items()},
            recipients=[str(address) for address in given["recipients"]],
            rcpt_seen=bool(given["rcpt_seen"]),
            noted=[str(limit) for limit in given["noted"]],
            base=(int(given["base"][0]), int(given["base"][1])),
            age=float(given["age"]),
        )
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"this is no transaction: {reason(error)}") from error


def _buckets(rows: Rows, table: str, names: Mapping[int, Row]) -> Iterator[tuple[str, Bucket]]:
    """Yield the buckets in *table* with the names of their series."""
    for _, row in rows.read(table):
        series, end, entries = row["series"], row["end"], row["entries"]
        if isinstance(series, int) and isinstance(end, float) and isinstance(entries, bytes):
            if (found := names.get(series)) is not None:
                yield str(found["name"]), Bucket(end, decode(entries))
        else:
            raise TypeError(f"this is no row of {table}")


def _series(names: Iterable[Row], buckets: Iterable[tuple[str, Bucket]]) -> Kept:
    found: dict[str, list[Bucket]] = {str(row["name"]): [] for row in names}
    for name, bucket in buckets:
        found[name].append(bucket)
    return {
        str(row["name"]): Series(str(row["meaning"]), -inf, inf, found[str(row["name"])])
        for row in names
    }
