"""What a mail client is told for each action that a limit can have."""

from collections import Counter

import pytest

from .mail_system import MailSystem
from .rules import ALICE, rule_file
from .smtp import message

A, B, C = (f"{name}@ext.example" for name in "abc")
WATCHED = """\
  - {id: watched, per: [account], count: recipients, recipients: external, max: 1000, window: 24h}
"""


def two(more: str) -> str:
    """Return a limit that only decides at the end of a message."""
    return f"""\
  - {{id: two, per: [account, likeness], count: recipients, recipients: external, max: 2,
     window: 24h, {more}}}
"""


@pytest.mark.parametrize(
    ("end_session", "action", "code", "status"),
    [
        ("auto", "action: REJECT", 521, "5.7.1"),
        ("no", "action: REJECT", 554, "5.7.1"),
        ("no", "action: 552, status: 5.5.3", 552, "5.5.3"),
        ("auto", "action: DEFER", 421, "4.7.1"),
        ("no", "action: DEFER", 450, "4.7.1"),
        ("no", "action: 452, status: 4.5.3", 452, "4.5.3"),
    ],
)
def test_a_refusal(mail: MailSystem, end_session: str, action: str, code: int, status: str) -> None:
    limit = two(f'{action}, text: "Only {{max}} people in {{window}}"')
    daemon = mail.policyd(rule_file(limit, WATCHED, end_session=end_session))
    assert mail.connect().send(ALICE, [A], message(300)).passed

    # one more than passes; not so many that they could never pass
    mailing = mail.connect().send(ALICE, [B, C], message(300))

    assert mailing.end.code == code
    assert mailing.end.text.startswith(f"{status} ")
    assert "Only 2 people in 24 hours" in mailing.end.text
    assert ("; retry in " in mailing.end.text) == (code < 500)
    assert len(str(mailing.end)) <= 510
    assert mailing.end.text.isascii()
    assert daemon.usage()["watched"] == 1
    assert mail.delivered() == {A: 1}


def test_what_can_never_pass_is_refused_for_good(mail: MailSystem) -> None:
    mail.policyd(rule_file(two("action: DEFER"), end_session="no"))

    mailing = mail.connect().send(ALICE, [A, B, C], message(300))

    assert mailing.end.code == 554
    assert mailing.end.text.startswith("5.7.1 ")
    assert mail.delivered() == {}


def test_hold_keeps_the_message_for_an_administrator(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(two("action: HOLD"), WATCHED))

    assert mail.connect().send(ALICE, [A, B, C], message(300)).passed

    line = daemon.wait_for("would-refuse")
    assert line["limit"] == "two"
    assert line["action"] == "HOLD"
    assert mail.delivered() == {}
    assert len(mail.postfix.held()) == 1
    # what the limit would have refused it has not counted; the others have
    usage = daemon.usage(size=300)
    assert (usage["two"], usage["watched"]) == (0, 3)


def test_warn_leaves_a_line_in_the_mail_log(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(two('action: WARN, text: "More than {max} people"'), WATCHED))
    since = mail.postfix.mark()

    assert mail.connect().send(ALICE, [A, B, C], message(300)).passed

    mail.postfix.wait_for_log("warn: END-OF-MESSAGE .*More than 2 people", since)
    assert daemon.wait_for("would-refuse")["limit"] == "two"
    usage = daemon.usage(size=300)
    assert (usage["two"], usage["watched"]) == (0, 3)
    assert mail.delivered() == Counter([A, B, C])


@pytest.mark.parametrize("where", ["file", "limit"])
def test_observing_refuses_nothing_and_says_what_it_would_have(
    mail: MailSystem, where: str
) -> None:
    if where == "file":
        rules = rule_file(two("action: REJECT"), WATCHED, mode="observe")
    else:
        rules = rule_file(two("action: REJECT, mode: observe"), WATCHED)
    daemon = mail.policyd(rules)

    assert mail.connect().send(ALICE, [A, B, C], message(300)).passed
    assert mail.connect().send(ALICE, [A, B], message(300)).passed

    (line,) = daemon.events("would-refuse")
    told = {"limit": "two", "used": "3", "asked": "3", "max": "2", "mode": "observe"}
    assert told.items() <= line.items()
    assert daemon.refusals() == []
    # as if it had been refused
    usage = daemon.usage(size=300)
    assert (usage["two"], usage["watched"]) == (2, 5)
    assert mail.delivered() == Counter([A, B, C, A, B])


def test_a_text_full_of_a_senders_inventions_stays_one_line(mail: MailSystem) -> None:
    limit = two('action: REJECT, text: "No, {sender}; not for {account}"')
    daemon = mail.policyd(rule_file(limit, end_session="no"))
    sender = '"x\x0bsasl_username=victim@sender.example\x1b[31m' + "y" * 900 + '"@sender.example'

    mailing = mail.connect().send(sender, [A, B, C], message(300))

    assert mailing.end.code == 554
    assert len(str(mailing.end)) <= 510
    assert mailing.end.text.isprintable()
    (line,) = daemon.refusals()
    assert line["account"] == ALICE
