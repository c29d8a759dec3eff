"""Incidents, strikes, suspensions: what follows a refusal."""

from dataclasses import replace
from typing import Any

import pytest
from aup.building import DAY, HOUR, Desk, external, limit, policy, request
from conftest import Lower

from policyd.aup import incidents as incidents_module
from policyd.aup import ladder as ladder_module
from policyd.aup.address import Accounts
from policyd.aup.event import (
    Blocked,
    Event,
    Exceeded,
    ExtremeSpared,
    IncidentClosed,
    IncidentOpened,
    Lifted,
    NearLimit,
    Suspended,
)
from policyd.aup.incident import Grant, Incident, Suspension, SuspensionKind
from policyd.aup.ladder_rules import Aftermath, Do, Extreme, LadderRules, Step
from policyd.aup.match import Matcher, condition
from policyd.aup.policy import (
    Action,
    Count,
    Exemption,
    Mode,
    Organization,
    Policy,
    Recipients,
    Refuse,
)
from policyd.clock import WallTime

BULK = limit("bulk", max=2, strike=True)
BY_DOMAIN = limit("bulk-domain", "domain likeness", max=4, strike=True)
STEPS = (
    Step(1, Do.NOTICE),
    Step(3, Do.SUSPEND_MAILBOX, 24 * HOUR),
    Step(5, Do.SUSPEND_MAILBOX),
)
RULES = LadderRules(steps=STEPS)
MAILBOX, DOMAIN = SuspensionKind.MAILBOX, SuspensionKind.DOMAIN
ALICE = "alice@local.example"


def ladder(*limits: Any, rules: LadderRules = RULES, **changes: Any) -> Policy:
    return policy(*(limits or (BULK,)), aftermath=Aftermath(ladder=rules), **changes)


class Site(Desk):
    """A desk that remembers what happened, and a disk that is written when it is told so."""

    def __init__(self, rules: Policy) -> None:
        super().__init__(rules)
        self.happened: list[Event] = []
        self._names = 0

    def ask(self, asked: Any, connection: Any = None) -> Any:
        decision = super().ask(asked, connection)
        self.happened += decision.events
        return decision

    def offend(self, account: str = "alice", recipients: int = 3, **attributes: Any) -> str:
        """Send a message to too many new recipients; return the verb of the answer."""
        self._names += 1000
        return self.mail(
            *external(recipients, self._names),
            sasl_username=account,
            size=self._names,
            **attributes,
        )

    def written(self) -> None:
        """Write what is to be durable at once."""
        waiting = self.engine.ladder.suspensions.waiting
        self.journal()
        self.engine.ladder.take_effect(waiting)
        self.happened += self.engine.ladder.events()

    def pass_time(self, seconds: float) -> None:
        self.later(seconds)
        self.happened += self.engine.ladder.events()

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.happened if type(event) is kind]

    @property
    def incidents(self) -> list[Incident]:
        return list(self.engine.ladder.incidents.values())

    def strikes(self, account: str = ALICE) -> int:
        return self.engine.ladder.strikes(account, self.now.wall)


# incidents


def test_a_refusal_opens_an_incident_and_names_it() -> None:
    site = Site(ladder(replace(BULK, text=replace(BULK.text, template="No; {incident}"))))
    assert site.offend() == "521"
    (incident,) = site.incidents
    (exceeded,) = site.all(Exceeded)
    assert exceeded.incident == incident.id
    assert exceeded.verdict.text == f"No; {incident.id}"
    assert site.all(IncidentOpened) == [IncidentOpened(incident, True)]
    assert (incident.account, incident.domain, incident.limit) == (ALICE, "local.example", "bulk")
    assert (incident.messages, incident.recipients, incident.attempts) == (1, 3, 1)
    assert (incident.used, incident.max, incident.window) == (3, 2, DAY)
    assert incident.sample.recipients == external(3, 1000)
    assert (incident.sample.sender, incident.sample.size) == ("alice@local.example", 1000)
    assert incident.clients == ["192.0.2.7"]
    assert incident.strike == 1


def test_an_id_is_easy_to_read_out() -> None:
    site = Site(ladder())
    for n in range(50):
        site.offend(f"user{n}")
    names = {incident.id for incident in site.incidents}
    assert len(names) == 50
    assert all(len(name) == 7 and set(name) <= set("23456789BCDFGHJKMNPQRTVWXYZ") for name in names)


def test_the_seeds_figures() -> None:
    site = Site(ladder(limit("bulk", max=249, strike=True)))
    assert site.mail(*external(826), size=9000) == "521"
    assert site.mail(*external(826, 826), size=9100) == "521"
    (incident,) = site.incidents
    assert (incident.messages, incident.recipients) == (2, 1652)


