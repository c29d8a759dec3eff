"""A daemon that is stopped or killed, and comes back; and one that reads its rules again."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from .daemon import Daemon
from .mail_system import MailSystem
from .rules import ALICE, BOB, LEDGER, counted, rule_file
from .smtp import message

A, B, C, D, E = (f"{name}@ext.example" for name in "abcde")
OURS, OURS_TOO = "user1@local.test", "user2@local.test"
BEYOND_GRACE = 6.5  # seconds; after 5 a transaction whose connection is closed is given up

BY_THREES = """\
  - {id: three, per: [account], count: recipients, recipients: external, max: 3, window: 24h,
     refuse: recipient, action: 452, text: "Only {max} people in {window}"}
"""
TWO_A_MESSAGE = """\
  - {id: two, per: [account, likeness], count: recipients, recipients: external, max: 2,
     window: 24h}
"""

Renewal = Callable[[Daemon], None]


def restart(daemon: Daemon) -> None:
    assert daemon.stop() == 0
    daemon.start()


def reload(daemon: Daemon) -> None:
    since = daemon.mark()
    daemon.reload()
    daemon.wait_for("reloaded", since)


def kill(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


either = pytest.mark.parametrize("renew", [restart, reload])


@either
def test_a_message_that_has_begun_is_decided_on_its_own_recipients(
    mail: MailSystem, daemon: Daemon, renew: Renewal
) -> None:
    session = mail.connect()
    assert session.envelope(ALICE, [A, OURS, B]).accepted == 3

    renew(daemon)

    assert session.data(message(300)).passed
    figures = daemon.figures(recipient=A)
    used = {name: figure.used for name, figure in figures.items()}
    assert used == counted(messages=1, external=2, everyone=3, size=300)
    assert figures["distinct"].asked == 0  # they are remembered as who they are
    assert mail.delivered() == Counter([A, B, OURS])


@either
def test_recipients_before_and_after_make_one_message(
    mail: MailSystem, daemon: Daemon, renew: Renewal
) -> None:
    session = mail.connect()
    assert session.envelope(ALICE, [A, OURS]).accepted == 2

    renew(daemon)

    for recipient in (B, OURS_TOO, A):  # A was named before
        assert session.command(f"RCPT TO:<{recipient}>").passed
    assert session.data(message(300)).passed
    assert daemon.usage() == counted(messages=1, external=2, everyone=4, size=300)


def test_a_slow_upload_outlasts_two_restarts(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect()
    assert session.envelope(ALICE, [A, OURS, B]).accepted == 3
    session.expect(354, session.command("DATA"))
    content = message(2000)
    session.write(content[:1000])

    restart(daemon)
    time.sleep(BEYOND_GRACE)
    restart(daemon)

    session.write(content[1000:] + b".\r\n")
    assert session.read().passed
    assert daemon.usage(size=2000) == counted(messages=1, external=2, everyone=3, size=2000)


@either
def test_what_is_reserved_stays_reserved(mail: MailSystem, renew: Renewal) -> None:
    daemon = mail.policyd(rule_file(BY_THREES, LEDGER))
    session = mail.connect()
    assert session.envelope(ALICE, [A, OURS, B]).accepted == 3

    renew(daemon)

    assert daemon.figures(recipient=OURS)["held"][:2] == (0, 3)
    # of three people it has had two
    replies = [session.command(f"RCPT TO:<{recipient}>").code for recipient in (C, D)]
    assert replies == [250, 452]
    assert session.data(message(300)).passed
    usage = daemon.usage(size=300)
    assert usage["three"] == 3
    assert mail.delivered() == Counter([A, B, C, OURS])


@either
def test_a_message_that_was_refused_goes_on_as_another_one(
    mail: MailSystem, renew: Renewal
) -> None:
    daemon = mail.policyd(rule_file(TWO_A_MESSAGE, LEDGER, end_session="no"))
    session = mail.connect()
    assert session.send(ALICE, [A, B, C], message(300)).end.code == 554

    renew(daemon)

    for recipient in (OURS, D):
        assert session.command(f"RCPT TO:<{recipient}>").passed
    assert session.data(message(450)).passed
    # Postfix adds the size of the one that was refused
    usage = daemon.usage(size=10_000)
    del usage["two"]
    assert usage == counted(messages=1, external=1, everyone=2, size=450)
    assert mail.delivered() == Counter([OURS, D])


def test_after_a_kill_a_message_that_has_begun_goes_by_the_number_of_recipients(
    mail: MailSystem, daemon: Daemon
) -> None:
    session = mail.connect()
    assert session.envelope(ALICE, [A, B, OURS]).accepted == 3

    kill(daemon)

    assert session.data(message(300)).passed
    assert daemon.usage() == counted(messages=1, external=3, size=300)


def test_a_restart_keeps_what_was_counted(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect().send(ALICE, [A, B], message(300)).passed

    restart(daemon)

    assert mail.connect().send(ALICE, [B, C], message(300)).passed
    assert daemon.usage() == counted(messages=2, external=4, distinct=3, size=600)


def test_a_killed_daemon_that_comes_back_counts_again(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.submit()
    assert session.send(ALICE, [A], message(300)).passed

    kill(daemon)

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
    restart(daemon)
    since = daemon.mark()

    for _ in range(3):
        assert session.send(ALICE, [A], message(300)).passed

    assert len(daemon.requests(since)) == asks
