"""The state on disk, from start to start: all that was written is there, and once."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from storage.samples import (
    HASHED,
    NOW,
    TRANSACTION,
    everything,
    execute,
    flat,
    found_in,
    kept_in,
    open_store,
    series,
)

from policyd.aup.series import Kept
from policyd.storage import recovery
from policyd.storage.files import COPY, DATABASE, StateInUseError
from policyd.storage.pending import Pending
from policyd.storage.rows import Rows
from policyd.storage.store import LostError, Store
from policyd.storage.writer import Writer

NOTHING: Kept = {"a": series()}


def added(*given: Kept) -> object:
    pending = Pending()
    for kept in given:
        pending.add(kept)
    return flat(pending.series())


def one(number: int) -> Kept:
    """Return what is counted in one go; the members are others each time."""
    return {
        "a": series((60, {"x": number, f"only {number}": 1}), (120, {"x": 1})),
        "b": series((60, {"x": HASHED(str(number))}), meaning="distinct"),
    }


def test_at_first_there_is_nothing_and_a_secret_of_its_own(tmp_path: Path) -> None:
    secrets = set()
    for name in ("a", "b"):
        contents, problems = found_in(tmp_path / name)
        assert problems == ()
        assert (contents.kept, contents.journal, contents.transactions) == ({}, {}, ())
        secrets.add(contents.secret)
        assert found_in(tmp_path / name).contents.secret == contents.secret
    assert {len(secret) for secret in secrets} == {32}
    assert len(secrets) == 2


def test_what_is_written_is_found(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(everything(), NOW)
    assert kept_in(tmp_path) == flat(everything())
    with open_store(tmp_path) as store:
        store.write({name: one._replace(buckets=()) for name, one in everything().items()}, NOW)
    assert kept_in(tmp_path) == flat(everything())


@pytest.mark.parametrize("snapshot", [False, True])
def test_buckets_that_end_together_are_written_once(tmp_path: Path, snapshot: bool) -> None:
    """The journal is written when what waits for the snapshot has been added up."""
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 1}), (60, {"x": 2}), (90, {"x": 4}))}, NOW)
        given = series((30, {"x": 8}), (60, {"x": 16}), (90, {"x": 32}), latest=60)
        store.write({"a": given}, NOW, snapshot=snapshot)
    amounts = kept_in(tmp_path)["a"][1].values()
    assert sum(map(int, amounts)) == 63


@pytest.mark.parametrize("snapshots", range(16))
def test_it_adds_up_whatever_is_a_snapshot_and_whenever_it_starts(
    tmp_path: Path, snapshots: int
) -> None:
    for at in range(2):
        with open_store(tmp_path) as store:
            for number in range(2):
                at_all = 2 * at + number
                store.write(one(at_all + 1), NOW, snapshot=bool(snapshots & 1 << at_all))
    assert kept_in(tmp_path) == added(*map(one, range(1, 5)))


def test_a_bucket_that_is_in_two_parts_is_counted_once(tmp_path: Path) -> None:
    """More keys than a bucket has room for are in two that end together."""
    two = {"a": series((60, {"x": 1}), (60, {"x": 2, "y": 4}), (90, {"x": 8}), latest=60)}
    with open_store(tmp_path) as store:
        store.write(two, NOW)
    assert kept_in(tmp_path) == {"a": ("messages", {(60, "x"): 3, (60, "y"): 4, (90, "x"): 8})}
    with open_store(tmp_path) as store:
        store.write({"a": series(latest=60)}, NOW, snapshot=True)
    assert kept_in(tmp_path) == {"a": ("messages", {(60, "x"): 11, (60, "y"): 4})}


def test_what_has_left_the_window_or_changed_its_meaning_is_gone(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(
            {"a": series((60, {"x": 1}), (120, {"x": 2})), "b": series((60, {"x": 4}))}, NOW
        )
        store.write({"a": series(oldest=60), "b": series((60, {"x": 8}), meaning="bytes")}, NOW)
        store.write({"a": series(oldest=60), "b": series(meaning="bytes")}, NOW, snapshot=True)
    assert kept_in(tmp_path) == {"a": ("messages", {(120, "x"): 2}), "b": ("bytes", {(60, "x"): 8})}


def test_a_clock_that_was_stepped_back_is_so_on_the_disk(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write({"a": series((3600, {"x": 1}))}, NOW, snapshot=True)
        store.write({"a": series((3660, {"x": 2}))}, NOW)
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 4}), latest=60)}, NOW, snapshot=True)
    assert kept_in(tmp_path) == {"a": ("messages", {(60, "x"): 7})}


def test_open_transactions_are_kept_until_the_next_start(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(NOTHING, NOW, snapshot=True)
        store.keep([TRANSACTION])
    assert found_in(tmp_path).contents.transactions == (TRANSACTION,)
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 1}))}, NOW)
    assert found_in(tmp_path).contents.transactions == ()


def test_a_second_store_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(NOTHING, NOW)
        with pytest.raises(StateInUseError):
            Store(tmp_path).open(NOW)
    found_in(tmp_path)


def test_another_process_is_refused_too(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from policyd.storage.store import *\n"
        "from policyd.storage.files import StateInUseError\n"
        "try: Store(Path(sys.argv[1])).open(1.0)\n"
        "except StateInUseError: sys.exit(77)\n"
    )
    with open_store(tmp_path):
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == 77


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open_store(tmp_path / "state") as store:
            store.write(everything(), NOW)
            store.copy()
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    finally:
        os.umask(before)
    assert modes.pop("state") == 0o700
    names = {"lock", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", COPY}
    assert modes == dict.fromkeys(names, 0o600)


@pytest.mark.parametrize("name", ["a b", "a?b", "a#b", "a%20b", "jörg", "mode=ro&x", "\udcff"])
def test_any_directory_will_do(tmp_path: Path, name: str) -> None:
    with open_store(tmp_path / name) as store:
        store.write(one(1), NOW)
        store.copy()
    assert kept_in(tmp_path / name) == flat(one(1))
    names = {path.name for path in (tmp_path / name).iterdir()}
    assert names == {"lock", DATABASE, COPY}


def test_a_directory_may_be_named_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store(Path("var/state")) as store:
        store.write(one(1), NOW)
    assert kept_in(tmp_path / "var/state") == kept_in(Path("var/state")) == flat(one(1))


def test_a_directory_that_cannot_be_made_is_told_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "state")
    contents, problems = store.open(NOW)
    assert contents.kept == {}
    assert len(problems) == 1
    assert "cannot be used: " in problems[0]
    assert "Not a directory" in problems[0]
    for number in (1, 2):
        with pytest.raises(OSError, match="Not a directory"):
            store.write(one(number), NOW)
    (tmp_path / "file").unlink()
    store.write(one(3), NOW)
    store.close()
    assert kept_in(tmp_path / "file" / "state") == added(*map(one, (1, 2, 3)))


def test_what_open_gave_can_be_rejected(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(one(1), NOW)
    before = (tmp_path / DATABASE).read_bytes()
    with open_store(tmp_path) as store:
        assert store.reject(NOW) == f"{DATABASE}.corrupt-1800000000"
        store.write(one(2), NOW)
    assert kept_in(tmp_path) == flat(one(2))
    assert (tmp_path / f"{DATABASE}.corrupt-1800000000").read_bytes() == before


def test_what_is_rejected_and_cannot_be_renamed_is_so_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Path) -> Path:
        raise OSError(30, "Read-only file system")

    with open_store(tmp_path) as store:
        store.write(one(1), NOW)
    with open_store(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", refuse)
            assert store.reject(NOW) == DATABASE
            with pytest.raises(OSError, match="Read-only"):
                store.write(one(2), NOW)
        store.write(one(3), NOW)
    assert kept_in(tmp_path) == added(one(2), one(3))
    assert flat(recovery.read(tmp_path / f"{DATABASE}.unknown-1800000000").kept) == flat(one(1))


# while it runs


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def deleted(path: Path) -> None:
    path.unlink()


def deleted_with_all_of_its_files(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink()


def replaced_by_another(path: Path) -> None:
    recovery.install(path.with_name("other"), recovery.read(path))
    path.with_name("other").replace(path)


def replaced_by_a_text(path: Path) -> None:
    path.unlink()
    path.write_text("nothing")


def replaced_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("snapshot", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        *(moved, deleted, deleted_with_all_of_its_files, replaced_by_another),
        *(replaced_by_a_text, replaced_by_a_directory, replaced_by_a_link),
    ],
)
def test_a_database_that_goes_is_written_anew(
    tmp_path: Path, change: Callable[[Path], None], snapshot: bool
) -> None:
    with open_store(tmp_path) as store:
        store.write(one(1), NOW, snapshot=True)
        store.write(one(2), NOW)
        change(tmp_path / DATABASE)
        for _ in range(2):  # nothing less will do
            with pytest.raises(LostError, match="was moved, deleted or replaced"):
                store.write(one(3), NOW, snapshot=snapshot)
        store.write(one(4), NOW, snapshot=True, whole=True)
        store.write(one(5), NOW, snapshot=snapshot)
    assert kept_in(tmp_path) == added(one(4), one(5))


def test_it_is_all_written_when_it_goes_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with open_store(tmp_path) as store:
        store.write(one(1), NOW)
        (tmp_path / DATABASE).unlink()
        with monkeypatch.context() as patched:
            patched.setattr(recovery, "install", no_room)
            with pytest.raises(LostError):
                store.write(one(2), NOW)
            with pytest.raises(OSError, match="No space"):
                store.write(added_kept(one(1), one(2)), NOW, snapshot=True, whole=True)
            with pytest.raises(OSError, match="No space"):
                store.write(one(3), NOW)
        store.write(one(4), NOW)
    assert kept_in(tmp_path) == added(*map(one, (1, 2, 3, 4)))


def added_kept(*given: Kept) -> Kept:
    pending = Pending()
    for kept in given:
        pending.add(kept)
    return pending.series()


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_database_that_breaks_is_set_aside_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: bool
) -> None:
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {str(n): 1 for n in range(5000)}))}, NOW, snapshot=True)
    with open_store(tmp_path) as store:
        with monkeypatch.context() as patched:  # after a failure it is opened again
            patched.setattr(Rows, "insert", full)
            with pytest.raises(sqlite3.OperationalError, match="full"):
                store.write(one(1), NOW)
        with (tmp_path / DATABASE).open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * ((tmp_path / DATABASE).stat().st_size - 4096))
        with pytest.raises(LostError, match=r"state\.sqlite3 is broken \(database disk image is"):
            store.write(one(2), NOW, snapshot=snapshot)
        assert (tmp_path / f"{DATABASE}.corrupt-1800000000").exists()
        store.write(one(3), NOW, snapshot=True, whole=True)
        store.write(one(4), NOW)
    assert kept_in(tmp_path) == added(one(3), one(4))


@pytest.mark.parametrize("statement", ["DROP TABLE journal", "DELETE FROM buckets"])
def test_a_database_that_somebody_meddled_with_is_broken_too(
    tmp_path: Path, statement: str
) -> None:
    with open_store(tmp_path) as store:
        store.write(one(1), NOW, snapshot=True)
        execute(tmp_path / DATABASE, statement)
        with pytest.raises(LostError):
            store.write({**one(2), "a": series((120, {"x": 1}), oldest=60)}, NOW)
        store.write(one(3), NOW, snapshot=True, whole=True)
    assert kept_in(tmp_path) == flat(one(3))


def test_a_whole_that_breaks_is_no_reason_to_ask_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else a bad disk would be written to again and again, without a pause."""

    def broken(*_: object) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    with open_store(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "snapshot", broken)
            with pytest.raises(sqlite3.DatabaseError, match="malformed"):
                store.write(one(1), NOW, snapshot=True, whole=True)
        store.write(one(2), NOW)
    assert kept_in(tmp_path) == added(one(1), one(2))


def full(*_: object, **__: object) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


def test_a_write_that_fails_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(tmp_path) as store:
        store.write(one(1), NOW)
        with monkeypatch.context() as patched:
            patched.setattr(Rows, "insert", full)
            for number, snapshot in ((2, False), (3, True), (4, False)):
                with pytest.raises(sqlite3.OperationalError, match="full"):
                    store.write(one(number), NOW, snapshot=snapshot)
        store.write(one(5), NOW)
    assert kept_in(tmp_path) == added(*map(one, range(1, 6)))
