"""The counts on disk: all of the last save, or all of the one before."""

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aup.building import START, limit, policy

from policyd.aup.counts import Counts, CountsState, LimitState
from policyd.aup.likeness import Group
from policyd.aup.policy import Count
from policyd.clock import WallTime
from policyd.counting.counters import BucketState, Claim
from policyd.counting.distinct import Hasher
from policyd.storage.snapshot import NAME, Encoded, Snapshots, StateInUseError, encoded

NOW = WallTime(START)
EMPTY = CountsState({}, {})
STATE = CountsState(
    {
        "bulk": LimitState(
            "distinct-recipients per account likeness",
            300.0,
            (
                BucketState(START, {"alice\n1": 2, "bob\n2": 1}, array("Q", [1, 2, 2**64 - 1])),
                BucketState(START + 300, {"alice\n1": 1}, array("Q", [7])),
            ),
        ),
        "burst": LimitState(
            "recipients per account", 2.0, (BucketState(START + 0.5, {"a": 10**12}, array("Q")),)
        ),
        "idle": LimitState("messages per account", 1 / 64, ()),
    },
    {
        "account": (
            Group("alice", 1000, 1, WallTime(START + 0.25)),
            Group("bob", 0, 2, WallTime(START)),
        ),
        "domain": (Group("local.example", 1000, 1, WallTime(START)),),
    },
)


def kept_in(directory: Path) -> CountsState:
    """Return what the next daemon finds; nothing may have to be set aside."""
    again = Snapshots(directory)
    try:
        kept = again.load(NOW)
    finally:
        again.close()
    assert kept.set_aside == ""
    return kept.counts


def saved(directory: Path, state: CountsState = STATE) -> bytes:
    """Save *state* as a daemon does, end it, and return its secret."""
    snapshots = Snapshots(directory)
    secret = snapshots.load(NOW).secret
    snapshots.save(encoded(state))
    snapshots.close()
    return secret


# saved and loaded


def test_at_first_there_is_nothing_and_a_new_secret(tmp_path: Path) -> None:
    first, second = Snapshots(tmp_path / "a"), Snapshots(tmp_path / "b")
    kept = first.load(NOW)
    assert kept.counts == EMPTY
    assert kept.set_aside == ""
    assert len(kept.secret) >= 16
    assert kept.secret != second.load(NOW).secret
    for snapshots in (first, second):
        snapshots.close()
    assert not (tmp_path / "a" / NAME).exists()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    secret = saved(tmp_path)
    assert kept_in(tmp_path) == STATE
    again = Snapshots(tmp_path)
    assert again.load(NOW).secret == secret
    again.close()


def test_a_save_replaces_the_one_before_whole(tmp_path: Path) -> None:
    saved(tmp_path)
    bucket = BucketState(START, {"a": 1}, array("Q"))
    other = CountsState({"new": LimitState("x", 10.0, (bucket,))}, {})
    saved(tmp_path, other)
    assert kept_in(tmp_path) == other


def test_the_secret_outlives_saves_and_restarts(tmp_path: Path) -> None:
    secrets = {saved(tmp_path) for _ in range(3)}
    assert len(secrets) == 1


@pytest.mark.parametrize(
    "name", ["jörg@例え.example", "\udcff\udc80@x.example", "a\x00b", "a\nb", ""]
)
def test_names_are_kept_whatever_they_are_made_of(tmp_path: Path, name: str) -> None:
    bucket = BucketState(START, {f"{name}\n1": 1, name: 2}, array("Q", [1]))
    state = CountsState(
        {"bulk": LimitState("x", 300.0, (bucket,))}, {"account": (Group(name, 1000, 1, NOW),)}
    )
    saved(tmp_path, state)
    assert kept_in(tmp_path) == state


def test_an_empty_bucket_takes_no_room_and_the_others_keep_their_order(tmp_path: Path) -> None:
    buckets = [
        BucketState(START + 300 * number, {"a": number} if number % 2 else {}, array("Q"))
        for number in range(12)
    ]
    saved(tmp_path, CountsState({"bulk": LimitState("x", 300.0, tuple(buckets))}, {}))
    kept = kept_in(tmp_path).limits["bulk"].buckets
    assert list(kept) == [bucket for bucket in buckets if bucket.counts]


