"""Limits by content: what the policy service and the milter say of a message, in any order."""

import random
from dataclasses import replace

import pytest
from aup.building import DAY, HOUR, Desk, external, limit, policy, request
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.aup.address import LocalDomains
from policyd.aup.awaiting import WAITS
from policyd.aup.deciding_content import Shown
from policyd.aup.decision import Decision
from policyd.aup.event import Blocked, Decided, Exceeded, IncidentOpened
from policyd.aup.incident import Suspension, SuspensionKind
from policyd.aup.match import Matcher, condition
from policyd.aup.policy import (
    Action,
    Count,
    Exemption,
    Likeness,
    LikenessBy,
    Mode,
    Policy,
    Recipients,
    State,
)
from policyd.aup.transaction import Connection
from policyd.content.fingerprint import Fingerprint, Kind
from policyd.protocol.request import Request, Stage

BY_CONTENT = Likeness(LikenessBy.CONTENT)
ALL = limit("all", "account", max=1000, count=Count.RECIPIENTS, recipients=Recipients.ALL)


def sketch(name: object, subject: str = "", **changes: bool) -> Fingerprint:
    """Return a fingerprint of its own for each *name*."""
    hashes = tuple(sorted(random.Random(repr(name)).sample(range(1 << 32), 64)))
    return Fingerprint(Kind.SKETCH, hashes, subject, **changes)


NEWS, OTHER = sketch("news", "Buy now"), sketch("other")
ENCRYPTED = Fingerprint(Kind.UNKNOWN)


def rules(*limits: object, **changes: object) -> Policy:
    return policy(*limits or (limit(max=3), ALL), likeness=BY_CONTENT, **changes)  # type: ignore[arg-type]


class House(Desk):
    """A desk with a milter beside it; *checked* at each step, which takes longer than the step."""

    def __init__(self, rules: Policy, *, checked: bool = True, **options: bool) -> None:
        super().__init__(rules, **options)
        self.engine.awaiting.watches = True
        self._checked = checked

    def ask(self, asked: Request, connection: Connection | None = None) -> Decision:
        if self._checked:
            return super().ask(asked, connection)
        return self.engine.decide(asked, connection or self.connection, self.now)

    def check(self) -> None:
        if self._checked:
            self.engine._check()

    @property
    def queue_id(self) -> str:
        return f"Q{self._messages}"

    def expect(self) -> None:
        self.engine.awaiting.expect(self.queue_id)

    def drop(self) -> None:
        self.engine.awaiting.drop(self.queue_id)
        self.check()

    def shown(
        self, fingerprint: Fingerprint, *recipients: str, size: int = 1000, login: str = "alice"
    ) -> Decision:
        """Show a message; return the decision."""
        attributes = {
            "client_address": "192.0.2.7",
            "sender": "alice@local.example",
            "recipient_count": str(len(recipients)),
            "sasl_username": login,
            "size": str(size),
            "queue_id": self.queue_id,
        }
        shown = Shown(self.queue_id, attributes, recipients, fingerprint)
        decision = self.engine.show(shown, self.now)
        self.check()
        return decision

    def show(self, fingerprint: Fingerprint, *recipients: str) -> str:
        """Show the present message; return the verb of the answer."""
        return self.shown(fingerprint, *recipients).verdict.verb

    def send(self, fingerprint: Fingerprint, *recipients: str, size: int = 1000) -> str:
        """Send a whole message that both see; return the verb of the answer that counts."""
        self.next_message()
        for recipient in recipients:
            assert self.rcpt(recipient) == "DUNNO"
        self.expect()
        only = recipients[0] if len(recipients) == 1 else ""
        if (verb := self.end(len(recipients), recipient=only, size=size)) != "DUNNO":
            self.drop()
            return verb
        return self.show(fingerprint, *recipients)

    @property
    def held(self) -> tuple[int, int]:
        return self.usage("bulk"), self.usage("all")


# the story


def test_alike_mail_is_refused_whatever_its_size_and_other_mail_is_not() -> None:
    house = House(rules(limit(max=249), ALL), checked=False)
    verbs = [house.send(NEWS, one, size=n * 1000) for n, one in enumerate(external(400))]
    assert verbs == ["DUNNO"] * 249 + ["REJECT"] * 151
    others = external(100, start=400)
    assert {house.send(sketch(n), one) for n, one in enumerate(others)} == {"DUNNO"}
    assert house.held == (349, 349)
    house.engine._check()


def test_nothing_is_counted_before_the_content_and_all_with_it() -> None:
    house = House(rules())
    house.next_message()
    house.rcpt("r0@away.example")
    house.expect()
    assert house.end(1, recipient="r0@away.example") == "DUNNO"
    assert house.held == (0, 0)
    assert house.show(NEWS, "r0@away.example") == "DUNNO"
    assert house.held == (1, 1)


