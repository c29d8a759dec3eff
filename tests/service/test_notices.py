"""Notices on their way: owed, written, gathered, sent, tried again, and over restarts."""

import email
import email.policy
import inspect
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.message import EmailMessage
from itertools import pairwise
from typing import Any

import pytest
from aup.building import DAY, HOUR, START, limit, policy
from service.log_lines import Lines
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from policyd.aup.event import (
    ExtremeSpared,
    IncidentClosed,
    IncidentOpened,
    Lifted,
    NearLimit,
    Suspended,
)
from policyd.aup.incident import (
    INCIDENTS,
    LADDER,
    Entry,
    Incident,
    Row,
    Sample,
    Suspension,
    SuspensionKind,
)
from policyd.aup.ladder import Ladder
from policyd.aup.ladder_rules import Aftermath, LadderRules, NoticeRules
from policyd.aup.policy import Mode, Policy
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.counting.distinct import Hasher
from policyd.service import notice_digests, notice_queue, notices
from policyd.service.early_notices import EarlyNotices
from policyd.service.maillog import MailLog
from policyd.service.notice_queue import (
    FIRST_RETRY,
    LONGEST_RETRY,
    NOTICES,
    PATIENCE,
    NoticeQueue,
    Outside,
)
from policyd.service.notices import HOLD, Notices
from policyd.service.smtp_reply import NoReplyError, Refused, RefusedError

ALICE = "alice@local.example"
ADMIN = ("postmaster@local.example", "abuse@local.example")
PROVIDER = ("abuse@local.example",)
LIMITS = (limit("bulk", title="Bulk mail", max=249), limit("daily", "account", window=DAY))
RULES = NoticeRules(
    to=("postmaster@{domain}",),
    bcc=PROVIDER,
    sender="notices@local.example",
    smtp=("127.0.0.1", 10025),
    most_per_hour=10,
    give_up=5 * DAY,
)


def parsed(data: bytes) -> EmailMessage:
    mail = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def what(mail: EmailMessage) -> str:
    """Return the line with the figures."""
    found = re.search(r"\d+ message\(s\) sent to \d+ recipient\(s\)", mail.get_content())
    assert found is not None
    return found[0]


class Server:
    """Takes the place of the SMTP server; *answers* may be functions, which are called."""

    def __init__(self) -> None:
        self.mails: list[tuple[float, tuple[str, ...], EmailMessage]] = []
        self.tries: list[float] = []
        self.answer: Callable[[Sequence[str]], Deferred[Any]] = lambda _: succeed([])
        self.under_way = 0


