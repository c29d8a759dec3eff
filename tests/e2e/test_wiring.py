"""Listeners that ask in other places than one would think, or not at all."""

from collections import Counter

from .daemon import Daemon
from .mail_system import MailSystem
from .rules import ALICE, NOTHING, counted
from .smtp import Session, message

A, B, C, D = (f"{name}@ext.example" for name in "abcd")
OURS = "user1@local.test"


def test_the_snippet_has_bad_recipients_refused_before_it_asks(
    mail: MailSystem, daemon: Daemon
) -> None:
    mailing = mail.submit().send(ALICE, ["nobody@local.test", "nodot", A], message(300))

    assert [reply.code for reply in mailing.recipients] == [550, 504, 250]
    assert [line["recipient"] for line in daemon.requests()] == [A, A]
    assert daemon.usage() == counted(messages=1, external=1, size=300)


def test_the_snippet_does_not_ask_about_a_client_without_login(
    mail: MailSystem, daemon: Daemon
) -> None:
    with Session(mail.ports["submission"], tls="starttls") as session:
        mailing = session.send(ALICE, [A], message(300))

    assert [reply.code for reply in mailing.recipients] == [554]
    assert daemon.requests() == []


def test_a_pass_is_no_permission_to_relay(mail: MailSystem, daemon: Daemon) -> None:
    mailing = mail.connect("early").send(ALICE, [A, OURS], message(300))

    assert [reply.code for reply in mailing.recipients] == [554, 250]
    assert "Relay access denied" in mailing.recipients[0].text
    assert daemon.usage() == counted(messages=1, external=0, everyone=1, size=300)


def test_the_service_listed_several_times_counts_once(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect("listed").send(ALICE, [A, B, OURS], message(300)).passed

    assert daemon.stages() == {"RCPT": 12, "END-OF-MESSAGE": 1}
    assert daemon.usage() == counted(messages=1, external=2, everyone=3, size=300)


def test_stages_that_do_not_count(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect("everywhere")

    session.expect(252, session.command(f"VRFY {A}"))
    session.command("ETRN ext.example")
    assert session.send(ALICE, [A, B], message(300)).passed

    seen = daemon.stages()
    assert seen["RCPT"] == 2
    assert seen["END-OF-MESSAGE"] == 1
    assert {"CONNECT", "EHLO", "MAIL", "VRFY", "ETRN", "DATA"} <= set(seen)
    assert {line["verdict"] for line in daemon.requests()} == {"DUNNO"}
    assert daemon.usage() == counted(messages=1, external=2, size=300)


def test_a_before_queue_filter_counts_once(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect("proxy")

    assert session.send(ALICE, [A, B], message(300)).passed
    assert session.send(ALICE, [C], message(300)).passed

    assert {line["queue_id"] for line in daemon.requests()} == {""}
    assert daemon.usage() == counted(messages=2, external=3, size=600)
    assert mail.delivered() == Counter([A, B, C])


def test_a_content_filter_counts_once(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect("filter").send(ALICE, [A, B], message(300)).passed

    assert mail.delivered() == Counter([A, B])
    assert daemon.usage() == counted(messages=1, external=2, size=300)


def test_a_content_filter_counts_twice_where_the_snippet_is_not_followed(
    mail: MailSystem, daemon: Daemon
) -> None:
    # shows that the two tests above can fail
    assert mail.connect("naive_filter").send(ALICE, [A, B], message(300)).passed

    mail.postfix.drain()
    assert daemon.usage()["from-sender"] == 4


def test_behind_postscreen(mail: MailSystem, daemon: Daemon) -> None:
    session = mail.connect("postscreen", address="192.0.2.7")

    assert session.send(ALICE, [A], message(300)).passed

    assert daemon.usage() == counted(messages=1, external=1, size=300)


def test_sendmail_is_not_seen(mail: MailSystem, daemon: Daemon) -> None:
    mail.postfix.sendmail(ALICE, A, message(300))

    # it is in the queue when sendmail ends
    assert mail.delivered() == {A: 1}
    assert daemon.requests() == []
    assert daemon.usage() == NOTHING


def test_with_the_end_of_the_message_alone_recipients_are_only_a_number(
    mail: MailSystem, daemon: Daemon
) -> None:
    session = mail.connect("end_only")
    assert session.send(ALICE, [A, B, OURS], message(300)).passed
    assert session.send(ALICE, [A, B, OURS], message(300)).passed
    assert session.send(ALICE, [OURS], message(300)).passed  # one alone has a name

    assert daemon.stages() == {"END-OF-MESSAGE": 3}
    usage = daemon.usage()
    assert usage["messages"] == 3
    assert usage["recipients"] == 6
    assert usage["distinct"] == 6
    assert usage["everyone"] == 7
    assert usage["bytes"] == 900


def test_with_the_recipients_alone_nothing_is_counted(mail: MailSystem, daemon: Daemon) -> None:
    assert mail.connect("rcpt_only").send(ALICE, [A, B], message(300)).passed

    assert daemon.stages() == {"RCPT": 2}
    assert daemon.usage() == NOTHING