def test_fifty_retries_are_one_strike_and_one_message() -> None:
    site = Site(ladder())
    for _ in range(50):
        assert site.mail(*external(3), size=700) == "521"
    (incident,) = site.incidents
    assert (incident.messages, incident.recipients, incident.attempts) == (1, 3, 50)
    assert site.strikes() == 1
    assert len(site.all(IncidentOpened)) == 1


def test_a_retry_that_is_refused_at_the_first_recipient_is_one_message() -> None:
    site = Site(ladder(limit("each", "account", max=2, strike=True)))
    assert site.mail(*external(2)) == "DUNNO"
    for _ in range(20):
        site.next_message()
        for recipient in external(5, 10):
            assert site.rcpt(recipient) == "REJECT"
    (incident,) = site.incidents
    assert (incident.messages, incident.recipients, incident.attempts) == (1, 5, 100)
    assert incident.sample.recipients == external(5, 10)
    assert incident.sample.size == 0


def test_local_and_exempt_recipients_are_no_figures_of_an_incident() -> None:
    match = Matcher.of([condition("recipient", ["r1@away.example"], Accounts())])
    site = Site(ladder(limit("bulk", max=2, strike=True), exemptions=(Exemption(match),)))
    assert site.mail(*external(4), "u@local.example") == "521"
    (incident,) = site.incidents
    assert incident.recipients == 3
    assert incident.sample.recipients == ["r0@away.example", "r2@away.example", "r3@away.example"]


def test_the_sample_and_the_clients_are_bounded() -> None:
    site = Site(ladder())
    for n in range(40):
        site.offend(recipients=30, client_address=f"192.0.2.{n}")
    (incident,) = site.incidents
    assert len(incident.clients) == 20
    assert len(incident.sample.recipients) == 10


def test_an_incident_closes_after_quiet_and_the_next_refusal_is_another_strike() -> None:
    site = Site(ladder())
    site.offend()
    site.pass_time(HOUR - 1)
    site.offend()
    assert site.all(IncidentClosed) == []
    site.pass_time(HOUR - 1)
    assert site.all(IncidentClosed) == []
    site.pass_time(1)
    (incident,) = site.incidents
    assert site.all(IncidentClosed) == [IncidentClosed(incident)]
    assert incident.closed == site.wall
    site.offend()
    assert [one.strike for one in site.incidents] == [1, 2]


def test_an_incident_that_nobody_closed_in_time_is_over_all_the_same() -> None:
    site = Site(ladder())
    site.offend()
    site.wall += HOUR  # nothing was tidied meanwhile
    site.ticks += HOUR
    site.offend()
    assert [one.strike for one in site.incidents] == [1, 2]
    assert len(site.all(IncidentClosed)) == 1


def test_an_incident_closes_after_a_day_at_the_latest() -> None:
    site = Site(ladder())
    for _ in range(49):
        site.offend()
        site.pass_time(HOUR / 2)
    assert len(site.incidents) == 2
    assert site.strikes() == 2


def test_each_account_and_each_limit_has_incidents_of_its_own() -> None:
    repeat = limit("repeat", "account recipient", count=Count.MESSAGES, max=1, strike=True)
    site = Site(ladder(BULK, repeat))
    site.offend("alice")
    site.offend("bob")
    assert site.mail("x@away.example") == "DUNNO"
    assert site.mail("x@away.example", size=90_000) == "REJECT"
    assert [(one.account, one.limit) for one in site.incidents] == [
        (ALICE, "bulk"),
        ("bob@local.example", "bulk"),
        (ALICE, "repeat"),
    ]


def test_one_refusal_is_one_incident_of_the_limit_that_answers_or_else_the_first_that_strikes() -> (
    None
):
    quiet = limit("quiet", "account", max=2)
    other = limit("other", "account likeness recipient", count=Count.MESSAGES, max=0, strike=True)
    site = Site(ladder(replace(quiet, max=5), BULK, other))
    site.offend()
    assert [one.limit for one in site.incidents] == ["bulk"]
    site = Site(ladder(quiet, BULK, other))
    site.offend()
    assert [one.limit for one in site.incidents] == ["bulk"]


def test_what_does_not_strike_opens_nothing() -> None:
    site = Site(ladder(replace(BULK, strike=False)))
    assert site.offend() == "521"
    assert site.incidents == []


@pytest.mark.parametrize("action", [Action("WARN"), Action("HOLD")])
def test_what_refuses_nothing_strikes_nobody(action: Action) -> None:
    site = Site(ladder(replace(BULK, action=action)))
    assert site.offend() == action.verb
    assert site.incidents == []


