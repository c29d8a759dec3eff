"""The counts on disk: one SQLite database in the state directory, replaced whole.

A snapshot is one transaction, so that a daemon that dies while it writes leaves the one before.
What cannot be read is set aside, never deleted, and the daemon starts with empty counts.
"""

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from policyd.aup.counts import CountsState, LimitState
from policyd.aup.likeness import Group
from policyd.clock import WallTime
from policyd.counting.counters import BucketState
from policyd.storage.codec import CodecError, decode, encode

VERSION: Final = 1
"""Of the schema; it stands in the database as user_version."""

NAME: Final = "state.sqlite3"

_Row = tuple[str | int | float | bytes, ...]
_INSERTS: Final = (
    "INSERT INTO limits (id, meaning, width) VALUES (?, ?, ?)",
    "INSERT INTO buckets (limit_id, number, start, counts) VALUES (?, ?, ?, ?)",
    "INSERT INTO likeness_groups (serial, kind, scope, size, last) VALUES (?, ?, ?, ?, ?)",
)


class StateInUseError(Exception):
    """Another daemon has the state directory."""


class Kept(NamedTuple):
    """What was found on disk: the hash key, the counts, and what was *set_aside*, and why."""

    secret: bytes
    counts: CountsState
    set_aside: str = ""


class Encoded(NamedTuple):
    """A snapshot in rows, ready to be written by another thread."""

    limits: tuple[_Row, ...]
    buckets: tuple[_Row, ...]
    groups: tuple[_Row, ...]


def encoded(state: CountsState) -> Encoded:
    """Return *state* in rows; the counts must not change meanwhile, afterwards they may."""
    return Encoded(
        tuple((limit, kept.meaning, kept.width) for limit, kept in state.limits.items()),
        tuple(
            (limit, number, bucket.start, encode(bucket.counts, bucket.pairs))
            for limit, kept in state.limits.items()
            for number, bucket in enumerate(kept.buckets)
            if bucket.counts
        ),
        tuple(
            (group.serial, kind, _to_bytes(group.scope), group.size, group.last)
            for kind, groups in state.groups.items()
            for group in groups
        ),
    )


class Snapshots:
    """The snapshot in *directory*, which this process has for itself until *close*.

    Raise StateInUseError if another one has it, OSError if it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StateInUseError(f"another policyd uses {directory}") from None
        self._secret = b""

    def close(self) -> None:
        """Let another process have the directory."""
        os.close(self._lock)

    def load(self, now: WallTime) -> Kept:
        """Return what the last *save* wrote, or nothing yet; a database that is broken is moved."""
        set_aside = ""
        kept = Kept(secrets.token_bytes(32), CountsState({}, {}))
        if self._path.exists():
            try:
                kept = self._read() or kept
            except (sqlite3.Error, CodecError, OSError, ValueError, TypeError) as error:
                aside = self._path.with_name(f"{NAME}.corrupt-{int(now)}")
                set_aside = f"{self._path} cannot be read ({error}); it is kept as {aside.name}"
                try:
                    self._path.replace(aside)
                except OSError as also:
                    set_aside = f"{self._path} cannot be read ({error}), nor moved away ({also})"
        self._secret = kept.secret
        return kept._replace(set_aside=set_aside)

    def save(self, snapshot: Encoded) -> None:
        """Replace what is on disk, durably; raise sqlite3.Error or OSError if that fails."""
        with closing(self._connect()) as database, database:
            database.execute("BEGIN IMMEDIATE")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _statements():
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {VERSION}")
            for table in ("meta", "limits", "buckets", "likeness_groups"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            database.execute("INSERT INTO meta VALUES ('secret', ?)", (self._secret,))
            for insert, rows in zip(_INSERTS, snapshot, strict=True):
                database.executemany(insert, rows)

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA synchronous = FULL")
        return database

    def _read(self) -> Kept | None:
        """Return what the database holds; None if the first save of all was never finished."""
        # not read-only: a save that was cut off is undone by whoever opens the database next
        with closing(self._connect()) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == 0 and not database.execute("SELECT * FROM sqlite_schema").fetchall():
                return None
            if version != VERSION:
                raise CodecError(f"its version is {version}, and only {VERSION} is known")
            ((secret,),) = database.execute("SELECT value FROM meta WHERE name = 'secret'")
            limits = {
                limit: LimitState(meaning, width, tuple(_buckets(database, limit)))
                for limit, meaning, width in database.execute("SELECT * FROM limits")
            }
            groups: dict[str, list[Group]] = {}
            rows = database.execute("SELECT kind, scope, size, serial, last FROM likeness_groups")
            for kind, scope, *rest in rows:
                groups.setdefault(kind, []).append(Group(_to_text(scope), *rest))
        return Kept(
            secret, CountsState(limits, {kind: tuple(some) for kind, some in groups.items()})
        )


def _to_bytes(name: str) -> bytes:
    # a login need not be UTF-8, and SQLite's text is
    return name.encode("utf-8", "surrogateescape")


def _to_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _buckets(database: sqlite3.Connection, limit: str) -> Iterable[BucketState]:
    rows = database.execute(
        "SELECT start, counts FROM buckets WHERE limit_id = ? ORDER BY number", (limit,)
    )
    for start, data in rows:
        counts, pairs = decode(data)
        yield BucketState(start, counts, pairs)


def _statements() -> Iterable[str]:
    """Return the statements that make the tables; a script would end the transaction."""
    script = files("policyd.storage").joinpath("schema", f"{VERSION}.sql").read_text("utf-8")
    return script.split(";\n")