class World:
    """A daemon's notices and what is around them; the disk takes what it is handed at once."""

    def __init__(self, rules: NoticeRules | None = RULES, **changes: Any) -> None:
        self.clock = Clock()
        self.step = 0.0
        self.lines = Lines()
        self.server = Server()
        self.policy: Policy = policy(*LIMITS, aftermath=Aftermath(notices=rules), **changes)
        self.ladder = Ladder(LadderRules(), Hasher(b"test"))
        self.ledger: dict[str, Row] = {}
        self.incident_rows: dict[str, Row] = {}
        self.notices = self._notices()

    def _notices(self) -> Notices:
        outside = Outside(
            MailLog(self.lines),  # type: ignore[arg-type]
            self.now,
            self.clock,
            self.keep,
            self.send,
        )
        return Notices(lambda: self.policy, self.ladder, outside)

    def now(self) -> Instant:
        ticks = self.clock.seconds()
        return Instant(WallTime(START + self.step + ticks), MonotonicTime(ticks))

    def keep(self, entries: Sequence[Entry]) -> None:
        for table, name, row in entries:
            place = {NOTICES: self.ledger, INCIDENTS: self.incident_rows}[table]
            if row is None:
                place.pop(name, None)
            else:
                place[name] = {"id": name, **row}

    def send(
        self, recipients: Sequence[str], message: bytes, server: tuple[str, int]
    ) -> Deferred[Sequence[Refused]]:
        assert server == RULES.smtp
        assert self.server.under_way == 0
        self.server.under_way += 1
        self.server.tries.append(self.clock.seconds())
        done = self.server.answer(recipients)

        def over(result: Any) -> Any:
            self.server.under_way -= 1
            if isinstance(result, list):
                reached = tuple(r for r in recipients if r not in {one.recipient for one in result})
                self.server.mails.append((self.clock.seconds(), reached, parsed(message)))
            return result

        return done.addBoth(over)

    def rule(self, **changes: Any) -> None:
        """Obey changed rules."""
        assert self.policy.aftermath.notices is not None
        changed = replace(self.policy.aftermath.notices, **changes)
        self.policy = replace(self.policy, aftermath=Aftermath(notices=changed))

    def incident(self, name: str = "7KX3PQ2", account: str = ALICE, **changes: Any) -> Incident:
        """Let there be an incident."""
        now = self.now().wall
        given = {
            "id": name,
            "account": account,
            "domain": account.rpartition("@")[2],
            "limit": "bulk",
            "title": "Bulk mail",
            "opened": now,
            "last": now,
            "sample": Sample(account, ["r@away.example"], 1000),
            "strike": 1,
            "max": 249,
            "window": DAY,
            "attempts": 1,
            "messages": 1,
            "recipients": 826,
        } | changes
        self.ladder.incidents[name] = Incident(**given)  # type: ignore[arg-type]
        return self.ladder.incidents[name]

    def opened(self, name: str = "7KX3PQ2", *, notice: bool = True, **changes: Any) -> Incident:
        incident = self.incident(name, **changes)
        self.notices.happened(IncidentOpened(incident, notice))
        return incident

    def suspended(self, incident: Incident, kind: SuspensionKind, **changes: Any) -> None:
        name = incident.account if kind is SuspensionKind.MAILBOX else incident.domain
        given = {"by": LADDER, "reason": "x", "incident": incident.id} | changes
        one = Suspension(kind, name, self.now().wall, None, in_force=True, **given)
        self.ladder.suspensions.by_id[one.id] = one
        self.notices.happened(Suspended(one, incident))

    def near(self, account: str = ALICE, **changes: Any) -> None:
        given = {"limit": LIMITS[1], "most": 1000, "used": 800} | changes
        event = NearLimit(
            account=account,
            domain=account.rpartition("@")[2],
            when=self.now().wall,
            **given,  # type: ignore[arg-type]
        )
        self.notices.happened(event)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(0)
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and calls[0].getTime() <= end:
            self.clock.advance(max(calls[0].getTime() - self.clock.seconds(), 0))
            assert {name: row for _, name, row in self.notices.entries()}.keys() == (
                self.ledger.keys()
            )
        self.clock.advance(max(end - self.clock.seconds(), 0))

    def restart(self, *, away: float = 0.0) -> None:
        """Be killed, or stopped, be *away* for so long, and go on from the ledger."""
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.server.under_way = 0
        self.clock.advance(away)
        self.notices = self._notices()
        self.notices.restore(list(self.ledger.values()))

    @property
    def mails(self) -> list[EmailMessage]:
        return [mail for _, _, mail in self.server.mails]

    @property
    def readers(self) -> list[tuple[str, ...]]:
        return [readers for _, readers, _ in self.server.mails]

    def said(self, event: str) -> list[dict[str, str]]:
        return [fields for fields in self.lines.fields if fields["event"] == event]


def refusing(code: int = 550) -> Callable[[Sequence[str]], Deferred[Any]]:
    return lambda _: fail(RefusedError(code, "no"))


def down(_: Sequence[str]) -> Deferred[Any]:
    return fail(NoReplyError("no connection"))


# one notice


def test_an_incident_is_told_a_few_seconds_later_with_the_figures_of_then() -> None:
    world = World()
    incident = world.opened()
    world.later(HOLD - 0.1)
    assert world.mails == []
    incident.messages, incident.recipients = 2, 1652
    world.later(1)
    assert world.readers == [ADMIN]
    (mail,) = world.mails
    assert what(mail) == "2 message(s) sent to 1652 recipient(s)"
    assert mail["To"] == "postmaster@local.example"
    assert mail["X-Policyd-Incident"] == "7KX3PQ2"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r"<policyd\.[0-9a-f]{24}@local\.example>", mail["Message-ID"])
    assert world.ledger == {}
    assert incident.told == 1652
    assert json.loads(str(world.incident_rows["7KX3PQ2"]["data"]))["told"] == 1652
    assert [line["notice"] for line in world.said("notice-sent")] == ["incident 7KX3PQ2"]
    assert (world.notices.queue.queued, world.notices.queue.sent) == (1, 1)
    world.later(10 * DAY)
    assert len(world.mails) == 1
    assert world.clock.getDelayedCalls() == []


def test_it_is_owed_on_the_disk_at_once() -> None:
    world = World()
    world.opened()
    assert world.ledger["incident 7KX3PQ2"] == {
        "id": "incident 7KX3PQ2",
        "recipients": "[]",
        "message": b"",
        "made": START,
        "due": START + HOLD,
        "tries": 0,
        "sent": None,
    }


def test_an_incident_that_is_not_to_be_told_is_not() -> None:
    world = World()
    world.opened(notice=False)
    world.later(DAY)
    assert world.server.tries == []
    assert world.ledger == {}


