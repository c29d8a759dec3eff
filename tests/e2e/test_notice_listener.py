"""Notices meet a mail server that is down, says no, or says nothing; mail is answered meanwhile."""

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


def test_a_listener_that_says_no_is_asked_again_for_whom_it_may_take_later(
    mail: MailSystem,
) -> None:
    listener = mail.listener()
    listener.refused = {
        ADMINISTRATOR: b"450 4.2.0 Mailbox busy",
        SHARED_ADMINISTRATOR: b"550 5.1.1 No such user",
    }
    daemon = mail.policyd(ladder_rules(mail.ports["notices"]))
    incident, shared = (f"incident {offend(mail, who)}" for who in (ALICE, SHARED_BOX))

    # the provider has both, and of the administrators only the one who may get it later waits
    later = daemon.wait_for("notice-failed", notice=incident)
    never = daemon.wait_for("notice-refused", notice=shared)

    assert later["why"] == "450 4.2.0 Mailbox busy"
    assert never["recipient"] == SHARED_ADMINISTRATOR
    assert never["why"] == "550 5.1.1 No such user"
    assert [delivery.recipients for delivery in listener.deliveries] == [(PROVIDER,)] * 2
    assert send(mail, BOB, [A_FRIEND], 500).passed
    daemon.stop()
    (row,) = daemon.ledger("notices")
    assert (row["id"], row["recipients"]) == (incident, f'["{ADMINISTRATOR}"]')
    daemon.keep_instead(an_hour_later(daemon.kept()))
    listener.refused.clear()
    daemon.start()
    daemon.wait_for("notice-sent", notice=incident, recipients=ADMINISTRATOR)
    assert [delivery.recipients for delivery in listener.deliveries[2:]] == [(ADMINISTRATOR,)]
    messages = [delivery.mail for delivery in listener.deliveries]
    assert messages[2]["Message-ID"] in {messages[0]["Message-ID"], messages[1]["Message-ID"]}


def test_a_listener_that_refuses_everybody_for_good_is_asked_again_too(mail: MailSystem) -> None:
    # it is the provider's own, and what is wrong with it can be mended
    listener = mail.listener()
    listener.refused = dict.fromkeys((ADMINISTRATOR, PROVIDER), b"554 5.7.1 Access denied")
    daemon = mail.policyd(ladder_rules(mail.ports["notices"]))
    notice = f"incident {offend(mail)}"

    line = daemon.wait_for("notice-failed", notice=notice)

    assert line["why"] == "554 5.7.1 Access denied"
    daemon.kill()
    (row,) = daemon.ledger("notices")
    assert (row["id"], row["sent"]) == (notice, None)


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
