"""A daemon that is not there, or does not answer, behind the snippet as it is."""

import re
import time
from collections.abc import Callable

from .mail_system import MailSystem
from .rules import ALICE, LEDGER, NOTHING, counted, rule_file
from .smtp import message

Record = Callable[[str, object], None]

A, B = "a@ext.example", "b@ext.example"

# What the snippets say a request costs. Upper bounds are wide: this is no test of the machine.
STOPPED, HANGING = 1.0, 11.0
CLIENTS_WAIT = 100.0


def report(record_property: Record, seconds: float) -> None:
    record_property("seconds_per_recipient", round(seconds, 2))
    print(f"{seconds:.2f} s for one recipient")


def timed(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


def test_mail_flows_without_the_daemon(mail: MailSystem, record_property: Record) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    assert daemon.stop() == 0
    session = mail.submit()
    since = mail.postfix.mark()

    seconds = timed(lambda: session.envelope(ALICE, [A]))

    report(record_property, seconds)
    assert STOPPED * 0.9 < seconds < CLIENTS_WAIT
    assert session.data(message(300)).passed
    assert mail.delivered() == {A: 1}
    mail.postfix.wait_for_log("problem talking to server .*Connection refused", since)


def test_mail_flows_past_a_daemon_that_hangs(mail: MailSystem, record_property: Record) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    session = mail.submit()
    daemon.freeze()
    since = mail.postfix.mark()

    seconds = timed(lambda: session.envelope(ALICE, [A]))

    report(record_property, seconds)
    assert HANGING * 0.9 < seconds < CLIENTS_WAIT
    # waking up in between does no harm: it reads requests that nobody waits for any more
    daemon.thaw()
    assert session.data(message(300)).passed
    assert mail.delivered() == {A: 1}
    mail.postfix.wait_for_log("problem talking to server .*timed out", since)
    assert daemon.usage() == counted(messages=1, external=1, size=300)


def test_a_daemon_that_hangs_at_the_end_of_a_message_delays_it_only(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    session = mail.submit()
    assert session.envelope(ALICE, [A, B]).accepted == 2

    daemon.freeze()
    assert session.data(message(300)).passed

    assert set(mail.delivered()) == {A, B}


def test_failing_closed_as_the_snippet_offers_it(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    session = mail.submit(listener="submission_closed")
    assert session.send(ALICE, [A], message(300)).passed
    assert daemon.stop() == 0

    mailing = session.send(ALICE, [B], message(300))

    (reply,) = mailing.recipients
    assert reply.code == 451
    assert re.match(
        r"4\.3\.5 .*Mail cannot be accepted right now; please send it again", reply.text
    )
    daemon.start()
    assert session.send(ALICE, [B], message(300)).passed
    assert mail.delivered() == {A: 1, B: 1}


def test_nothing_is_counted_that_was_not_asked(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    assert daemon.stop() == 0
    session = mail.submit()
    assert session.send(ALICE, [A], message(300)).passed

    daemon.start()

    assert daemon.usage() == NOTHING
