"""All that a database holds: what is written is read, and anything else is refused."""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from storage.samples import SECRET, TRANSACTION, contents, execute, open_rows

from policyd.counting.changes import Bucket
from policyd.storage import recovery
from policyd.storage.codec import decode
from policyd.storage.contents import Contents, parts, read, transaction, transaction_text
from policyd.storage.files import connect
from policyd.storage.rows import CorruptError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    recovery.install(tmp_path / "x", contents())
    return tmp_path / "x"


def found(path: Path) -> Contents:
    with closing(connect(path)) as database:
        return read(database)


def test_what_is_written_is_read(path: Path) -> None:
    again = found(path)
    given = contents()
    assert again.kept == {
        name: one._replace(oldest=-float("inf"), latest=float("inf"))
        for name, one in given.kept.items()
    }
    assert (again.secret, again.transactions, again.ledgers) == (
        *(given.secret, given.transactions),
        given.ledgers,
    )
    assert again.journal == {name: one._replace(buckets=[]) for name, one in again.kept.items()}


def test_buckets_come_back_in_their_order_and_before_the_journal(path: Path) -> None:
    with open_rows(path) as (_, rows), rows.transaction():
        ((serial, _),) = [row for row in rows.read("series") if row[1]["name"] == "limit idle"]
        for table, end in (("journal", 1.0), ("buckets", 3.0), ("buckets", 2.0)):
            (entries,) = parts({"a": int(end)})
            rows.insert(table, series=serial, end=end, entries=entries)
    again = found(path)
    assert again.kept["limit idle"].buckets == [
        Bucket(3.0, {"a": 3}),
        Bucket(2.0, {"a": 2}),
        Bucket(1.0, {"a": 1}),
    ]
    assert again.journal["limit idle"].buckets == [Bucket(1.0, {"a": 1})]


def test_the_journal_and_what_is_kept_share_nothing(path: Path) -> None:
    with open_rows(path) as (_, rows), rows.transaction():
        (entries,) = parts({"a": 1})
        rows.insert("journal", series=1, end=1.0, entries=entries)
    again = found(path)
    name = next(iter(again.kept))
    again.journal[name].buckets[0].entries["a"] = 5  # type: ignore[assignment]
    assert again.kept[name].buckets[-1].entries == {"a": 1}


def test_what_is_of_no_series_waits_to_be_deleted(path: Path) -> None:
    before = found(path)
    with open_rows(path) as (_, rows), rows.transaction():
        (entries,) = parts({"a": 1})
        rows.insert("buckets", series=99, end=1.0, entries=entries)
    assert found(path) == before


@pytest.mark.parametrize("statement", ["DELETE FROM settings", "UPDATE settings SET name = 'x'"])
def test_a_secret_that_is_missing_is_missed(path: Path, statement: str) -> None:
    execute(path, statement)
    with pytest.raises(CorruptError):
        found(path)


def test_a_secret_that_nobody_wrote_is_missed_too(tmp_path: Path) -> None:
    recovery.install(tmp_path / "x", Contents(SECRET))
    with open_rows(tmp_path / "x") as (_, rows), rows.transaction():
        rows.delete("settings", 1)
    with pytest.raises(CorruptError, match="the secret is missing"):
        found(tmp_path / "x")


def test_entries_that_nobody_encoded_are_refused(path: Path) -> None:
    with open_rows(path) as (_, rows), rows.transaction():
        rows.insert("buckets", series=1, end=1.0, entries=b"pdS2 and more")
    with pytest.raises(ValueError, match="checksum"):
        found(path)


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (2000, [2000]), (4001, [2000, 2000, 1])])
def test_entries_are_encoded_in_parts(count: int, sizes: list[int]) -> None:
    entries = {str(number): number + 1 for number in range(count)}
    decoded = [decode(part) for part in parts(entries)]
    assert [len(part) for part in decoded] == sizes
    assert [item for part in decoded for item in part.items()] == list(entries.items())


def test_parts_are_compressed_or_not() -> None:
    entries = {f"{number}@local.example": 1 for number in range(100)}
    ((small,), (large,)) = (parts(entries, compressed=compressed) for compressed in (True, False))
    assert decode(small) == decode(large) == entries
    assert len(small) < len("@local.example") * len(entries) < len(large)


def test_a_transaction_is_told_in_ascii_and_back() -> None:
    text = transaction_text(TRANSACTION)
    assert text.isascii()
    assert transaction(text) == TRANSACTION


@pytest.mark.parametrize(
    "change",
    [
        {"host": None},
        {"attributes": None},
        {"attributes": []},
        {"recipients": None},
        {"noted": 1},
        {"base": [1]},
        {"base": ["x", 1]},
        {"age": "x"},
    ],
)
def test_what_is_no_transaction_is_refused(change: Mapping[str, object]) -> None:
    said = json.loads(transaction_text(TRANSACTION)) | change
    if change == {"host": None}:
        del said["host"]
    with pytest.raises(ValueError, match=r"no transaction|could not convert|invalid literal"):
        transaction(json.dumps(said))
