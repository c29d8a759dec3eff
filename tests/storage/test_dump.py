"""Dumps: what is dumped is loaded, and nothing else is."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage.samples import NOW, SECRET, contents, flat, series

from policyd.aup.likeness import Group, pack
from policyd.aup.series import Series
from policyd.aup.transaction import TransactionState
from policyd.clock import WallTime
from policyd.content import campaign
from policyd.counting.changes import Bucket
from policyd.storage.contents import LEDGERS, Contents
from policyd.storage.dump import DumpError, dump, load

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
# what is no UTF-8 in a request is a lone surrogate of these
RAW = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.integers(0xDC80, 0xDCFF).map(chr)),
    max_size=5,
)
REAL = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**63), 2**63 - 1)
GROUP = st.builds(Group, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), REAL.map(WallTime))
FORM = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=64).map(tuple)
CAMPAIGN = st.builds(
    campaign.Campaign,
    st.just(""),
    st.integers(0, 2**64 - 1),
    REAL.map(WallTime),
    st.lists(FORM, min_size=1, max_size=4).map(tuple),
)
VALUES = {
    "limit sums": st.integers(1, 2**70),
    "limit members": st.lists(st.binary(min_size=8, max_size=8), min_size=1).map(b"".join),
    "likeness account": st.lists(GROUP, min_size=1, max_size=3).map(pack),
    "likeness-content domain": st.lists(CAMPAIGN, min_size=1, max_size=2).map(campaign.pack),
    "verdicts": st.lists(TEXT.map(json.dumps), min_size=1, max_size=3).map(
        lambda lines: "".join(f"{line}\n" for line in lines).encode()
    ),
}


def kept(name: str) -> st.SearchStrategy[Series]:
    entries = st.dictionaries(RAW, VALUES[name], max_size=3)
    return st.builds(
        lambda meaning, buckets: Series(meaning, -float("inf"), float("inf"), buckets),
        TEXT,
        st.lists(st.builds(Bucket, REAL, entries), max_size=3),
    )


TRANSACTIONS = st.builds(
    TransactionState,
    RAW,
    st.dictionaries(RAW, RAW, max_size=3),
    st.lists(RAW, max_size=3),
    st.booleans(),
    st.lists(TEXT, max_size=2),
    st.tuples(st.integers(), st.integers()),
    REAL,
)
COLUMNS = {
    "incidents": "id account:b domain:b limit_id opened:f last:f closed:f? observed:i data",
    "suspensions": "id kind name:b since:f until:f? by reason incident"
    " lifted:f? lifted_by lifted_why",
    "exemptions": "id kind name:b since:f until:f? by reason",
    "notices": "id recipients message:b made:f due:f tries:i sent:f?",
    "audit": "id time:f by action subject:b reason",
}
VALUE = {"": TEXT, "b": st.binary(max_size=5), "f": REAL, "i": WHOLE, "f?": st.none() | REAL}


def ledger(table: str) -> st.SearchStrategy[tuple[dict[str, Any], ...]]:
    columns = [column.partition(":") for column in COLUMNS[table].split()]
    row = st.fixed_dictionaries({name: VALUE[kind] for name, _, kind in columns})
    return st.lists(row, max_size=2).map(tuple)


CONTENTS = st.builds(
    Contents,
    st.binary(min_size=1, max_size=64),
    st.fixed_dictionaries({}, optional={name: kept(name) for name in VALUES}),
    transactions=st.lists(TRANSACTIONS, max_size=2).map(tuple),
    ledgers=st.fixed_dictionaries({table: ledger(table) for table in LEDGERS}),
)


def said(contents: Contents) -> object:
    """Return what *contents* say, whatever parts the buckets are in."""
    return (
        contents.secret,
        {
            name: (
                one.meaning,
                [(end, *item) for end, entries in one.buckets for item in entries.items()],
            )
            for name, one in contents.kept.items()
        },
        contents.transactions,
        contents.ledgers,
    )


@settings(deadline=None, max_examples=60)
@given(CONTENTS)
def test_what_is_dumped_is_loaded(given: Contents) -> None:
    lines = list(dump(given))
    assert all(line.isascii() and "\n" not in line for line in lines)
    assert said(load(lines)) == said(given)


def test_what_is_dumped_is_for_people() -> None:
    lines = [json.loads(line) for line in dump(contents())]
    assert lines[0] == {"policyd": "state", "version": 2, "secret": SECRET.hex()}
    assert {"series": "limit mails", "meaning": "messages"} in lines
    assert {"series": "limit mails", "end": NOW + 60, "key": ["alice"], "sum": 3} in lines
    (bulk,) = [line for line in lines if line.get("series") == "limit bulk" and "key" in line]
    assert bulk["key"] == ["alice", "1"]
    assert [len(bytes.fromhex(member)) for member in bulk["members"]] == [8, 8]
    (alike,) = [line for line in lines if "groups" in line]
    assert alike["groups"][0] == {"size": 1000, "serial": 1, "last": NOW}
    assert lines[-1] == {"policyd": "end", "lines": len(lines) - 1}
    assert flat(load(dump(contents())).kept) == flat(contents().kept)


def test_a_dump_that_is_cut_is_refused_with_its_line() -> None:
    lines = list(dump(contents()))
    for length in range(len(lines)):
        with pytest.raises(DumpError, match=rf"^line {length}: the end of the dump is missing"):
            load(lines[:length])
    for number, line in enumerate(lines, 1):
        with pytest.raises(DumpError, match=rf"^line {number}: this is no JSON"):
            load([*lines[: number - 1], line[: len(line) // 2]])


def test_a_dump_that_lacks_a_line_is_refused() -> None:
    lines = list(dump(contents()))
    for number in range(len(lines)):
        with pytest.raises(DumpError, match=r"^line \d+: "):
            load([*lines[:number], *lines[number + 1 :]])


def test_lines_too_many_are_refused() -> None:
    lines = list(dump(contents()))
    with pytest.raises(DumpError, match=f"line {len(lines) + 1}: there is more after the end"):
        load([*lines, lines[-1]])
    with pytest.raises(DumpError, match="line 2: another dump begins here"):
        load([lines[0], *lines])


HEAD = json.dumps({"policyd": "state", "version": 2, "secret": SECRET.hex()})
BEGUN = json.dumps({"series": "limit a", "meaning": "m"})
ENTRY = {"series": "limit a", "end": NOW, "key": ["x"]}
GOOD = {**ENTRY, "sum": 1}
TRANSACTION = {"host": "h", "attributes": {}, "recipients": [], "rcpt_seen": True, "noted": []}
AUDIT = {"id": "1", "time": 1.0, "by": "x", "action": "y", "subject": {"text": "z"}, "reason": ""}

NOTICE = {
    "id": "1",
    "recipients": "",
    "message": {"text": ""},
    "made": 1.0,
    "due": 1,
    "tries": 1,
    "sent": None,
}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, ""),
        ("3", "no line of a dump"),
        ("[]", "no line of a dump"),
        ("{}", ""),
        ('{"series": "limit a", "meaning": "m"}', "the series limit a was there before"),
        ('{"series": "limit b", "meaning": 5}', "meaning of series is of the wrong kind"),
        ('{"series": "limit \\ud800", "meaning": "m"}', "surrogates"),
        (GOOD | {"series": "limit c"}, "there is no series limit c"),
        (GOOD | {"end": None}, ""),
        (GOOD | {"end": 10**400}, "too large"),
        (ENTRY | {"campaigns": [{"serial": 1, "last": 0.0, "forms": []}]}, "cut short"),
        (ENTRY | {"campaigns": [{"serial": 1, "last": 0.0, "forms": [[]]}]}, "cut short"),
        (ENTRY | {"campaigns": [{"serial": 1, "last": 0, "forms": [[1]] * 5}]}, "too many"),
        (ENTRY | {"campaigns": [{"serial": 1, "last": 0, "forms": [[2**32]]}]}, ""),
        (ENTRY | {"campaigns": [{"serial": 1}]}, ""),
        ('{"series": "limit a", "end": NaN, "key": ["x"], "sum": 1}', "NaN is no number"),
        ('{"series": "limit a", "end": 1e999, "key": ["x"], "sum": 1}', "no bucket ends then"),
        (GOOD | {"key": "xy"}, "a key is the list of its values"),
        (GOOD | {"key": [1]}, ""),
        (GOOD | {"sum": 0}, "nothing was counted"),
        (GOOD | {"sum": -1}, "nothing was counted"),
        (GOOD | {"sum": 1.5}, "this is no sum"),
        (GOOD | {"sum": "1"}, "this is no sum"),
        (GOOD | {"sum": True}, "this is no sum"),
        ({"series": "limit a", "end": NOW, "key": ["x"]}, "'verdicts' is missing"),
        ({"series": "limit a", "end": NOW, "sum": 1}, "'key' is missing"),
        ({"series": "limit a", "end": NOW, "key": ["x"], "members": []}, "nothing was counted"),
        ({"series": "limit a", "end": NOW, "key": ["x"], "members": ["00"]}, "cut short"),
        ({"series": "limit a", "end": NOW, "key": ["x"], "members": ["zz"]}, "hexadecimal"),
        (
            {"series": "limit a", "end": NOW, "key": ["x"], "groups": [{"size": -1}]},
            "missing",
        ),
        (
            {
                "series": "limit a",
                "end": NOW,
                "key": ["x"],
                "groups": [{"size": -1, "serial": 1, "last": 1}],
            },
            "",
        ),
        ({"transaction": TRANSACTION}, "'base' is missing"),
        ({"transaction": []}, "no transaction"),
        ({"audits": AUDIT}, "there is no ledger audits"),
        ({"settings": AUDIT}, "there is no ledger settings"),
        ({"audit": AUDIT, "more": {}}, ""),
        (
            {"audit": AUDIT | {"more": 1}},
            "a row of audit has id, time, by, action, subject, reason",
        ),
        ({"audit": {"time": 1.0}}, "a row of audit has"),
        ({"audit": AUDIT | {"time": "1"}}, "time of audit is of the wrong kind"),
        ({"audit": AUDIT | {"time": None}}, "NOT NULL"),
        ({"audit": AUDIT | {"time": True}}, "true is no value of a row"),
        ({"audit": AUDIT | {"time": []}}, r"\[\] is no value of a row"),
        ({"audit": AUDIT | {"subject": "x"}}, "subject of audit is of the wrong kind"),
        ({"audit": AUDIT | {"reason": 3}}, "reason of audit is of the wrong kind"),
        ({"audit": AUDIT | {"time": 10**400}}, "too large"),
        ({"notices": NOTICE | {"tries": 2**70}}, "too large"),
        ({"notices": NOTICE | {"tries": 3.0}}, "tries of notices is of the wrong kind"),
        ({"notices": NOTICE | {"tries": "3"}}, "tries of notices is of the wrong kind"),
    ],
)
def test_a_line_that_means_nothing_is_refused_with_its_number(line: Any, words: str) -> None:
    load([HEAD, BEGUN, json.dumps(GOOD), json.dumps({"policyd": "end", "lines": 3})])
    text = line if isinstance(line, str) else json.dumps(line)
    with pytest.raises(DumpError, match=f"^line 3: .*{words}") as refused:
        load([HEAD, BEGUN, text, json.dumps({"policyd": "end", "lines": 3})])
    assert "Error(" not in str(refused.value)


def test_a_series_is_of_one_kind() -> None:
    members = {"series": "limit a", "end": NOW, "key": ["y"], "members": ["00" * 8]}
    with pytest.raises(DumpError, match="line 4: the series limit a is of another kind"):
        load([HEAD, BEGUN, json.dumps(GOOD), json.dumps(members)])


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ({"policyd": "state", "version": 1, "secret": ""}, "only version 2 is known"),
        ({"policyd": "state", "version": 3, "secret": ""}, "only version 2 is known"),
        ({"policyd": "state", "version": 2, "secret": "xyz"}, "hexadecimal"),
        ({"policyd": "state", "version": 2, "secret": ""}, "no secret of hashes"),
        ({"policyd": "state", "version": 2, "secret": "00" * 65}, "no secret of hashes"),
        ({"policyd": "state", "version": 2}, "'secret' is missing"),
        ({"policyd": "state", "secret": ""}, "'version' is missing"),
        ({"policyd": "end", "lines": 0}, "this is not the first line of a dump"),
        ({"series": "limit a", "meaning": "m"}, "this is not the first line of a dump"),
    ],
)
def test_a_dump_begins_with_its_version_and_the_secret(first: Any, words: str) -> None:
    with pytest.raises(DumpError, match=f"^line 1: .*{words}"):
        load([json.dumps(first)])


@pytest.mark.parametrize("convert", [list, iter, lambda lines: [f"{line}\n" for line in lines]])
def test_lines_may_come_from_anywhere(convert: Callable[[Any], Any]) -> None:
    assert said(load(convert(list(dump(contents()))))) == said(contents())


def test_nothing_can_be_dumped_as_well() -> None:
    nothing = Contents(SECRET, {"limit a": series()})
    assert flat(load(dump(nothing)).kept) == {"limit a": ("messages", {})}