def test_the_counts_of_a_policy_survive_a_restart(tmp_path: Path) -> None:
    rules = policy(limit("bulk"), limit("mails", "account", count=Count.MESSAGES))
    counts = Counts(rules, Hasher(b"x"))
    for rule in rules.limits:
        counts.counter(rule).commit(Claim("alice", 2, [1, 2]), NOW)
    counts.groups["account"].join("alice", 1000, NOW)
    saved(tmp_path, counts.dump())
    again = Counts(rules, Hasher(b"x"))
    assert again.restore(kept_in(tmp_path), NOW) == []
    assert again.dump() == counts.dump()
    again._check()


def test_a_snapshot_does_not_change_while_it_is_written() -> None:
    rules = policy(limit("bulk"))
    counts = Counts(rules, Hasher(b"x"))
    counter = counts.counter(rules.limits[0])
    counter.commit(Claim("alice", 0, [1]), NOW)
    rows = encoded(counts.dump())
    copy = Encoded(*[tuple(tuple(row) for row in table) for table in rows])
    counter.commit(Claim("alice", 0, [2]), NOW)
    counter.tidy(WallTime(START + 10**6), 100)
    assert rows == copy


@pytest.mark.parametrize("name", ["with blank", "a?b", "a#b", "a%20b", "jörg", "mode=ro&x", "a:b"])
def test_any_directory_will_do(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    saved(directory)
    assert kept_in(directory) == STATE
    assert sorted(path.name for path in directory.iterdir()) == ["lock", NAME]


def test_a_directory_may_be_named_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(Path("var/state"))
    assert kept_in(Path("var/state")) == STATE
    assert kept_in(tmp_path / "var" / "state") == STATE


# who may read it


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        saved(tmp_path / "state")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"state": 0o700, NAME: 0o600, "lock": 0o600}


