"""A program that keeps known things in a state directory and says which step it has done.

It is killed, or its system calls fail, at any place: what is found afterwards is compared with what
this module says that there has to be.
"""

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

from policyd.aup.series import Kept, Series
from policyd.aup.transaction import TransactionState
from policyd.counting.changes import Bucket
from policyd.counting.runs import HASH_SIZE
from policyd.storage import recovery
from policyd.storage.contents import Contents
from policyd.storage.files import COPY, DATABASE
from policyd.storage.rows import CorruptError
from policyd.storage.store import LostError, Store

NOW: Final = 1_800_000_000.0
VERSION_1: Final = Path(__file__).parents[1] / "data/state/version-1.sqlite3"
WAITS: Final = "waits"
ENDED: Final = "ended"
_LONGEST: Final = 120  # seconds that this program may take

Value = int | tuple[bytes, ...]
Known = dict[str, tuple[str, dict[tuple[float, str], Value]]]
"""By series: its meaning, and the sums and members by the end of the bucket and the key."""


class Step(NamedTuple):
    """Something that is done to a store; a journal or a snapshot is *given* something."""

    what: str
    given: Callable[[], Kept] = dict


def counted(number: int, *, later: bool = False, keys: int = 1) -> Kept:
    """Return what is counted in the step of that *number*.

    *later*, a bucket has left its window, the clock was stepped back, and the rules have changed.
    """
    oldest, latest = (NOW + 30, NOW + 90) if later else (-inf, inf)
    many = {f"key {number} {at}": 1 for at in range(keys)}
    given = {
        "limit sums": [(60.0, {"alice": 1, f"only {number}": number, **many})],
        "limit members": [
            (90.0 if later else 120.0, {"alice": number.to_bytes(HASH_SIZE, "little")})
        ],
        "limit changed": [(60.0, {"alice": number})],
        "limit windows": [] if later else [(30.0, {"alice": 1}), (60.0, {"alice": 1})],
    }
    if not later:
        given["limit dropped"] = [(60.0, {"alice": 1})]
    meaning = "another" if later else "one"
    return {
        name: Series(
            meaning if name == "limit changed" else "the same",
            oldest,
            latest,
            [Bucket(NOW + end, dict(entries)) for end, entries in buckets],
        )
        for name, buckets in given.items()
    }


_OPEN_ONE: Final = (
    TransactionState("192.0.2.1", {"instance": "1"}, ["a@away.example"], True, [], (0, 0), 1.0),
)

FIRST: Final = (
    Step("open"),
    Step("journal", partial(counted, 1)),
    Step("journal", partial(counted, 2)),
    Step("snapshot", partial(counted, 3)),
    Step("journal", partial(counted, 4, keys=2500)),  # two parts, and pages of their own
    Step("snapshot", partial(counted, 5, later=True)),
    Step("copy"),
    Step("journal", partial(counted, 6, later=True)),
    Step("keep"),
)
AGAIN: Final = (
    Step("close"),
    Step("open"),
    Step("snapshot", partial(counted, 7, later=True)),
    Step("copy"),
    Step("close"),
)
STEPS: Final = FIRST + AGAIN


def known(contents: Contents) -> Known:
    """Return what *contents* say, in a form that can be compared."""
    return added({}, contents.kept)


def added(before: Known, kept: Kept) -> Known:
    """Return what there has to be when *kept* was written where *before* was known."""
    after: Known = {}
    for name, series in kept.items():
        meaning, entries = before.get(name, (series.meaning, {}))
        after[name] = series.meaning, {}
        for (end, key), value in entries.items() if meaning == series.meaning else ():
            if end > series.oldest:
                _add(after[name][1], (min(end, series.latest), key), value)
        for end, counted in series.buckets:
            for key, value in counted.items():
                _add(after[name][1], (min(end, series.latest), key), _plain(value))
    return after


def differences(found: Known, wanted: Known) -> list[str]:
    """Return what there is more or less than was *wanted*, entry by entry."""
    there, here = (
        {(name, said[0], *at): value for name, said in one.items() for at, value in said[1].items()}
        for one in (found, wanted)
    )
    return [
        f"{at}: {there.get(at)} instead of {here.get(at)}"
        for at in {**there, **here}
        if there.get(at) != here.get(at)
    ]


def _add(entries: dict[tuple[float, str], Value], at: tuple[float, str], value: Value) -> None:
    if isinstance(value, int):
        entries[at] = entries.get(at, 0) + value
    else:
        entries[at] = tuple(sorted((*entries.get(at, ()), *value)))


def _plain(value: int | bytes) -> Value:
    if isinstance(value, int):
        return value
    return tuple(value[at : at + HASH_SIZE] for at in range(0, len(value), HASH_SIZE))


