"""Editing the rule file of a running daemon."""

import time
from collections import Counter
from collections.abc import Callable

from .mail_system import MailSystem
from .rules import ALICE, AUP, BOB, LEDGER, bulk_refusal, rule_file
from .smtp import message

Record = Callable[[str, object], None]

READERS = [f"reader{number}@ext.example" for number in range(249)]
LATE = "late@ext.example"
EXEMPTION = """\
exempt:
  - {account: alice@sender.example, reason: newsletter approved by the board}
"""


def block(mail: MailSystem, account: str = ALICE) -> None:
    assert mail.connect(login=account).send(account, READERS, message(300)).passed
    mailing = mail.connect(login=account).send(account, [LATE], message(300))
    assert mailing.end.text.endswith(bulk_refusal(250))


def test_an_exemption_frees_a_blocked_sender(mail: MailSystem, record_property: Record) -> None:
    daemon = mail.policyd(rule_file(AUP))
    block(mail, ALICE)
    block(mail, BOB)

    daemon.write_rules(rule_file(AUP, more=EXEMPTION))
    began = time.monotonic()
    daemon.reload()
    daemon.wait_for("reloaded", patience=10)
    record_property("seconds_to_reload", round(time.monotonic() - began, 3))

    assert mail.connect().send(ALICE, [LATE], message(300)).passed
    # and nobody else; nor is anything forgotten
    assert not mail.connect(login=BOB).send(BOB, [LATE], message(300)).passed
    assert mail.delivered() == Counter(READERS * 2 + [LATE])


def test_mail_of_an_exempt_account_is_charged_nowhere(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP, more=EXEMPTION))
    assert mail.connect().send(ALICE, [*READERS, LATE], message(300)).passed

    daemon.write_rules(rule_file(AUP))
    daemon.reload()
    daemon.wait_for("reloaded")

    assert mail.connect().send(ALICE, READERS, message(300)).passed
    assert not mail.connect().send(ALICE, [LATE], message(300)).passed


def test_a_bad_edit_changes_nothing(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    block(mail)

    daemon.write_rules(rule_file(AUP, more=EXEMPTION).replace("max: 249", "maximum: 249"))
    daemon.reload()
    daemon.wait_for("reload-failed")

    mailing = mail.connect().send(ALICE, [LATE], message(300))
    assert mailing.end.text.endswith(bulk_refusal(250))
    # the file is mended, and taken
    daemon.write_rules(rule_file(AUP, more=EXEMPTION))
    daemon.reload()
    daemon.wait_for("reloaded")
    assert mail.connect().send(ALICE, [LATE], message(300)).passed
    assert mail.delivered() == Counter([*READERS, LATE])


def test_another_max_keeps_the_counts(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    block(mail)

    daemon.write_rules(rule_file(AUP).replace("max: 249", "max: 250"))
    daemon.reload()
    daemon.wait_for("reloaded")

    assert mail.connect().send(ALICE, [LATE], message(300)).passed
    assert not mail.connect().send(ALICE, ["later@ext.example"], message(300)).passed


def test_a_session_goes_on_through_a_reload(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    session = mail.connect()
    assert session.envelope(ALICE, READERS).accepted == 249

    daemon.reload()
    daemon.wait_for("reloaded")

    assert session.data(message(300)).passed
    usage = daemon.usage()
    assert usage["recipients"] == 249
    assert usage["messages"] == 1
