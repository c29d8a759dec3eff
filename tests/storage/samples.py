"""Things to be kept, and what is found in the form in which it can be compared."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path

from policyd.aup.likeness import Group, pack
from policyd.aup.series import Kept, Series
from policyd.aup.transaction import TransactionState
from policyd.clock import WallTime
from policyd.content import campaign
from policyd.counting.changes import Bucket, Entries
from policyd.counting.distinct import Hasher
from policyd.storage.contents import Contents
from policyd.storage.files import connect
from policyd.storage.rows import Rows
from policyd.storage.store import Opened, Store

NOW = 1_800_000_000.0
SECRET = bytes(range(32))
HASHED = Hasher(SECRET)

TRANSACTION = TransactionState(
    "192.0.2.1",
    {"instance": "1.2", "sasl_username": "Alice@local.example", "sender": "j\udcf6rg@x.example"},
    ["bob@away.example", "carol@away.example"],
    True,
    ["burst"],
    (3000, 2),
    12.5,
)
LEDGERS = {
    "incidents": (
        {
            "id": "AB12",
            "account": b"alice@local.example",
            "domain": b"local.example",
            "limit_id": "bulk",
            "opened": NOW - 5.25,
            "last": NOW,
            "closed": None,
            "observed": 1,
            "data": '{"clients": ["192.0.2.7"]}',
        },
    ),
    "suspensions": (
        {
            "id": "mailbox alice@local.example 1",
            "kind": "mailbox",
            "name": b"j\xf6rg@local.example",
            "since": NOW,
            "until": NOW + 3600,
            "by": "ladder",
            "reason": "three incidents",
            "incident": "AB12",
            "lifted": None,
            "lifted_by": "",
            "lifted_why": "",
        },
    ),
    "exemptions": (),
    "notices": (
        {
            "id": "incident AB12",
            "recipients": '["postmaster@local.example"]',
            "message": b"Subject: \xff\x00\r\n",
            "made": NOW - 1,
            "due": NOW,
            "tries": 2,
            "sent": None,
        },
    ),
    "audit": (
        {
            "id": "a",
            "time": NOW,
            "by": "root",
            "action": "exempt",
            "subject": b"",
            "reason": "žádost",
        },
        {
            "id": "b",
            "time": NOW,
            "by": "root",
            "action": "exempt",
            "subject": b"",
            "reason": "žádost",
        },
    ),
}


CAMPAIGNS = campaign.pack(
    (
        campaign.Campaign("", 7, WallTime(NOW), ((1, 2, 3), (2**32 - 1,))),
        campaign.Campaign("", 8, WallTime(NOW - 1), ((5, 4),)),
    )
)


def series(
    *buckets: tuple[float, Entries],
    meaning: str = "messages",
    oldest: float = -inf,
    latest: float = inf,
) -> Series:
    """Return what was counted; the buckets end so many seconds after NOW."""
    made = [Bucket(NOW + end, dict(entries)) for end, entries in buckets]
    return Series(meaning, NOW + oldest, NOW + latest, made)


def everything() -> Kept:
    """Return something of every kind that is counted."""
    groups = [Group(1000, 1, WallTime(NOW)), Group(0, 2, WallTime(NOW - 0.5))]
    return {
        "limit mails": series((60, {"alice": 3, "bob": 1}), (120, {"alice": 10**12})),
        "limit bulk": series((60, {"alice\n1": HASHED("x@y") + HASHED("z@y")}), meaning="distinct"),
        "limit idle": series(),
        "likeness account": series((60, {"alice": pack(groups)}), meaning="size"),
        "likeness-content account": series((60, {"alice": CAMPAIGNS}), meaning="content"),
        "verdicts": series((10, {"192.0.2.1\n1\n\n1\n9": b"\n"}), meaning="text"),
    }


def contents() -> Contents:
    """Return something of every kind that is kept."""
    return Contents(SECRET, everything(), transactions=(TRANSACTION,), ledgers=LEDGERS)


Flat = dict[str, tuple[str, dict[tuple[float, str], int | bytes]]]


def flat(kept: Kept) -> Flat:
    """Return *kept* without the parts that it is in: what there is of each bucket and key."""
    found: Flat = {}
    for name, one in kept.items():
        entries: dict[tuple[float, str], int | bytes] = {}
        for end, counted in one.buckets:
            for key, value in counted.items():
                at = (end - NOW, key)
                entries[at] = entries[at] + value if at in entries else value
        found[name] = one.meaning, entries
    return found


def found_in(directory: Path) -> Opened:
    """Return what the next daemon finds."""
    store = Store(directory)
    try:
        return store.open(NOW)
    finally:
        store.close()


def kept_in(directory: Path) -> Flat:
    """Return what the next daemon finds; nothing may stand in the way of it."""
    contents, problems = found_in(directory)
    assert problems == ()
    return flat(contents.kept)


@contextmanager
def open_store(directory: Path) -> Iterator[Store]:
    """Open a store in which nothing stands in the way."""
    store = Store(directory)
    try:
        assert store.open(NOW).problems == ()
        yield store
    finally:
        store.close()


@contextmanager
def open_rows(path: Path) -> Iterator[tuple[sqlite3.Connection, Rows]]:
    """Open the database *path*."""
    with closing(connect(path)) as database:
        yield database, Rows(database)


def execute(path: Path, *statements: str) -> None:
    """Change the database *path* as another program could."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)
