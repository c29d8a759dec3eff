"""A refusal at the end of a message, and a session that goes on.

Postfix 3.7 does not reset the transaction then: a new RCPT continues it, its size and its number of
recipients go on from where they were, and DATA without a new RCPT kills the smtpd. `end_session`
chooses between ending the session (521, 421) and bearing with that.
"""

from collections import Counter

import pytest

from .daemon import Daemon
from .mail_system import MailSystem
from .rules import ALICE, LEDGER, NOTHING, counted, rule_file
from .smtp import message

A, B, C, D, E = (f"{name}@ext.example" for name in "abcde")
OURS = "user1@local.test"
TWO_A_MESSAGE = """\
  - {id: two, per: [account, likeness], count: recipients, recipients: external, max: 2,
     window: 24h, text: "No more than {max} people; see {aup_url}"}
"""
THREE_A_DAY = """\
  - {id: three, per: [account], count: recipients, recipients: external, max: 3, window: 24h}
"""
REFUSAL = "No more than 2 people; see https://mail.example/aup"


def rules(end_session: str) -> str:
    return rule_file(TWO_A_MESSAGE, LEDGER, end_session=end_session)


def books(daemon: Daemon) -> dict[str, int]:
    usage = daemon.usage()
    del usage["two"]
    return usage


@pytest.mark.parametrize("end_session", ["auto", "yes"])
def test_the_session_ends_with_the_refusal(mail: MailSystem, end_session: str) -> None:
    daemon = mail.policyd(rules(end_session))
    session = mail.connect()

    mailing = session.send(ALICE, [A, B, C], message(300))

    assert mailing.end.code == 521
    assert mailing.end.text.endswith(REFUSAL)
    # so there is no second DATA that could kill this smtpd
    with pytest.raises(ConnectionResetError):
        session.read()
    assert books(daemon) == NOTHING
    assert mail.delivered() == {}


def test_a_new_recipient_goes_on_with_the_transaction(mail: MailSystem) -> None:
    daemon = mail.policyd(rules("no"))
    session = mail.connect()
    mailing = session.send(ALICE, [A, B, C], message(300))
    assert mailing.end.code == 554
    assert mailing.end.text.endswith(REFUSAL)

    for recipient in (OURS, D):
        assert session.command(f"RCPT TO:<{recipient}>").passed
    assert session.data(message(450)).passed

    # counted is what is new: not the three that were refused, nor their message's size
    assert books(daemon) == counted(messages=1, external=1, everyone=2, size=450)
    assert mail.delivered() == {OURS: 1, D: 1}


def test_the_same_recipients_again_are_refused_again(mail: MailSystem) -> None:
    daemon = mail.policyd(rules("no"))
    session = mail.connect()
    assert session.send(ALICE, [A, B, C], message(300)).end.code == 554

    for recipient in (A, B, C):
        assert session.command(f"RCPT TO:<{recipient}>").passed
    reply = session.data(message(300))

    assert reply.code == 554
    assert reply.text.endswith(REFUSAL)
    assert books(daemon) == NOTHING
    assert mail.delivered() == {}


def test_after_a_reset_a_new_message_is_a_new_one(mail: MailSystem) -> None:
    daemon = mail.policyd(rules("no"))
    session = mail.connect()
    assert session.send(ALICE, [A, B, C], message(300)).end.code == 554

    session.expect(250, session.command("RSET"))
    assert session.send(ALICE, [D, E], message(300)).passed

    assert books(daemon) == counted(messages=1, external=2, size=300)
    assert mail.delivered() == Counter([D, E])


def test_data_again_without_a_recipient_lets_nothing_through(mail: MailSystem) -> None:
    daemon = mail.policyd(rules("no"))
    session = mail.connect("crash")
    assert session.send(ALICE, [A, B, C], message(300)).end.code == 554

    # the smtpd dies of it, or (since 3.8.20, 3.9.14, 3.10.13, 3.11.6) answers that this is an error
    try:
        passed = session.data(message(300)).passed
    except ConnectionError:
        passed = False

    assert not passed
    assert books(daemon) == NOTHING
    assert mail.delivered() == {}


def test_an_account_over_its_limit_is_told_at_the_first_recipient(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(THREE_A_DAY, LEDGER))
    assert mail.connect().send(ALICE, [A, B, C], message(300)).passed

    mailing = mail.connect().send(ALICE, [D, OURS, E], message(300))

    assert [reply.code for reply in mailing.recipients] == [554] * 3
    assert mailing.end is None
    assert daemon.refusals()[0]["stage"] == "RCPT"
    # its own people it may still write to
    assert mail.connect().send(ALICE, [OURS], message(300)).passed
    assert mail.delivered() == Counter([A, B, C, OURS])
