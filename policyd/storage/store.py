"""The state on disk: what was counted, written as it is counted.

Every second or so the engine's changes go into a journal. A snapshot puts what is in the journal
into the buckets it belongs to and empties the journal, in one transaction: a part of a bucket is
written once and never again, until the bucket has left its window and is deleted. So what is
written is as much as was counted, not as much as is held, and nothing has to be walked through for
it. Of a daemon that is killed, what was not yet in the journal is lost.

None of this is for the thread that answers. While the disk does not take it, what is to be written
is held in memory: at most once more what is counted.
"""

import secrets
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from policyd.aup.incident import Entry
from policyd.aup.series import Forget, Kept
from policyd.aup.transaction import TransactionState
from policyd.storage import recovery, rows
from policyd.storage.complaint import reason
from policyd.storage.contents import Contents
from policyd.storage.files import COPY, DATABASE, Lock, connect, connect_to_read, remove, set_aside
from policyd.storage.files import sync as sync_names
from policyd.storage.pending import Pending
from policyd.storage.writer import Writer

_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""The last is what a table is called that is not there; everything else may pass."""

_COPY_PAGES: Final = 100
_COPY_PAUSE: Final = 0.01
"""Seconds between two times so many pages of the hot copy: 40 MB a second at most."""

_COPY_TRIES: Final = 20
"""How often a page that is locked is tried again."""


class LostError(Exception):
    """The database is gone, or broken and set aside; everything has to be written anew."""


class Opened(NamedTuple):
    """What was kept, and in *problems* what stood in the way of it."""

    contents: Contents
    problems: tuple[str, ...] = ()


class _Doubt(NamedTuple):
    """What was *pending* in a snapshot that failed, perhaps when it was in the file already.

    Then the buckets have the row *newest*.
    """

    newest: int
    pending: Pending


class Store:
    """The state in *directory*, which this process has for itself until *close*."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / DATABASE
        self._copy = directory / COPY
        self._lock: Lock | None = None
        self._secret = secrets.token_bytes(32)
        self._ours: tuple[int, int] | None = None  # device and inode of what was read or made
        self._writer: Writer | None = None
        self._pending = Pending()
        self._owed: dict[tuple[str, str], Entry] = {}  # of ledgers, yet to be written
        self._behind = False  # whether the journal lacks something that is pending
        self._doubt: _Doubt | None = None
        self._forgotten: list[tuple[str, Callable[[str], bool]]] = []  # not on the disk yet
        self._lost = ""  # why what is pending and the database lack something that is kept

    def open(self, now: float) -> Opened:
        """Return what is kept; what cannot be read is set aside, and the last good copy taken.

        Raise StateInUseError if another process has the directory. Whatever else is wrong is told;
        then there is nothing to go on from, and *write* tries again.
        """
        found = recovery.Found(None, (), installed=False)
        problems = []
        try:
            self._lock = Lock(self._path.parent)
            found = recovery.find(self._path, now)
            if found.contents is not None:
                self._secret = found.contents.secret
                self._pending.add(found.contents.journal)
                self._lost = f"{self._path} does not have what was kept"
            if found.installed:
                self._ours = _identity(self._path)
                self._lost = ""
            if not self._lost:
                self._ready(now)
        except (sqlite3.Error, OSError, rows.CorruptError) as error:
            problems.append(f"{self._path.parent} cannot be used: {reason(error)}")
        kept = found.contents or Contents(self._secret)
        return Opened(kept, (*found.problems, *problems))

    def write(
        self,
        kept: Kept,
        now: float,
        entries: Iterable[Entry] = (),
        *,
        snapshot: bool = False,
        whole: bool = False,
    ) -> None:
        """Write the changes in *kept*, and *entries* of ledgers, durably.

        The entries in *kept* are ours from then on: what comes later is added to them.
        For a *snapshot*, put the journal into the buckets. With *whole*, this is all that there is.
        Raise LostError if all that there is is needed; sqlite3.Error, OSError or CorruptError if
        nothing can be written for now: what was given is held, and goes out with what is given
        next.
        """
        if whole:
            self._forget()
            self._behind = True
        self._pending.add(kept)
        self._owed.update({(entry.table, entry.id): entry for entry in entries})
        if self._doubt is not None:
            self._doubt.pending.add(_without_entries(kept))  # time passes for it too
        try:
            writer = self._ready(now)
            self._forget_there(writer)
            if snapshot or self._behind:
                self._snapshot(writer, kept)
            elif self._owed or any(series.buckets for series in kept.values()):
                writer.journal(kept, self._owed.values())
        except (sqlite3.Error, OSError, rows.CorruptError) as error:
            self._behind = True
            self._let_go()
            if _is_broken(error):
                aside = set_aside(self._path, "corrupt", now)
                self._ours = None
                if not whole:
                    self._lost = f"{self._path} is broken ({reason(error)}), and kept as {aside}"
                    raise LostError(self._lost) from error
            raise
        self._behind = False
        self._owed.clear()

    def forget(self, which: Forget) -> None:
        """Forget the keys that *which* tells of, by series; durable with the next *write*.

        What is given to *write* from then on is not forgotten.
        """
        self._pending.forget(which)
        if self._doubt is not None:
            self._doubt.pending.forget(which)
        for name, is_over in which.items():
            self._forgotten.append((name, is_over))

    def keep(self, transactions: Iterable[TransactionState]) -> None:
        """Keep open *transactions* until the next start; raise sqlite3.Error if that fails."""
        if self._writer is not None:
            self._writer.keep(transactions)

    def reject(self, now: float) -> str:
        """Set aside what *open* gave, and begin with nothing; return its new name."""
        self._let_go()
        self._forget()
        self._ours = None
        try:
            return set_aside(self._path, "corrupt", now)
        except OSError:
            return self._path.name  # until the next *write*, which tries again

    def copy(self) -> None:
        """Make the copy anew; *write* may be called meanwhile.

        Raise sqlite3.Error or OSError if that cannot be done, CorruptError if it would be bad.
        """
        if self._ours is None or _identity(self._path) != self._ours:
            raise FileNotFoundError(f"{self._path} is not what was written")
        new = self._copy.with_name(f"{COPY}.new")
        remove(new)
        with (
            closing(connect_to_read(self._path)) as database,
            closing(connect(new, create=True)) as to,
        ):
            database.execute("BEGIN")
            database.execute("SELECT * FROM total").fetchall()  # from here on it sees no change
            database.backup(to, pages=_COPY_PAGES, sleep=_COPY_PAUSE, progress=_patience())
            to.execute("PRAGMA journal_mode = DELETE")  # it is all in one file now
            rows.Rows(to).check()
        new.replace(self._copy)
        sync_names(self._copy.parent)

    def close(self) -> None:
        """Let another process have the directory."""
        self._let_go()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _ready(self, now: float) -> Writer:
        """Return what writes, on a database that is ours."""
        if self._lock is None:
            self._lock = Lock(self._path.parent)
        there = _identity(self._path)
        if self._ours is not None and there != self._ours:
            self._lost = f"{self._path} was moved, deleted or replaced"
            self._let_go()
            self._ours = None
        if self._lost:
            raise LostError(self._lost)
        if self._ours is None:
            if there is not None:
                set_aside(self._path, "unknown", now)
            recovery.install(self._path, Contents(self._secret))
            self._ours = _identity(self._path)
        if self._writer is None:
            self._writer = Writer.on(connect(self._path))
        self._settle(self._writer)
        return self._writer

    def _snapshot(self, writer: Writer, kept: Kept) -> None:
        try:
            writer.snapshot(kept, self._pending.series(), self._owed.values())
        except (sqlite3.Error, OSError):
            if writer.newest is not None:
                self._doubt = _Doubt(writer.newest, self._pending)
                self._pending = Pending()
            raise
        self._pending.clear()

    def _settle(self, writer: Writer) -> None:
        """Find out whether a snapshot that failed has happened all the same."""
        if self._doubt is None:
            return
        newest, before = self._doubt
        if not writer.has(newest):
            before.add(self._pending.series())
            self._pending = before
        self._doubt = None

    def _forget_there(self, writer: Writer) -> None:
        """Let the disk forget what is forgotten, before anything is written that came later."""
        while self._forgotten:
            writer.forget(dict(self._forgotten[:1]))
            del self._forgotten[0]

    def _forget(self) -> None:
        """Forget what waits to be written."""
        self._pending.clear()
        self._owed.clear()
        self._forgotten.clear()
        self._doubt = None
        self._lost = ""

    def _let_go(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _patience() -> Callable[[int, int, int], None]:
    """Return what ends a copy that gets nowhere; by itself it would be tried for ever."""
    left = _COPY_TRIES

    def progress(status: int, _remaining: int, _pages: int) -> None:
        nonlocal left
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            left -= 1
            if not left:
                raise sqlite3.OperationalError("the database is locked")

    return progress


def _without_entries(kept: Kept) -> Kept:
    return {name: series._replace(buckets=()) for name, series in kept.items()}


def _is_broken(error: Exception) -> bool:
    """Tell whether *error* says that the database will be of no use any more."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, rows.CorruptError) or code in _BROKEN


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
