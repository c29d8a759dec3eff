"""A reply that is lost on its way: Postfix asks the same again a second later."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import policy
from .daemon import Daemon
from .mail_system import MailSystem
from .relay import Relay
from .rules import ALICE, AUP, LEDGER, bulk_refusal, counted, rule_file
from .smtp import message
from .waiting import wait_until

A, B, C = (f"{name}@ext.example" for name in "abc")
OURS = "user1@local.test"
FEW_BYTES = """\
  - {id: few, per: [account], count: bytes, max: 400, window: 24h,
     text: "{used} bytes are too many"}
"""
BACK_OR_GONE = 6.5  # seconds; after 5 a transaction whose connection is closed is over


@pytest.fixture
def relay(mail: MailSystem) -> Iterator[Relay]:
    relay = Relay(mail.ports["relay"], target=mail.ports["policy"])
    yield relay
    relay.close()


@pytest.mark.parametrize("stage", ["RCPT", "END-OF-MESSAGE"])
def test_a_repeated_request_counts_once(mail: MailSystem, relay: Relay, stage: str) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    session = mail.connect("lossy")
    relay.lose_next(stage)

    assert session.send(ALICE, [A, B], message(300)).passed

    assert len(relay.lost) == 1
    asked = Counter(line["stage"] for line in daemon.requests())
    assert asked == Counter({"RCPT": 2, "END-OF-MESSAGE": 1}) + Counter([stage])
    assert daemon.usage() == counted(messages=1, external=2, size=300)
    assert mail.delivered() == Counter([A, B])


def test_the_next_message_of_the_session_is_another_one(mail: MailSystem, relay: Relay) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    session = mail.connect("lossy")
    relay.lose_next("END-OF-MESSAGE")

    assert session.send(ALICE, [A, B], message(300)).passed
    assert session.send(ALICE, [A, B], message(300)).passed

    assert len(relay.lost) == 1
    assert daemon.usage() == counted(messages=2, external=4, distinct=2, size=600)


def test_a_repeated_refusal_is_the_same_refusal(mail: MailSystem, relay: Relay) -> None:
    daemon = mail.policyd(rule_file(AUP))
    recipients = [f"reader{number}@ext.example" for number in range(250)]
    session = mail.connect("lossy")
    relay.lose_next("END-OF-MESSAGE")

    mailing = session.send(ALICE, recipients, message(300))

    assert len(relay.lost) == 1
    assert mailing.end.code == 521
    assert mailing.end.text.endswith(bulk_refusal(250))
    assert mail.delivered() == {}
    # nothing is charged, and the reply that got lost is not in the way of what comes next
    assert mail.connect().send(ALICE, recipients[:249], message(300)).passed
    assert len({line["text"] for line in daemon.refusals()}) == 1


def test_a_transaction_that_came_back_is_kept_however_slow_its_client(
    mail: MailSystem, relay: Relay
) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    session = mail.connect("lossy")
    relay.lose_next("RCPT")
    assert session.envelope(ALICE, [OURS, A]).accepted == 2
    assert len(relay.lost) == 1

    time.sleep(BACK_OR_GONE)

    assert session.data(message(300)).passed
    assert daemon.usage() == counted(messages=1, external=1, everyone=2, size=300)


def test_a_refused_transaction_that_came_back_is_kept_too(mail: MailSystem, relay: Relay) -> None:
    limit = "  - {id: two, per: [account, likeness], count: recipients, max: 2, window: 24h}\n"
    daemon = mail.policyd(rule_file(limit, LEDGER, end_session="no"))
    session = mail.connect("lossy")
    relay.lose_next("END-OF-MESSAGE")
    assert session.send(ALICE, [A, B, C], message(300)).end.code == 554
    assert len(relay.lost) == 1

    time.sleep(BACK_OR_GONE)

    # Postfix goes on with it, and so does its count of bytes
    assert session.command(f"RCPT TO:<{A}>").passed
    assert session.data(message(450)).passed
    assert daemon.usage(size=450)["bytes"] == 450


@pytest.mark.parametrize("stage", ["RCPT", "END-OF-MESSAGE"])
def test_a_restart_in_between_changes_nothing(mail: MailSystem, relay: Relay, stage: str) -> None:
    service = mail.service(rule_file(LEDGER))
    session = mail.connect("lossy")
    relay.lose_next(stage)

    with ThreadPoolExecutor(1) as threads:
        mailing = threads.submit(session.send, ALICE, [A, OURS, B], message(300))
        wait_until(lambda: relay.lost, "a reply is lost")
        service.restart()
        assert mailing.result().passed

    assert service.usage() == counted(messages=1, external=2, everyone=3, size=300)
    assert mail.delivered() == Counter([A, OURS, B])


def stopped(daemon: Daemon, _: str) -> None:
    assert daemon.stop() == 0


def killed_at_once(daemon: Daemon, _: str) -> None:
    daemon.kill()


def killed_when_it_is_kept(daemon: Daemon, instance: str) -> None:
    # it takes a second at most until an answer is on the disk, and with it what it counted
    wait_until(lambda: instance in daemon.kept(), "the answer is kept")
    daemon.kill()


@pytest.mark.parametrize("ended", [stopped, killed_at_once, killed_when_it_is_kept])
@pytest.mark.parametrize(("size", "answer"), [(300, "DUNNO"), (500, "521 5.7.1 ")])
def test_a_request_repeated_after_a_restart_is_answered_the_same_and_counted_once(
    mail: MailSystem, ended: Callable[[Daemon, str], None], size: int, answer: str
) -> None:
    daemon = mail.policyd(rule_file(FEW_BYTES, LEDGER))
    at_rcpt, at_end = policy.one_mail(ALICE, A, size)
    with policy.connect(daemon.port) as connection:
        assert policy.ask(connection, at_rcpt) == "DUNNO"
        given = policy.ask(connection, at_end)
    assert given.startswith(answer)

    ended(daemon, at_end["instance"])
    daemon.start()

    # counted a second time, what passed would not pass any more
    for _ in range(2):
        with policy.connect(daemon.port) as connection:
            assert policy.ask(connection, at_end) == given
    passed = answer == "DUNNO"
    usage = daemon.usage(size=10)
    assert usage.pop("few") == size * passed
    assert usage == counted(messages=passed, external=passed, size=size * passed)
