"""Rows with checksums in an SQLite database.

SQLite notices when its pages do not fit together, not when a number in them has changed. So every
row has a checksum, and there is one of all rows, so that none can vanish unnoticed.
"""

import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from math import isnan
from typing import Any, Final

Value = str | int | float | bytes | None
Row = Mapping[str, Value]

VERSION: Final = 2
"""Of the schema; it stands in the database as user_version."""

_TYPES: Final[Mapping[str, type]] = {"TEXT": str, "INTEGER": int, "REAL": float, "BLOB": bytes}
_KINDS: Final = {str: b"t", int: b"i", float: b"f", bytes: b"b", type(None): b"n"}


class CorruptError(Exception):
    """The database does not hold what was written to it."""


class Rows:
    """The tables of the open *database*; raises sqlite3.Error for whatever SQLite cannot do.

    Raise CorruptError if the tables are not those that *create* makes.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._total = 0
        self._columns: dict[str, tuple[str, ...]] = {}
        self._types: dict[tuple[str, str], type] = {}
        self._next: dict[str, int] = {}
        self._check_tables()
        self._look_around()

    @property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the tables, and of each the columns that are not about checking."""
        return self._columns

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Change all of what follows, durably, or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        before = self._total
        try:
            yield
            if self._total != before:  # or else there is nothing to be brought to the disk
                self._database.execute("UPDATE total SET checksum = ?", (self._total,))
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self._look_around()
            raise

    def insert(self, table: str, **values: Value) -> int:
        """Put in a row; return its serial.

        Raise ValueError if these are not its columns, TypeError if a value does not fit its column.
        """
        if values.keys() != set(self._columns[table]):
            raise ValueError(f"a row of {table} has {', '.join(self._columns[table])}")
        serial = self._next[table]
        row = [self._fit(table, column, values[column]) for column in self._columns[table]]
        checksum = _checksum(table, serial, row)
        marks = ", ".join("?" * (len(row) + 2))
        columns = ", ".join(("serial", "checksum", *self._columns[table]))
        self._database.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608 - our own names
            (serial, checksum, *row),
        )
        self._next[table] = serial + 1
        self._total ^= checksum
        return serial

    def reserve(self, table: str, serial: int) -> None:
        """Give *serial* to no row of *table* that is put in later."""
        self._next[table] = max(self._next[table], serial + 1)

    def change(self, table: str, serial: int, **values: Value) -> None:
        """Change some columns of a row."""
        columns = self._columns[table]
        names = ", ".join(("checksum", *columns))
        ((checksum, *row),) = self._one(
            f"SELECT {names} FROM {table} WHERE serial = ?",  # noqa: S608
            serial,
        )
        changed = {**dict(zip(columns, row, strict=True)), **values}
        row = [self._fit(table, column, changed[column]) for column in columns]
        self._total ^= checksum
        checksum = _checksum(table, serial, row)
        self._total ^= checksum
        places = ", ".join(f"{column} = ?" for column in ("checksum", *columns))
        self._database.execute(
            f"UPDATE {table} SET {places} WHERE serial = ?",  # noqa: S608
            (checksum, *row, serial),
        )

    def delete(self, table: str, serial: int) -> None:
        """Take out a row."""
        ((checksum,),) = self._one(
            f"DELETE FROM {table} WHERE serial = ? RETURNING checksum",  # noqa: S608
            serial,
        )
        self._total ^= checksum

    def delete_all(self, table: str) -> None:
        """Take out every row."""
        for (serial,) in self._database.execute(f"SELECT serial FROM {table}").fetchall():  # noqa: S608
            self.delete(table, serial)

    def read(self, table: str) -> Iterator[tuple[int, Row]]:
        """Yield serial and row, in the order in which they were put in; each has been checked.

        Raise CorruptError for one that has changed.
        """
        columns = self._columns[table]
        names = ", ".join(("serial", "checksum", *columns))
        for serial, checksum, *row in self._database.execute(
            f"SELECT {names} FROM {table} ORDER BY serial"  # noqa: S608
        ):
            if _checksum(table, serial, row) != checksum:
                raise CorruptError(f"row {serial} of {table} has changed")
            yield serial, dict(zip(columns, row, strict=True))

    def check(self) -> None:
        """Raise CorruptError if a row has changed, come or gone."""
        total = 0
        for table in self._columns:
            for _ in self.read(table):
                pass
            for (checksum,) in self._database.execute(f"SELECT checksum FROM {table}"):  # noqa: S608
                total ^= checksum
        if total != self._total:
            raise CorruptError("rows are missing, or there are some too many")

    def _check_tables(self) -> None:
        made = {sql for (sql,) in self._database.execute("SELECT sql FROM sqlite_schema")}
        if made != {statement[statement.index("CREATE") :] for statement in _statements()}:
            raise CorruptError("the tables are not those that were made")

    def _one(self, statement: str, serial: int) -> list[list[Any]]:
        """Return the one row that *statement* is about."""
        found = self._database.execute(statement, (serial,)).fetchall()
        if len(found) != 1:
            raise CorruptError(f"row {serial} has gone")
        return found

    def _fit(self, table: str, column: str, value: Value) -> Value:
        """Return *value* as it will be read again: SQLite would make one of another type fit."""
        fits = self._types[table, column]
        if fits is float and type(value) in (int, float):
            value = float(value or 0)  # of two zeros only one is kept
            if isnan(value):
                value = None
        if value is not None and type(value) is not fits:
            raise TypeError(f"{column} of {table} is of the wrong kind")
        return value

    def _look_around(self) -> None:
        """Find out what there is."""
        database = self._database
        names = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        for table in names:
            if table != "total":
                _, _, *columns = database.execute(f"PRAGMA table_info({table})").fetchall()
                self._columns[table] = tuple(name for _, name, *_ in columns)
                self._types |= {(table, name): _TYPES[kind] for _, name, kind, *_ in columns}
                ((last,),) = database.execute(f"SELECT max(serial) FROM {table}")  # noqa: S608
                self._next[table] = max(self._next.get(table, 1), (last or 0) + 1)
        totals = database.execute("SELECT checksum FROM total").fetchall()
        if len(totals) != 1:
            raise CorruptError("the checksum of all rows is missing")
        ((self._total,),) = totals


def create(database: sqlite3.Connection) -> None:
    """Make the tables, in a database that has none."""
    database.execute("BEGIN IMMEDIATE")
    for statement in _statements():
        database.execute(statement)
    database.execute("INSERT INTO total VALUES (0)")
    database.execute(f"PRAGMA user_version = {VERSION}")
    database.execute("COMMIT")


def _statements() -> list[str]:
    """Return the statements that make the tables; a script would not be one transaction."""
    script = files("policyd.storage").joinpath("schema", f"{VERSION}.sql").read_text("utf-8")
    return [statement for statement in script.split(";\n") if statement.strip()]


def _checksum(table: str, serial: int, row: list[Value]) -> int:
    checksum = zlib.crc32(f"{table} {serial}".encode())
    for value in row:
        data = _bytes(value)
        checksum = zlib.crc32(_KINDS[type(value)] + struct.pack("<Q", len(data)), checksum)
        checksum = zlib.crc32(data, checksum)
    return checksum


def _bytes(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, float):
        return struct.pack("<d", value)
    return str(value).encode("utf-8", "surrogateescape")