def test_a_snapshot_that_is_being_written_is_nobody_elses_either(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.load(NOW)
    seen = {}

    def rows() -> Iterator[tuple[str, int, float, bytes]]:
        for number in range(50):  # more than SQLite keeps in memory
            yield "bulk", number, 0.0, os.urandom(100_000)
        seen.update({p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()})

    before = os.umask(0)
    try:
        snapshots.save(Encoded((), rows(), ()))  # type: ignore[arg-type]
    finally:
        os.umask(before)
    snapshots.close()
    assert len(seen) > 2  # the journal is there
    assert set(seen.values()) == {0o600}


# one at a time


def test_a_second_instance_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    first = Snapshots(tmp_path)
    for _ in range(2):
        with pytest.raises(StateInUseError, match="another policyd uses"):
            Snapshots(tmp_path)
    first.close()
    Snapshots(tmp_path).close()


def in_another_process(directory: Path, code: str) -> subprocess.CompletedProcess[str]:
    head = """
        import os, sys
        from pathlib import Path
        from policyd.storage.snapshot import Encoded, Snapshots, StateInUseError
        directory = Path(sys.argv[1])
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code), str(directory)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_process_is_refused_too(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    done = in_another_process(
        tmp_path,
        """
        try:
            Snapshots(directory)
        except StateInUseError:
            sys.exit(77)
        """,
    )
    snapshots.close()
    assert (done.returncode, done.stderr) == (77, "")


def test_a_directory_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Snapshots(tmp_path / "file" / "state")


# what is broken is set aside


def break_into_text(path: Path) -> None:
    path.write_text("this is no database, but long enough to look like one\n" * 100)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def execute(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def of_another_version(path: Path) -> None:
    execute(path, "PRAGMA user_version = 2")


def without_a_table(path: Path) -> None:
    execute(path, "DROP TABLE buckets")


def without_a_secret(path: Path) -> None:
    execute(path, "DELETE FROM meta")


def with_a_flipped_bit_in_a_count(path: Path) -> None:
    database = sqlite3.connect(path)
    limit_id, number, blob = database.execute(
        "SELECT limit_id, number, counts FROM buckets"
    ).fetchone()
    broken = blob[:-1] + bytes([blob[-1] ^ 1])
    database.execute(
        "UPDATE buckets SET counts = ? WHERE limit_id = ? AND number = ?",
        (broken, limit_id, number),
    )
    database.commit()
    database.close()


def of_another_program(path: Path) -> None:
    path.unlink()
    execute(path, "CREATE TABLE mine (x)", "PRAGMA user_version = 1")


def of_another_program_without_a_version(path: Path) -> None:
    path.unlink()
    execute(path, "CREATE TABLE meta (x)")


@pytest.mark.parametrize(
    "damage",
    [
        of_another_program_without_a_version,
        break_into_text,
        truncate,
        empty_a_page,
        of_another_version,
        without_a_table,
        without_a_secret,
        with_a_flipped_bit_in_a_count,
        of_another_program,
    ],
)
def test_what_cannot_be_read_is_set_aside_and_counting_starts_empty(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    saved(tmp_path)
    damage(tmp_path / NAME)
    content = (tmp_path / NAME).read_bytes()

    snapshots = Snapshots(tmp_path)
    kept = snapshots.load(WallTime(1234567.8))

    assert kept.counts == EMPTY
    aside = tmp_path / f"{NAME}.corrupt-1234567"
    assert aside.read_bytes() == content
    assert str(tmp_path / NAME) in kept.set_aside
    assert aside.name in kept.set_aside
    assert not (tmp_path / NAME).exists()
    # and the daemon goes on
    snapshots.save(encoded(STATE))
    snapshots.close()
    assert kept_in(tmp_path) == STATE
    assert aside.read_bytes() == content


# interrupted


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.load(NOW)
    snapshots.save(encoded(STATE))
    good = encoded(STATE)
    twice = good._replace(limits=good.limits + good.limits[:1])
    with pytest.raises(sqlite3.Error):
        snapshots.save(twice)
    nothing = good._replace(buckets=(("bulk", 0, START, None),))  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        snapshots.save(nothing)
    # and the next one succeeds
    assert snapshots.load(NOW).counts == STATE
    snapshots.save(encoded(EMPTY))
    snapshots.close()
    assert kept_in(tmp_path) == EMPTY


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_daemon_that_dies_while_it_writes_leaves_the_one_before(
    tmp_path: Path, size: int
) -> None:
    secret = saved(tmp_path)
    # of the big rows many are in the file already when it dies, to be taken back by the next one
    done = in_another_process(
        tmp_path,
        f"""
        def rows():
            for number in range(100):
                yield "bulk", number, 0.0, os.urandom({size})
            os._exit(77)

        snapshots = Snapshots(directory)
        snapshots.load(1.0)
        snapshots.save(Encoded((), rows(), ()))
        """,
    )
    assert (done.returncode, done.stderr) == (77, "")
    if size > 1000:
        assert (tmp_path / f"{NAME}-journal").exists()
    assert kept_in(tmp_path) == STATE
    assert saved(tmp_path) == secret


def test_a_daemon_that_dies_in_its_first_save_leaves_nothing(tmp_path: Path) -> None:
    done = in_another_process(
        tmp_path,
        """
        def rows():
            os._exit(77)
            yield

        snapshots = Snapshots(directory)
        snapshots.load(1.0)
        snapshots.save(Encoded((), rows(), ()))
        """,
    )
    assert (done.returncode, done.stderr) == (77, "")
    # nothing was lost, so nothing is set aside
    assert kept_in(tmp_path) == EMPTY
    saved(tmp_path)
    assert kept_in(tmp_path) == STATE


def test_what_can_neither_be_read_nor_moved_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(30, "Read-only file system", str(self), None, str(target))

    (tmp_path / "state.sqlite3").write_bytes(b"no database" * 1000)
    monkeypatch.setattr(Path, "replace", refuse)
    snapshots = Snapshots(tmp_path)
    kept = snapshots.load(WallTime(1_800_000_000.0))
    snapshots.close()
    assert kept.counts == CountsState({}, {})
    assert "nor moved away" in kept.set_aside
    assert "Read-only file system" in kept.set_aside
