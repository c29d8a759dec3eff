"""The daemon on a disk that is full, read-only or broken: it answers, counts, and writes later."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from e2e.waiting import wait_until

from .senders import Sent, all_passed, nonzero, send, total
from .small_disk import SmallDisk, mounted
from .strace import Tracer, chosen
from .victim import Victim

ANOTHER_TRY: Final = 1.8
"""Seconds after the first failure; by then another try has failed, unless the machine is slow."""


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(tmp_path)
    yield victim
    victim.close()


@pytest.fixture
def disk(victim: Victim) -> Iterator[SmallDisk]:
    with mounted(victim.state) as disk:
        yield disk
        victim.close()


def find_all(victim: Victim, sent: list[Sent]) -> None:
    """Kill the daemon: all that was *sent* is on the disk, and the next one goes on from it."""
    assert victim.kill() == -9
    assert victim.on_disk().sums == nonzero(total(sent))
    victim.start()
    since = victim.mark()
    send(victim.port, 90_000, 1)
    wait_until(lambda: victim.first_used(since), "the message is in the log")
    assert victim.first_used(since) == total(sent)


def go_through_trouble(victim: Victim, sent: list[Sent]) -> None:
    """Send mail while there is trouble, which has just begun, until it was told and a while on."""
    for at in range(5000):
        sent += send(victim.port, 10_000 + at, 1)
        if victim.told("state-trouble"):
            break
    again = time.monotonic() + ANOTHER_TRY
    while time.monotonic() < again:
        sent += send(victim.port, 20_000 + len(sent), 5)
    assert all_passed(sent)
    assert len(victim.told("state-trouble")) == 1
    assert victim.told("state-saved-again") == []


def come_out_of_trouble(victim: Victim, sent: list[Sent]) -> None:
    """See that all is written now that there is no trouble any more."""
    victim.wait_until_told("state-saved-again", 0)
    find_all(victim, sent)
    assert len(victim.told("state-trouble")) == 1
    assert len(victim.told("state-saved-again")) == 1


def start_in_trouble(victim: Victim, disk: SmallDisk, sent: list[Sent], how: str) -> None:
    """Start the daemon on a disk that takes nothing: it goes on from what was *sent*, and recovers.

    *how* is "full" or "read-only".
    """
    if how == "full":
        disk.fill()
    else:
        disk.be_read_only(True)
    victim.start()
    since = victim.mark()
    before = total(sent)
    sent += send(victim.port, 1000, 20)
    wait_until(lambda: victim.first_used(since), "the message is in the log")
    assert victim.first_used(since) == before
    victim.wait_until_told("state-trouble", 0)
    sent += send(victim.port, 2000, 20)
    if how == "full":
        disk.make_room()
    else:
        disk.be_read_only(False)
    assert all_passed(sent)
    come_out_of_trouble(victim, sent)


def test_a_full_disk_costs_no_count(victim: Victim, disk: SmallDisk) -> None:
    victim.start()
    sent = send(victim.port, 0, 20)
    disk.fill()
    go_through_trouble(victim, sent)
    disk.make_room()
    come_out_of_trouble(victim, sent)
    assert victim.told("state-problem") == []


@contextmanager
def injected(victim: Victim, calls: str, error: str) -> Iterator[None]:
    log = victim.state.parent / "strace"
    tracer = Tracer(victim.pid, victim.state, log, f"{calls}:error={error}")
    try:
        yield
    finally:
        tracer.detach()
    assert f"{error} " in log.read_text(encoding="utf-8", errors="replace")


FAILURES: Final = [
    ("pwrite64,ftruncate", "ENOSPC"),
    ("pwrite64,ftruncate,fdatasync,fsync", "EIO"),
    ("fdatasync,fsync", "EIO"),
    ("pwrite64,ftruncate,unlink,rename", "EROFS"),
]


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("calls", "error"), chosen(FAILURES, 1))
def test_a_disk_that_fails_costs_no_count(victim: Victim, calls: str, error: str) -> None:
    victim.start()
    sent = send(victim.port, 0, 20)
    with injected(victim, calls, error):
        go_through_trouble(victim, sent)
    come_out_of_trouble(victim, sent)


@pytest.mark.parametrize(
    ("how", "known"), chosen([*product(["full", "read-only"], [True, False])], 2)
)
def test_it_starts_on_a_disk_that_takes_nothing_and_recovers_by_itself(
    victim: Victim, disk: SmallDisk, known: bool, how: str
) -> None:
    sent: list[Sent] = []
    if known:
        victim.start()
        sent += send(victim.port, 0, 20)
        victim.stop()
    start_in_trouble(victim, disk, sent, how)


@pytest.mark.parametrize("how", chosen(["full", "read-only"], 1))
def test_what_a_killed_daemon_left_is_read_also_where_nothing_can_be_written(
    victim: Victim, disk: SmallDisk, how: str
) -> None:
    victim.start()
    sent = send(victim.port, 0, 50)
    wait_until(lambda: victim.on_disk().sums == nonzero(total(sent)), "all is on the disk")
    victim.kill()
    start_in_trouble(victim, disk, sent, how)
