"""What Postfix asks in the course of a session, and what is counted after it.

All these tests read what was counted from one limit of every kind (LEDGER), by one further mail.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from .daemon import Daemon
from .mail_system import MailSystem
from .rules import ALICE, BOB, NOTHING, counted
from .smtp import Session, message

A, B, C, D = (f"{name}@ext.example" for name in "abcd")
OURS = "user1@local.test"


def test_n_recipients_are_n_requests_and_one_more(mail: MailSystem, daemon: Daemon) -> None:
    recipients = [f"reader{number}@ext.example" for number in range(900)]

    assert mail.connect().send(ALICE, recipients, message(300)).passed

    assert daemon.stages() == {"RCPT": 900, "END-OF-MESSAGE": 1}
    assert daemon.usage() == counted(messages=1, external=900, size=300)


def test_two_messages_in_one_session(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect()

    assert session.send(ALICE, [A, B], message(300)).passed
    assert session.send(ALICE, [A], message(400)).passed

    assert daemon.usage() == counted(messages=2, external=3, distinct=2, size=700)


def test_commands_sent_one_by_one_count_as_pipelined_ones_do(
    mail: MailSystem, daemon: Daemon
) -> None:
    session = mail.connect()
    session.command(f"MAIL FROM:<{ALICE}>")
    for recipient in (A, B):
        assert session.command(f"RCPT TO:<{recipient}>").passed
    assert session.data(message(300)).passed

    assert mail.connect().send(ALICE, [A, B], message(300)).passed

    assert daemon.usage() == counted(messages=2, external=4, distinct=2, size=600)


def test_sessions_that_share_one_policy_connection(mail: MailSystem, daemon: Daemon) -> None:
    for recipient in (A, B, C):
        session = mail.connect("keep")
        assert session.send(ALICE, [recipient], message(300)).passed
        session.quit()

    assert daemon.usage() == counted(messages=3, external=3, size=900)


def reset(session: Session) -> None:
    session.expect(250, session.command("RSET"))


def greet_again(session: Session) -> None:
    session.expect(250, session.command("EHLO again.example"))


def say_goodbye(session: Session) -> None:
    session.quit()


def vanish(session: Session) -> None:
    session.close()


def vanish_in_the_middle_of_the_content(session: Session) -> None:
    session.expect(354, session.command("DATA"))
    session.write(b"Subject: half\r\n\r\nhalf a mes")
    session.close()


@pytest.mark.parametrize(
    "abort", [reset, greet_again, say_goodbye, vanish, vanish_in_the_middle_of_the_content]
)
@pytest.mark.parametrize("listener", ["plain", "keep"])
def test_an_aborted_transaction_counts_nothing(
    mail: MailSystem, daemon: Daemon, abort: Callable[[Session], None], listener: str
) -> None:
    session = mail.connect(listener)
    assert session.envelope(ALICE, [A, B, OURS]).accepted == 3

    abort(session)

    if session.over:
        session = mail.connect(listener)
    assert session.send(ALICE, [C], message(300)).passed
    assert daemon.usage() == counted(messages=1, external=1, size=300)
    assert mail.delivered() == {C: 1}


def test_a_second_mail_command_changes_nothing(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect()
    assert session.envelope(ALICE, [A]).accepted == 1
    session.expect(503, session.command(f"MAIL FROM:<{BOB}>"))

    assert session.data(message(300)).passed

    assert daemon.usage() == counted(messages=1, external=1, size=300)


def test_a_message_that_turns_out_too_big(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect("small")

    mailing = session.send(ALICE, [A], message(40000))

    assert mailing.end.code == 552
    assert daemon.stages() == {"RCPT": 1}
    assert daemon.usage() == NOTHING
    assert mail.delivered() == {}


def test_a_message_that_says_it_is_too_big(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect("small")

    reply = session.command(f"MAIL FROM:<{ALICE}> SIZE=40000")

    assert reply.code == 552
    assert daemon.requests() == []
    assert daemon.usage() == NOTHING


def test_the_size_that_counts_is_the_one_that_came(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect().send(ALICE, [A], message(300), options=" SIZE=9000").passed

    assert daemon.usage() == counted(messages=1, external=1, size=300)


def test_content_that_postfix_refuses_after_it_asked_is_counted(
    mail: MailSystem, daemon: Daemon
) -> None:
    # the protocol has no way to hear of it
    content = b"X-Refuse-Me: yes\r\n" + message(300)

    mailing = mail.connect().send(ALICE, [A, B], content)

    assert mailing.end.code == 550
    assert daemon.usage() == counted(messages=1, external=2, size=len(content))
    assert mail.delivered() == {}


def test_bdat(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect()
    content = message(300)

    session.write(
        f"MAIL FROM:<{ALICE}>\r\nRCPT TO:<{A}>\r\nRCPT TO:<{B}>\r\nBDAT 100\r\n".encode()
        + content[:100]
        + b"BDAT 200 LAST\r\n"
        + content[100:]
    )

    assert [session.read().code for _ in range(5)] == [250] * 5
    assert daemon.usage() == counted(messages=1, external=2, size=300)
    assert mail.delivered() == Counter([A, B])
