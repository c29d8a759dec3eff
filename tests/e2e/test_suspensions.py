"""Who offends again and again may not send: mailboxes, domains, and how it is undone."""

import os
import pwd
from collections import Counter

import pytest

from .daemon import REPOSITORY, Daemon
from .ladder import (
    A_COLLEAGUE,
    A_FRIEND,
    ADMINISTRATOR,
    AT_ONCE,
    CONTACT,
    PROVIDER,
    SHARED,
    THREE,
    facts,
    is_suspended,
    ladder_rules,
    offend,
    offend_anew,
    send,
)
from .mail_system import MailSystem
from .rules import ALICE, BOB, LOCAL_DOMAIN, LOGINS

BOXES = [login for login in LOGINS if login.startswith("box") and "@sender." in login]
SHARED_BOXES = [login for login in LOGINS if "@shared." in login]
POSTMASTER, ABUSE = f"postmaster@{LOCAL_DOMAIN}", f"abuse@{LOCAL_DOMAIN}"
GERMAN = REPOSITORY / "etc" / "policyd" / "notice-de.txt"
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def port(mail: MailSystem) -> int:
    """The listener of our snippet that does not ask."""
    return mail.ports["reinjection"]


def reload(daemon: Daemon, rules: str) -> None:
    daemon.write_rules(rules)
    since = daemon.mark()
    daemon.reload()
    daemon.wait_for("reloaded", since)


def test_the_third_incident_suspends_the_mailbox_and_nobody_else(
    mail: MailSystem, port: int
) -> None:
    daemon = mail.policyd(ladder_rules(port, quiet="1s"))
    first = offend(mail)
    second = offend_anew(mail, daemon)
    assert not is_suspended(mail, ALICE)
    third = offend_anew(mail, daemon)
    daemon.wait_for("suspended", kind="mailbox", name=ALICE, incident=third)
    assert len({first, second, third}) == 3

    # from the first recipient on, and the reply says why and whom to ask
    mailing = send(mail, ALICE, [A_FRIEND, *THREE, A_COLLEAGUE], 500)
    assert [reply.code for reply in mailing.recipients] == [554] * 5
    assert mailing.end is None
    reason = "repeated violations, 3 incidents in 30 days"
    assert mailing.recipients[0].text == (
        f"5.7.1 <{A_FRIEND}>: Recipient address rejected: Sending is suspended for {ALICE}; "
        f"{reason}; ask {CONTACT}; incident {third}"
    )
    (line, *_) = daemon.events("refused", stage="RCPT")
    assert line["suspended"] == f"mailbox {ALICE}"
    assert line["reason"] == reason

    # internal mail too, whoever it pretends to be from, but not to those who can help
    assert is_suspended(mail, ALICE, A_COLLEAGUE)
    assert is_suspended(mail, ALICE, "postmaster@ext.example")
    with mail.submit(ALICE) as session:
        assert session.envelope(BOB, [A_FRIEND]).accepted == 0
    assert send(mail, ALICE, [CONTACT, POSTMASTER, ABUSE], 500).accepted == 3
    mixed = send(mail, ALICE, [A_FRIEND, POSTMASTER], 500)
    assert (mixed.accepted, mixed.passed) == (1, True)
    # another account is untouched
    assert send(mail, BOB, [A_FRIEND, A_COLLEAGUE], 500).passed

    # unless the rules let them write to the provider's own users
    rules = ladder_rules(port, quiet="1s", suspended_recipients="external")
    reload(daemon, rules)
    assert send(mail, ALICE, [A_COLLEAGUE], 500).passed
    assert is_suspended(mail, ALICE)

    notices = {ADMINISTRATOR, PROVIDER}
    got = {name: count for name, count in mail.delivered().items() if name not in notices}
    assert got == {A_FRIEND: 2, A_COLLEAGUE: 2, POSTMASTER: 2, ABUSE: 1}
    assert [delivery.sender for delivery in mail.mailbox(CONTACT) if delivery.sender] == [ALICE]
    # what a suspended mailbox tries is no further incident
    assert len(daemon.administer("incidents")["incidents"]) == 3


