"""Who counts as a recipient, and for whom."""

from collections import Counter

import pytest

from .daemon import Daemon
from .mail_system import MailSystem
from .rules import ALICE, NOTHING, counted
from .smtp import message

A, B, C, D = (f"{name}@ext.example" for name in "abcd")
OURS = "user1@local.test"


def test_our_own_users_are_recipients_but_not_external(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect().send(ALICE, [A, OURS, "user2@local.test"], message(300)).passed

    assert daemon.usage() == counted(messages=1, external=1, everyone=3, size=300)
    assert mail.delivered() == Counter([A, OURS, "user2@local.test"])


def test_a_recipient_named_twice_counts_once(mail: MailSystem, daemon: Daemon) -> None:
    names = [A, A, "A@EXT.example", "a@Ext.Example.", B]

    mailing = mail.connect().send(ALICE, names, message(300))

    assert mailing.accepted == 5
    assert daemon.requests()[-1]["recipient_count"] == "5"
    assert daemon.usage() == counted(messages=1, external=2, size=300)
    assert {name.lower() for name in mail.delivered()} == {A, B}


def test_recipients_that_postfix_never_asks_about_do_not_count(
    mail: MailSystem, daemon: Daemon
) -> None:
    mailing = mail.connect().send(ALICE, ["postmaster", "double-bounce@mail.test", A], message(300))

    assert mailing.accepted == 3
    assert daemon.stages() == {"RCPT": 1, "END-OF-MESSAGE": 1}
    assert daemon.requests()[-1]["recipient_count"] == "3"
    assert daemon.usage() == counted(messages=1, external=1, size=300)


def test_a_tag_makes_another_recipient(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect().send(ALICE, [A, "a+tag@ext.example"], message(300)).passed

    assert daemon.usage() == counted(messages=1, external=2, size=300)


def test_an_address_that_is_routed_on_is_external_whatever_its_domain(
    mail: MailSystem, daemon: Daemon
) -> None:
    assert mail.connect().send(ALICE, ["a%ext.example@local.test"], message(300)).passed

    assert daemon.usage() == counted(messages=1, external=1, size=300)
    assert mail.delivered() == {A: 1}  # it does leave


def test_an_international_domain_is_one_domain_in_both_spellings(
    mail: MailSystem, daemon: Daemon
) -> None:
    names = ["info@bücher.example", "info@xn--bcher-kva.example", "info@BÜCHER.example"]

    mailing = mail.connect().send(ALICE, names, message(300), options=" SMTPUTF8")

    assert mailing.accepted == 3
    assert mailing.passed
    assert daemon.usage() == counted(messages=1, external=1, size=300)
    assert {name.partition("@")[0] for name in mail.delivered()} == {"info"}


def test_international_addresses_are_people_of_their_own(mail: MailSystem, daemon: Daemon) -> None:
    names = ["用户@例え.example", "jörg@ext.example", "jorg@ext.example"]

    mailing = mail.connect().send("josé@sender.example", names, message(300), options=" SMTPUTF8")

    assert mailing.accepted == 3
    assert mailing.passed
    assert daemon.usage(sender="josé@sender.example") == counted(messages=1, external=3, size=300)
    assert mail.delivered().total() == 3


@pytest.mark.parametrize(
    ("recipients", "external"),
    [
        ([A, B, "refused@later.example", "nobody@local.test"], 2),
        # which ones were refused is not told: of the set, the latest are taken away
        (["refused@later.example", "nobody@local.test", A, B], 1),
    ],
)
def test_recipients_that_a_later_check_refuses_do_not_count(
    mail: MailSystem, daemon: Daemon, recipients: list[str], external: int
) -> None:
    mailing = mail.connect("later").send(ALICE, recipients, message(300))

    assert mailing.accepted == 2
    assert mailing.passed
    assert daemon.stages() == {"RCPT": 4, "END-OF-MESSAGE": 1}
    assert daemon.usage() == counted(messages=1, external=external, everyone=2, size=300)
    assert mail.delivered() == Counter([A, B])


def test_when_a_later_check_leaves_one_recipient_it_is_that_one(
    mail: MailSystem, daemon: Daemon
) -> None:
    recipients = ["refused@later.example", A, "nobody@local.test"]

    mailing = mail.connect("later").send(ALICE, recipients, message(300))

    assert [reply.code for reply in mailing.recipients] == [554, 250, 550]
    assert mailing.passed
    assert daemon.usage() == counted(messages=1, external=1, size=300)
    assert daemon.figures(recipient=A)["distinct"].asked == 0  # A was counted before
    assert mail.delivered() == {A: 1}


def test_when_a_later_check_refuses_all_nothing_counts(mail: MailSystem, daemon: Daemon) -> None:
    mailing = mail.connect("later").send(ALICE, ["refused@later.example"], message(300))

    assert mailing.end is None
    assert daemon.stages() == {"RCPT": 1}
    assert daemon.usage() == NOTHING


def test_recipients_beyond_postfix_own_limit_are_not_asked_about(
    mail: MailSystem, daemon: Daemon
) -> None:
    mailing = mail.connect("few").send(ALICE, [A, B, C, D], message(300))

    assert [reply.code for reply in mailing.recipients] == [250, 250, 250, 452]
    assert daemon.stages() == {"RCPT": 3, "END-OF-MESSAGE": 1}
    assert daemon.usage() == counted(messages=1, external=3, size=300)


def test_the_null_sender_has_an_account_all_the_same(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect().send("", [A, B], message(300)).passed

    assert daemon.usage(sender="") == counted(messages=1, external=2, size=300)


def test_without_an_account_only_limits_that_need_none_count(
    mail: MailSystem, daemon: Daemon
) -> None:
    assert mail.connect(login="", address="192.0.2.7").send(ALICE, [A, B], message(300)).passed

    assert daemon.usage() == NOTHING | {"from-sender": 2}


def test_an_account_without_domain_has_the_default_one(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect(login="Alice").send(ALICE, [A], message(300)).passed

    assert daemon.usage() == counted(messages=1, external=1, size=300)