@pytest.mark.parametrize("observed", [True, False])
def test_an_observed_incident_is_told_to_the_provider_if_he_wants_to_know(observed: bool) -> None:
    world = World(replace(RULES, observed=observed))
    world.opened(notice=False, observed=True)
    world.later(DAY)
    assert world.readers == ([PROVIDER] if observed else [])
    assert all(mail["Subject"].startswith("Only observed") for mail in world.mails)


def test_without_rules_nobody_is_told() -> None:
    world = World(None)
    incident = world.opened()
    world.notices.happened(IncidentClosed(incident))
    world.near()
    world.later(DAY)
    assert world.server.tries == []
    assert world.ledger == {}


def test_what_nobody_is_to_get_is_said_in_the_log() -> None:
    world = World(replace(RULES, bcc=()))
    world.opened(account="alice@away.example")
    world.later(HOLD)
    assert world.mails == []
    assert world.ledger == {}
    assert world.said("notice-given-up")[0]["why"] == "the rules name nobody who is to get it"


def test_rules_that_are_gone_when_it_is_due() -> None:
    world = World()
    world.opened()
    world.policy = policy(*LIMITS)
    world.later(HOLD)
    assert world.server.tries == []
    assert world.ledger == {}


def test_an_incident_that_is_gone_when_it_is_due() -> None:
    world = World()
    world.opened()
    world.ladder.incidents.clear()
    world.later(HOLD)
    assert world.server.tries == []
    assert world.ledger == {}
    assert len(world.said("notice-given-up")) == 1


def test_a_fault_of_ours_costs_one_notice() -> None:
    world = World()
    world.opened("BAD", title=None)
    world.opened("GOOD")
    world.later(HOLD)
    assert [mail["X-Policyd-Incident"] for mail in world.mails] == ["GOOD"]
    assert [line["task"] for line in world.said("task-failed")] == ["notices"]
    assert world.ledger == {}


@pytest.mark.parametrize("event", ["lifted", "opened twice"])
def test_what_changes_nothing(event: str) -> None:
    world = World()
    incident = world.opened()
    if event == "lifted":
        one = Suspension(SuspensionKind.MAILBOX, ALICE, world.now().wall, None, LADDER, "x")
        world.notices.happened(Lifted(one))
    else:
        world.notices.happened(IncidentOpened(incident, notice=True))
    world.later(DAY)
    assert len(world.mails) == 1


def test_whether_a_notice_is_owed_can_be_asked() -> None:
    world = World()
    assert not world.notices.is_owed("7KX3PQ2")
    incident = world.opened()
    assert world.notices.is_owed("7KX3PQ2")  # to be written
    world.server.answer = down
    world.later(60)
    assert world.notices.is_owed("7KX3PQ2")  # waits to be sent
    world.server.answer = lambda _: succeed([])
    world.later(HOUR)
    assert not world.notices.is_owed("7KX3PQ2")
    world.suspended(incident, SuspensionKind.DOMAIN)
    assert world.notices.is_owed("7KX3PQ2")
    world.rule(most_per_hour=0)
    world.later(60)
    assert world.notices.is_owed("7KX3PQ2")  # gathered
    assert not world.notices.is_owed("7KX")
    world.later(2 * HOUR)
    assert not world.notices.is_owed("7KX3PQ2")


# suspensions


def test_a_suspension_within_moments_is_told_in_the_same_notice() -> None:
    world = World()
    incident = world.opened()
    world.later(1)
    world.suspended(incident, SuspensionKind.MAILBOX)
    world.later(DAY)
    (mail,) = world.mails
    assert "The mailbox alice@local.example is suspended" in " ".join(mail.get_content().split())


def test_a_suspension_after_that_is_told_in_a_notice_of_its_own() -> None:
    world = World()
    incident = world.opened()
    world.later(HOUR)
    world.suspended(incident, SuspensionKind.MAILBOX)
    world.suspended(incident, SuspensionKind.DOMAIN)
    world.later(HOUR)
    assert len(world.mails) == 3
    for mail in world.mails[1:]:
        text = " ".join(mail.get_content().split())
        assert "The mailbox alice@local.example is suspended" in text
        assert "Nobody of the whole domain local.example can send mail" in text
    assert len({mail["Message-ID"] for mail in world.mails}) == 3


def test_a_suspension_is_told_even_where_the_incident_was_not_to_be() -> None:
    world = World()
    incident = world.opened(notice=False)
    world.suspended(incident, SuspensionKind.MAILBOX)
    world.later(DAY)
    assert len(world.mails) == 1


