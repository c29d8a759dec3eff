"""The database while it is written to: which rows it has, and which of them have to go."""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from policyd.aup.incident import Entry
from policyd.aup.series import Forget, Kept, Series
from policyd.aup.transaction import TransactionState
from policyd.storage.codec import decode, encode
from policyd.storage.contents import LEDGERS, parts, transaction_text
from policyd.storage.rows import Rows

_DELETED_AT_ONCE: Final = 500
"""Rows; the others wait for the next time."""

_COMPRESSED: Final = ("buckets",)
"""What is in the journal is gone within the minute; that is not worth the time."""


class Writer:
    """The open *database*.

    After an exception it is of no further use: what it knows of the rows may be wrong then. But
    *newest* is the last row that its last snapshot put into the buckets, None if there was none.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self.newest: int | None = None
        self._database = database
        self._rows = Rows(database)
        self._series: dict[str, tuple[int, str]] = {}
        self._buckets: dict[int, dict[float, list[int]]] = {}
        self._doomed: deque[int] = deque()
        self._entries: dict[tuple[str, str], int] = {}
        self._find_out()

    @classmethod
    def on(cls, database: sqlite3.Connection) -> "Writer":
        """Return what writes to the *database*, which is closed if that cannot be done."""
        try:
            return cls(database)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def journal(self, kept: Kept, entries: Iterable[Entry] = ()) -> None:
        """Note the changes in *kept*, and the *entries* of ledgers."""
        with self._rows.transaction():
            self._agree(kept)
            for name, series in kept.items():
                self._insert("journal", name, series)
            self._enter(entries)

    def snapshot(self, kept: Kept, pending: Kept, entries: Iterable[Entry] = ()) -> None:
        """Put what is *pending* into the buckets; *kept* says which there are.

        The *entries* are those of ledgers.
        """
        self.newest = None
        with self._rows.transaction():
            self._agree(kept)
            for name, series in pending.items():
                self._insert("buckets", name, series)
            self._rows.delete_all("journal")
            self._enter(entries)

    def forget(self, which: Forget) -> None:
        """Forget the keys that *which* tells of, by series, in the buckets and in the journal."""
        with self._rows.transaction():
            for name, is_over in which.items():
                if name in self._series:
                    self._forget(self._series[name][0], is_over)

    def _forget(self, series: int, is_over: Callable[[str], bool]) -> None:
        for table in ("buckets", "journal"):
            serials = self._database.execute(
                f"SELECT serial, entries FROM {table} WHERE series = ?",  # noqa: S608
                (series,),
            )
            changed = []
            for serial, data in serials:
                entries = decode(data)
                left: dict[str, Any] = {
                    key: value for key, value in entries.items() if not is_over(key)
                }
                if len(left) < len(entries):
                    # a row without entries stays until its bucket has left the window
                    part = encode(left.keys(), left.values(), compressed=table in _COMPRESSED)
                    changed.append((serial, part))
            for serial, data in changed:
                self._rows.change(table, serial, entries=data)

    def has(self, serial: int) -> bool:
        """Tell whether the row *serial* of the buckets is there."""
        found = self._database.execute("SELECT 1 FROM buckets WHERE serial = ?", (serial,))
        return found.fetchone() is not None

    def keep(self, transactions: Iterable[TransactionState]) -> None:
        """Keep *transactions* in the place of those that there are."""
        with self._rows.transaction():
            self._rows.delete_all("transactions")
            for state in transactions:
                self._rows.insert("transactions", data=transaction_text(state))

    def _find_out(self) -> None:
        for serial, row in self._rows.read("series"):
            self._series[str(row["name"])] = serial, str(row["meaning"])
            self._buckets[serial] = {}
        for table in ("buckets", "journal"):
            for serial, series, end in self._database.execute(
                f"SELECT serial, series, end FROM {table}"  # noqa: S608 - our own names
            ):
                # a number that is in use by rows on their way out is not given again
                self._rows.reserve("series", series)
                if table == "journal":
                    continue
                if series in self._buckets:
                    self._buckets[series].setdefault(end, []).append(serial)
                else:
                    self._doomed.append(serial)

        for table in LEDGERS:
            for serial, name in self._database.execute(f"SELECT serial, id FROM {table}"):  # noqa: S608
                self._entries[table, name] = serial

    def _enter(self, entries: Iterable[Entry]) -> None:
        """Put the *entries* in the places of those that they replace."""
        for table, name, row in entries:
            serial = self._entries.get((table, name))
            if row is None:
                if serial is not None:
                    self._rows.delete(table, serial)
                    del self._entries[table, name]
            elif serial is None:
                self._entries[table, name] = self._rows.insert(table, id=name, **row)
            else:
                self._rows.change(table, serial, **row)

    def _agree(self, kept: Kept) -> None:
        """Bring the series in line with those *kept*, and let go of what they need no more."""
        self._rows.delete_all("transactions")  # they have gone on, or are over
        for name in [name for name in self._series if name not in kept]:
            self._drop(name)
        for name, series in kept.items():
            if name in self._series and self._series[name][1] != series.meaning:
                self._drop(name)
            if name not in self._series:
                serial = self._rows.insert("series", name=name, meaning=series.meaning)
                self._series[name] = serial, series.meaning
                self._buckets[serial] = {}
            self._relabel(name, series.latest)
            self._expire(name, series.oldest)
        for _ in range(min(_DELETED_AT_ONCE, len(self._doomed))):
            self._rows.delete("buckets", self._doomed.popleft())

    def _drop(self, name: str) -> None:
        serial, _ = self._series.pop(name)
        self._rows.delete("series", serial)
        for serials in self._buckets.pop(serial).values():
            self._doomed.extend(serials)

    def _relabel(self, name: str, latest: float) -> None:
        """Let no bucket end after *latest*: the clock was stepped back."""
        buckets = self._buckets[self._series[name][0]]
        for end in [end for end in buckets if end > latest]:
            serials = buckets.pop(end)
            for serial in serials:
                self._rows.change("buckets", serial, end=latest)
            buckets[latest] = sorted(buckets.get(latest, []) + serials)

    def _expire(self, name: str, oldest: float) -> None:
        buckets = self._buckets[self._series[name][0]]
        for end in [end for end in buckets if end <= oldest]:
            self._doomed.extend(buckets.pop(end))

    def _insert(self, table: str, name: str, series: Series) -> None:
        number, _ = self._series[name]
        for end, entries in series.buckets:
            for part in parts(entries, compressed=table in _COMPRESSED):
                serial = self._rows.insert(table, series=number, end=end, entries=part)
                if table == "buckets":
                    self.newest = serial
                    self._buckets[number].setdefault(end, []).append(serial)
