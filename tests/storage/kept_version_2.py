"""What tests/data/state/version-2.sqlite3 holds: plain values, never to be changed.

The database was made by make_version_2.py beside it. Whatever the version is by now, what is read
from it is this.
"""

from math import inf

from policyd.aup.series import Kept, Series
from policyd.aup.transaction import TransactionState
from policyd.counting.changes import Bucket

START = 1_799_971_200.0
SECRET = bytes(range(32))
BULK = "distinct-recipients to external per account likeness by sasl_username less '' ''"
MAILS = "messages to external per account by sasl_username less '' ''"
MEMBERS = [bytes([number] * 8) for number in range(1, 5)]
GROUP = bytes.fromhex("e80300000000000001000000000000000000808558d2da41")


def _series(meaning: str, *buckets: Bucket) -> Series:
    return Series(meaning, -inf, inf, list(buckets))


BUCKETS: Kept = {
    "limit bulk": _series(
        BULK,
        Bucket(START + 300, {"alice@local.example\n1": MEMBERS[0] + MEMBERS[1]}),
        Bucket(START + 600, {"alice@local.example\n1": MEMBERS[2]}),
    ),
    "limit mails": _series(
        MAILS,
        Bucket(START + 300, {"alice@local.example": 3, "m\udcfcller@local.example": 1}),
        Bucket(START + 600, {"alice@local.example": 10**12}),
    ),
    "limit idle": _series("messages to local per account by sasl_username less '' ''"),
    "likeness account": _series("size", Bucket(START + 420, {"alice@local.example": GROUP})),
    "verdicts": _series("text", Bucket(START + 410, {"192.0.2.1\n1.2\nAB12\n3\n1000": b"\n"})),
}
"""Written in a snapshot."""

JOURNAL: Kept = {
    "limit bulk": _series(BULK, Bucket(START + 600, {"alice@local.example\n1": MEMBERS[3]})),
    "limit mails": _series(
        MAILS, Bucket(START + 600, {"alice@local.example": 1, "bob@local.example": 2})
    ),
    "limit idle": _series("messages to local per account by sasl_username less '' ''"),
    "likeness account": _series("size"),
    "verdicts": _series(
        "text",
        Bucket(
            START + 610,
            {"192.0.2.1\n1.3\nAB13\n9\n1000": b'["REJECT", "5.7.1", "Bulk; see \\u017e"]\n'},
        ),
    ),
}
"""Written afterwards."""

TRANSACTIONS = (
    TransactionState(
        "192.0.2.1",
        {
            "instance": "1.4",
            "sasl_username": "alice@local.example",
            "sender": "j\udcf6rg@local.example",
        },
        ["bob@away.example", "carol@away.example"],
        True,
        ["burst"],
        (3000, 2),
        12.5,
    ),
    TransactionState("unix", {"instance": "1.5"}, [], False, [], (0, 0), 0.25),
)

LEDGERS = {
    "incidents": (
        {
            "id": "AB12",
            "account": b"m\xfcller@local.example",
            "domain": b"local.example",
            "limit_id": "bulk",
            "opened": START + 0.25,
            "last": START + 1,
            "closed": None,
            "observed": 1,
            "data": '{"clients": ["192.0.2.7"]}',
        },
        {
            "id": "AB13",
            "account": b"",
            "domain": b"local.example",
            "limit_id": "bulk-domain",
            "opened": START,
            "last": START,
            "closed": START + 2,
            "observed": 0,
            "data": "{}",
        },
    ),
    "suspensions": (
        {
            "id": "mailbox alice@local.example 1",
            "kind": "mailbox",
            "name": b"alice@local.example",
            "since": START,
            "until": START + 3600,
            "by": "ladder",
            "reason": "three incidents",
            "incident": "AB12",
            "lifted": None,
            "lifted_by": "",
            "lifted_why": "",
        },
    ),
    "exemptions": (
        {
            "id": "client 192.0.2.0/28",
            "kind": "client",
            "name": b"192.0.2.0/28",
            "since": START,
            "until": None,
            "by": "root",
            "reason": "žádost",
        },
    ),
    "notices": (
        {
            "id": "incident AB12",
            "recipients": '["postmaster@local.example"]',
            "message": b"Subject: \xff\x00\r\n",
            "made": START - 1,
            "due": START + 60,
            "tries": 2,
            "sent": None,
        },
    ),
    "audit": (
        {
            "id": "0123",
            "time": START,
            "by": "root",
            "action": "exempt",
            "subject": b"192.0.2.0/28",
            "reason": "žádost",
        },
    ),
}