def test_only_who_has_proved_to_be_the_account_has_incidents() -> None:
    accounts = Accounts(("sasl_username", "sender"), default_domain="local.example")
    site = Site(ladder(accounts=accounts))
    assert site.offend("", sender="alice@local.example") == "521"
    assert site.incidents == []
    assert site.offend("alice") == "521"
    assert len(site.incidents) == 1


def test_a_limit_without_account_opens_an_incident_of_the_domain_which_is_no_strike() -> None:
    site = Site(ladder(BY_DOMAIN))
    for name in ("alice", "bob", "carol", "dave"):
        site.offend(name, recipients=5)
        site.pass_time(2 * HOUR)
    assert [(one.account, one.domain, one.strike) for one in site.incidents] == [
        ("", "local.example", 0)
    ] * 4
    assert [event.notice for event in site.all(IncidentOpened)] == [True] * 4
    assert site.all(Suspended) == []


# observing


def test_what_is_observed_is_an_incident_that_leads_to_nothing() -> None:
    site = Site(ladder(replace(BULK, mode=Mode.OBSERVE)))
    for _ in range(6):
        assert site.offend() == "DUNNO"
        site.pass_time(2 * HOUR)
    site.written()
    assert [one.observed for one in site.incidents] == [True] * 6
    assert [one.strike for one in site.incidents] == [0] * 6
    assert [event.notice for event in site.all(IncidentOpened)] == [False] * 6
    assert site.all(Exceeded)[0].incident == site.incidents[0].id
    assert site.all(Suspended) == []
    assert site.strikes() == 0


def test_when_a_limit_enforces_its_observed_incidents_count_no_strike() -> None:
    site = Site(ladder(replace(BULK, mode=Mode.OBSERVE)))
    site.offend()
    site.engine.obey(ladder(), site.now)
    site.offend()
    assert [(one.observed, one.strike) for one in site.incidents] == [(True, 0), (False, 1)]


# steps


def climb(site: Site, times: int, account: str = "alice") -> None:
    for _ in range(times):
        site.offend(account)
        site.written()
        site.pass_time(2 * HOUR)


def test_the_third_incident_suspends_the_mailbox_for_a_day() -> None:
    site = Site(ladder())
    climb(site, 2)
    assert site.all(Suspended) == []
    site.offend()
    began = site.wall
    assert site.mail("one@away.example") == "DUNNO"  # it is not on the disk yet
    site.written()
    (event,) = site.all(Suspended)
    one = event.suspension
    assert (one.kind, one.name, one.since, one.until) == (MAILBOX, ALICE, began, began + DAY)
    assert event.incident is site.incidents[2]
    assert one.incident == site.incidents[2].id
    assert site.incidents[2].actions == [f"mailbox {ALICE} suspended for 24 hours"]
    assert site.mail("one@away.example") == "REJECT"
    assert site.mail("u@local.example") == "REJECT"
    assert site.mail("one@away.example", sasl_username="bob") == "DUNNO"
    (blocked, *_) = site.all(Blocked)
    assert blocked.suspension is one
    assert one.incident in blocked.verdict.text


def test_refusals_by_a_suspension_never_feed_the_ladder() -> None:
    site = Site(ladder())
    climb(site, 3)
    for _ in range(10):
        assert site.offend() == "REJECT"
        site.pass_time(HOUR)
    assert len(site.incidents) == 3
    assert site.strikes() == 3


def test_a_suspension_ends_at_its_time_and_strikes_go_on() -> None:
    site = Site(ladder())
    climb(site, 3)
    site.pass_time(DAY - 2 * HOUR - 1)
    assert site.mail("one@away.example") == "REJECT"
    site.pass_time(1)
    (lifted,) = site.all(Lifted)
    assert (lifted.suspension.lifted_by, lifted.suspension.lifted) == ("time", site.wall)
    assert site.mail("one@away.example") == "DUNNO"
    climb(site, 1)
    assert site.strikes() == 4
    assert len(site.all(Suspended)) == 1  # each step once
    climb(site, 1)
    assert site.all(Suspended)[1].suspension.until is None
    site.pass_time(20 * DAY)
    assert site.mail("one@away.example") == "REJECT"


def test_strikes_expire() -> None:
    site = Site(ladder())
    climb(site, 2)
    site.pass_time(30 * DAY)
    assert site.strikes() == 0
    climb(site, 2)
    assert site.all(Suspended) == []
    climb(site, 1)
    assert len(site.all(Suspended)) == 1


