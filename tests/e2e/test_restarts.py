"""A daemon that is stopped or killed, and comes back."""

import pytest

from .daemon import Daemon
from .mail_system import MailSystem
from .rules import ALICE, BOB, counted
from .smtp import message

A, B, C, D = (f"{name}@ext.example" for name in "abcd")
OURS = "user1@local.test"


def test_a_daemon_restarted_in_mid_transaction_goes_by_the_number_of_recipients(
    mail: MailSystem, daemon: Daemon
) -> None:
    session = mail.connect()
    assert session.envelope(ALICE, [A, B, OURS]).accepted == 3

    assert daemon.stop() == 0
    daemon.start()

    assert session.data(message(300)).passed
    assert daemon.usage() == counted(messages=1, external=3, size=300)


def test_a_restart_keeps_what_was_counted(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect().send(ALICE, [A, B], message(300)).passed

    assert daemon.stop() == 0
    daemon.start()

    assert mail.connect().send(ALICE, [B, C], message(300)).passed
    assert daemon.usage() == counted(messages=2, external=4, distinct=3, size=600)


def test_a_killed_daemon_that_comes_back_counts_again(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.submit()
    assert session.send(ALICE, [A], message(300)).passed

    daemon.kill()
    daemon.start()

    # the same smtpd, which still holds a connection to the one that is gone
    since = daemon.mark()
    assert session.send(BOB, [A, B], message(300)).passed
    assert [line["stage"] for line in daemon.requests(since)] == ["RCPT", "RCPT", "END-OF-MESSAGE"]


@pytest.mark.parametrize(("listener", "asks"), [("plain", 6), ("once", 0)])
def test_in_a_session_only_a_second_try_finds_a_restarted_daemon(
    mail: MailSystem, daemon: Daemon, listener: str, asks: int
) -> None:
    # the smtpd holds a connection to the daemon that is gone; see the snippet for main.cf
    session = mail.connect(listener)
    assert session.send(ALICE, [A], message(300)).passed
    assert daemon.stop() == 0
    daemon.start()
    since = daemon.mark()

    for _ in range(3):
        assert session.send(ALICE, [A], message(300)).passed

    assert len(daemon.requests(since)) == asks
