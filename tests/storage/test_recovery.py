"""Putting a database in its place: all of it, or what was there before."""

import os
import sqlite3
from pathlib import Path

import pytest
from storage.samples import NOW, SECRET, contents, flat, found_in, open_store, series

from policyd.storage import contents as containing
from policyd.storage import files, recovery
from policyd.storage.contents import Contents
from policyd.storage.files import COPY, DATABASE


def test_what_is_installed_is_all_in_one_file(tmp_path: Path) -> None:
    recovery.install(tmp_path / "x", contents())
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert recovery.read(tmp_path / "x").ledgers == contents().ledgers
    recovery.install(tmp_path / "x", Contents(SECRET))
    assert recovery.read(tmp_path / "x").kept == {}


def test_what_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recovery.install(tmp_path / "x", contents())
    before = recovery.read(tmp_path / "x")

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(containing, "write", full)
    with pytest.raises(sqlite3.OperationalError):
        recovery.install(tmp_path / "x", Contents(SECRET))
    assert recovery.read(tmp_path / "x") == before


def test_what_was_left_of_an_earlier_try_is_not_in_the_way(tmp_path: Path) -> None:
    for name in ("x.new", "x.new-wal", "x.new-journal", "x-wal", "x-shm", "x-journal"):
        (tmp_path / name).write_text("half of one")
    recovery.install(tmp_path / "x", contents())
    assert flat(recovery.read(tmp_path / "x").kept) == flat(contents().kept)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_it_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut finds the old one or the new one, never a name without contents."""
    done: list[str] = []

    def replace(self: Path, target: Path) -> Path:
        done.append("renamed")
        wal = self.with_name(f"{self.name}-wal")
        assert not wal.exists() or wal.stat().st_size == 0  # all of it is in the file itself
        return self.rename(target)

    def sync(directory: Path) -> None:
        done.append("synced")
        files.sync(directory)

    connect = files.connect

    def made(path: Path, *, create: bool = False) -> sqlite3.Connection:
        database = connect(path, create=create)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        database.set_trace_callback(done.append)
        return database

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(recovery, "connect", made)
    monkeypatch.setattr(recovery, "sync", sync)
    recovery.install(tmp_path / "x", contents())
    assert done[-4:] == ["COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)", "renamed", "synced"]


def test_a_copy_that_is_newer_than_the_clock_is_not_so_old(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 1}))}, NOW)
        store.copy()
    (tmp_path / DATABASE).unlink()
    os.utime(tmp_path / COPY, (NOW + 500, NOW + 500))
    assert found_in(tmp_path).problems == (f"counting goes on from {COPY}, made 0 s ago",)


def test_what_a_killed_process_left_undone_is_put_right(tmp_path: Path) -> None:
    with open_store(tmp_path / "killed") as store:
        store.write({"a": series((60, {"x": 1}))}, NOW)
        for name in ("", "-wal"):
            data = (tmp_path / "killed" / f"{DATABASE}{name}").read_bytes()
            (tmp_path / f"{DATABASE}{name}").write_bytes(data)
    assert recovery.find(tmp_path / DATABASE, NOW).installed
    assert not (tmp_path / f"{DATABASE}-wal").exists()
    assert flat(recovery.read(tmp_path / DATABASE).kept) == {"a": ("messages", {(60, "x"): 1})}


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("too big"), IndexError("x")])
def test_whatever_a_broken_one_leads_to_is_no_reason_not_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    recovery.install(tmp_path / DATABASE, contents())

    def broken(_: object) -> Contents:
        raise error

    monkeypatch.setattr(containing, "read", broken)
    found = recovery.find(tmp_path / DATABASE, NOW)
    assert found.contents is None
    assert (
        f"cannot be read: {str(error) or type(error).__name__}; it is kept as" in found.problems[0]
    )


def test_what_cannot_be_looked_at_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 1}))}, NOW)
        store.copy()
        store.write({"a": series((60, {"x": 2}))}, NOW)
    number = (tmp_path / DATABASE).stat().st_ino
    is_there = recovery.is_there
    asked = []

    def broken(path: Path) -> bool:
        asked.append(path)
        if len(asked) == 1:
            raise OSError(5, "Input/output error")
        return is_there(path)

    monkeypatch.setattr(recovery, "is_there", broken)
    contents, problems = found_in(tmp_path)
    assert flat(contents.kept) == {"a": ("messages", {(60, "x"): 1})}
    assert len(problems) == 2
    assert (tmp_path / f"{DATABASE}.corrupt-1800000000").stat().st_ino == number