def test_without_a_ladder_nothing_climbs() -> None:
    site = Site(ladder(rules=LadderRules()))
    climb(site, 7)
    assert [event.notice for event in site.all(IncidentOpened)] == [False] * 7
    assert site.all(Suspended) == []


def test_notices_begin_with_their_step_and_every_suspension_is_told() -> None:
    steps = (Step(2, Do.NOTICE), Step(1, Do.SUSPEND_MAILBOX, HOUR))
    site = Site(ladder(rules=LadderRules(steps=steps)))
    climb(site, 3)
    assert [event.notice for event in site.all(IncidentOpened)] == [True, True, True]
    site = Site(ladder(rules=LadderRules(steps=steps[:1])))
    climb(site, 3)
    assert [event.notice for event in site.all(IncidentOpened)] == [False, True, True]


# lifting


def test_lifting_forgives_the_strikes_of_a_mailbox() -> None:
    site = Site(ladder())
    climb(site, 3)
    lifted = site.engine.ladder.lift(MAILBOX, ALICE, site.now.wall, by="root", why="new password")
    assert [one.lifted_by for one in lifted] == ["root"]
    site.written()
    assert site.all(Lifted) == [Lifted(lifted[0])]
    assert site.mail("one@away.example") == "DUNNO"
    assert site.strikes() == 0
    site.pass_time(1)
    climb(site, 2)
    assert site.strikes() == 2
    assert len(site.all(Suspended)) == 1


def test_lifting_ends_the_incident_that_was_open() -> None:
    site = Site(ladder(rules=LadderRules(steps=(Step(1, Do.SUSPEND_MAILBOX),))))
    site.offend()
    site.written()
    site.engine.ladder.lift(MAILBOX, ALICE, site.now.wall, by="root", why="")
    site.pass_time(1)
    site.offend()
    site.written()
    assert len(site.incidents) == 2
    assert len(site.all(Suspended)) == 2


def test_what_is_lifted_before_it_was_in_force_never_is() -> None:
    site = Site(ladder())
    climb(site, 2)
    site.offend()
    site.engine.ladder.lift(MAILBOX, ALICE, site.now.wall, by="root", why="")
    site.written()
    assert site.all(Suspended) == []
    assert site.mail("one@away.example") == "DUNNO"


def test_lifting_nothing_is_nothing() -> None:
    site = Site(ladder())
    climb(site, 3)
    assert site.engine.ladder.lift(DOMAIN, ALICE, site.now.wall, by="root", why="") == []
    assert site.engine.ladder.lift(MAILBOX, "bob", site.now.wall, by="root", why="") == []
    assert site.mail("one@away.example") == "REJECT"


# extreme abuse

MANY = LadderRules(extremes=(Extreme(DAY, recipients=10),))
THREE = LadderRules(
    steps=(Step(1, Do.SUSPEND_MAILBOX, HOUR),),
    extremes=(Extreme(7 * DAY, suspended_mailboxes=3),),
)


def test_so_many_recipients_suspend_the_domain() -> None:
    site = Site(ladder(rules=MANY))
    site.offend(recipients=9)
    site.written()
    assert site.all(Suspended) == []
    site.offend(recipients=9)
    site.written()
    (event,) = site.all(Suspended)
    one = event.suspension
    assert (one.kind, one.name, one.until) == (DOMAIN, "local.example", None)
    assert one.reason == "extreme abuse, 18 recipients in 24 hours"
    assert site.mail("one@away.example", sasl_username="bob") == "REJECT"
    assert site.mail("one@away.example", sasl_username="x@other.example") == "DUNNO"


def test_the_same_recipients_again_are_no_more_extreme() -> None:
    site = Site(ladder(rules=MANY))
    for _ in range(5):
        site.mail(*external(9), size=700)
    site.written()
    assert site.all(Suspended) == []


def test_recipients_of_several_incidents_add_up_within_the_time() -> None:
    site = Site(ladder(rules=MANY))
    for _ in range(3):
        site.offend(recipients=3)
        site.pass_time(2 * HOUR)
    site.pass_time(DAY)
    site.offend(recipients=3)
    site.written()
    assert site.all(Suspended) == []
    for _ in range(3):
        site.pass_time(2 * HOUR)
        site.offend(recipients=3)
    site.written()
    assert [event.suspension.kind for event in site.all(Suspended)] == [DOMAIN]


def test_accounts_are_not_added_up() -> None:
    site = Site(ladder(rules=MANY))
    for n in range(6):
        site.offend(f"user{n}", recipients=5)
    site.written()
    assert site.all(Suspended) == []


