"""The acceptable-use policy's story to its end: the administrator is told, once and exactly."""

import re
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from .ladder import (
    A_FRIEND,
    ADMINISTRATOR,
    PROVIDER,
    THREE,
    facts,
    ladder_rules,
    offend,
    send,
    shipped_in_force,
)
from .mail_system import MailSystem
from .rules import ALICE, bulk_refusal
from .smtp import message
from .waiting import wait_until

EVERYONE = [f"reader{number}@list{number % 7}.example" for number in range(1652)]
RETRIES = 50

SENTENCES = f"""\
The account {ALICE} has tried to send mail that our acceptable-use policy does not permit.
The mail was blocked and has not been delivered.
The rule is called "Bulk mail".
It permits at most 249 different recipients outside our network, for the same or similar \
content, from one account in 24 hours.
Breaking a mailing up into smaller batches, over hours, over days or over several mailboxes, \
is a violation as well.
Only this mail was blocked; other mail that the limits permit still passes.
This is incident number 1 of this account within 30 days.
Repeated violations suspend the mailbox: within 30 days, the 3rd for 24 hours, the 5th until an \
administrator lifts it.
Extreme abuse ends sending for the whole domain: mail to 5000 recipients blocked in 24 hours or \
3 mailboxes suspended in 7 days.
Change the password at once
You can read our acceptable-use policy at https://mail.example/aup
write to abuse@mail.example and give the incident number {{incident}}.
""".splitlines()


def is_between(began: float, text: str, ended: float) -> bool:
    """Tell whether the time that a notice names is right, which has no fractions of a second."""
    when = datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
    return int(began) <= when <= ended


def words(mail: EmailMessage) -> str:
    """Return the text of *mail* on one line."""
    return " ".join(mail.get_content().split())


def test_two_messages_to_1652_make_one_notice_with_the_right_figures(mail: MailSystem) -> None:
    daemon = mail.policyd(shipped_in_force(mail.ports["reinjection"]))
    sessions = mail.submit(), mail.submit()
    halves = EVERYONE[:826], EVERYONE[826:]
    envelopes = [
        session.envelope(ALICE, half) for session, half in zip(sessions, halves, strict=True)
    ]
    assert [envelope.accepted for envelope in envelopes] == [826, 826]

    began = time.time()
    replies = [session.data(message(3000)) for session in sessions]
    ended = time.time()

    # both are refused whole, and the replies say what to ask about
    (opened,) = daemon.events("incident-opened")
    incident = opened["incident"]
    for reply in replies:
        assert reply.code == 521
        assert reply.text.endswith(f"{bulk_refusal(826)}; incident {incident}")
    assert [line["incident"] for line in daemon.refusals()] == [incident] * 2
    shown = daemon.administer("incident", incident)["incident"]
    assert shown["notice"] == "owed"

    daemon.wait_for("notice-sent", notice=f"incident {incident}")
    # nobody has got anything, but for the administrator and the provider, who have the same mail
    assert mail.delivered() == {ADMINISTRATOR: 1, PROVIDER: 1}
    (delivery,) = mail.mailbox(ADMINISTRATOR)
    (copy,) = mail.mailbox(PROVIDER)
    notice = delivery.mail
    assert copy.mail["Message-ID"] == notice["Message-ID"]
    assert copy.mail.get_content() == notice.get_content()

    # as mail
    assert delivery.sender == copy.sender == ""
    assert notice["From"] == "Example Mail <abuse@mail.example>"
    assert notice["To"] == ADMINISTRATOR
    assert notice["Bcc"] is None
    assert notice["Subject"] == f"Mail from {ALICE} was blocked: Bulk mail (incident {incident})"
    assert notice["Auto-Submitted"] == "auto-generated"
    assert notice["X-Policyd-Incident"] == incident
    assert re.fullmatch(r"<policyd\.[0-9a-f]{24}@mail\.example>", notice["Message-ID"])
    assert int(began) <= parsedate_to_datetime(notice["Date"]).timestamp() <= time.time()
    assert notice["MIME-Version"] == "1.0"
    assert notice.get_content_type() == "text/plain"
    assert notice.get_content_charset() == "utf-8"
    assert notice.defects == []

    # figure by figure
    told = facts(notice.get_content())
    assert is_between(began, told.pop("First"), ended)
    assert is_between(began, told.pop("Last"), ended)
    assert told == {
        "Account": ALICE,
        "Domain": "sender.example",
        "What": "2 message(s) sent to 1652 recipient(s)",
        "Time zone": "UTC",
        "Tried": "2 time(s), from 127.0.0.1",
        "Incident": incident,
        "Sender": ALICE,
        "Recipients": ", ".join([*EVERYONE[:3], "..."]),
        "Size": "3.0 kB",
    }

    # and in words
    text = words(notice)
    for sentence in SENTENCES:
        assert sentence.format(incident=incident) in text

    # the tools say the same, and the notice was not asked about on its way
    shown = daemon.administer("incident", incident)["incident"]
    assert (shown["messages"], shown["recipients"], shown["attempts"]) == (2, 1652, 2)
    assert (shown["notice"], shown["told"]) == ("told", 1652)
    assert {line["sender"] for line in daemon.requests()} == {ALICE}
    wait_until(lambda: daemon.ledger("notices") == [], "what was sent is not kept", every=0.2)