def test_an_administrators_suspension_is_not_told() -> None:
    world = World()
    incident = world.incident()
    one = Suspension(SuspensionKind.MAILBOX, ALICE, world.now().wall, None, "root", "x")
    world.notices.happened(Suspended(one, None))
    world.suspended(incident, SuspensionKind.MAILBOX, by="root")
    world.later(DAY)
    assert world.mails == []
    assert world.ledger == {}


def test_a_spared_domain_is_told_to_the_provider_once() -> None:
    world = World()
    incident = world.opened()
    world.notices.happened(ExtremeSpared(incident))
    world.later(DAY)
    assert world.readers == [ADMIN, PROVIDER]
    assert world.mails[1]["Subject"].startswith("Extreme abuse by alice@local.example")


# summaries


@pytest.mark.parametrize(
    ("messages", "recipients", "told"),
    [(1, 826, False), (1, 1651, False), (1, 1652, True), (2, 826, True), (3, 5000, True)],
)
def test_a_summary_tells_what_has_grown_by_much(messages: int, recipients: int, told: bool) -> None:
    world = World()
    incident = world.opened()
    world.later(HOUR)
    incident.messages, incident.recipients = messages, recipients
    incident.closed = world.now().wall
    world.notices.happened(IncidentClosed(incident))
    world.later(DAY)
    assert len(world.mails) == 1 + told
    if told:
        assert what(world.mails[1]) == (f"{messages} message(s) sent to {recipients} recipient(s)")
        assert world.mails[1]["Subject"].startswith("There was more blocked mail")


def test_of_what_was_not_told_there_is_no_summary() -> None:
    world = World()
    incident = world.opened(notice=False)
    world.later(HOUR)
    incident.recipients = 10**6
    world.notices.happened(IncidentClosed(incident))
    world.later(DAY)
    assert world.mails == []


def test_what_closes_before_it_was_told_is_told_once() -> None:
    world = World()
    incident = world.opened()
    incident.recipients, incident.closed = 9000, world.now().wall
    world.notices.happened(IncidentClosed(incident))
    world.later(DAY)
    assert [what(mail) for mail in world.mails] == ["1 message(s) sent to 9000 recipient(s)"]


def test_a_summary_after_a_restart() -> None:
    world = World()
    incident = world.opened()
    world.later(HOUR)
    world.restart()
    incident.recipients = 5000
    world.notices.happened(IncidentClosed(incident))
    world.later(DAY)
    assert len(world.mails) == 2


# early notices


def test_an_early_notice_goes_out_once_a_window() -> None:
    world = World()
    for _ in range(3):
        world.near()
        world.later(60)
    assert world.readers == [ADMIN]
    assert world.mails[0]["Subject"].startswith("alice@local.example is about to reach")
    world.near(limit=LIMITS[0])
    world.near("bob@local.example")
    world.later(60)
    assert len(world.mails) == 3
    world.later(DAY - HOUR)
    world.near()
    world.later(60)
    assert len(world.mails) == 3
    world.later(HOUR)
    world.near()
    world.later(60)
    assert len(world.mails) == 4


def test_it_is_remembered_over_restarts_and_forgotten_when_the_window_has_passed() -> None:
    world = World()
    world.near()
    world.later(60)
    (row,) = world.ledger.values()
    assert row["sent"] is not None
    assert row["message"] == b""
    assert row["due"] == START + DAY
    world.restart(away=HOUR)
    world.near()
    world.later(60)
    assert len(world.mails) == 1
    world.later(DAY + HOUR)
    assert world.ledger == {}
    assert world.clock.getDelayedCalls() == []
    world.near()
    world.later(60)
    assert len(world.mails) == 2


def test_it_is_not_repeated_while_it_waits_to_be_sent() -> None:
    world = World()
    world.server.answer = down
    world.near()
    world.later(60)
    world.near()
    world.restart()
    world.near()
    world.later(60)
    assert len(world.ledger) == 1
    world.server.answer = lambda _: succeed([])
    world.later(HOUR)
    assert len(world.mails) == 1


def test_one_that_was_sent_after_its_window_leaves_nothing() -> None:
    world = World()
    world.server.answer = down
    world.near()
    world.later(2 * DAY)
    world.server.answer = lambda _: succeed([])
    world.later(DAY)
    assert len(world.mails) == 1
    assert world.ledger == {}


@pytest.mark.parametrize("observed", [True, False])
def test_an_early_notice_of_a_limit_that_observes(observed: bool) -> None:
    world = World(replace(RULES, observed=observed))
    world.near(limit=replace(LIMITS[1], mode=Mode.OBSERVE))
    world.later(60)
    assert world.readers == ([PROVIDER] if observed else [])