def test_three_suspended_mailboxes_suspend_the_domain() -> None:
    site = Site(ladder(rules=THREE))
    for name in ("a", "b"):
        climb(site, 1, f"{name}@one.example")
        climb(site, 1, f"{name}@two.example")
    assert {event.suspension.kind for event in site.all(Suspended)} == {MAILBOX}
    climb(site, 1, "a@one.example")  # the same one again
    assert {event.suspension.kind for event in site.all(Suspended)} == {MAILBOX}
    climb(site, 1, "c@one.example")
    last = site.all(Suspended)[-1].suspension
    assert (last.kind, last.name) == (DOMAIN, "one.example")
    assert last.reason == "extreme abuse, 3 mailboxes suspended in 7 days"
    assert site.mail("x@away.example", sasl_username="d@one.example") == "REJECT"
    assert site.mail("x@away.example", sasl_username="d@two.example") == "DUNNO"


def test_mailboxes_that_were_suspended_long_ago_or_forgiven_do_not_count() -> None:
    site = Site(ladder(rules=THREE))
    climb(site, 1, "a@one.example")
    site.pass_time(7 * DAY)
    climb(site, 1, "b@one.example")
    climb(site, 1, "c@one.example")
    climb(site, 1, "d@two.example")
    # this one did it by mistake
    site.offend("e@one.example")
    site.engine.ladder.lift(MAILBOX, "b@one.example", site.now.wall, by="root", why="")
    assert site.all(Lifted)[-1].suspension.lifted_by == "time"
    site.written()
    kinds = [event.suspension.kind for event in site.all(Suspended)]
    assert kinds.count(DOMAIN) == 1  # b was over by its time already: that is no forgiving


def test_a_mailbox_that_was_forgiven_does_not_count() -> None:
    site = Site(ladder(rules=THREE))
    for name in ("a", "b"):
        site.offend(f"{name}@one.example")
        site.written()
    site.engine.ladder.lift(MAILBOX, "b@one.example", site.now.wall, by="root", why="")
    site.offend("c@one.example")
    site.written()
    assert {event.suspension.kind for event in site.all(Suspended)} == {MAILBOX}


@pytest.mark.parametrize("rules", [MANY, THREE])
def test_a_domain_that_many_share_is_spared(rules: LadderRules) -> None:
    rules = replace(rules, never_suspend=frozenset(("local.example",)))
    site = Site(ladder(rules=rules))
    for name in ("a", "b", "c", "d"):
        site.offend(name, recipients=15)
        site.written()
    spared = site.all(ExtremeSpared)
    assert spared
    assert {event.suspension.kind for event in site.all(Suspended)} <= {MAILBOX}
    assert spared[0].incident.actions[-1].startswith("extreme abuse, ")
    assert site.mail("x@away.example", sasl_username="e") == "DUNNO"


def test_an_account_without_a_domain_has_none_to_suspend() -> None:
    site = Site(ladder(rules=MANY, accounts=Accounts()))
    site.offend(recipients=15)
    site.written()
    assert len(site.all(ExtremeSpared)) == 1
    assert site.all(Suspended) == []


def test_lifting_a_domain_forgives_what_suspended_it() -> None:
    site = Site(ladder(rules=MANY))
    site.offend(recipients=15)
    site.written()
    site.engine.ladder.lift(DOMAIN, "local.example", site.now.wall, by="root", why="")
    site.pass_time(2 * HOUR)
    site.offend(recipients=9)
    site.written()
    assert len(site.all(Suspended)) == 1
    site.offend(recipients=9)
    site.written()
    assert len(site.all(Suspended)) == 2


# who is suspended


def suspended(rules: Policy, kind: SuspensionKind = MAILBOX, name: str = ALICE) -> Site:
    site = Site(rules)
    one = Suspension(kind, name, site.now.wall, None, "root", "phished")
    site.engine.ladder.suspensions.add(one)
    site.written()
    return site


def test_help_can_be_asked_for() -> None:
    site = suspended(ladder(organization=Organization(contact="Help@Partner.example")))
    for recipient in (
        "postmaster@local.example",
        "Abuse@LOCAL.example",
        "postmaster",
        "help@partner.example",
    ):
        assert site.mail(recipient) == "DUNNO"
    for recipient in ("postmaster@away.example", "abuse@away.example", "u@local.example"):
        assert site.mail(recipient) == "REJECT"


