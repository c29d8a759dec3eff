"""The files of the state directory: whose they are, and whether they may be touched.

``lock`` is held by the one process that uses the directory. ``state.sqlite3`` is the database, with
-wal and -shm beside it while it is in use, and ``state.sqlite3.copy`` a copy that was good when it
was made. ``state.sqlite3.corrupt-TIME`` is what could not be read, for whoever wants to look.
"""

import errno
import fcntl
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

DATABASE: Final = "state.sqlite3"
COPY: Final = f"{DATABASE}.copy"
_BESIDE: Final = ("", "-wal", "-shm", "-journal")


class StateInUseError(Exception):
    """Another process has the state directory."""


class UnfitError(Exception):
    """What is there is no file of ours."""


class Lock:
    """The state *directory*, made if need be, for this process alone until *release*.

    Raise StateInUseError if another one has it, OSError if it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / "lock"
        try:
            self._file = _made(path)
        except FileExistsError:
            self._file = _found(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise StateInUseError(f"another policyd uses {directory}") from None
        except OSError:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Let another process have the directory."""
        os.close(self._file)


def check_fit(path: Path) -> None:
    """Raise UnfitError if *path*, or what stands beside it, is no regular file of our own.

    To root what belongs to whom the directory does is as good: the daemon has a user of its own.
    """
    ours = {os.geteuid()}
    if ours == {0}:
        ours.add(path.parent.stat().st_uid)
    for name in _BESIDE:
        one = path.with_name(path.name + name)
        try:
            found = one.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise UnfitError(f"{one.name} is no file")
        if found.st_uid not in ours:
            raise UnfitError(f"{one.name} belongs to user {found.st_uid}, not {max(ours)}")


def is_there(path: Path) -> bool:
    """Tell whether there is anything at *path*; raise OSError if that is not known."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def set_aside(path: Path, why: str, now: float) -> str:
    """Rename *path* and what stands beside it to ….why-TIME; return the name.

    Raise OSError if that cannot be done.
    """
    aside = f"{path.name}.{why}-{int(now)}"
    count = 1
    while os.path.lexists(path.with_name(aside)):
        count += 1
        aside = f"{path.name}.{why}-{int(now)}-{count}"
    for name in _BESIDE:
        with suppress(FileNotFoundError):
            path.with_name(path.name + name).rename(path.with_name(aside + name))
    return aside


def remove(path: Path) -> None:
    """Delete the database *path* and what stands beside it."""
    for name in _BESIDE:
        path.with_name(path.name + name).unlink(missing_ok=True)


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Return the database *path*, for reading and writing; every commit is on the disk."""
    if create:
        os.close(_made(path))
        return _opened(path, "mode=rw", "synchronous = FULL", "journal_mode = WAL")
    return _opened(path, "mode=rw", "synchronous = FULL")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return the database *path* for reading; also where nothing can be written."""
    try:
        return _opened(path, "mode=ro")
    except sqlite3.OperationalError:
        # without its companions SQLite reads it only if told that nobody writes; it would not look
        # at what is in them then
        for name in ("-wal", "-journal"):
            beside = path.with_name(path.name + name)
            if is_there(beside) and beside.stat().st_size:
                raise
        return _opened(path, "mode=ro&immutable=1")


def _opened(path: Path, how: str, *pragmas: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{how}"
    database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        for pragma in pragmas:
            database.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        database.close()
        raise
    return database


def sync(directory: Path) -> None:
    """Bring the names in *directory* to the disk."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _found(path: Path) -> int:
    """Return the file *path*, open; for writing, which nothing but some locks needs, if it can."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | flags)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | flags)


def _made(path: Path) -> int:
    """Make the file *path* and return it, open; it belongs to whom its directory does."""
    made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        owner = path.parent.stat()
        # what root makes has to be the daemon's, or the daemon could not use it
        if os.geteuid() == 0 != owner.st_uid:
            os.fchown(made, owner.st_uid, owner.st_gid)
    except OSError:
        os.close(made)
        raise
    return made
