"""A state that cannot be read: the daemon starts all the same, says so, and deletes nothing."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from e2e.waiting import wait_until
from excuse import unable

from policyd.storage.files import COPY, DATABASE

from .senders import Sent, all_passed, nonzero, send, total
from .strace import chosen
from .victim import Victim, untied

LONGER: Final = 5.0
"""Seconds that a start may take longer than one with a good state: what is bad is not walked
through again and again. It is no measure of how fast it is."""

STRANGER: Final = 12345


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    """A daemon that has counted something and was stopped."""
    victim = Victim(tmp_path)
    yield victim
    victim.close()


def overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :: 7] = bytes(len(data[len(data) // 2 :: 7]))
    path.write_bytes(data)


def no_database(path: Path) -> None:
    path.write_bytes(b"what is this? " * 10_000)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


def one_count_changed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE buckets SET end = end + 300")
        database.commit()


def a_directory(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.mkdir()
    (path / "content").write_text("something", encoding="utf-8")


def a_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        unable("only root can give a file away")
    os.chown(path, STRANGER, STRANGER)


def unreadable(path: Path) -> None:
    path.chmod(0)


BAD: Final = [
    *(overwritten, no_database, truncated, empty, newer, one_count_changed),
    *(a_directory, a_link, a_pipe, of_another_user, unreadable),
]


def known_of(path: Path) -> tuple[object, ...]:
    """Return what can be told of *path* and is not to change when it is renamed."""
    found = path.lstat()
    link = path.readlink() if path.is_symlink() else None
    content = path.read_bytes() if path.is_file() else b""
    return found.st_mode, found.st_ino, found.st_uid, link, content


@pytest.mark.parametrize("spoil", chosen(BAD, 2), ids=lambda spoil: spoil.__name__)
def test_it_starts_says_so_once_and_keeps_what_it_cannot_read(
    victim: Victim, figure: Callable[[str], None], spoil: Callable[[Path], None]
) -> None:
    if spoil is unreadable:
        tie(victim)
    database = victim.state / DATABASE
    victim.start()
    sent = send(victim.port, 0, 50)
    victim.stop()
    good = victim.timed_start()
    assert victim.told("state-problem") == []
    victim.stop()

    spoil(database)
    before = known_of(database)
    since = victim.mark()
    took = victim.timed_start()
    sent = send(victim.port, 1000, 10)

    assert all_passed(sent)
    (problem,) = victim.told("state-problem", since)
    (aside,) = victim.state.glob(f"{DATABASE}.corrupt-*[0-9]")
    assert problem["problem"].startswith(f"{DATABASE} cannot be read: ")
    assert problem["problem"].endswith(f"; it is kept as {aside.name}")
    assert victim.told("state-trouble", since) == victim.told("state-loaded", since) == []
    assert known_of(aside) == before
    figure(f"{took:.2f} s, with a good state {good:.2f} s")
    assert took < good + LONGER
    find_all(victim, sent)


def test_it_goes_on_from_the_copy(victim: Victim, figure: Callable[[str], None]) -> None:
    database = victim.state / DATABASE
    victim.start()
    sent = send(victim.port, 0, 50)
    victim.stop()
    good = victim.timed_start()
    victim.stop()
    shutil.copy(database, victim.state / COPY)
    no_database(database)
    since = victim.mark()
    took = victim.timed_start()
    problems = [line["problem"] for line in victim.told("state-problem", since)]
    assert len(problems) == 2
    assert problems[0].startswith(f"{DATABASE} cannot be read: ")
    assert problems[1].startswith(f"counting goes on from {COPY}, made ")
    figure(f"{took:.2f} s, with a good state {good:.2f} s")
    assert took < good + LONGER
    sent += send(victim.port, 1000, 10)
    find_all(victim, sent)


def test_with_both_of_them_bad_it_starts_too(victim: Victim) -> None:
    for name in (DATABASE, COPY):
        no_database(victim.state / name)
    victim.start()
    sent = send(victim.port, 0, 10)
    assert len(victim.told("state-problem")) == 2
    for name in (DATABASE, COPY):
        assert len(list(victim.state.glob(f"{name}.corrupt-*"))) == 1
    find_all(victim, sent)


def test_of_two_daemons_on_one_state_the_second_says_so_and_the_first_goes_on(
    victim: Victim,
) -> None:
    victim.start()
    sent = send(victim.port, 0, 10)
    second = victim.second()
    assert second.returncode == 71
    assert second.stderr == f"policyd: another policyd uses {victim.state}\n"
    sent += send(victim.port, 1000, 10)
    assert all_passed(sent)
    find_all(victim, sent)
    assert victim.told("state-problem") == victim.told("state-trouble") == []


def find_all(victim: Victim, sent: list[Sent]) -> None:
    """See that all that was *sent* reaches the disk by itself, and goes on after a kill."""
    wanted = nonzero(total(sent))
    wait_until(lambda: victim.on_disk().sums == wanted, f"{wanted} is on the disk", every=0.3)
    victim.kill()
    victim.start()
    since = victim.mark()
    send(victim.port, 5000, 1)
    wait_until(lambda: victim.first_used(since), "the message is in the log")
    assert victim.first_used(since) == total(sent)


def tie(victim: Victim) -> None:
    """Let the daemon obey the permissions of files even if it is root's."""
    if os.geteuid() == 0:
        done = subprocess.run([*untied(), "true"], capture_output=True, text=True, check=False)
        if done.returncode:
            unable(f"root reads every file: {done.stderr.strip()}")
        victim.tied = True
