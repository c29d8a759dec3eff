"""Twenty people send mail while the daemon is restarted, and while it is killed, again and again.

It runs behind the socket that we ship a unit for: whoever asks while there is no daemon waits for
the next one.
"""

import random
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from .crowd import Crowd, Sent
from .disk import Disk
from .dovecot import PASSWORD
from .mail_system import MailSystem
from .rules import ALICE, LEDGER, counted, rule_file
from .smtp import Session, message
from .supervisor import Service

Record = Callable[[str, object], None]

PEOPLE = 20
TIMES = 5
LAST_SECOND = 1.0
"""Seconds before a kill; what was counted earlier is on the disk, if that is not slow."""

ROOMY = LEDGER.replace("10000", "1000000")

# some kills then find a journal of several parts, others one that has just been emptied
SHORT_JOURNAL = "state: {snapshot_every: 2s}\n"
OF_RECIPIENTS = ("recipients", "distinct", "everyone", "held", "from-sender")
A_LOOK = Sent(0.0, 0.0, external=1, local=0, size=500, refused="")
"""What looking at the usage adds to it."""


def crowd(mail: MailSystem, *, local: bool) -> Crowd:
    login = partial(Session, tls="starttls", user=ALICE, password=PASSWORD)
    return Crowd(partial(login, mail.ports["submission"]), PEOPLE, local=local)


def total(sent: list[Sent]) -> dict[str, int]:
    """Return what the limits of LEDGER hold of them."""
    external, local = sum(one.external for one in sent), sum(one.local for one in sent)
    size = sum(one.size for one in sent)
    return counted(messages=len(sent), external=external, everyone=external + local, size=size)


def troubles(mail: MailSystem, since: int) -> list[str]:
    """Return what Postfix complains of; a request that nobody answered is told so.

    But for a connection that a busy machine took too long to make: that is tried again.
    """
    return re.findall(
        r"^.*(?:warning|error|fatal|panic): (?!problem talking .*: Operation now in progress).*$",
        mail.postfix.log(since),
        re.MULTILINE,
    )


def killed(service: Service) -> tuple[float, float]:
    """Kill the daemon; return between which moments that was."""
    before = time.monotonic()
    service.crash()
    return before, time.monotonic()


def at_risk_of(kill: tuple[float, float], sent: list[Sent], last: float) -> list[Sent]:
    """Return those that were under way at a *kill* or in the *last* seconds before it."""
    before, after = kill
    return [one for one in sent if one.began < after and one.ended > before - last]


def report(record_property: Record, people: Crowd, losses: Sequence[str] = ()) -> None:
    figures = {"sent": len(people.sent), "refused": len(people.refused()), "lost": [*losses]}
    for name, figure in figures.items():
        record_property(name, figure)
    print(figures, *people.refused(), sep="\n")


def assert_all_is_well(mail: MailSystem) -> None:
    since = mail.postfix.mark()
    with mail.submit() as session:
        assert session.send(ALICE, ["last@ext.example"], message(300)).passed
        session.quit()
    assert troubles(mail, since) == []


def test_restarts_refuse_nothing_and_lose_no_count(
    mail: MailSystem, record_property: Record
) -> None:
    service = mail.service(rule_file(ROOMY))
    since = mail.postfix.mark()

    with crowd(mail, local=True) as people:
        people.wait_until_all_have_sent()
        for _ in range(TIMES):
            service.restart()
            # Postfix asks twice, 1 s apart; the daemon must not be away both times
            people.wait_until_all_have_sent()

    report(record_property, people)
    assert people.refused() == []
    assert troubles(mail, since) == []
    assert service.ends == [0] * TIMES
    assert service.usage() == total(people.sent)
    assert mail.delivered().total() == total(people.sent)["everyone"]
    assert_all_is_well(mail)


def test_kills_refuse_at_most_one_each_and_lose_the_last_second_of_counts(
    mail: MailSystem, tmp_path: Path, record_property: Record
) -> None:
    service = mail.service(rule_file(ROOMY, more=SHORT_JOURNAL))
    since = mail.postfix.mark()
    chance = random.Random(0)
    counts: list[Sent] = []  # what was looked at was counted too
    lost = total([])
    losses: list[str] = []

    # nobody local: of a message that was cut off all recipients count as external
    with Disk(tmp_path) as disk, crowd(mail, local=False) as people:
        for _ in range(TIMES):
            people.wait_until_all_have_sent()
            time.sleep(LAST_SECOND + 2 * chance.random())
            kill = killed(service)
            service.wait_until_ready()
            with people.at_rest():
                sent = total([*people.accepted(), *counts])
                usage = service.usage()
                counts.append(A_LOOK)
                now_lost = {name: sent[name] - lost[name] - usage[name] for name in sent}
                # a write may have to wait for the one before
                last = LAST_SECOND + 2 * disk.slowest
                at_risk = total(at_risk_of(kill, people.accepted(), last))
                losses.append(f"{now_lost['messages']} of {at_risk['messages']} in {last:.2f} s")
                assert all(0 <= now_lost[name] <= at_risk[name] for name in sent), now_lost
                # a message is lost to all limits, or to none
                assert len({now_lost[name] for name in OF_RECIPIENTS}) == 1, now_lost
                lost = {name: lost[name] + now_lost[name] for name in sent}
        people.wait_until_all_have_sent()

    report(record_property, people, losses)
    assert service.ends == [-9] * TIMES
    assert len(people.refused()) <= TIMES
    assert troubles(mail, since) == []
    sent, usage = total([*people.accepted(), *counts]), service.usage()
    assert usage == {name: sent[name] - lost[name] for name in sent}
    assert mail.delivered().total() == total(people.accepted())["everyone"]
    assert_all_is_well(mail)
