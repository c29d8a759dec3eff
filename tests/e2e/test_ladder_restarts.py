"""A daemon that is stopped or killed somewhere on the way up the ladder, or everywhere."""

import time
from collections.abc import Callable
from itertools import cycle

import pytest

from .daemon import Daemon
from .ladder import ADMINISTRATOR, is_suspended, ladder_rules, offend
from .mail_system import MailSystem
from .rules import LOGINS
from .test_restarts import kill, restart
from .waiting import wait_until

OVER = 1.2  # seconds after which an incident is over, by the rules below after 1
Renewal = Callable[[Daemon], None]


class Offender:
    """A mailbox on its way from the first incident to the lifting of its suspension."""

    def __init__(self, mail: MailSystem, daemon: Daemon, account: str) -> None:
        self.account = account
        self.incidents: list[str] = []
        self._mail = mail
        self._daemon = daemon
        self._quiet_since = 0.0

    def offend(self) -> None:
        self.incidents.append(offend(self._mail, self.account))
        self._quiet_since = time.monotonic()

    def offend_anew(self) -> None:
        """Do it again when that is another incident."""
        time.sleep(max(self._quiet_since + OVER - time.monotonic(), 0))
        self.offend()

    def be_owed(self) -> None:
        """See that a notice of the latest incident is to be written, if it has not been yet."""
        shown = self._daemon.administer("incident", self.incidents[-1])["incident"]
        assert shown["notice"] in {"owed", "told"}

    def be_told_of(self) -> None:
        self._daemon.wait_for("notice-sent", notice=f"incident {self.incidents[-1]}")

    def be_suspended(self) -> None:
        self._daemon.wait_for("suspended", name=self.account, incident=self.incidents[-1])

    def be_refused(self) -> None:
        assert is_suspended(self._mail, self.account)

    def be_freed(self) -> None:
        self._daemon.administer("unsuspend", self.account, "--reason", "cured")

    def be_heard(self) -> None:
        assert not is_suspended(self._mail, self.account)


Step = Callable[[Offender], None]
WAY: list[Step] = [
    *(Offender.offend, Offender.be_owed),
    *(Offender.offend_anew, Offender.offend_anew),
    *(Offender.be_suspended, Offender.be_refused),
    *(Offender.be_freed, Offender.be_heard),
]
ALL_OF_THEM = LOGINS[2 : len(WAY) + 2]


def check(mail: MailSystem, daemon: Daemon, offenders: list[Offender], most_notices: int) -> None:
    """See that all is as if nothing had been in between."""
    shown = daemon.administer("incidents")["incidents"]
    assert {(one["account"], one["strike"]): one["id"] for one in shown} == {
        (offender.account, strike): incident
        for offender in offenders
        for strike, incident in enumerate(offender.incidents, 1)
    }
    suspensions = daemon.administer("suspensions", "--all")["suspensions"]
    assert {one["name"]: one["incident"] for one in suspensions} == {
        offender.account: offender.incidents[-1] for offender in offenders
    }
    assert {(one["holds"], one["lifted_why"]) for one in suspensions} == {(False, "cured")}
    assert len(shown) == 3 * len(suspensions)
    for one in shown:
        daemon.wait_for("notice-sent", notice=f"incident {one['id']}")
    notices = [delivery.mail for delivery in mail.mailbox(ADMINISTRATOR)]
    for one in shown:
        ids = [told["Message-ID"] for told in notices if told["X-Policyd-Incident"] == one["id"]]
        assert 1 <= len(ids) <= most_notices
        assert len(set(ids)) == 1
    wait_until(lambda: daemon.ledger("notices") == [], "none is owed any more", every=0.2)


def wait_until_kept(daemon: Daemon, *offenders: Offender) -> None:
    """Wait for the disk, as no answer does."""
    names = {one.incidents[-1] for one in offenders if one.incidents}
    wait_until(lambda: names <= {row["id"] for row in daemon.ledger("incidents")}, "they are kept")


@pytest.mark.parametrize(("renew", "most_notices"), [(restart, 1), (kill, 2)])
def test_it_does_not_matter_where_on_the_way_the_daemon_ended(
    mail: MailSystem, renew: Renewal, most_notices: int
) -> None:
    daemon = mail.policyd(
        ladder_rules(mail.ports["reinjection"], quiet="1s", mailboxes=len(WAY) + 1)
    )
    # each has taken a step less than the one before when it ends
    offenders = [Offender(mail, daemon, login) for login in ALL_OF_THEM]
    for number, step in enumerate(WAY):
        for offender in offenders[: len(WAY) - 1 - number]:
            step(offender)
    wait_until_kept(daemon, *offenders)

    renew(daemon)

    for number, step in enumerate(WAY):
        for offender in offenders[len(WAY) - 1 - number :]:
            step(offender)
    check(mail, daemon, offenders, most_notices)


def test_the_whole_way_with_an_end_after_every_step(mail: MailSystem) -> None:
    daemon = mail.policyd(ladder_rules(mail.ports["reinjection"], quiet="1s"))
    offender = Offender(mail, daemon, ALL_OF_THEM[0])

    for step, renew in zip([*WAY, Offender.be_told_of], cycle([kill, restart]), strict=False):
        step(offender)
        if renew is kill:
            wait_until_kept(daemon, offender)
        renew(daemon)

    check(mail, daemon, [offender], most_notices=2)