def test_a_client_that_tries_again_50_times_climbs_nothing(mail: MailSystem) -> None:
    daemon = mail.policyd(ladder_rules(mail.ports["reinjection"]))

    named = {offend(mail) for _ in range(RETRIES)}

    (incident,) = named
    (shown,) = daemon.administer("incidents")["incidents"]
    assert shown["id"] == incident
    assert shown["strike"] == 1
    assert shown["attempts"] == RETRIES
    assert (shown["messages"], shown["recipients"]) == (1, 3)
    assert len(daemon.events("incident-opened")) == 1
    assert daemon.administer("suspensions", "--all")["suspensions"] == []
    assert send(mail, ALICE, [A_FRIEND], 500).passed
    daemon.wait_for("notice-sent", notice=f"incident {incident}")
    assert mail.delivered() == {ADMINISTRATOR: 1, PROVIDER: 1, A_FRIEND: 1}


def test_what_is_observed_is_told_to_nobody_or_to_the_provider_alone(mail: MailSystem) -> None:
    port, box = mail.ports["reinjection"], "box0@shared.example"
    steps = "    - {strikes: 1, do: notice}\n    - {strikes: 1, do: suspend-mailbox}\n"
    observe = {"mode": "observe", "steps": steps}
    daemon = mail.policyd(ladder_rules(port, **observe))

    assert send(mail, ALICE, THREE).passed

    (line,) = daemon.events("would-refuse")
    (shown,) = daemon.administer("incidents")["incidents"]
    assert (shown["id"], shown["observed"], shown["strike"]) == (line["incident"], True, 0)
    shown = daemon.administer("incident", shown["id"])["incident"]
    assert (shown["notice"], shown["actions"]) == ("none", [])
    wait_until(lambda: daemon.ledger("incidents"), "it is kept")
    assert daemon.ledger("notices") == []

    daemon.write_rules(ladder_rules(port, observed="true", **observe))
    daemon.reload()
    daemon.wait_for("reloaded")
    assert send(mail, box, THREE).passed
    (line,) = daemon.events("would-refuse", account=box)
    daemon.wait_for("notice-sent", notice=f"incident {line['incident']}")

    assert mail.delivered() == {**dict.fromkeys(THREE, 2), PROVIDER: 1}
    (delivery,) = mail.mailbox(PROVIDER)
    notice = delivery.mail
    assert notice["To"] == PROVIDER
    assert notice["Subject"].startswith(f"Only observed: mail from {box} would have been blocked")
    assert "The mail was delivered, nothing else follows" in words(notice)
    assert facts(notice.get_content())["What"] == "1 message(s) sent to 3 recipient(s)"
    assert daemon.administer("suspensions", "--all")["suspensions"] == []
    assert send(mail, ALICE, [A_FRIEND], 500).passed
    assert send(mail, box, [A_FRIEND], 500).passed