def test_the_refusal_is_the_milters_and_is_told_as_ever() -> None:
    house = House(rules(limit(max=0, strike=True), ALL))
    house.next_message()
    house.rcpt("r0@away.example")
    house.expect()
    # this Postfix could not go on after a refusal by the policy service, and can after a milter's
    house.end(1, recipient="r0@away.example", mail_version="3.7.11", size=4321)
    decision = house.shown(NEWS, "R0@away.example")

    assert decision.verdict[:2] == ("REJECT", "5.7.1")
    exceeded, opened, decided = decision.events
    assert isinstance(exceeded, Exceeded)
    assert (exceeded.stage, exceeded.refused, exceeded.subject) == (Stage.CONTENT, True, "Buy now")
    assert exceeded.request["mail_version"] == "3.7.11"  # of what the policy service was told
    assert isinstance(opened, IncidentOpened)
    sample = opened.incident.sample
    assert (sample.subject, sample.size, sample.recipients) == (
        "Buy now",
        4321,
        ["r0@away.example"],
    )
    assert opened.incident.id == exceeded.incident
    assert isinstance(decided, Decided)
    assert decided.request["protocol_state"] == "CONTENT"
    assert house.held == (0, 0)


def test_subjects_may_be_left_alone() -> None:
    quiet = replace(rules(limit(max=0, strike=True)), likeness=replace(BY_CONTENT, subjects=False))
    house = House(quiet)
    house.next_message()
    exceeded, opened, _ = house.shown(NEWS, "r0@away.example").events
    assert (exceeded.subject, opened.incident.sample.subject) == ("", "")


def test_the_same_mail_again_is_one_message_of_the_incident() -> None:
    house = House(rules(limit(max=0, strike=True)))
    for _ in range(3):
        assert house.send(NEWS, "r0@away.example") == "REJECT"
    (incident,) = house.engine.ladder.incidents.values()
    assert (incident.attempts, incident.messages, incident.recipients) == (3, 1, 1)


def test_limits_without_likeness_refuse_before_the_content() -> None:
    few = limit("all", "account", max=1, count=Count.RECIPIENTS)
    house = House(rules(limit(max=3), few))
    assert house.send(NEWS, *external(2)) == "521"
    assert house.engine.awaiting.take(house.queue_id) is None
    assert house.held == (0, 0)


def test_a_limit_may_have_been_reached_between_the_two() -> None:
    few = limit("all", "account", max=1, count=Count.RECIPIENTS)
    house = House(rules(limit(max=3), few))
    for name in ("Q1", "Q2"):
        house.next_message()
        house.expect()
        house.rcpt(f"{name}@away.example")
        assert house.end(1, recipient=f"{name}@away.example") == "DUNNO"
    assert house.show(NEWS, "Q2@away.example") == "DUNNO"
    house._messages = 1
    assert house.show(NEWS, "Q1@away.example") == "REJECT"


@pytest.mark.parametrize(("verb", "said"), [("WARN", "WARN"), ("HOLD", "HOLD")])
def test_what_is_no_refusal_is_said_once_at_the_end(verb: str, said: str) -> None:
    soft = limit("all", "account", max=0, count=Count.RECIPIENTS, action=Action(verb, ""))
    house = House(rules(limit(max=3), soft))
    house.next_message()
    house.rcpt("r0@away.example")
    house.expect()
    early = house.ask(
        request("END-OF-MESSAGE", recipient_count=1, instance="1.1.1.0", queue_id="Q1")
    )
    assert early.verdict.verb == "DUNNO"
    assert not [event for event in early.events if isinstance(event, Exceeded)]
    decision = house.shown(NEWS, "r0@away.example")
    assert decision.verdict.verb == said
    assert len([event for event in decision.events if isinstance(event, Exceeded)]) == 1
    assert house.usage("bulk") == 1


def test_deferrals_stay_deferrals() -> None:
    house = House(rules(limit(max=1, action=Action("DEFER", "4.7.1")), ALL))
    assert [house.send(NEWS, one) for one in external(2)] == ["DUNNO", "DEFER"]


# what becomes of mail that is not sent, or seen twice, or by one alone


def test_an_aborted_message_counts_nothing() -> None:
    house = House(rules())
    house.next_message()
    house.rcpt("r0@away.example")
    house.expect()
    house.end(1, recipient="r0@away.example")
    house.drop()
    assert house.held == (0, 0)
    assert len(house.engine.awaiting) == 0


def test_a_repeated_request_counts_nothing_more() -> None:
    house = House(rules())
    house.next_message()
    house.rcpt("r0@away.example")
    house.expect()
    for _ in range(2):
        assert house.end(1, recipient="r0@away.example") == "DUNNO"
    assert house.show(NEWS, "r0@away.example") == "DUNNO"
    assert house.end(1, recipient="r0@away.example") == "DUNNO"
    assert house.show(NEWS, "r0@away.example") == "DUNNO"
    assert house.held == (1, 1)