@pytest.mark.parametrize("account", ["a b\n@local.example", "\udcff@local.example", "@", "a%20@x"])
def test_an_account_may_have_any_name(account: str) -> None:
    world = World()
    world.near(account)
    world.later(60)
    (name,) = world.ledger
    assert name.encode("ascii").split(b" ")[:2] == [b"warning", b"daily"]
    assert name.count(" ") == 2
    world.restart()
    world.near(account)
    world.later(60)
    assert len(world.mails) == 1


def test_early_notices_are_dropped_when_there_are_too_many() -> None:
    world = World(replace(RULES, most_per_hour=2))
    for n in range(5):
        world.near(f"u{n}@local.example")
    world.later(2 * HOUR)
    assert len(world.mails) == 2
    assert len(world.said("notice-given-up")) == 3
    assert len(world.ledger) == 2


def test_memory_for_early_notices_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policyd.service.early_notices.MOST", 3)
    monkeypatch.setattr(notices, "_MOST_NEAR", 6)
    world = World()
    for n in range(9):
        world.near(f"u{n}@local.example")
    world.later(60)
    assert len(world.mails) == 6
    assert sorted(world.ledger) == [f"warning daily u{n}@local.example" for n in (3, 4, 5)]


# trying again


def test_a_server_that_is_down_is_tried_less_and_less_often() -> None:
    world = World()
    world.server.answer = down
    world.opened()
    world.later(DAY)
    tries = [round(at - HOLD) for at in world.server.tries]
    waits = [after - before for before, after in pairwise(tries)]
    assert waits[:9] == [60, 120, 240, 480, 960, 1920, 3840, 7680, 14400]
    assert set(waits[8:]) == {LONGEST_RETRY}
    assert [line["retry_in"] for line in world.said("notice-failed")][:3] == ["60s", "120s", "240s"]
    assert world.ledger["incident 7KX3PQ2"]["tries"] == len(tries)
    world.server.answer = lambda _: succeed([])
    world.later(LONGEST_RETRY)
    assert len(world.mails) == 1
    assert world.ledger == {}
    assert world.notices.queue.failed == len(tries)


@pytest.mark.parametrize("answer", [down, refusing(550), refusing(451)])
def test_what_cannot_be_sent_is_given_up_after_days(
    answer: Callable[[Sequence[str]], Deferred[Any]],
) -> None:
    world = World()
    world.server.answer = answer
    world.opened()
    world.later(5 * DAY + LONGEST_RETRY)
    assert world.ledger == {}
    assert len(world.said("notice-given-up")) == 1
    assert world.notices.queue.given_up == 1
    assert len(world.server.tries) > 30
    world.later(DAY)
    assert world.clock.getDelayedCalls() == []


def test_a_server_that_refuses_everything_is_tried_again() -> None:
    world = World()
    world.server.answer = refusing(554)
    world.opened()
    world.later(HOLD + 1)
    assert world.said("notice-failed")[0]["why"] == "554 no"
    world.server.answer = lambda _: succeed([])
    world.later(FIRST_RETRY)
    assert len(world.mails) == 1


def test_when_the_server_is_there_again_nothing_waits_for_its_turn() -> None:
    world = World()
    world.server.answer = down
    for n in range(8):
        world.opened(f"ID{n}")
        world.later(600)
    assert world.mails == []
    world.server.answer = lambda _: succeed([])
    world.later(LONGEST_RETRY)
    first = world.server.mails[0][0]
    assert [at for at, _, _ in world.server.mails] == [first] * 8


def test_a_mail_that_hangs_does_not_stop_the_others() -> None:
    world = World()
    world.opened("POISON")
    for n in range(5):
        world.opened(f"ID{n}")

    def answer(_: Sequence[str]) -> Deferred[Any]:
        first = world.notices.queue
        mail = min(first, key=lambda mail: mail.due)
        return down(()) if "POISON" in mail.id else succeed([])

    world.server.answer = answer
    world.later(HOUR)
    assert sorted(mail["X-Policyd-Incident"] for mail in world.mails) == [
        f"ID{n}" for n in range(5)
    ]


def test_one_connection_at_a_time() -> None:
    world = World()
    waiting: list[Deferred[Any]] = []

    def answer(_: Sequence[str]) -> Deferred[Any]:
        waiting.append(Deferred())
        return waiting[-1]

    world.server.answer = answer
    for n in range(3):
        world.opened(f"ID{n}")
    for n in range(3):
        world.later(60)
        assert len(waiting) == n + 1  # the fake asserts it too
        waiting[n].callback([])
    world.later(60)
    assert len(world.mails) == 3