def test_a_suspended_sender_may_write_to_local_recipients_where_the_rules_say_so() -> None:
    site = suspended(ladder(rules=replace(RULES, suspended_to_local=True)))
    assert site.mail("u@local.example") == "DUNNO"
    assert site.mail("x@away.example") == "REJECT"
    # of several the external ones are refused
    site.next_message()
    assert [site.rcpt("u@local.example"), site.rcpt("x@away.example")] == ["DUNNO", "REJECT"]
    assert site.end(1, recipient="u@local.example") == "DUNNO"


def test_a_message_under_way_is_refused_at_its_end() -> None:
    site = Site(ladder())
    site.next_message()
    for recipient in external(2):
        site.rcpt(recipient)
    site.engine.ladder.suspensions.add(
        Suspension(MAILBOX, ALICE, site.now.wall, None, "root", "phished")
    )
    site.written()
    assert site.end(2) == "521"
    assert site.usage("bulk") == 0


def test_a_suspension_wins_over_an_exemption() -> None:
    site = suspended(ladder())
    site.engine.grant(Grant("account", ALICE, site.now.wall, None, "root", ""))
    assert site.mail("x@away.example") == "REJECT"


def test_a_suspension_by_hand_holds_in_observe_mode_and_the_ladders_does_not() -> None:
    observing = ladder(replace(BULK, mode=Mode.OBSERVE), mode=Mode.OBSERVE)
    assert suspended(observing).mail("x@away.example") == "REJECT"
    site = Site(ladder())
    climb(site, 3)
    assert site.mail("x@away.example") == "REJECT"
    site.engine.obey(observing, site.now)
    assert site.mail("x@away.example") == "DUNNO"


def test_of_two_suspensions_the_one_that_ends_later_holds() -> None:
    site = suspended(ladder())
    now = site.now.wall
    brief = Suspension(MAILBOX, ALICE, WallTime(now + 1), WallTime(now + 60), "root", "brief")
    site.engine.ladder.suspensions.add(brief)
    site.written()
    site.pass_time(120)
    assert [event.suspension.reason for event in site.all(Lifted)] == ["brief"]
    assert site.mail("x@away.example") == "REJECT"
    assert len(site.engine.ladder.lift(MAILBOX, ALICE, site.now.wall, by="root", why="")) == 1
    assert site.mail("x@away.example") == "DUNNO"


# exemptions by command


def test_a_granted_exemption_holds_for_its_time() -> None:
    site = Site(ladder())
    now = site.now.wall
    site.engine.grant(Grant("account", "Alice", now, WallTime(now + HOUR), "root", "a merge"))
    assert site.offend() == "DUNNO"
    site.pass_time(HOUR)
    assert site.offend() == "521"
    assert site.engine.grants.by_id == {}


def test_a_granted_exemption_holds_for_messages_under_way_and_can_be_taken_back() -> None:
    site = Site(ladder())
    site.next_message()
    for recipient in external(5):
        site.rcpt(recipient)
    site.engine.grant(Grant("client", "192.0.2.0/24", site.now.wall, None, "root", ""))
    assert site.end(5) == "DUNNO"
    assert site.engine.revoke("client 192.0.2.0/24") is not None
    assert site.engine.revoke("client 192.0.2.0/24") is None
    assert site.offend() == "521"


def test_a_granted_exemption_outlives_a_reload() -> None:
    site = Site(ladder())
    site.engine.grant(Grant("recipient", "r1@away.example", site.now.wall, None, "root", ""))
    site.engine.obey(ladder(replace(BULK, max=1)), site.now)
    assert site.mail(*external(2)) == "DUNNO"
    assert site.usage("bulk") == 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [("client", "192.0.2.1/24"), ("client", "x"), ("account", ""), ("account", "/x/"), ("a", "b")],
)
def test_an_exemption_that_names_nobody_is_refused(kind: str, name: str) -> None:
    site = Site(ladder())
    with pytest.raises(ValueError, match=r"\w"):
        site.engine.grant(Grant(kind, name, site.now.wall, None, "root", ""))
    assert site.engine.grants.by_id == {}


# early warning


def test_who_comes_near_a_limit_is_told_when_he_does() -> None:
    rules = replace(RULES, warn_at=0.8)
    site = Site(ladder(limit("bulk", max=10, strike=True), rules=rules))
    assert site.mail(*external(7)) == "DUNNO"
    assert site.all(NearLimit) == []
    assert site.mail(*external(1, 7)) == "DUNNO"
    (near,) = site.all(NearLimit)
    assert (near.limit.id, near.most, near.used, near.account) == ("bulk", 10, 8, ALICE)
    assert site.mail(*external(2, 8)) == "DUNNO"
    assert len(site.all(NearLimit)) == 1
    site.pass_time(2 * DAY)
    assert site.mail(*external(10)) == "DUNNO"
    assert len(site.all(NearLimit)) == 2


