"""Whatever lies where the state should be: it is set aside, and counting goes on."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from storage.samples import NOW, execute, flat, found_in, kept_in, open_store, series

from policyd.storage import recovery
from policyd.storage.files import COPY, DATABASE
from policyd.storage.store import LostError, Store

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
AGO = {"a": series((60, {"x": 1}))}
SINCE = {"a": series((60, {"x": 2}))}
NEXT = {"a": series((60, {"x": 4}))}


def an_empty_file(path: Path) -> None:
    path.write_bytes(b"")


def a_text(path: Path) -> None:
    path.write_text("this is no database, but long enough to look like one\n" * 100)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def a_page_of_ones(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def of_a_newer_version(path: Path) -> None:
    execute(path, "PRAGMA user_version = 99")


def of_no_version(path: Path) -> None:
    execute(path, "PRAGMA user_version = 0")


def of_version_1_by_name_only(path: Path) -> None:
    execute(path, "PRAGMA user_version = 1")


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "in it").touch()


def a_link_to_a_good_one(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def a_link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def another_users(path: Path) -> None:
    os.chown(path, 65534, 65534)


def another_programs(path: Path) -> None:
    path.unlink()
    execute(path, "CREATE TABLE mine (x)")


def another_programs_of_our_version(path: Path) -> None:
    another_programs(path)
    execute(path, "PRAGMA user_version = 2")


def with_a_name_that_is_no_name(path: Path) -> None:
    path.unlink()
    execute(path, 'CREATE TABLE "a; DROP TABLE total" (x, y)', "PRAGMA user_version = 2")


def without_a_table(path: Path) -> None:
    execute(path, "DROP TABLE buckets")


def with_a_table_more(path: Path) -> None:
    execute(path, "CREATE TABLE more (x)")


def without_a_secret(path: Path) -> None:
    execute(path, "DELETE FROM settings")


def with_a_count_that_has_changed(path: Path) -> None:
    execute(path, "UPDATE buckets SET end = end + 1")


def without_a_row(path: Path) -> None:
    execute(path, "DELETE FROM buckets WHERE serial = 1")


def a_directory_beside_it(path: Path) -> None:
    path.with_name(f"{path.name}-wal").mkdir()


def a_fifo_beside_it(path: Path) -> None:
    os.mkfifo(path.with_name(f"{path.name}-journal"))


BAD = [
    *(an_empty_file, a_text, cut_in_half, a_page_of_ones, of_a_newer_version, of_no_version),
    *(of_version_1_by_name_only, a_directory, a_link_to_a_good_one, a_link_to_nowhere),
    *(a_link_to_itself, a_fifo, pytest.param(another_users, marks=as_root), another_programs),
    *(another_programs_of_our_version, with_a_name_that_is_no_name, without_a_table),
    *(with_a_table_more, without_a_secret, with_a_count_that_has_changed, without_a_row),
    *(a_directory_beside_it, a_fifo_beside_it),
]


def inodes(directory: Path) -> dict[int, str]:
    return {path.lstat().st_ino: path.name for path in directory.iterdir()}


@pytest.fixture(params=[True, False], ids=["with a copy", "without"])
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> bool:
    with open_store(tmp_path) as store:
        store.write(AGO, NOW, snapshot=True)
        if request.param:
            store.copy()
        store.write(SINCE, NOW, snapshot=True)
    if request.param:
        os.utime(tmp_path / COPY, (NOW - 100, NOW - 100))
    return bool(request.param)


def check_that_it_goes_on(directory: Path, *, copied: bool) -> tuple[str, ...]:
    """Open what is in *directory*; return what is said about it, apart from the copy."""
    secret = recovery.read(directory / COPY).secret if copied else None
    store = Store(directory)
    contents, problems = store.open(NOW)
    assert flat(contents.kept) == (flat(AGO) if copied else {})
    assert secret in (None, contents.secret)
    store.write(NEXT, NOW)
    store.close()
    assert kept_in(directory) == {"a": ("messages", {(60, "x"): 5 if copied else 4})}
    assert found_in(directory).contents.secret == contents.secret
    if copied:
        assert problems[-1] == f"counting goes on from {COPY}, made 100 s ago"
        problems = problems[:-1]
    assert not any("Error(" in problem for problem in problems)
    return problems


@pytest.mark.parametrize("damage", BAD)
def test_what_is_no_state_is_set_aside(
    tmp_path: Path, copied: bool, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / DATABASE
    damage(path)
    before = inodes(tmp_path)
    number = path.lstat().st_ino
    (problem,) = check_that_it_goes_on(tmp_path, copied=copied)
    assert problem.startswith(f"{DATABASE} cannot be read: ")
    assert problem.endswith(f"; it is kept as {DATABASE}.corrupt-1800000000")
    after = inodes(tmp_path)
    assert after[number] == f"{DATABASE}.corrupt-1800000000"
    assert set(before) <= set(after)  # nothing was deleted


@pytest.mark.parametrize("damage", BAD)
def test_a_bad_copy_is_set_aside_as_well(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    with open_store(tmp_path) as store:
        store.write(AGO, NOW, snapshot=True)
        store.copy()
    a_text(tmp_path / DATABASE)
    damage(tmp_path / COPY)
    before = inodes(tmp_path)
    first, second = check_that_it_goes_on(tmp_path, copied=False)
    assert first.startswith(f"{DATABASE} cannot be read: ")
    assert second.startswith(f"{COPY} cannot be read: ")
    assert second.endswith(f"; it is kept as {COPY}.corrupt-1800000000")
    assert set(before) <= set(inodes(tmp_path))
    with open_store(tmp_path) as store:
        store.copy()
    recovery.read(tmp_path / COPY)


def test_a_bad_copy_beside_a_good_database_is_nobodys_business(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(AGO, NOW)
    a_text(tmp_path / COPY)
    assert kept_in(tmp_path) == flat(AGO)


def test_what_may_not_be_read_is_set_aside(
    tmp_path: Path, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = recovery.connect

    def forbidden(path: Path, *, create: bool = False) -> sqlite3.Connection:
        if path.name == DATABASE and path.lstat().st_ino == number:
            raise PermissionError(13, "Permission denied", str(path))
        return connect(path, create=create)

    number = (tmp_path / DATABASE).lstat().st_ino
    monkeypatch.setattr(recovery, "connect", forbidden)
    (problem,) = check_that_it_goes_on(tmp_path, copied=copied)
    assert f"{tmp_path / DATABASE}: Permission denied; it is kept as" in problem
    assert inodes(tmp_path)[number] == f"{DATABASE}.corrupt-1800000000"


@pytest.mark.parametrize("name", ["-wal", "-shm", "-journal"])
def test_rubbish_beside_it_is_no_part_of_it(tmp_path: Path, name: str) -> None:
    with open_store(tmp_path) as store:
        store.write(AGO, NOW)
    (tmp_path / f"{DATABASE}{name}").write_bytes(b"rubbish" * 5000)
    assert kept_in(tmp_path) == flat(AGO)
    with open_store(tmp_path) as store:
        store.write(SINCE, NOW)
    assert kept_in(tmp_path) == {"a": ("messages", {(60, "x"): 3})}


def test_a_missing_database_is_told_only_where_there_was_one(tmp_path: Path, copied: bool) -> None:
    (tmp_path / DATABASE).unlink()
    assert check_that_it_goes_on(tmp_path, copied=copied) == ()


def test_what_is_set_aside_at_the_same_time_gets_names_of_its_own(tmp_path: Path) -> None:
    for _ in range(3):
        a_text(tmp_path / DATABASE)
        found_in(tmp_path)
    names = {path.name for path in tmp_path.glob("*corrupt*")}
    assert names == {f"{DATABASE}.corrupt-1800000000{number}" for number in ("", "-2", "-3")}


def test_what_can_neither_be_read_nor_renamed_stays_and_stops_nothing(
    tmp_path: Path, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(30, "Read-only file system", str(self), None, str(target))

    a_text(tmp_path / DATABASE)
    text = (tmp_path / DATABASE).read_bytes()
    store = Store(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        contents, problems = store.open(NOW)
        assert flat(contents.kept) == (flat(AGO) if copied else {})
        assert f"nor can it be renamed: {tmp_path / DATABASE}: Read-only file system" in problems[0]
        assert (tmp_path / DATABASE).read_bytes() == text
        if not copied:
            with pytest.raises(OSError, match="Read-only"):
                store.write(NEXT, NOW)
    if copied:  # it is not on the disk but in the copy, so all of it is to be written
        with pytest.raises(LostError):
            store.write(SINCE, NOW)
        store.write(NEXT, NOW, snapshot=True, whole=True)
    else:
        store.write({"a": series()}, NOW)
    store.close()
    assert kept_in(tmp_path) == flat(NEXT)
    assert (tmp_path / f"{DATABASE}.unknown-1800000000").read_bytes() == text