def whole(truth: Known) -> Kept:
    """Return all of *truth* to be written."""
    return {
        name: Series(
            meaning,
            -inf,
            inf,
            [
                Bucket(end, {key: value if isinstance(value, int) else b"".join(value)})
                for (end, key), value in entries.items()
            ],
        )
        for name, (meaning, entries) in truth.items()
    }


class Moment(NamedTuple):
    """What there has to be after a step."""

    known: Known
    transactions: tuple[TransactionState, ...]


def moments(first: Known) -> list[Moment]:
    """Return what there has to be at first, and after each of the STEPS."""
    found = [Moment(first, ())]
    for step in STEPS:
        last = found[-1]
        if step.what == "keep":
            found.append(Moment(last.known, _OPEN_ONE))
        elif kept := step.given():
            found.append(Moment(added(last.known, kept), ()))
        else:
            found.append(last)
    return found


def prepared(directory: Path, how: str) -> list[Known]:
    """Make *directory* one to begin with.

    Return what may be found in it: without any trouble the first, in trouble one of the others.
    """
    directory.mkdir()
    if how == "nothing":
        return [{}]
    if how == "version 1":
        shutil.copy(VERSION_1, directory / DATABASE)
        found = recovery.read(directory / DATABASE)
        (directory / f"{DATABASE}-wal").unlink(missing_ok=True)
        return [known(found), {}]
    killed = directory.with_name(f"{directory.name}-made")
    store = Store(killed)
    store.open(NOW)
    store.write(counted(101), NOW, snapshot=True)
    store.copy()
    copied = added({}, counted(101))
    for number in (102, 103):
        store.write(counted(number), NOW)
    for name in (DATABASE, f"{DATABASE}-wal", COPY):
        shutil.copy(killed / name, directory / name)  # as a kill leaves it
    store.close()
    if how == "killed":
        return [added(added(copied, counted(102)), counted(103)), copied, {}]
    (directory / DATABASE).write_bytes(b"broken" * 1000)
    (directory / f"{DATABASE}-wal").unlink()
    return [copied, {}]


def say(what: str) -> None:
    os.write(1, f"{what}\n".encode())


def go(directory: Path, steps: int) -> None:
    """Do the first so many STEPS."""
    for step in STEPS[:steps]:
        if step.what == "open":
            store = Store(directory)
            opened = store.open(NOW)
            say(f"open {opened.contents.secret.hex()}")
            continue
        _do(store, step)
        say(step.what)


def _do(store: Store, step: Step) -> None:
    if step.what == "copy":
        store.copy()
    elif step.what == "keep":
        store.keep(_OPEN_ONE)
    elif step.what == "close":
        store.close()
    else:
        store.write(step.given(), NOW, snapshot=step.what == "snapshot")


def cope(directory: Path, allowed: list[Known]) -> None:
    """Do the FIRST steps whatever fails, wait until nothing fails any more, and put all right."""
    store = Store(directory)
    opened = store.open(NOW)
    truth = known(opened.contents)
    say(f"open: {opened.problems}")
    assert truth == allowed[0] or opened.problems, truth
    assert truth in allowed, truth
    for step in FIRST[1:]:
        truth = _tried(store, truth, step)[0]
    say(WAITS)
    os.read(0, 1)
    for number in range(200, 203):
        truth, done = _tried(store, truth, Step("journal", partial(counted, number, later=True)))
    assert done
    store.close()
    say(repr((opened.contents.secret, truth)))


def _tried(store: Store, truth: Known, step: Step) -> tuple[Known, bool]:
    """Do *step* as the daemon does; return the new truth, and whether it was done."""
    if kept := step.given():
        truth = added(truth, kept)
    try:
        _do(store, step)
    except LostError as error:
        say(f"{step.what}: {error!r}")
        for _ in range(3):
            try:
                store.write(whole(truth), NOW, snapshot=True, whole=True)
            except LostError:
                continue
            except (sqlite3.Error, OSError) as error:
                say(f"{step.what} whole: {error!r}")
                break
            return truth, True
        return truth, False
    except (sqlite3.Error, OSError, CorruptError) as error:
        say(f"{step.what}: {error!r}")
        return truth, False
    return truth, True


def main() -> None:
    """For each line, a directory and what to do in it, do that in a process of its own."""
    # a lock that fails for ever is tried for so many seconds, which here are many
    sqlite3.connect = partial(sqlite3.connect, timeout=0.1)
    while line := sys.stdin.readline():
        directory, steps, allowed = line.rstrip("\n").split("\t")
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            say(f"{ENDED} {os.waitstatus_to_exitcode(status)}")
            continue
        signal.alarm(_LONGEST)
        say(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)  # until it is traced
        if steps:
            go(Path(directory), int(steps))
        else:
            cope(Path(directory), eval(allowed))
        os._exit(0)


if __name__ == "__main__":
    main()