def test_of_several_recipients_one_is_refused() -> None:
    world = World()
    world.server.answer = lambda _: succeed([Refused(ADMIN[0], 550, "unknown user")])
    world.opened()
    world.later(DAY)
    assert world.readers == [ADMIN[1:]]
    (line,) = world.said("notice-refused")
    assert line["recipient"] == ADMIN[0]
    assert line["why"] == "550 unknown user"
    assert world.said("notice-sent")[0]["recipients"] == ADMIN[1]
    assert world.ledger == {}


def test_one_that_is_refused_for_now_is_tried_again_alone() -> None:
    world = World()
    world.server.answer = lambda _: succeed([Refused(ADMIN[0], 450, "greylisted")])
    world.opened()
    world.later(HOLD + 1)
    assert json.loads(str(world.ledger["incident 7KX3PQ2"]["recipients"])) == [ADMIN[0]]
    world.server.answer = lambda _: succeed([])
    world.restart()
    world.later(DAY)
    assert world.readers == [ADMIN[1:], ADMIN[:1]]
    assert world.ledger == {}


def test_rules_without_notices_end_what_waits() -> None:
    world = World()
    world.server.answer = down
    world.opened()
    world.later(60)
    world.policy = policy(*LIMITS)
    world.later(HOUR)
    assert world.ledger == {}
    assert len(world.said("notice-given-up")) == 1


def test_a_sender_that_raises_is_a_failure_like_any_other() -> None:
    world = World()

    def answer(_: Sequence[str]) -> Deferred[Any]:
        raise OSError("no more sockets")

    world.server.answer = answer
    world.opened()
    world.later(30)
    assert world.said("notice-failed")[0]["why"].endswith("no more sockets")
    world.server.under_way = 0
    world.server.answer = lambda _: succeed([])
    world.later(HOUR)
    assert len(world.mails) == 1


# restarts


def test_what_is_owed_is_written_after_a_kill() -> None:
    world = World()
    incident = world.opened()
    world.later(HOLD - 1)
    world.restart(away=HOUR)
    incident.recipients = 1652
    world.later(HOLD)
    assert [what(mail) for mail in world.mails] == ["1 message(s) sent to 1652 recipient(s)"]
    assert world.ledger == {}


def test_what_waits_is_sent_after_a_restart_as_it_was_written() -> None:
    world = World()
    world.server.answer = down
    incident = world.opened()
    world.later(60 + HOLD + 1)
    before = dict(world.ledger)
    incident.recipients = 9999
    world.restart()
    assert world.ledger == before
    world.server.answer = lambda _: succeed([])
    world.later(HOUR)
    assert [what(mail) for mail in world.mails] == ["1 message(s) sent to 826 recipient(s)"]
    # not before its time
    assert world.server.tries[-1] == 60 + HOLD + 120


def test_nothing_is_sent_twice_after_a_clean_restart() -> None:
    world = World()
    for n in range(4):
        world.opened(f"ID{n}")
        world.near(f"u{n}@local.example")
        world.later(2)
        world.notices.stop()
        world.restart(away=1)
    world.later(DAY)
    ids = [mail["X-Policyd-Incident"] or mail["Subject"] for mail in world.mails]
    assert len(ids) == len(set(ids)) == 8


def test_after_a_kill_during_the_sending_it_is_sent_once_more_and_can_be_told() -> None:
    world = World()
    world.server.answer = lambda _: Deferred()
    world.opened()
    world.later(HOLD + 1)
    world.restart()
    world.server.answer = lambda _: succeed([])
    world.later(HOUR)
    again = world.mails[0]["Message-ID"]
    other = World()
    other.opened()
    other.later(HOLD + 1)
    assert other.mails[0]["Message-ID"] == again


def test_how_old_a_mail_is_counts_over_restarts() -> None:
    world = World()
    world.server.answer = down
    world.opened()
    for _ in range(7):
        world.later(60)
        world.restart(away=DAY)
    world.later(LONGEST_RETRY)
    assert world.ledger == {}
    assert len(world.said("notice-given-up")) == 1


def test_a_stop_waits_for_what_is_under_way() -> None:
    world = World()
    done: Deferred[Any] = Deferred()
    world.server.answer = lambda _: done
    world.opened()
    world.opened("ID2")
    world.later(HOLD + 1)
    stopped: list[object] = []
    world.notices.stop().addCallback(stopped.append)
    world.later(PATIENCE / 2)
    assert stopped == []
    done.callback([])
    assert stopped == [None]
    assert list(world.ledger) == ["incident ID2"]
    world.later(DAY)
    assert len(world.server.tries) == 1
    assert world.clock.getDelayedCalls() == []


def test_a_stop_does_not_wait_for_ever() -> None:
    world = World()
    world.server.answer = lambda _: Deferred()
    world.opened()
    world.later(HOLD + 1)
    stopped: list[object] = []
    world.notices.stop().addCallback(stopped.append)
    world.later(PATIENCE)
    assert stopped == [None]
    assert list(world.ledger) == ["incident 7KX3PQ2"]


