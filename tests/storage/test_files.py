"""The files: one process at a time, whose they are, how they are set aside."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from policyd.storage import files
from policyd.storage.files import (
    Lock,
    StateInUseError,
    UnfitError,
    check_fit,
    connect,
    connect_to_read,
    is_there,
    remove,
    set_aside,
)

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def test_a_second_one_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    first = Lock(tmp_path)
    for _ in range(2):
        with pytest.raises(StateInUseError, match=f"another policyd uses {tmp_path}"):
            Lock(tmp_path)
    first.release()
    Lock(tmp_path).release()


def test_another_process_is_refused_too(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from policyd.storage.files import *\n"
        "try: Lock(Path(sys.argv[1]))\n"
        "except StateInUseError: sys.exit(77)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    lock = Lock(tmp_path)
    assert subprocess.run(command, check=False).returncode == 77
    lock.release()
    assert subprocess.run(command, check=False).returncode == 0


def test_a_lock_is_not_taken_somewhere_else(tmp_path: Path) -> None:
    """Who may write to the directory must not lead root to other files."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Lock(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@as_root
def test_what_root_makes_is_whose_the_directory_is(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    Lock(state).release()
    database = connect(state / "x", create=True)
    database.execute("CREATE TABLE t (x)")
    owners = {path.name: path.stat().st_uid for path in state.iterdir()}
    database.close()
    assert owners == dict.fromkeys(("lock", "x", "x-wal", "x-shm"), NOBODY)
    check_fit(state / "x")


@as_root
@pytest.mark.parametrize("name", ["x", "x-wal", "x-shm", "x-journal"])
def test_what_is_another_users_is_not_fit(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").touch()
    (tmp_path / name).touch()
    check_fit(tmp_path / "x")
    os.chown(tmp_path / name, NOBODY, NOBODY)
    with pytest.raises(UnfitError, match=f"{name} belongs to user 65534, not 0"):
        check_fit(tmp_path / "x")


def test_what_is_set_aside_keeps_what_stands_beside_it(tmp_path: Path) -> None:
    names = ("", "-wal", "-shm", "-journal")
    for time in (1, 2):
        for name in names:
            (tmp_path / f"x{name}").write_text(f"{time}{name}")
        set_aside(tmp_path / "x", "corrupt", 5.75)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {
        **{f"x.corrupt-5{name}": f"1{name}" for name in names},
        **{f"x.corrupt-5-2{name}": f"2{name}" for name in names},
    }


def test_a_database_is_removed_with_all_of_its_files(tmp_path: Path) -> None:
    for name in ("x", "x-wal", "x-shm", "x-journal", "xy"):
        (tmp_path / name).touch()
    remove(tmp_path / "x")
    remove(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["xy"]


def test_what_cannot_be_looked_at_is_not_taken_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_there(tmp_path / "x")
    (tmp_path / "x").symlink_to("nowhere")
    assert is_there(tmp_path / "x")

    def broken(_: Path) -> os.stat_result:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "lstat", broken)
    with pytest.raises(OSError, match="Input/output"):
        is_there(tmp_path / "x")


@pytest.mark.parametrize(
    "name", ["a b", "a?b", "a#b", "a%20b", "jörg", "mode=ro&x", "a:b", "\udcff"]
)
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    connect(tmp_path / name, create=True).close()
    connect_to_read(tmp_path / name).close()
    connect(tmp_path / name).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_may_begin_with_two_slashes(tmp_path: Path) -> None:
    connect(Path(f"/{tmp_path}/x"), create=True).close()
    assert (tmp_path / "x").exists()


def test_a_database_is_made_only_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        connect(tmp_path / "x", create=True)
    assert not (tmp_path / "elsewhere").exists()


def test_what_stands_beside_it_is_read_or_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written SQLite has to be told that nobody writes; it believes it."""
    writing = connect(tmp_path / "x", create=True)
    writing.execute("CREATE TABLE t (x)")
    opened = files._opened

    def read_only(path: Path, how: str, *pragmas: str) -> sqlite3.Connection:
        if "immutable" not in how:
            raise sqlite3.OperationalError("unable to open database file")
        return opened(path, how, *pragmas)

    monkeypatch.setattr(files, "_opened", read_only)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connect_to_read(tmp_path / "x")
    writing.close()
    with closing(connect_to_read(tmp_path / "x")) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_every_commit_is_synced(tmp_path: Path) -> None:
    for create in (True, False):
        database = connect(tmp_path / "x", create=create)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.close()
