"""What the database has while it is written to, and what goes out of it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storage.samples import SECRET, TRANSACTION, flat, series

from policyd.aup.series import Kept
from policyd.storage import recovery
from policyd.storage.contents import Contents
from policyd.storage.files import connect
from policyd.storage.rows import CorruptError, Rows
from policyd.storage.writer import Writer

ONE = {"a": series((60, {"x": 1}))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    recovery.install(tmp_path / "x", Contents(SECRET))
    return tmp_path / "x"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    with closing(Writer(connect(path))) as writer:
        yield writer


def found(path: Path) -> dict[str, tuple[str, dict[tuple[float, str], int | bytes]]]:
    return flat(recovery.read(path).kept)


def count(path: Path, table: str) -> int:
    with closing(connect(path)) as database:
        Rows(database).check()
        return len(database.execute(f"SELECT 1 FROM {table}").fetchall())


def snapshot(writer: Writer, kept: Kept) -> None:
    writer.snapshot(kept, kept)


def test_what_is_in_the_journal_is_kept(path: Path, writer: Writer) -> None:
    writer.journal(ONE)
    writer.journal({"a": series((60, {"x": 2, "y": 4}))})
    assert found(path) == {"a": ("messages", {(60, "x"): 3, (60, "y"): 4})}
    assert flat(recovery.read(path).journal) == found(path)
    assert (count(path, "journal"), count(path, "buckets")) == (2, 0)


def test_only_what_stays_is_compressed(path: Path, writer: Writer) -> None:
    """Also when it is changed."""
    counted = {"a": series((60, {f"{number}@local.example": 1 for number in range(100)}))}
    writer.journal(counted)
    writer.snapshot(counted, counted)
    writer.journal(counted)
    for left in (100, 99):
        sizes = {}
        for table in ("buckets", "journal"):
            with closing(connect(path)) as database:
                ((sizes[table],),) = database.execute(f"SELECT length(entries) FROM {table}")
        assert sizes["buckets"] < len("@local.example") * left < sizes["journal"]
        writer.forget({"a": lambda key: key.startswith("7@")})
    assert len(found(path)["a"][1]) == 99


def test_a_snapshot_empties_the_journal(path: Path, writer: Writer) -> None:
    writer.journal(ONE)
    writer.snapshot({"a": series()}, ONE)
    assert found(path) == {"a": ("messages", {(60, "x"): 1})}
    assert flat(recovery.read(path).journal) == {"a": ("messages", {})}
    assert (count(path, "journal"), count(path, "buckets")) == (0, 1)


def test_a_bucket_is_written_in_parts_each_of_them_once(path: Path, writer: Writer) -> None:
    snapshot(writer, {"a": series((60, {f"key {number}": number + 1 for number in range(4001)}))})
    snapshot(writer, {"a": series((60, {"key 0": 10}))})
    assert count(path, "buckets") == 4
    assert found(path)["a"][1] == {
        (60, f"key {number}"): number + (11 if number == 0 else 1) for number in range(4001)
    }


def test_what_is_out_of_the_window_is_deleted_in_bounded_steps(path: Path, writer: Writer) -> None:
    snapshot(writer, {"a": series(*((number, {"x": 1}) for number in range(1201)))})
    left = []
    for _ in range(4):
        writer.journal({"a": series(oldest=1199)})
        left.append(count(path, "buckets"))
    assert left == [701, 201, 1, 1]
    assert found(path) == {"a": ("messages", {(1200, "x"): 1})}


def test_what_is_to_be_deleted_is_so_after_a_restart_as_well(path: Path) -> None:
    with closing(Writer(connect(path))) as writer:
        snapshot(
            writer,
            {"a": series(*((n, {"x": 1}) for n in range(600))), "b": series((60, {"y": 2}))},
        )
        writer.journal({"a": series((0, {"new": 1}), meaning="bytes"), "b": series()})
    assert count(path, "buckets") == 101
    with closing(Writer(connect(path))) as writer:
        writer.journal({"a": series((0, {"new": 1}), meaning="bytes"), "b": series()})
    assert count(path, "buckets") == 1
    assert found(path) == {"a": ("bytes", {(0, "new"): 2}), "b": ("messages", {(60, "y"): 2})}


def test_rows_on_their_way_out_are_nobody_elses(path: Path) -> None:
    """The series that comes next must not get their number."""
    with closing(Writer(connect(path))) as writer:
        snapshot(writer, {"a": series(*((n, {"x": 1}) for n in range(600)))})
        writer.journal({"a": series((0, {"x": 1}))})
        writer.journal({})
    with closing(Writer(connect(path))) as writer:
        writer.journal({"b": series((5, {"z": 1}))})
        assert found(path) == {"b": ("messages", {(5, "z"): 1})}


def test_what_is_in_the_future_is_relabelled(path: Path) -> None:
    with closing(Writer(connect(path))) as writer:
        snapshot(writer, {"a": series(*((n, {"x": 1, f"{n}": 1}) for n in (60, 120, 180)))})
        writer.journal({"a": series(latest=100)})
        assert found(path)["a"][1] == {
            (60, "x"): 1,
            (60, "60"): 1,
            (100, "x"): 2,
            (100, "120"): 1,
            (100, "180"): 1,
        }
    # and it leaves the window as what it is labelled
    with closing(Writer(connect(path))) as writer:
        writer.journal({"a": series(oldest=99)})
        assert set(found(path)["a"][1]) == {(100, "x"), (100, "120"), (100, "180")}
        writer.journal({"a": series(oldest=100)})
        assert found(path)["a"][1] == {}
        assert count(path, "buckets") == 0


def test_a_series_of_another_meaning_or_that_is_no_more_is_dropped(
    path: Path, writer: Writer
) -> None:
    snapshot(writer, {name: series((60, {"x": 1})) for name in "abc"})
    writer.journal({name: series((60, {"x": 2})) for name in "abc"})
    writer.journal({"a": series(), "b": series((60, {"x": 4}), meaning="bytes")})
    assert found(path) == {"a": ("messages", {(60, "x"): 3}), "b": ("bytes", {(60, "x"): 4})}
    assert count(path, "buckets") == 1


def test_transactions_are_kept_until_something_else_is(path: Path, writer: Writer) -> None:
    writer.keep([TRANSACTION, TRANSACTION._replace(host="other")])
    writer.keep([TRANSACTION])
    assert recovery.read(path).transactions == (TRANSACTION,)
    writer.journal(ONE)
    assert recovery.read(path).transactions == ()


def test_what_fails_half_way_has_not_happened(path: Path) -> None:
    with closing(Writer(connect(path))) as writer:
        snapshot(writer, {"a": series((60, {"x": 1}), (120, {"x": 2}))})
        before = recovery.read(path)
        with pytest.raises(AttributeError):
            writer.journal({"a": series(oldest=60), "b": None})  # type: ignore[dict-item]
    assert recovery.read(path) == before


def test_a_database_of_something_else_is_none_and_is_closed(path: Path) -> None:
    with closing(connect(path)) as database:
        database.execute("DROP TABLE series")
    database = connect(path)
    with pytest.raises(CorruptError):
        Writer.on(database)
    with pytest.raises(Exception, match="closed"):
        database.execute("SELECT 1")


def test_when_nothing_was_counted_nothing_is_written(path: Path, writer: Writer) -> None:
    snapshot(writer, ONE)
    size = path.with_name("x-wal").stat().st_size
    writer.journal({"a": series()})
    writer.snapshot({"a": series()}, {"a": series()})
    assert path.with_name("x-wal").stat().st_size == size


def test_contents_are_written_anew_as_they_were_written_first(path: Path, writer: Writer) -> None:
    snapshot(writer, ONE)
    writer.journal(ONE)
    before = recovery.read(path)
    recovery.install(path.with_name("y"), before)
    assert found(path.with_name("y")) == flat(before.kept)
