"""The hot copy: one moment of the database, also while it is written to."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from storage.samples import NOW, execute, flat, found_in, open_store, series

from policyd.storage import recovery
from policyd.storage import store as storing
from policyd.storage.files import COPY, DATABASE
from policyd.storage.rows import CorruptError, Rows


def test_a_copy_is_all_in_one_file(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 1}))}, NOW, snapshot=True)
        store.write({"a": series((60, {"x": 2}))}, NOW)
        store.copy()
        store.write({"a": series((60, {"x": 4}))}, NOW)
        names = {path.name for path in tmp_path.iterdir() if path.name.startswith(COPY)}
        assert names == {COPY}
        assert flat(recovery.read(tmp_path / COPY).kept) == {"a": ("messages", {(60, "x"): 3})}
        store.copy()
        assert flat(recovery.read(tmp_path / COPY).kept) == {"a": ("messages", {(60, "x"): 7})}


def test_a_copy_made_during_writes_is_one_moment_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write adds the same to two series: a copy in which they differ is of two moments."""
    monkeypatch.setattr(storing, "_COPY_PAGES", 1)
    monkeypatch.setattr(storing, "_COPY_PAUSE", 0.001)
    written = threading.Event()
    errors: list[BaseException] = []
    with open_store(tmp_path) as store:
        store.write({n: series((0, {f"{k}": 1 for k in range(9000)})) for n in "ab"}, NOW)

        def copy() -> None:
            try:
                store.copy()
            except BaseException as error:  # noqa: BLE001 - told by the test
                errors.append(error)
            finally:
                written.set()

        for _ in range(3):
            written.clear()
            copying = threading.Thread(target=copy)
            copying.start()
            number = 0
            while not written.is_set() or number < 20:
                number += 1
                both = {name: series((60, {"x": 1, f"{number}": 1})) for name in "ab"}
                store.write(both, NOW, snapshot=number % 5 == 0)
            copying.join()
            assert errors == []
            found = flat(recovery.read(tmp_path / COPY).kept)
            assert found["a"] == found["b"]


def test_a_copy_that_would_be_bad_is_none(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 1}))}, NOW, snapshot=True)
        store.copy()
        good = (tmp_path / COPY).read_bytes()
        execute(tmp_path / DATABASE, "UPDATE buckets SET end = 1")
        with pytest.raises(CorruptError):
            store.copy()
    assert (tmp_path / COPY).read_bytes() == good


def test_what_was_left_of_a_copy_is_not_in_the_way(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 1}))}, NOW)
        for name in ("", "-wal", "-journal"):
            (tmp_path / f"{COPY}.new{name}").write_text("half of one")
        store.copy()
        with closing(sqlite3.connect(tmp_path / COPY)) as database:
            Rows(database).check()


@pytest.mark.parametrize("gone", [True, False])
def test_a_database_that_is_not_ours_does_not_become_the_copy(tmp_path: Path, gone: bool) -> None:
    found_in(tmp_path / "other")
    with open_store(tmp_path) as store:
        store.write({"a": series((60, {"x": 1}))}, NOW)
        store.copy()
        good = (tmp_path / COPY).read_bytes()
        (tmp_path / DATABASE).unlink()
        if not gone:
            (tmp_path / "other" / DATABASE).rename(tmp_path / DATABASE)
        with pytest.raises(OSError, match=r"state\.sqlite3 is not what was written"):
            store.copy()
    assert (tmp_path / COPY).read_bytes() == good
