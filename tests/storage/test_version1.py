"""A database that version 1 wrote: it is upgraded at the start, all that it knew goes on."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from storage.samples import NOW, execute, flat, found_in, open_store, series

from policyd.aup.likeness import Group, pack
from policyd.clock import WallTime
from policyd.storage import recovery, rows
from policyd.storage.files import COPY, DATABASE
from policyd.storage.store import LostError, Store

MADE = Path(__file__).parents[1] / "data/state/version-1.sqlite3"
START = 1_799_971_200.0
MAILS = "messages to external per account by sasl_username less '' ''"
BYTES = "bytes to external per account by sasl_username less '' ''"


def group(serial: int) -> bytes:
    return pack([Group(1000, serial, WallTime(START + 400))])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copy(MADE, tmp_path / DATABASE)
    return tmp_path


def at(seconds: float) -> float:
    """Return such a time as samples have it."""
    return START + seconds - NOW


ALICE, MUELLER = "alice@local.example", "müller@local.example"
KNOWN = {
    "limit bulk": ("", {}),  # it has another meaning than any limit, and so will be told of
    "limit mails": (
        "messages to external per account by sasl_username less '' ''",
        {(at(300), ALICE): 1, (at(600), ALICE): 1, (at(600), MUELLER): 1},
    ),
    "limit bytes": (
        "bytes to external per account by sasl_username less '' ''",
        {(at(10), ALICE): 1000, (at(410), ALICE): 1000, (at(410), MUELLER): 1000},
    ),
    "likeness account": ("size", {(at(400), ALICE): group(1), (at(400), MUELLER): group(2)}),
}


def test_every_value_is_there(directory: Path) -> None:
    contents, problems = found_in(directory)
    assert problems == ()
    assert contents.secret == bytes(range(32))
    assert flat(contents.kept) == KNOWN
    assert contents.transactions == ()
    assert not any(contents.ledgers.values())


def test_it_is_of_the_present_version_from_then_on(directory: Path) -> None:
    found_in(directory)
    with closing(sqlite3.connect(directory / DATABASE)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (rows.VERSION,)
    with open_store(directory) as store:
        store.write({"limit mails": series((60, {"new": 1}), meaning=KNOWN["limit mails"][0])}, NOW)
    contents, problems = found_in(directory)
    assert problems == ()
    assert contents.secret == bytes(range(32))
    assert flat(contents.kept) == {
        "limit mails": (KNOWN["limit mails"][0], {**KNOWN["limit mails"][1], (60, "new"): 1})
    }
    assert {path.name for path in directory.iterdir()} == {"lock", DATABASE}


def test_a_copy_of_version_1_will_do(directory: Path) -> None:
    (directory / DATABASE).rename(directory / COPY)
    contents, problems = found_in(directory)
    assert flat(contents.kept) == KNOWN
    assert len(problems) == 1
    assert "goes on from state.sqlite3.copy" in problems[0]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE buckets SET counts = x'00'",
        "UPDATE buckets SET counts = zeroblob(60) WHERE limit_id = 'bytes'",
        "UPDATE likeness_groups SET size = -1",
        "UPDATE likeness_groups SET serial = -serial",
        "DELETE FROM meta",
        "DROP TABLE limits",
    ],
)
def test_one_that_is_broken_is_set_aside(directory: Path, damage: str) -> None:
    execute(directory / DATABASE, damage)
    contents, problems = found_in(directory)
    assert contents.kept == {}
    assert len(problems) == 1
    assert f"it is kept as {DATABASE}.corrupt-1800000000" in problems[0]
    assert (directory / f"{DATABASE}.corrupt-1800000000").exists()


def test_where_it_cannot_be_upgraded_everything_is_written_when_it_can(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = (directory / DATABASE).read_bytes()
    store = Store(directory)
    with monkeypatch.context() as patched:
        patched.setattr(recovery, "install", full)
        contents, problems = store.open(NOW)
        assert flat(contents.kept) == KNOWN
        assert problems == (f"{DATABASE} cannot be written: No space left on device",)
        with pytest.raises(LostError):
            store.write({}, NOW)
        with pytest.raises(OSError, match="No space left"):
            store.write(contents.kept, NOW, snapshot=True, whole=True)
        assert (directory / f"{DATABASE}.unknown-1800000000").read_bytes() == before
    # all of it waits, and goes out with the next
    nothing = {name: one._replace(buckets=()) for name, one in contents.kept.items()}
    store.write(nothing, NOW)
    store.close()
    contents, problems = found_in(directory)
    assert problems == ()
    assert flat(contents.kept) == KNOWN