def test_three_mailboxes_end_sending_for_their_domain_but_not_for_a_shared_one(
    mail: MailSystem, port: int
) -> None:
    german = f"  domains:\n    - {{domains: [{SHARED}], template: {GERMAN}}}\n"
    daemon = mail.policyd(ladder_rules(port, steps=AT_ONCE, more=german))

    for box in SHARED_BOXES[:3]:
        offend(mail, box)
    incidents = [offend(mail, box) for box in BOXES[:2]]
    daemon.wait_for("suspended", name=BOXES[1])
    assert not is_suspended(mail, ALICE)
    incidents.append(offend(mail, BOXES[2]))
    daemon.wait_for("suspended", kind="domain", name="sender.example", incident=incidents[2])
    (spared,) = daemon.events("extreme-spared")

    # who has done nothing at all is refused at the first recipient
    mailing = send(mail, ALICE, [A_FRIEND], 500)
    assert mailing.recipients[0].text.endswith(
        "Sending is suspended for sender.example; extreme abuse, 3 mailboxes suspended in 7 days; "
        f"ask {CONTACT}; incident {incidents[2]}"
    )
    assert is_suspended(mail, BOB, A_COLLEAGUE)
    # the shared domain goes on without those three
    assert [is_suspended(mail, box) for box in SHARED_BOXES] == [True, True, True, False]
    names = [one["name"] for one in daemon.administer("suspensions")["suspensions"]]
    assert Counter(names) == Counter(["sender.example", *BOXES[:3], *SHARED_BOXES[:3]])

    # the domain's administrator reads it in the notice of the third
    daemon.wait_for("notice-sent", notice=f"incident {incidents[2]}")
    notices = {
        delivery.mail["X-Policyd-Incident"]: delivery.mail.get_content()
        for delivery in mail.mailbox(ADMINISTRATOR)
    }
    assert list(notices) == incidents
    assert f"The mailbox {BOXES[0]} is suspended" in " ".join(notices[incidents[0]].split())
    assert "the whole domain" not in " ".join(notices[incidents[0]].split("What you should")[0])
    sentence = (
        "Nobody of the whole domain sender.example can send mail, until an administrator lifts this"
    )
    assert sentence in " ".join(notices[incidents[2]].split())

    # the provider alone reads that a domain was spared
    daemon.wait_for("notice-sent", notice=f"extreme {spared['incident']}")
    (extreme,) = [
        delivery.mail
        for delivery in mail.mailbox(PROVIDER)
        if delivery.mail["Subject"].startswith("Extreme abuse by ")
    ]
    assert extreme["To"] == PROVIDER
    assert spared["account"] == SHARED_BOXES[2]
    assert facts(extreme.get_content())["Incident"] == spared["incident"]

    # the administrator of the shared domain reads of the three in German, letter by letter
    told = [delivery.mail for delivery in mail.mailbox(f"postmaster@{SHARED}")]
    assert [notice["Subject"] for notice in told] == [
        f"E-Mails von {box} wurden blockiert: Bulk mail (Vorfall {notice['X-Policyd-Incident']})"
        for box, notice in zip(SHARED_BOXES, told, strict=False)
    ]
    assert len(told) == 3
    for box, notice in zip(SHARED_BOXES, told, strict=False):
        assert notice.get_content_charset() == "utf-8"
        text = notice.get_content()
        assert "Umfang:      1 Nachricht(en) an 3 Empfänger\n" in text
        assert "Größe:       3.0 kB\n" in text
        assert f"Vom Konto {box} wurden E-Mails verschickt" in " ".join(text.split())


def test_lifting_restores_and_strikes_begin_anew(mail: MailSystem, port: int) -> None:
    steps = "    - {strikes: 2, do: suspend-mailbox}\n"
    daemon = mail.policyd(ladder_rules(port, quiet="1s", steps=steps))
    offend(mail)
    incident = offend_anew(mail, daemon)
    daemon.wait_for("suspended", name=ALICE)
    assert is_suspended(mail, ALICE)

    answer = daemon.administer("unsuspend", ALICE, "--reason", "password changed")

    (lifted,) = answer["lifted"]
    assert lifted["incident"] == incident
    assert (lifted["lifted_by"], lifted["lifted_why"]) == (ME, "password changed")
    assert answer["durable"] is True
    assert not is_suspended(mail, ALICE)
    assert daemon.administer("suspensions")["suspensions"] == []
    # one more is the first again, and only the second suspends
    offend_anew(mail, daemon)
    assert daemon.administer("incidents", "--open")["incidents"][0]["strike"] == 1
    assert not is_suspended(mail, ALICE)
    since = daemon.mark()
    offend_anew(mail, daemon)
    daemon.wait_for("suspended", since, name=ALICE)
    assert is_suspended(mail, ALICE)
    (row,) = daemon.ledger("audit")
    assert row["by"] == ME
    assert row["action"] == "unsuspend"
    assert row["subject"] == {"text": ALICE}
    assert row["reason"] == "password changed"


def test_administrators_suspend_and_exempt_whom_they_want(mail: MailSystem, port: int) -> None:
    daemon = mail.policyd(ladder_rules(port, mode="observe"))

    # one that ends by itself, of a domain that the rules never suspend
    for_a_while = ("--for", "5s", "--reason", "a flood")
    with pytest.raises(RuntimeError, match="force is needed"):
        daemon.administer("suspend", SHARED, *for_a_while)
    daemon.administer("suspend", SHARED, *for_a_while, "--force")
    assert is_suspended(mail, SHARED_BOXES[0])
    assert not is_suspended(mail, BOB)

    # by hand it holds also where the rules only observe
    daemon.administer("suspend", ALICE, "--for", "1h", "--reason", "stolen password")
    mailing = send(mail, ALICE, [A_FRIEND], 500)
    assert mailing.recipients[0].text.endswith(
        f"Sending is suspended for {ALICE}; stolen password; ask {CONTACT}"
    )
    one, _ = daemon.administer("suspensions", "--all")["suspensions"]  # the newest first
    assert (one["name"], one["by"], one["until_epoch"] - one["since_epoch"]) == (ALICE, ME, 3600)
    daemon.administer("unsuspend", ALICE, "--reason", "a mistake")
    assert send(mail, ALICE, [A_FRIEND], 500).passed

    daemon.wait_for("lifted", name=SHARED, lifted_by="time")
    assert not is_suspended(mail, SHARED_BOXES[0])

    reload(daemon, ladder_rules(port))
    offend(mail)
    daemon.administer("exempt", "account", ALICE, "--for", "1h", "--reason", "a newsletter")
    assert send(mail, ALICE, THREE).passed
    daemon.administer("unexempt", "account", ALICE)
    offend(mail)

    said = [
        (row["action"], row["subject"]["text"], row["reason"]) for row in daemon.ledger("audit")
    ]
    assert said == [
        ("suspend", SHARED, "a flood"),
        ("suspend", ALICE, "stolen password"),
        ("unsuspend", ALICE, "a mistake"),
        ("exempt", f"account {ALICE}", "a newsletter"),
        ("unexempt", f"account {ALICE}", ""),
    ]
    assert {row["by"] for row in daemon.ledger("audit")} == {ME}
