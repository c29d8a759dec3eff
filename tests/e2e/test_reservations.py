"""Limits that refuse single recipients hold what open transactions asked for, and let it go."""

from collections import Counter

import pytest

from .mail_system import MailSystem
from .rules import ALICE, rule_file
from .smtp import message
from .waiting import wait_until

A, B, C, D = (f"{name}@ext.example" for name in "abcd")
BY_THREES = """\
  - {id: three, per: [account], count: recipients, recipients: external, max: 3, window: 24h,
     refuse: recipient, action: 452, status: 4.5.3, text: "Only {max} people in {window}"}
"""
WIDE = """\
  - {id: wide, per: [account], count: recipients, recipients: external, max: 100, window: 24h,
     refuse: recipient}
"""


def test_the_message_goes_to_those_who_were_accepted(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(BY_THREES, WIDE))

    mailing = mail.connect().send(ALICE, [A, B, C, D, "user1@local.test"], message(300))

    assert [reply.code for reply in mailing.recipients] == [250, 250, 250, 452, 250]
    assert mailing.recipients[3].text.startswith("4.5.3 ")
    assert "Only 3 people in 24 hours" in mailing.recipients[3].text
    assert mailing.passed
    # the one that was refused is held on no limit, nor counted
    assert daemon.figures()["wide"][:2] == (3, 0)
    assert mail.delivered() == Counter([A, B, C, "user1@local.test"])


@pytest.mark.parametrize("listener", ["plain", "listed"])
def test_a_recipient_named_or_asked_about_several_times_is_held_once(
    mail: MailSystem, listener: str
) -> None:
    mail.policyd(rule_file(BY_THREES))

    mailing = mail.connect(listener).send(ALICE, [A, A, "A@EXT.example", B, C, D], message(300))

    assert [reply.code for reply in mailing.recipients] == [250] * 5 + [452]


@pytest.mark.parametrize("way", ["RSET", "EHLO again.example"])
def test_a_reset_releases_at_once(mail: MailSystem, way: str) -> None:
    mail.policyd(rule_file(BY_THREES))
    session = mail.connect()
    assert session.envelope(ALICE, [A, B, C, D]).accepted == 3

    session.expect(250, session.command(way))

    assert session.send(ALICE, [A, B, C], message(300)).accepted == 3
    assert mail.delivered() == Counter([A, B, C])


def test_the_next_session_of_the_same_smtpd_releases_at_once(mail: MailSystem) -> None:
    mail.policyd(rule_file(BY_THREES))
    session = mail.connect("keep")
    assert session.envelope(ALICE, [A, B, C, D]).accepted == 3

    session.close()

    assert mail.connect("keep").send(ALICE, [A, B, C], message(300)).accepted == 3


def test_a_client_that_vanishes_holds_nothing_for_long(mail: MailSystem) -> None:
    mail.policyd(rule_file(BY_THREES))
    session = mail.connect()
    assert session.envelope(ALICE, [A, B, C]).accepted == 3
    assert mail.connect().envelope(ALICE, [D]).accepted == 0  # all that there is, is held

    session.close()

    # the smtpd ends, its policy connection closes; 5 s later nobody will come back for it
    wait_until(
        lambda: mail.connect().send(ALICE, [D], message(300)).passed, "D gets mail", every=0.5
    )
    assert mail.connect().send(ALICE, [A, B, C], message(300)).accepted == 2
    assert mail.delivered() == Counter([A, B, D])


def test_postfix_ends_a_session_after_20_refusals_and_nothing_is_sent_or_counted(
    mail: MailSystem,
) -> None:
    daemon = mail.policyd(rule_file(BY_THREES, WIDE))
    session = mail.connect("keep")

    mailing = session.envelope(ALICE, [f"reader{number}@ext.example" for number in range(40)])

    codes = [reply.code for reply in mailing.recipients]
    assert codes == [250] * 3 + [452] * 20 + [421]
    # the retry finds the whole budget
    assert mail.connect("keep").send(ALICE, [A, B, C], message(300)).accepted == 3
    assert daemon.figures()["wide"][:2] == (3, 0)
    assert mail.delivered() == Counter([A, B, C])