def test_what_was_decided_unexpected_is_not_counted_again() -> None:
    house = House(rules(limit(max=1), ALL))
    assert house.mail("r0@away.example") == "DUNNO"
    assert house.show(NEWS, "r0@away.example") == "DUNNO"
    assert house.held == (1, 1)
    # by its size, as no other was known
    assert house.mail("r1@away.example") == "521"


def test_a_message_that_nobody_asked_about_is_decided_by_what_is_shown() -> None:
    house = House(rules(limit(max=2, strike=True), ALL))
    house.next_message()
    assert house.show(NEWS, "a@away.example", "b@away.example", "A@away.example") == "DUNNO"
    assert house.held == (2, 2)
    house.next_message()
    decision = house.shown(NEWS, "c@away.example", "u@local.example")
    assert decision.verdict.verb == "REJECT"
    (incident,) = house.engine.ladder.incidents.values()
    assert incident.account == "alice@local.example"
    assert incident.clients == ["192.0.2.7"]


def test_a_message_without_a_login_is_held_to_no_limit_per_account() -> None:
    house = House(rules(limit(max=0)))
    house.next_message()
    assert house.shown(NEWS, "a@away.example", login="").verdict.verb == "DUNNO"


def test_content_that_is_expected_and_never_shown_is_forgotten() -> None:
    house = House(rules())
    house.next_message()
    house.rcpt("r0@away.example")
    house.expect()
    house.end(1, recipient="r0@away.example")
    house.later(WAITS - 1)
    assert len(house.engine.awaiting) == 1
    house.later(1)
    assert len(house.engine.awaiting) == 0
    assert house.held == (0, 0)

    house.engine.awaiting.most = 2
    for _ in range(4):
        house.next_message()
        house.expect()
        house.end(1, recipient="r0@away.example")
    house.later(1)
    assert len(house.engine.awaiting) == 2


def test_what_was_decided_is_forgotten_too() -> None:
    house = House(rules())
    assert house.mail("r0@away.example") == "DUNNO"
    assert house.engine.awaiting.is_decided("Q1", house.now.monotonic)
    house.later(WAITS)
    assert not house.engine.awaiting.is_decided("Q1", house.now.monotonic)
    assert not house.engine.awaiting._decided


def test_without_a_milter_nothing_is_remembered_and_size_tells() -> None:
    desk = Desk(rules(limit(max=1), ALL))
    assert desk.mail("r0@away.example", size=1000) == "DUNNO"
    assert desk.mail("r1@away.example", size=9000) == "DUNNO"
    assert desk.mail("r2@away.example", size=9001) == "521"
    assert not desk.engine.awaiting._decided


def test_by_any_is_the_other_fallback() -> None:
    likeness = replace(BY_CONTENT, fallback=LikenessBy.ANY)
    desk = Desk(replace(rules(limit(max=1)), likeness=likeness))
    assert desk.mail("r0@away.example", size=1000) == "DUNNO"
    assert desk.mail("r1@away.example", size=9000) == "521"


# kinds of content


def test_encrypted_mail_is_told_by_its_size() -> None:
    house = House(rules(limit(max=1), ALL))
    assert house.send(ENCRYPTED, "r0@away.example", size=1000) == "DUNNO"
    assert house.send(ENCRYPTED, "r1@away.example", size=9000) == "DUNNO"
    assert house.send(ENCRYPTED, "r2@away.example", size=9000) == "REJECT"
    assert house.send(NEWS, "r3@away.example", size=9000) == "DUNNO"


def test_an_answer_to_an_invitation_is_spared_if_it_goes_to_one() -> None:
    reply = sketch("accepted", is_calendar_reply=True)
    house = House(rules(limit(max=1), ALL))
    for one in external(3):
        assert house.send(reply, one) == "DUNNO"
    assert house.held == (0, 3)
    assert house.send(reply, *external(2)) == "REJECT"


def test_by_size_the_content_counts_for_nothing() -> None:
    house = House(policy(limit(max=1), ALL))
    assert house.send(NEWS, "r0@away.example", size=1000) == "DUNNO"
    assert house.send(NEWS, "r1@away.example", size=9000) == "DUNNO"
    assert house.held == (2, 2)


# rules that change, and runs


def test_a_reload_between_the_two_holds() -> None:
    house = House(rules(limit(max=3), ALL))
    house.next_message()
    house.rcpt("r0@away.example")
    house.rcpt("r1@partner.example")
    house.expect()
    house.end(2)
    stricter = rules(limit(max=0), ALL)
    local = LocalDomains(["local.example", "away.example", "partner.example"])
    house.engine.obey(replace(stricter, local=local), house.now)
    # both are our own users now
    assert house.show(NEWS, "r0@away.example", "r1@partner.example") == "DUNNO"
    assert house.held == (0, 2)


