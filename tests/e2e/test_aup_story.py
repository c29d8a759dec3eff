"""The acceptable-use policy's own story, told through a submission port with real logins."""

import random
from collections import Counter

from .mail_system import MailSystem
from .rules import ALICE, AUP, BOB, bulk_refusal, rule_file
from .smtp import Mailing, message


def external(count: int) -> list[str]:
    return [f"reader{number}@list{number % 7}.example" for number in range(count)]


def local(count: int) -> list[str]:
    return [f"user{number}@local.test" for number in range(count)]


def mail_merge(
    mail: MailSystem, recipients: list[str], sizes: list[int], user: str = ALICE
) -> list[Mailing]:
    """Send each recipient a mail of their own; go on in a new session where one was ended."""
    session = mail.submit(user)
    mailings = []
    for recipient, size in zip(recipients, sizes, strict=True):
        if session.over:
            session.close()
            session = mail.submit(user)
        mailings.append(session.send(user, [recipient], message(size)))
    return mailings


def merge_sizes(count: int) -> list[int]:
    """Return sizes as a mail merge has them: names of different length, 64 bytes more or less."""
    dice = random.Random(1)
    return [2000, 2064, 1936, *(2000 + dice.randint(-64, 64) for _ in range(count - 3))]


def test_a_message_to_249_external_recipients_passes(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    recipients = external(249)

    mailing = mail.submit().send(ALICE, recipients, message(3000))

    assert mailing.passed
    assert mail.delivered() == Counter(recipients)
    assert daemon.refusals() == []


def test_a_message_to_250_is_refused_whole_and_nobody_gets_it(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))

    mailing = mail.submit().send(ALICE, external(250), message(3000))

    assert mailing.accepted == 250
    assert mailing.end.code == 521
    assert mailing.end.text.startswith("5.7.1 ")
    assert mailing.end.text.endswith(bulk_refusal(250))
    assert mail.delivered() == {}
    (line,) = daemon.refusals()
    told = {
        "limit": "bulk",
        "stage": "END-OF-MESSAGE",
        "account": ALICE,
        "domain": "sender.example",
        "client_address": "127.0.0.1",
        "sender": ALICE,
        "used": "250",
        "reserved": "0",
        "asked": "250",
        "max": "249",
        "window": "24h",
        "mode": "enforce",
        "text": bulk_refusal(250),
    }
    assert told.items() <= line.items()

    # what was refused is not charged: the full 249 may still pass, to other people at that
    others = [name.replace("reader", "other") for name in external(249)]
    assert mail.submit().send(ALICE, others, message(3000)).passed


def test_two_messages_to_826_each_are_refused_whole(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    everyone = external(1652)

    first = mail.submit().send(ALICE, everyone[:826], message(3000))
    second = mail.submit().send(ALICE, everyone[826:], message(3000))

    for mailing in (first, second):
        assert mailing.accepted == 826
        assert mailing.end.code == 521
        assert mailing.end.text.endswith(bulk_refusal(826))
    assert mail.delivered() == {}
    assert [line["limit"] for line in daemon.refusals()] == ["bulk", "bulk"]


def test_of_400_merge_mails_exactly_249_pass_and_each_refusal_says_why(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    recipients = external(400)

    mailings = mail_merge(mail, recipients, merge_sizes(400))

    assert [mailing.passed for mailing in mailings] == [True] * 249 + [False] * 151
    for mailing in mailings[249:]:
        assert mailing.end.code == 521
        assert mailing.end.text.endswith(bulk_refusal(250))
    assert mail.delivered() == Counter(recipients[:249])
    assert len(daemon.refusals()) == 151


def test_400_merge_mails_to_our_own_users_all_pass(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    recipients = local(400)

    mailings = mail_merge(mail, recipients, merge_sizes(400))

    assert all(mailing.passed for mailing in mailings)
    assert mail.delivered() == Counter(recipients)
    assert daemon.refusals() == []


def test_a_message_to_our_own_users_may_have_any_number_of_recipients(mail: MailSystem) -> None:
    mail.policyd(rule_file(AUP))
    recipients = local(600) + external(249)

    assert mail.submit().send(ALICE, recipients, message(3000)).passed

    assert mail.delivered() == Counter(recipients)


def test_the_251st_alert_to_one_address_is_refused(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    pager = "pager@monitoring.example"

    mailings = mail_merge(mail, [pager] * 251, merge_sizes(251))

    assert [mailing.passed for mailing in mailings] == [True] * 250 + [False]
    assert mailings[-1].end.text.endswith("; see https://mail.example/aup; 251 of 250 in 24 hours")
    assert mail.delivered() == {pager: 250}
    assert [line["limit"] for line in daemon.refusals()] == ["repeat"]


def test_a_second_account_is_untouched(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    recipients = external(249)
    assert mail.submit().send(ALICE, recipients, message(3000)).passed
    assert not mail.submit().send(ALICE, ["late@list.example"], message(3000)).passed

    assert mail.submit(BOB).send(BOB, recipients, message(3000)).passed
    assert not mail.submit(BOB).send(BOB, ["late@list.example"], message(3000)).passed

    assert mail.delivered() == Counter(recipients * 2)
    assert [line["account"] for line in daemon.refusals()] == [ALICE, BOB]


def test_the_login_counts_and_not_the_address_a_mail_says_it_is_from(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(AUP))
    assert mail.submit().send("news@elsewhere.example", external(249), message(3000)).passed

    mailing = mail.submit("Alice@Sender.Example").send(BOB, ["late@list.example"], message(3000))

    assert not mailing.passed
    assert daemon.refusals()[0]["account"] == ALICE
    assert mail.delivered().total() == 249


def test_submission_over_tls_from_the_first_byte_is_wired_too(mail: MailSystem) -> None:
    mail.policyd(rule_file(AUP))

    mailing = mail.submit(listener="submissions").send(ALICE, external(250), message(3000))

    assert mailing.end.text.endswith(bulk_refusal(250))
    assert mail.delivered() == {}