def test_nobody_is_warned_of_what_strikes_nobody_or_is_not_asked_for() -> None:
    rules = replace(RULES, warn_at=0.8)
    site = Site(ladder(limit("bulk", max=10), rules=rules))
    site.mail(*external(9))
    assert site.all(NearLimit) == []
    site = Site(ladder(limit("bulk", max=10, strike=True)))
    site.mail(*external(9))
    assert site.all(NearLimit) == []


# compromise: new clients, new recipients


def test_an_account_may_come_from_so_many_networks() -> None:
    rule = limit("clients", "account", count=Count.DISTINCT_CLIENTS, max=2, strike=True)
    site = Site(ladder(rule))
    for client in ("192.0.2.1", "192.0.2.200", "2001:db8::1", "2001:db8::2"):
        assert site.mail("x@away.example", client_address=client) == "DUNNO"
    assert site.usage("clients") == 2
    assert site.mail("x@away.example", client_address="198.51.100.1") == "REJECT"
    assert site.mail("x@away.example", client_address="192.0.2.77") == "DUNNO"
    assert [one.limit for one in site.incidents] == ["clients"]


def first_time(**changes: Any) -> Any:
    count = Count.FIRST_TIME_RECIPIENTS
    rule = limit("new", "account", count=count, max=3, window=HOUR, strike=True, **changes)
    return replace(rule, known_for=30 * DAY)


def test_recipients_that_were_mailed_lately_are_no_new_ones() -> None:
    site = Site(ladder(first_time()))
    assert site.mail(*external(3)) == "DUNNO"
    site.pass_time(2 * HOUR)
    assert site.mail(*external(3)) == "DUNNO"
    assert site.usage("new") == 0
    assert site.mail(*external(3), *external(3, 10)) == "DUNNO"
    assert site.mail("another@away.example") == "REJECT"
    assert site.mail(*external(3)) == "DUNNO"  # who is known may be written to
    site.pass_time(2 * HOUR)
    assert site.mail("another@away.example") == "DUNNO"


def test_a_recipient_is_new_again_after_so_many_days() -> None:
    site = Site(ladder(first_time()))
    assert site.mail(*external(3)) == "DUNNO"
    site.pass_time(31 * DAY)
    assert site.mail(*external(3)) == "DUNNO"
    assert site.usage("new") == 3


@pytest.mark.parametrize("kill", [False, True])
def test_who_is_known_is_known_after_a_restart(kill: bool) -> None:
    site = Site(ladder(first_time()))
    assert site.mail(*external(3)) == "DUNNO"
    site.journal()
    site.restart(kill=kill)
    assert site.usage("new") == 3
    site.pass_time(2 * HOUR)
    assert site.mail(*external(3)) == "DUNNO"
    assert site.usage("new") == 0


def test_first_time_recipients_are_held_by_open_transactions() -> None:
    site = Site(ladder(first_time(refuse=Refuse.RECIPIENT)))
    site.next_message()
    assert [site.rcpt(recipient) for recipient in external(4)] == ["DUNNO"] * 3 + ["REJECT"]
    assert site.end(3) == "DUNNO"
    assert site.usage("new") == 3


# restarts


@pytest.mark.parametrize("kill", [False, True])
def test_everything_survives_a_restart_at_any_step(kill: bool) -> None:
    site = Site(ladder())

    def again() -> None:
        site.written()
        site.restart(kill=kill)

    for strike in (1, 2, 3):
        site.offend()
        again()
        assert site.mail("u@local.example") == ("REJECT" if strike == 3 else "DUNNO")
        site.offend() if strike < 3 else None
        again()
        assert site.strikes() == strike
        assert len(site.incidents) == strike
        site.pass_time(2 * HOUR)
        again()
        assert all(one.closed is not None for one in site.incidents)
    assert [one.messages for one in site.incidents] == [2, 2, 1]
    assert [one.recipients for one in site.incidents] == [6, 6, 3]
    assert site.mail("x@away.example") == "REJECT"
    site.pass_time(DAY)
    again()
    assert site.mail("x@away.example") == "DUNNO"
    site.engine.grant(Grant("account", ALICE, site.now.wall, None, "root", ""))
    again()
    assert site.offend() == "DUNNO"


def test_a_suspension_whose_time_came_while_nobody_looked_is_told() -> None:
    site = Site(ladder())
    climb(site, 3)
    site.wall += 2 * DAY
    site.restart(kill=True)
    site.pass_time(0)
    site.happened += site.engine.ladder.events()
    assert [event.suspension.lifted_by for event in site.all(Lifted)] == ["time"]
    assert site.mail("x@away.example") == "DUNNO"


