"""Keys that are forgotten: gone from the buckets, the journal, and what waits to be written."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from storage.samples import NOW, found_in, kept_in, open_store

from policyd.aup.series import Kept, Series
from policyd.counting.changes import Bucket, Entries
from policyd.storage.rows import Rows
from policyd.storage.store import Store
from policyd.storage.writer import Writer


def counted(**amounts: int) -> Kept:
    members = {key: bytes([number]) * 8 for key, number in amounts.items()}
    return {
        "limit a": _series("sums", dict(amounts)),
        "limit b": _series("members", members),
        "limit c": _series("sums", dict(amounts)),
    }


def _series(meaning: str, entries: Entries) -> Series:
    return Series(meaning, 0.0, NOW + 1e9, [Bucket(NOW, entries)] if entries else [])


def is_alice(key: str) -> bool:
    return key.startswith("alice")


WHICH = {"limit a": is_alice, "limit b": is_alice, "none": is_alice}


def found(directory: Path) -> dict[str, dict[str, int]]:
    """Return what is kept, after a kill."""
    told: dict[str, dict[str, int]] = {}
    for name, series in found_in(directory).contents.kept.items():
        mine = told.setdefault(name, {})
        for bucket in series.buckets:
            for key, value in bucket.entries.items():
                amount = value if isinstance(value, int) else len(value) // 8
                mine[key] = mine.get(key, 0) + amount
    return told


@pytest.mark.parametrize("snapshot", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_they_do_not_come_back(tmp_path: Path, snapshot: bool, again: bool) -> None:
    with open_store(tmp_path) as store:
        store.write(counted(alice=2, alice2=1, bob=3), NOW, snapshot=snapshot)
        store.write(counted(alice=1), NOW)
        store.forget(WHICH)
        store.write(counted(alice=5) if again else counted(), NOW)
    left = {"bob": 3, "alice": 5} if again else {"bob": 3}
    members = {"bob": 1, "alice": 1} if again else {"bob": 1}
    told = found(tmp_path)
    assert told["limit a"] == left
    assert told["limit b"] == members
    assert told["limit c"]["alice2"] == 1
    kept_in(tmp_path)


@pytest.mark.parametrize("fails", [Rows.change, Writer.journal, Writer.snapshot])
def test_a_disk_that_takes_nothing_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., None]
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    where = Rows if fails is Rows.change else Writer
    with open_store(tmp_path) as store:
        store.write(counted(alice=2, bob=3), NOW, snapshot=True)
        store.write(counted(alice=1), NOW)
        with monkeypatch.context() as broken:
            broken.setattr(where, fails.__name__, failing)
            store.forget(WHICH)
            for amount in (1, 1):
                try:
                    store.write(counted(alice=amount), NOW)
                except sqlite3.OperationalError:
                    continue
        store.write(counted(alice=1), NOW)
    assert found(tmp_path)["limit a"] == {"bob": 3, "alice": 3}


def test_a_snapshot_that_failed_when_it_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Writer.snapshot

    def after_all(self: Writer, *args: object) -> None:
        real(self, *args)  # type: ignore[arg-type]
        raise sqlite3.OperationalError("disk I/O error")

    with open_store(tmp_path) as store:
        store.write(counted(bob=1), NOW)
        with monkeypatch.context() as broken:
            broken.setattr(Writer, "snapshot", after_all)
            with pytest.raises(sqlite3.OperationalError):
                store.write(counted(alice=2, bob=1), NOW, snapshot=True)
        store.forget(WHICH)
        store.write(counted(alice=5), NOW)
    assert found(tmp_path)["limit a"] == {"bob": 2, "alice": 5}


def test_all_that_there_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open(NOW)
    store.write(counted(alice=2, bob=3), NOW, snapshot=True)
    store.forget(WHICH)
    (tmp_path / "state.sqlite3").unlink()
    with pytest.raises(Exception, match="deleted"):
        store.write(counted(), NOW)
    store.write(counted(bob=3), NOW, whole=True)
    store.close()
    assert found(tmp_path)["limit a"] == {"bob": 3}
