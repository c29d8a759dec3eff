"""Rows and their checksums: whatever has changed, come or gone is noticed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from policyd.storage import rows
from policyd.storage.rows import CorruptError, Rows

AUDIT = {"id": "1", "time": 1.5, "by": "root", "action": "x", "subject": b"\xff\x00", "reason": "ž"}
NOTICE = {
    "id": "1",
    "recipients": "",
    "message": b"",
    "made": 2.0,
    "due": 3,  # a whole number in a column of others
    "tries": 2**62,
    "sent": None,
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "rows", isolation_level=None)) as database:
        rows.create(database)
        made = Rows(database)
        with made.transaction():
            for number in range(3):
                made.insert("audit", **(AUDIT | {"time": number}))
            made.insert("notices", **NOTICE)
        yield database


def test_what_is_put_in_is_read_in_its_order(database: sqlite3.Connection) -> None:
    again = Rows(database)
    again.check()
    assert list(again.read("audit")) == [(n + 1, AUDIT | {"time": float(n)}) for n in range(3)]
    ((_, notice),) = again.read("notices")
    assert notice == NOTICE
    assert type(notice["due"]) is float


def test_it_knows_its_tables(database: sqlite3.Connection) -> None:
    tables = Rows(database).tables
    assert tables["audit"] == ("id", "time", "by", "action", "subject", "reason")
    assert "total" not in tables


def test_rows_are_changed_and_taken_out(database: sqlite3.Connection) -> None:
    made = Rows(database)
    with made.transaction():
        made.change("audit", 2, reason="another", time=7)
        made.delete("audit", 1)
        assert made.insert("audit", **AUDIT) == 4
    made.check()
    again = Rows(database)
    again.check()
    assert list(again.read("audit")) == [
        (2, AUDIT | {"reason": "another", "time": 7.0}),
        (3, AUDIT | {"time": 2.0}),
        (4, AUDIT),
    ]
    with again.transaction():
        again.delete_all("audit")
    assert list(Rows(database).read("audit")) == []
    Rows(database).check()


def test_a_serial_that_is_reserved_is_not_given(database: sqlite3.Connection) -> None:
    made = Rows(database)
    made.reserve("audit", 10)
    made.reserve("audit", 2)
    with made.transaction():
        assert made.insert("audit", **AUDIT) == 11


@pytest.mark.parametrize("columns", [{}, AUDIT | {"more": 1}, {"time": 1.0}])
def test_a_row_has_all_of_its_columns_and_no_others(
    database: sqlite3.Connection, columns: dict[str, rows.Value]
) -> None:
    made = Rows(database)
    with pytest.raises(ValueError, match="audit has id, time, by, action, subject, reason"):
        made.insert("audit", **columns)


@pytest.mark.parametrize(
    "column",
    [
        *({"tries": 3.0}, {"tries": "3"}, {"tries": True}, {"id": 3}, {"id": b""}),
        *({"message": "x"}, {"due": "3"}, {"due": b"3"}, {"due": True}),
    ],
)
def test_a_value_is_of_the_type_of_its_column(
    database: sqlite3.Connection, column: dict[str, rows.Value]
) -> None:
    """SQLite would take 3.0 for 3, and then the checksum would be another."""
    made = Rows(database)
    with pytest.raises(TypeError, match=f"{next(iter(column))} of notices is of the wrong kind"):
        made.insert("notices", **(NOTICE | column))


@pytest.mark.parametrize("value", [-0.0, 0.0, 1e300, -1.5, 2.0**60, float("inf"), 5e-324])
def test_any_number_is_read_as_it_was_put_in(database: sqlite3.Connection, value: float) -> None:
    made = Rows(database)
    with made.transaction():
        made.insert("audit", **(AUDIT | {"time": value}))
        made.insert("notices", **(NOTICE | {"sent": value}))
    Rows(database).check()
    assert [row["time"] for _, row in made.read("audit")][-1] == value


def test_what_is_no_number_is_nothing(database: sqlite3.Connection) -> None:
    made = Rows(database)
    with made.transaction():
        made.insert("notices", **(NOTICE | {"sent": float("nan")}))
    Rows(database).check()
    with pytest.raises(sqlite3.IntegrityError), made.transaction():
        made.insert("notices", **(NOTICE | {"due": float("nan")}))
    Rows(database).check()


def test_a_transaction_that_fails_changes_nothing(database: sqlite3.Connection) -> None:
    made = Rows(database)

    def fail() -> None:
        with made.transaction():
            made.insert("audit", **AUDIT)
            made.delete("audit", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    made.check()
    assert [serial for serial, _ in made.read("audit")] == [1, 2, 3]
    # and it goes on
    with made.transaction():
        made.insert("audit", **AUDIT)
    Rows(database).check()


def test_a_transaction_without_a_change_writes_nothing(database: sqlite3.Connection) -> None:
    version = database.execute("PRAGMA data_version").fetchone()
    with closing(sqlite3.connect(path_of(database), isolation_level=None)) as other:
        made = Rows(other)
        with made.transaction():
            pass
        assert database.execute("PRAGMA data_version").fetchone() == version
        with made.transaction():
            made.insert("audit", **AUDIT)
        assert database.execute("PRAGMA data_version").fetchone() != version


def path_of(database: sqlite3.Connection) -> str:
    ((_, _, path),) = database.execute("PRAGMA database_list")
    return str(path)


def test_every_value_of_a_row_is_checked(database: sqlite3.Connection) -> None:
    row = {"serial": 9, "checksum": 1, "time": 8.0, "by": "x", "action": "y", "subject": b"z"}
    for column, value in row.items():
        database.execute("BEGIN")
        database.execute(f"UPDATE audit SET {column} = ? WHERE serial = 2", (value,))
        with pytest.raises(CorruptError, match=r"row \d of audit has changed"):
            Rows(database).check()
        database.execute("ROLLBACK")
    Rows(database).check()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit WHERE serial = 2",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT 4, checksum, id, 0.0, by, 'x', subject, 'y' FROM audit LIMIT 1",
        "UPDATE total SET checksum = checksum + 1",
        "UPDATE total SET checksum = 0",
        "DELETE FROM total",
        "INSERT INTO total VALUES (0)",
        "DROP TABLE audit",
        "DROP TABLE total",
        "CREATE TABLE more (x)",
        "CREATE INDEX quick ON audit (time)",
        "CREATE VIEW some AS SELECT * FROM audit",
        "CREATE TRIGGER t AFTER INSERT ON audit BEGIN DELETE FROM audit; END",
        "ALTER TABLE audit RENAME TO audits",
        "ALTER TABLE audit ADD COLUMN more TEXT",
        "UPDATE notices SET due = 4",
        "UPDATE notices SET sent = 0",
        "UPDATE notices SET recipients = 'x'",
        "UPDATE notices SET id = 'x', recipients = ''",
    ],
)
def test_what_changed_came_or_went_is_noticed(database: sqlite3.Connection, statement: str) -> None:
    database.execute(statement)
    with pytest.raises(CorruptError):
        Rows(database).check()


def test_equal_rows_that_go_together_are_noticed(database: sqlite3.Connection) -> None:
    """Each has its serial in its checksum; or else two of them would add up to nothing."""
    made = Rows(database)
    with made.transaction():
        pair = [made.insert("audit", **AUDIT) for _ in range(2)]
    database.execute("DELETE FROM audit WHERE serial IN (?, ?)", pair)
    with pytest.raises(CorruptError):
        Rows(database).check()


def test_a_row_that_has_gone_meanwhile_is_noticed(database: sqlite3.Connection) -> None:
    made = Rows(database)
    database.execute("DELETE FROM audit WHERE serial = 2")
    for act in (lambda: made.delete("audit", 2), lambda: made.change("audit", 2, by="x")):
        with pytest.raises(CorruptError, match="row 2 has gone"), made.transaction():
            act()


def test_the_version_is_in_the_database(database: sqlite3.Connection) -> None:
    assert database.execute("PRAGMA user_version").fetchone() == (rows.VERSION,)