def test_an_exemption_between_the_two_holds() -> None:
    house = House(rules(limit(max=0), ALL))
    house.next_message()
    house.rcpt("r0@away.example")
    house.expect()
    house.end(1, recipient="r0@away.example")
    who = Matcher.of([condition("account", ["alice"], house.engine.policy.accounts)])
    exempting = rules(limit(max=0), ALL, exemptions=(Exemption(who),))
    house.engine.obey(exempting, house.now)
    assert house.show(NEWS, "r0@away.example") == "DUNNO"
    assert house.held == (0, 0)


def test_a_suspension_between_the_two_holds() -> None:
    house = House(rules())
    suspension = Suspension(
        SuspensionKind.MAILBOX, "alice@local.example", house.now.wall, None, "anna", "stolen"
    )
    house.next_message()
    house.rcpt("r0@away.example")
    house.expect()
    house.end(1, recipient="r0@away.example")
    house.engine.ladder.suspensions.add(suspension)
    house.engine.ladder.take_effect([suspension])
    decision = house.shown(NEWS, "r0@away.example")
    assert decision.verdict.verb == "REJECT"
    assert isinstance(decision.events[0], Blocked)


def test_campaigns_survive_a_restart_and_messages_that_wait_do_not() -> None:
    house = House(rules(limit(max=2), ALL))
    for one in external(2):
        assert house.send(NEWS, one) == "DUNNO"
    house.next_message()
    house.rcpt("r2@away.example")
    house.expect()
    house.end(1, recipient="r2@away.example")
    assert house.restart() == []
    house.engine.awaiting.watches = True
    assert len(house.engine.awaiting) == 0
    assert house.send(NEWS, "r3@away.example") == "REJECT"
    assert house.send(OTHER, "r3@away.example") == "DUNNO"
    house.later(DAY + HOUR)
    assert house.usage("bulk") == 0
    assert len(house.engine.counts.campaigns["account"]) == 0


def test_likeness_of_another_kind_starts_what_counts_by_it_empty() -> None:
    house = House(rules(limit(max=2), ALL))
    house.send(NEWS, "r0@away.example")
    by_size = policy(limit(max=2), ALL)
    assert house.engine.obey(by_size, house.now) == ["bulk"]
    assert house.held == (0, 1)
    # so do those that were written under other rules
    house.send(NEWS, "r0@away.example")
    house.journal()
    assert house.restart(rules(limit(max=2), ALL)) == ["bulk"]
    assert house.engine.obey(rules(limit(max=3), ALL), house.now) == []


def test_campaigns_are_forgotten_for_want_of_memory() -> None:
    house = House(rules(limit(max=2), state=State(max_keys=10)), checked=False, trace=False)
    for number in range(40):
        house.send(sketch(number), "r0@away.example")
    for _ in range(20):
        house.later(1)
    assert len(house.engine.counts.campaigns["account"]) <= 10
    assert house.engine.counts.evicted["likeness-content account"] >= 30


def test_an_observing_limit_tells_and_refuses_nothing() -> None:
    house = House(rules(limit(max=0, mode=Mode.OBSERVE), ALL))
    house.next_message()
    decision = house.shown(NEWS, "r0@away.example")
    assert decision.verdict.verb == "DUNNO"
    (exceeded, _) = decision.events
    assert (exceeded.refused, exceeded.stage) == (False, Stage.CONTENT)
    assert house.held == (0, 1)


STEPS = ("rcpt", "expect", "end", "show", "drop")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(STEPS)), max_size=30))
def test_in_any_order_a_message_counts_once_at_most(steps: list[tuple[int, str]]) -> None:
    house = House(rules(limit(max=100), ALL), checked=False)
    counted: set[int] = set()
    ended: set[int] = set()
    shown: set[int] = set()
    for number, step in steps:
        if step == "end" and number in shown - ended:
            continue  # Postfix asks the policy service first, or never
        ended |= {number} if step == "end" else set()
        shown |= {number} if step == "show" else set()
        house._messages = number
        to = f"r{number}@away.example"
        before = house.held
        if step == "rcpt":
            house.rcpt(to)
        elif step == "end":
            assert house.end(1, recipient=to) == "DUNNO"
        elif step == "show":
            assert house.show(sketch(number), to) == "DUNNO"
        else:
            getattr(house, step)()
        after = house.held
        if after != before:
            assert number not in counted
            assert step in {"end", "show"}
            counted.add(number)
    assert house.held == (len(counted), len(counted))
    house.engine._check()