def test_what_an_administrator_forgave_stays_forgiven() -> None:
    site = Site(ladder(rules=MANY))
    site.offend(recipients=15)
    site.written()
    site.engine.ladder.lift(DOMAIN, "local.example", site.now.wall, by="root", why="")
    site.written()
    site.restart(kill=True)
    site.pass_time(2 * HOUR)
    site.offend(recipients=9)
    site.written()
    assert len(site.all(Suspended)) == 1


# the clock, and memory


@pytest.mark.parametrize("step", [-60, -HOUR, -DAY, -400 * DAY])
def test_a_clock_that_is_stepped_back_suspends_nobody_for_longer(step: float) -> None:
    site = Site(ladder())
    for _ in range(3):
        site.offend()
        site.written()
        site.pass_time(2 * HOUR)
    site.step(step)
    site.pass_time(0)
    assert site.mail("x@away.example") == "REJECT"
    site.pass_time(DAY)
    assert site.mail("x@away.example") == "DUNNO"
    assert all(one.opened <= site.wall and one.last <= site.wall for one in site.incidents)


def test_incidents_are_forgotten_when_they_count_no_more() -> None:
    site = Site(ladder())
    climb(site, 3)
    site.pass_time(20 * DAY)
    assert len(site.incidents) == 3
    site.pass_time(11 * DAY)
    assert site.incidents == []
    assert site.engine.ladder.suspensions.by_id == {}
    site.journal()
    site.restart(kill=True)
    assert site.incidents == []


def test_an_open_incident_outlives_an_old_one_of_the_same_sender() -> None:
    site = Site(ladder())
    site.offend()
    site.pass_time(30 * DAY - HOUR / 4)
    site.offend()
    (_, still_open) = site.incidents
    site.pass_time(HOUR / 2)
    assert site.incidents == [still_open]
    site.offend()
    assert site.incidents == [still_open]
    site.engine._check()


def test_the_number_of_incidents_is_bounded(lower: Lower) -> None:
    lower(incidents_module, "MOST_INCIDENTS", 10)
    site = Site(ladder())
    for n in range(25):
        site.offend(f"user{n}")
    site.pass_time(1)
    assert [one.account for one in site.incidents] == [
        f"user{n}@local.example" for n in range(15, 25)
    ]
    site.engine._check()


def test_recipients_of_one_incident_are_counted_up_to_a_bound(lower: Lower) -> None:
    lower(ladder_module, "MOST_COUNTED", 10)
    site = Site(ladder())
    for _ in range(9):
        site.offend(recipients=4)
    (incident,) = site.incidents
    assert incident.recipients == 12
    assert incident.attempts == 9


def test_the_memory_of_incidents_is_bounded_and_figures_never_fall(lower: Lower) -> None:
    lower(ladder_module, "MOST_WEIGHT", 20_000)
    site = Site(ladder())
    for n in range(60):
        site.offend(f"user{n}", recipients=40)
        site.pass_time(1)
    for _ in range(20):
        site.pass_time(1)
    counters = dict(site.engine.ladder._counters())
    assert all(counter.weight <= 20_000 for counter in counters.values())
    site.offend("user0", recipients=5)
    assert (site.incidents[0].messages, site.incidents[0].recipients) == (1, 40)


def test_rules_of_the_ladder_may_change() -> None:
    site = Site(ladder())
    climb(site, 1)
    site.engine.obey(ladder(rules=LadderRules(steps=(Step(2, Do.SUSPEND_MAILBOX),))), site.now)
    climb(site, 1)
    assert len(site.all(Suspended)) == 1
    site.engine.obey(ladder(rules=MANY), site.now)
    assert site.mail("x@away.example") == "REJECT"  # what was decided stays


def test_recipients_local_ones_do_not_make_an_incident_of_external() -> None:
    site = Site(ladder(limit("all", "account", max=2, recipients=Recipients.ALL, strike=True)))
    assert site.mail(*[f"u{n}@local.example" for n in range(3)]) == "521"
    (incident,) = site.incidents
    assert incident.recipients == 0
    assert incident.sample.recipients == [f"u{n}@local.example" for n in range(3)]


def test_stand_ins_are_counted_and_not_named() -> None:
    site = Site(ladder())
    asked = request("END-OF-MESSAGE", recipient_count=5, instance="x.1", queue_id="Q")
    assert site.ask(asked).verdict.verb == "521"
    (incident,) = site.incidents
    assert incident.recipients == 5
    assert incident.sample.recipients == []
