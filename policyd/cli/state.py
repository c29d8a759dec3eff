"""``policyd state``: look at what is kept, check it, put it back, forget somebody."""

import argparse
import getpass
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from policyd.storage import recovery
from policyd.storage.complaint import reason
from policyd.storage.contents import Contents, read
from policyd.storage.dump import dump, load
from policyd.storage.files import (
    COPY,
    DATABASE,
    Lock,
    StateInUseError,
    UnfitError,
    check_fit,
    connect_to_read,
    is_there,
    remove,
    set_aside,
    sync,
)
from policyd.storage.forgetting import forget
from policyd.storage.rows import VERSION, CorruptError, Row

DEFAULT_DIRECTORY = Path("/var/lib/policyd")


class _ComplaintError(Exception):
    """What went wrong, in words."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    parser = commands.add_parser(
        "state",
        help="look at the counts on disk, check them, put them back, forget an address",
        description="Look at the counts on disk. dump and verify may be used while the daemon "
        "runs, restore and forget only while it is stopped. Exit with 1 if something is wrong.",
    )
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--state",
        type=Path,
        default=DEFAULT_DIRECTORY,
        metavar="DIR",
        help="the state directory (default: %(default)s)",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    dumping = actions.add_parser(
        "dump", parents=[where], help="print everything that is kept, as lines of JSON"
    )
    dumping.set_defaults(run=_dump)
    verifying = actions.add_parser("verify", parents=[where], help="check every row of the files")
    verifying.set_defaults(run=_verify)
    restoring = actions.add_parser(
        "restore", parents=[where], help="put a dump in the place of what is kept"
    )
    restoring.add_argument("file", metavar="FILE", help="the dump; - is standard input")
    restoring.set_defaults(run=_restore)
    forgetting = actions.add_parser(
        "forget", parents=[where], help="delete everything that is kept about an address"
    )
    forgetting.add_argument(
        "address", type=_address, metavar="ADDRESS", help="the account, or another address"
    )
    forgetting.set_defaults(run=_forget)


def _dump(args: argparse.Namespace) -> int:
    """Print what is kept; it is one moment of it, also while the daemon writes."""
    with _complaining() as complaints:
        for line in dump(_read(args.state / DATABASE)):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()  # what cannot be written is a failure
    return len(complaints)


def _verify(args: argparse.Namespace) -> int:
    """Check the database and its copy."""
    failed = 0
    for path in (args.state / DATABASE, args.state / COPY):
        with _complaining() as complaints:
            if path.name == COPY and not is_there(path):
                continue
            contents = _read(path)
            entries = sum(
                len(bucket.entries) for one in contents.kept.values() for bucket in one.buckets
            )
            sys.stdout.write(
                f"{path}: good; series: {len(contents.kept)}, entries: {entries}, "
                f"open transactions: {len(contents.transactions)}, "
                f"ledgers: {sum(map(len, contents.ledgers.values()))}\n"
            )
        failed |= len(complaints)
    return failed


def _restore(args: argparse.Namespace) -> int:
    """Replace what is kept by a dump; what was there is renamed."""
    with _complaining() as complaints, _alone(args.state):
        path = args.state / DATABASE
        new = path.with_name(f"{DATABASE}.restored")
        contents = _loaded(args.file)
        with _about(path):
            recovery.install(new, _audited(contents, "restore"))
            if is_there(path):
                aside = set_aside(path, "replaced", datetime.now(UTC).timestamp())
                sys.stdout.write(f"what was kept is in {path.with_name(aside)}\n")
            new.rename(path)
            sync(args.state)
            remove(args.state / COPY)
    return len(complaints)


def _forget(args: argparse.Namespace) -> int:
    """Write anew what is kept, without everything that names an address."""
    with _complaining() as complaints, _alone(args.state):
        path = args.state / DATABASE
        with _about(path):
            # what a killed daemon left beside it is put into it by this, and can go
            left, entries = forget(recovery.read(_found(path)), args.address)
            recovery.install(path, _audited(left, "forget"))
            for name in (COPY, f"{COPY}.new", f"{DATABASE}.restored", f"{DATABASE}.restored.new"):
                remove(path.with_name(name))
        sys.stdout.write(f"{entries} {'entry' if entries == 1 else 'entries'} deleted\n")
        for other in sorted(args.state.glob(f"{DATABASE}.*-*")):
            sys.stdout.write(f"not looked into: {other}\n")
    return len(complaints)


def _read(path: Path) -> Contents:
    with _about(path):
        check_fit(_found(path))
        with closing(connect_to_read(path)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                raise CorruptError(f"of version {version}; a daemon of now makes it {VERSION}")
            database.execute("BEGIN")  # one moment of it
            for (problem,) in database.execute("PRAGMA integrity_check"):
                if problem != "ok":
                    raise CorruptError(problem)
            return read(database)


def _found(path: Path) -> Path:
    if not is_there(path):
        raise UnfitError("there is no such file")
    return path


def _loaded(name: str) -> Contents:
    """Return what the dump *name* says."""
    if name == "-":
        with _about("standard input"):
            return load(sys.stdin)
    # what is no ASCII is no JSON of ours, and gets the number of its line
    with _about(name), Path(name).open(encoding="ascii", errors="surrogateescape") as lines:
        return load(lines)


@contextmanager
def _about(path: Path | str) -> Iterator[None]:
    """Let whatever goes wrong say what it is about."""
    try:
        yield
    except OSError as error:
        raise _ComplaintError(f"{error.filename or path}: {error.strerror or error}") from error
    except recovery.UNREADABLE as error:
        raise _ComplaintError(f"{path}: {reason(error)}") from error


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    if not directory.is_dir():
        raise _ComplaintError(f"{directory}: there is no such directory")
    lock = Lock(directory)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _complaining() -> Iterator[list[str]]:
    """Tell what went wrong; the list has it afterwards."""
    complaints: list[str] = []
    try:
        yield complaints
    except StateInUseError as error:
        complaints.append(f"{error}; stop it first")
    except BrokenPipeError:
        # who read it has seen enough; nothing more is to be written, not even at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complaints.append("standard output was closed")
    except (_ComplaintError, *recovery.UNREADABLE) as error:
        complaints.append(reason(error))
    for complaint in complaints:
        sys.stderr.write(f"policyd: {complaint}\n")


def _audited(contents: Contents, action: str) -> Contents:
    """Return *contents* with a note of who did this; of *forget* not whom it was about."""
    row: Row = {
        "id": secrets.token_hex(8),
        "time": datetime.now(UTC).timestamp(),
        "by": _user(),
        "action": f"state {action}",
        "subject": b"",
        "reason": "",
    }
    ledgers = dict(contents.ledgers)
    ledgers["audit"] = (*ledgers.get("audit", ()), row)
    return replace(contents, ledgers=ledgers)


def _address(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty address names nobody")
    return text.strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