def test_a_stop_with_nothing_under_way() -> None:
    world = World()
    world.opened()
    world.near()
    stopped: list[object] = []
    world.notices.stop().addCallback(stopped.append)
    assert stopped == [None]
    assert world.clock.getDelayedCalls() == []


@pytest.mark.parametrize("step", [-10 * DAY, -HOUR, HOUR, 10 * DAY])
def test_a_step_of_the_clock_neither_hurries_nor_stops_the_mail(step: float) -> None:
    world = World()
    world.server.answer = down
    world.opened()
    world.later(HOUR)
    number = len(world.server.tries)
    world.step = step
    world.later(LONGEST_RETRY)
    assert len(world.server.tries) > number
    assert len(world.ledger) == 1
    world.restart()
    world.server.answer = lambda _: succeed([])
    world.later(LONGEST_RETRY)
    assert len(world.mails) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"id": "incident"},
        {"id": "nonsense 7KX3PQ2"},
        {"id": "incident X", "recipients": "{"},
        {"id": "incident X", "message": b"x", "recipients": "7"},
        {"id": "incident X", "message": b"x", "due": None},
        {"id": "incident X", "sent": "x", "made": "x"},
    ],
)
def test_a_row_that_makes_no_sense_is_dropped(row: dict[str, Any]) -> None:
    world = World()
    rest = {"recipients": "[]", "message": b"", "made": START, "due": START, "tries": 0}
    world.ledger[row["id"]] = {"sent": None} | rest | row
    world.restart()
    assert world.ledger == {}
    assert len(world.said("state-problem")) == 1
    world.opened()
    world.later(60)
    assert len(world.mails) == 1


def test_everything_can_be_written_anew() -> None:
    world = World()
    world.near()
    world.later(60)
    world.server.answer = down
    world.rule(most_per_hour=2)
    world.opened("WAITS")
    world.opened("GATHERED")
    world.later(60)
    world.opened("OWED")
    rows = {name: dict(row or {}) for _, name, row in world.notices.entries()}
    kept = {name: {k: v for k, v in row.items() if k != "id"} for name, row in world.ledger.items()}
    assert rows.keys() == kept.keys()
    assert len(rows) == 4
    kept["incident OWED"]["due"] = rows["incident OWED"]["due"]
    kept["warning daily alice@local.example"]["sent"] = START
    assert rows == kept


# an outbreak


def outbreak(world: World, number: int, **changes: Any) -> None:
    for n in range(number):
        world.opened(f"ID{n}", account=f"u{n}@local.example", recipients=n + 300, **changes)


def test_an_outbreak_becomes_one_digest_for_each_list_of_readers() -> None:
    world = World()
    outbreak(world, 700)
    world.later(HOUR - 1)
    assert len(world.mails) == 10
    assert len(world.ledger) == 690
    world.later(HOUR)
    assert sorted(world.readers[10:]) == [PROVIDER, ADMIN[:1]]
    for mail in world.mails[10:]:
        text = mail.get_content()
        assert mail["Subject"] == "Blocked mail of 690 incident(s)"
        assert text.count("message(s) sent to") == 500
        assert "And 190 more incident(s)." in text
        assert "ID10  u10@local.example: 1 message(s) sent to 310 recipient(s), Bulk mail" in text
    assert world.ledger == {}
    assert [line["incidents"] for line in world.said("notices-digested")] == ["690", "690"]
    assert world.ladder.incidents["ID10"].told == 310
    world.later(DAY)
    assert len(world.mails) == 12


def test_ten_thousand_accounts_of_many_domains_are_no_flood_for_the_provider() -> None:
    names = [f"d{n}.example" for n in range(200)]
    rules = replace(RULES, by_domain={name: (f"it@{name}",) for name in names})
    world = World(rules)
    for n in range(2000):
        world.opened(f"ID{n}", account=f"u{n}@{names[n % 200]}")
    world.later(3 * HOUR)
    provider = [readers for readers in world.readers if PROVIDER[0] in readers]
    assert len(provider) == 11
    assert len(world.mails) == 10 + 1 + 200
    per_reader = [sum(readers == (f"it@{name}",) for readers in world.readers) for name in names]
    assert set(per_reader) == {1}
    assert world.ledger == {}


