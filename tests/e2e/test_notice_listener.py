"""Notices meet a mail server that is down, says no, or says nothing; mail is answered meanwhile."""

import json

from .ladder import (
    A_FRIEND,
    ADMINISTRATOR,
    PROVIDER,
    SHARED,
    an_hour_later,
    ladder_rules,
    offend,
    send,
)
from .mail_system import MailSystem
from .rules import ALICE, BOB, LOGINS

SHARED_BOX = LOGINS[-1]
SHARED_ADMINISTRATOR = f"postmaster@{SHARED}"
A_PARTNER = "it@partner.example"
MAILS = 20


def test_a_listener_that_was_down_for_an_hour_gets_what_was_kept(mail: MailSystem) -> None:
    daemon = mail.policyd(ladder_rules(mail.ports["notices"]))
    incident = offend(mail)
    notice = f"incident {incident}"

    line = daemon.wait_for("notice-failed", notice=notice)

    assert "no connection" in line["why"]
    assert send(mail, ALICE, [A_FRIEND], 500).passed
    assert daemon.administer("incident", incident)["incident"]["notice"] == "owed"
    daemon.stop()
    kept = daemon.kept()
    (row,) = daemon.ledger("notices")
    assert (row["id"], row["tries"]) == (notice, 1)
    assert row["due"] - row["made"] > 60  # the first pause, from the first try
    daemon.keep_instead(an_hour_later(kept))
    listener = mail.listener()
    daemon.start()
    daemon.wait_for("notice-sent", notice=notice)
    (delivery,) = listener.deliveries
    assert set(delivery.recipients) == {ADMINISTRATOR, PROVIDER}
    assert delivery.mail["X-Policyd-Incident"] == incident
    assert daemon.administer("incident", incident)["incident"]["notice"] == "told"


def test_a_listener_that_says_no_is_asked_again_unless_it_has_taken_the_notice_for_some(
    mail: MailSystem,
) -> None:
    listener = mail.listener()
    listener.refused = {
        ADMINISTRATOR: b"554 5.7.1 Access denied",
        PROVIDER: b"554 5.7.1 Access denied",
        SHARED_ADMINISTRATOR: b"450 4.2.0 Mailbox busy",
    }
    to = f"    - {{domains: [{SHARED}], to: [{SHARED_ADMINISTRATOR}, {A_PARTNER}]}}\n"
    rules = ladder_rules(mail.ports["notices"], more=f"  domains:\n{to}")
    daemon = mail.policyd(rules)
    incident, shared = (f"incident {offend(mail, who)}" for who in (ALICE, SHARED_BOX))

    # for nobody: it is the provider's own, and what is wrong with it can be mended
    assert daemon.wait_for("notice-failed", notice=incident)["why"] == "554 5.7.1 Access denied"
    # for one of three
    daemon.wait_for("notice-sent", notice=shared, recipients=A_PARTNER)
    assert daemon.wait_for("notice-failed", notice=shared)["why"] == "450 4.2.0 Mailbox busy"
    never = daemon.wait_for("notice-refused", notice=shared)
    assert (never["recipient"], never["why"]) == (PROVIDER, "554 5.7.1 Access denied")
    assert [delivery.recipients for delivery in listener.deliveries] == [(A_PARTNER,)]
    assert send(mail, BOB, [A_FRIEND], 500).passed

    daemon.stop()
    rows = {row["id"]: json.loads(row["recipients"]) for row in daemon.ledger("notices")}
    assert rows == {incident: [ADMINISTRATOR, PROVIDER], shared: [SHARED_ADMINISTRATOR]}
    daemon.keep_instead(an_hour_later(daemon.kept()))
    listener.refused.clear()
    daemon.start()
    daemon.wait_for("notice-sent", notice=shared, recipients=SHARED_ADMINISTRATOR)
    daemon.wait_for("notice-sent", notice=incident, recipients=f"{PROVIDER},{ADMINISTRATOR}")
    others = [delivery.recipients for delivery in listener.deliveries[1:]]
    assert sorted(others) == [(ADMINISTRATOR, PROVIDER), (SHARED_ADMINISTRATOR,)]
    (partner,) = listener.mailbox(A_PARTNER)
    (administrator,) = listener.mailbox(SHARED_ADMINISTRATOR)
    assert partner.mail["Message-ID"] == administrator.mail["Message-ID"]


def test_a_listener_that_says_nothing_keeps_no_mail_waiting(mail: MailSystem) -> None:
    listener = mail.listener()
    listener.awake.clear()
    daemon = mail.policyd(ladder_rules(mail.ports["notices"]))
    incidents = [offend(mail, who) for who in (ALICE, SHARED_BOX)]

    daemon.wait_for("notice-queued", notice=f"incident {incidents[0]}")
    for _ in range(MAILS):
        assert send(mail, BOB, [A_FRIEND], 500).passed

    daemon.wait_for("notice-queued", notice=f"incident {incidents[1]}")
    assert daemon.events("notice-sent") == []
    assert mail.delivered() == {A_FRIEND: MAILS}
    listener.awake.set()
    for incident in incidents:
        daemon.wait_for("notice-sent", notice=f"incident {incident}")
    told = [delivery.mail["X-Policyd-Incident"] for delivery in listener.deliveries]
    assert told == incidents
