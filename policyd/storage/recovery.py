"""What to begin with: the database, or else the last good copy of it, or else nothing."""

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from policyd.storage import contents, rows, version1
from policyd.storage.complaint import reason
from policyd.storage.contents import Contents
from policyd.storage.files import (
    COPY,
    UnfitError,
    check_fit,
    connect,
    connect_to_read,
    is_there,
    remove,
    set_aside,
    sync,
)

UNREADABLE: Final = (
    *(sqlite3.Error, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError),
    *(rows.CorruptError, UnfitError, struct.error, MemoryError),
)


class Found(NamedTuple):
    """What there was, None if nothing; and in *problems* what stood in the way of it.

    *installed* tells whether it is in the database, ready to be written to.
    """

    contents: Contents | None
    problems: tuple[str, ...]
    installed: bool


def find(path: Path, now: float) -> Found:
    """Return the contents of the database *path*, or of the copy beside it.

    What cannot be read is renamed, never deleted. Afterwards *path* is either what was found, in
    the present version, or not there; if even that cannot be done, the problems say so.
    """
    problems: list[str] = []
    copy = path.with_name(COPY)
    for one in (path, copy):
        try:
            if not is_there(one):
                continue
            found, version = _read(one)
            age = now - one.stat().st_mtime
        except UNREADABLE as error:
            problems.append(f"{one.name} cannot be read: {reason(error)}; {_renamed(one, now)}")
            continue
        if one == copy:
            problems.append(f"counting goes on from {one.name}, made {max(0, age):.0f} s ago")
        installed = one == path and version == rows.VERSION
        if not installed:
            try:
                _make_way(one, path)
                install(path, found)
                installed = True
            except (sqlite3.Error, OSError) as error:
                problems.append(f"{path.name} cannot be written: {reason(error)}")
        return Found(found, tuple(problems), installed)
    return Found(None, tuple(problems), installed=False)


def read(path: Path) -> Contents:
    """Return what the database *path* holds, whatever version it is of; it has been checked.

    Raise one of UNREADABLE if it cannot be read.
    """
    return _read(path)[0]


def install(path: Path, given: Contents) -> None:
    """Make *path* a database that holds what is *given*; all of that happens, or nothing."""
    new = path.with_name(f"{path.name}.new")
    remove(new)
    with closing(connect(new, create=True)) as database:
        rows.create(database)
        contents.write(database, given)
        # closing does it as well, but does not say when it fails
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    new.replace(path)
    sync(path.parent)


def _read(path: Path) -> tuple[Contents, int]:
    """Return what the database *path* holds, and its version."""
    check_fit(path)
    with closing(_connect(path)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == rows.VERSION:
            return contents.read(database), version
        if version == 1:
            return version1.read(database), version
        raise rows.CorruptError(f"its version is {version}, and only up to {rows.VERSION} is known")


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # not just for reading: what a killed process left undone is put right by this
        return connect(path)
    except sqlite3.OperationalError:
        # of a disk that is full or read-only it can still be read
        return connect_to_read(path)


def _make_way(found: Path, path: Path) -> None:
    """Raise OSError if at *path* there still is something else than what was *found*."""
    if found != path and is_there(path):
        raise FileExistsError("what cannot be read is in its place")


def _renamed(path: Path, now: float) -> str:
    try:
        return f"it is kept as {set_aside(path, 'corrupt', now)}"
    except OSError as error:
        return f"nor can it be renamed: {reason(error)}"