def test_an_outbreak_that_goes_on_is_one_digest_an_hour() -> None:
    world = World(replace(RULES, to=(), most_per_hour=1))
    for n in range(600):
        world.opened(f"ID{n}", account=f"u{n}@local.example")
        world.later(60)
    world.later(2 * HOUR)
    digests = [at for at, _, mail in world.server.mails if "incident(s)" in mail["Subject"]]
    assert len(digests) in (10, 11)
    gaps = [after - before for before, after in pairwise(digests)]
    assert min(gaps) >= HOUR
    told = sum(int(line["incidents"]) for line in world.said("notices-digested"))
    assert told + len(world.mails) - len(digests) == 600


def test_a_new_hour_has_room_again() -> None:
    world = World()
    outbreak(world, 10)
    world.later(HOUR + HOLD)
    world.opened("LATER")
    world.later(60)
    assert len(world.mails) == 11


def test_what_is_gathered_is_not_gathered_twice() -> None:
    world = World(replace(RULES, most_per_hour=0))
    incident = world.opened()
    world.later(60)
    world.notices.happened(IncidentOpened(incident, notice=True))
    world.later(2 * HOUR)
    assert len(world.mails) == 2
    assert world.ledger == {}


@pytest.mark.parametrize("at", [60, 1800, HOUR + 1])
def test_digests_survive_restarts(at: float) -> None:
    world = World()
    outbreak(world, 50)
    world.later(min(HOUR, at))
    world.restart(away=1)
    world.opened("LATER", account="later@local.example")
    world.later(3 * HOUR)
    digests = [mail for mail in world.mails if "of 4" in mail["Subject"]]
    assert len(digests) == 2
    assert len(world.mails) - len(digests) == (11 if at > HOUR else 10)
    if at < HOUR:
        assert {mail["Subject"] for mail in digests} == {"Blocked mail of 41 incident(s)"}
    assert world.ledger == {}


def test_a_restart_between_two_digests_repeats_none() -> None:
    world = World()
    outbreak(world, 50)
    after_each: list[dict[str, Row]] = []
    write = world.notices._digests._write

    def written(*arguments: Any) -> None:
        write(*arguments)
        after_each.append(dict(world.ledger))

    world.notices._digests._write = written
    world.later(HOUR + HOLD - 1)
    assert len(world.mails) == 10
    world.later(2)
    assert len(after_each) == 2
    # as if it had been killed after the first one
    del world.server.mails[10:]
    world.ledger = after_each[0]
    world.restart()
    world.later(HOUR)
    assert sorted(world.readers[10:]) == [PROVIDER, ADMIN[:1]]
    assert world.ledger == {}


def test_what_a_digest_tells_is_told_once_in_it() -> None:
    world = World(replace(RULES, most_per_hour=0))
    incident = world.opened()
    world.later(60)
    world.suspended(incident, SuspensionKind.MAILBOX)
    world.notices.happened(ExtremeSpared(incident))
    incident.actions.append("mailbox alice@local.example suspended")
    world.later(2 * HOUR)
    assert len(world.mails) == 2
    for mail in world.mails:
        text = mail.get_content()
        assert text.count("7KX3PQ2") == 1
        assert "mailbox alice@local.example suspended" in text


def test_what_was_told_in_a_digest_has_a_summary_too() -> None:
    world = World(replace(RULES, most_per_hour=0))
    incident = world.opened()
    world.later(2 * HOUR)
    incident.recipients = 5000
    world.rule(most_per_hour=10)
    world.notices.happened(IncidentClosed(incident))
    world.later(60)
    assert [what(mail) for mail in world.mails[2:]] == ["1 message(s) sent to 5000 recipient(s)"]


def test_a_digest_of_what_is_gone_is_none() -> None:
    world = World(replace(RULES, most_per_hour=0))
    world.opened()
    world.later(60)
    world.ladder.incidents.clear()
    world.later(2 * HOUR)
    assert world.mails == []
    assert world.ledger == {}


def test_a_full_queue_gathers_and_full_digests_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice_queue, "MOST_WAITING", 2)
    monkeypatch.setattr(notice_digests, "MOST_GATHERED", 3)
    world = World()
    world.server.answer = down
    outbreak(world, 7)
    world.later(60)
    assert len(world.notices.queue) == 2
    assert len(world.ledger) == 5
    assert len(world.said("notice-given-up")) == 2
    # the digest finds no room either
    world.later(2 * HOUR)
    assert len(world.notices.queue) == 2
    assert len(world.ledger) == 2
    assert len(world.said("notice-given-up")) == 4
    assert world.notices.queue.given_up == 4


@pytest.mark.parametrize("thing", [Notices, NoticeQueue, Outside, EarlyNotices])
def test_nothing_takes_more_than_seven_arguments(thing: type) -> None:
    assert len(inspect.signature(thing).parameters) <= 7


def test_every_event_may_come() -> None:
    world = World()
    event: Any = object()
    world.notices.happened(event)
    assert world.ledger == {}
