"""Somebody is forgotten: whatever names him goes, all else stays."""

from dataclasses import replace

import pytest
from storage.samples import CAMPAIGNS, HASHED, LEDGERS, NOW, SECRET, TRANSACTION, flat, series

from policyd.aup.likeness import Group, pack
from policyd.clock import WallTime
from policyd.storage.contents import Contents
from policyd.storage.forgetting import forget

GROUPS = pack([Group(0x6E6E61, 0x616E6E, WallTime(NOW))])  # "ann" in its bytes
REFUSED = b'["REJECT", "5.7.1", "No, Ann@X.example, no"]\n'
OTHERS = Contents(
    SECRET,
    {
        "limit mails": series((60, {"joann@x.example": 1, "ann@x.example.org": 2, "x.example": 3})),
        "limit pairs": series((60, {"bob@x.example\nann": 1})),
        "limit bulk": series((60, {"bob@x.example": HASHED("carol@away.example")})),
        "likeness account": series((60, {"bob@x.example": GROUPS})),
        "likeness-content account": series((60, {"bob@x.example": CAMPAIGNS})),
        "verdicts": series((60, {"h\n1": b"\n", "h\n2": REFUSED.replace(b"Ann", b"Jo.Ann")})),
    },
    transactions=(TRANSACTION, TRANSACTION._replace(recipients=["joann@x.example"])),
    ledgers={
        **LEDGERS,
        "suspensions": tuple(
            {**LEDGERS["suspensions"][0], "name": name, "reason": reason}
            for name, reason in (
                (b"joann@x.example", "j.ann@x.example ann@x.example.org"),
                (b"ann+list@x.example", "ann@x.example-too ann@x.examples x@ann@x.example"),
                (b"ann", "ann"),
                (b"x.example", "x.example"),
            )
        ),
    },
)


@pytest.mark.parametrize("address", ["ann@x.example", "ANN@X.Example.", "Ann@x.example"])
def test_nothing_goes_that_is_somebody_elses(address: str) -> None:
    left, entries = forget(OTHERS, address)
    assert entries == 0
    assert flat(left.kept) == flat(OTHERS.kept)
    assert (left.transactions, left.ledgers) == (OTHERS.transactions, OTHERS.ledgers)


def also(**more: object) -> Contents:
    return replace(OTHERS, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OTHERS.kept)
@pytest.mark.parametrize(
    "key", ["ann@x.example", "ann@x.example\n17", "bob@x.example\nann@x.example", "Ann@x.example."]
)
def test_keys_that_name_him_go(name: str, key: str) -> None:
    values = {
        "limit bulk": HASHED("x"),
        "likeness account": GROUPS,
        "likeness-content account": CAMPAIGNS,
        "verdicts": b"\n",
    }
    value = values.get(name, 7)
    before = OTHERS.kept[name]
    bucket = before.buckets[0]
    more = bucket._replace(entries={key: value, **bucket.entries})
    left, entries = forget(
        also(kept={**OTHERS.kept, name: before._replace(buckets=[more])}), "ann@x.example"
    )
    assert entries == 1
    assert flat(left.kept) == flat(OTHERS.kept)


def test_his_hash_goes_and_the_others_stay_in_their_order() -> None:
    him, others = HASHED("ann@x.example"), [HASHED(str(number)) for number in range(3)]
    kept = {
        "limit bulk": series((60, {"bob": b"".join((others[0], him, *others[1:])), "carol": him}))
    }
    left, entries = forget(Contents(SECRET, kept), "Ann@x.example")
    assert entries == 2
    assert flat(left.kept) == {"limit bulk": ("messages", {(60, "bob"): b"".join(others)})}


def test_a_hash_is_looked_for_where_a_member_begins() -> None:
    him = HASHED("ann@x.example")
    members = b"1234" + him + b"5678"
    kept = {"limit bulk": series((60, {"bob": members}))}
    left, entries = forget(Contents(SECRET, kept), "ann@x.example")
    assert entries == 0
    assert flat(left.kept) == flat(kept)


def test_answers_that_name_him_go() -> None:
    more = series((60, {"h\n3": b"\n" + REFUSED, **OTHERS.kept["verdicts"].buckets[0].entries}))
    left, entries = forget(also(kept={**OTHERS.kept, "verdicts": more}), "ann@x.example")
    assert entries == 1
    assert flat(left.kept) == flat(OTHERS.kept)


@pytest.mark.parametrize(
    "change",
    [
        {"recipients": ["bob@x.example", "ann@x.example"]},
        {"attributes": {"sasl_username": "ANN@x.example"}},
        {"attributes": {"sender": "ann@X.example"}},
    ],
)
def test_open_transactions_that_name_him_go(change: dict[str, object]) -> None:
    more = (TRANSACTION._replace(**change), *OTHERS.transactions)  # type: ignore[arg-type]
    left, entries = forget(also(transactions=more), "ann@x.example")
    assert entries == 1
    assert left.transactions == OTHERS.transactions


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("incidents", {"account": b"Ann@x.example"}),
        ("incidents", {"data": '{"sample": "to\\nann@x.example"}'}),
        ("incidents", {"data": '{"ann@x.example": [1, null]}'}),
        ("suspensions", {"name": b"ann@x.example"}),
        ("suspensions", {"reason": "wrote to <ann@x.example>."}),
        ("notices", {"recipients": '["ann@x.example"]'}),
        ("notices", {"message": b"\xffTo: Ann@x.example\r\n\r\nann@x.example."}),
        ("audit", {"subject": b"ann@x.example"}),
        ("audit", {"reason": "user=ann@x.example, he said"}),
    ],
)
def test_rows_of_ledgers_that_name_him_go(table: str, change: dict[str, object]) -> None:
    row = {**LEDGERS[table][0], **change}
    more = {**OTHERS.ledgers, table: (row, *OTHERS.ledgers[table])}
    left, entries = forget(also(ledgers=more), "ann@x.example")
    assert entries == 1
    assert left.ledgers == OTHERS.ledgers


def test_he_is_found_however_his_domain_is_written() -> None:
    kept = {"limit mails": series((60, {"ann@bücher.example": 1, "ann@xn--bcher-kva.example": 2}))}
    for address in ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"):
        left, entries = forget(Contents(SECRET, kept), address)
        assert (entries, flat(left.kept)) == (2, {"limit mails": ("messages", {})})


def test_a_name_that_means_something_else_in_a_pattern_is_a_name() -> None:
    kept = {"limit mails": series((60, {"a.b(c[@x.example": 1, "axb(c[@x.example": 2}))}
    row = {**LEDGERS["audit"][0], "subject": b"a.b(c[@x.example"}
    left, entries = forget(Contents(SECRET, kept, ledgers={"audit": (row,)}), "a.b(c[@x.example")
    assert entries == 2
    assert flat(left.kept) == {"limit mails": ("messages", {(60, "axb(c[@x.example"): 2})}
