"""The report: its figures, whatever was refused and why."""

import json
from typing import Any

import pytest
from aup.building import DAY, HOUR, START, Desk, external, limit, policy
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from policyd.aup.incident import Suspension, SuspensionKind
from policyd.aup.ladder_rules import Aftermath, Do, LadderRules, Step
from policyd.aup.match import Matcher, condition
from policyd.aup.policy import Count, EndSession, Mode, Override, Policy
from policyd.clock import WallTime
from policyd.service import reporting, walking
from policyd.service.admin_request import CommandError
from policyd.service.reporting import Reporting
from policyd.service.walking import Walks

ALICE, BOB = "alice@local.example", "bob@local.example"
RULES = policy(
    limit("few", "account", title="Too many", max=3, strike=True),
    limit("watched", "account", count=Count.MESSAGES, max=3, mode=Mode.OBSERVE),
    limit("pairs", "account likeness recipient", count=Count.MESSAGES, max=2),
    end_session=EndSession.NO,
    aftermath=Aftermath(LadderRules(steps=(Step(2, Do.SUSPEND_MAILBOX, DAY),))),
)


class Turns(Clock):
    """A clock that counts."""

    turns = 0

    def callLater(self, *args: Any, **named: Any) -> Any:  # noqa: N802 - Twisted's name
        self.turns += 1
        return super().callLater(*args, **named)


class Office:
    """A desk, and whoever reads reports about it."""

    def __init__(self, rules: Policy = RULES) -> None:
        self.desk = Desk(rules)
        self.clock = Turns()
        made = Reporting(self.desk.engine, Walks(self.clock), lambda: self.desk.now)
        self._command = made.commands["report"]

    def report(self, **fields: str) -> dict[str, Any]:
        asked = self._command.request({"command": "report", **fields}, 0)
        done = Deferred.fromCoroutine(self._command.run(asked))  # type: ignore[arg-type]
        results: list[Any] = []
        done.addBoth(results.append)
        self.clock.advance(0)
        (result,) = results
        if not isinstance(result, reporting.Answer):
            raise result.value
        told: dict[str, Any] = json.loads(b"".join(result.encoded()))
        return told

    def suspend(self, name: str = ALICE, until: float | None = None) -> None:
        end = None if until is None else WallTime(until)
        one = Suspension(SuspensionKind.MAILBOX, name, self.desk.now.wall, end, "anna", "stolen")
        ladder = self.desk.engine.ladder
        ladder.suspensions.add(one)
        ladder.take_effect([one])


@pytest.fixture
def office() -> Office:
    return Office()


def test_where_nothing_has_happened_nothing_is_told(office: Office) -> None:
    nothing = {"messages": 0, "recipients": 0, "senders": 0, "by": [], "top": []}
    assert office.report() == {
        "ok": True,
        "since": "2027-01-08T00:00:00+00:00",
        "since_epoch": START - 7 * DAY,
        "until": "2027-01-15T00:00:00+00:00",
        "until_epoch": START,
        "mode": "enforce",
        "organization": "",
        "refused": nothing,
        "would_refuse": nothing,
        "incidents": {"opened": 0, "observed": 0, "open": 0, "newest": []},
        "suspensions": {"begun": 0, "ended": 0, "in_force": 0, "newest": []},
        "near_from": 0.8,
        "near": [],
    }


def test_refusals_are_told_by_limit_and_by_sender(office: Office) -> None:
    desk = office.desk
    desk.mail(*external(5))
    desk.mail(*external(6))
    desk.mail(*external(9), sasl_username="bob")
    office.suspend(BOB)
    for _ in range(4):
        desk.mail("a@away.example", sasl_username="bob")
    assert office.report()["refused"] == {
        "messages": 7,
        "recipients": 24,
        "senders": 2,
        "by": [
            {"limit": "", "title": "", "messages": 4, "recipients": 4, "senders": 1},
            {"limit": "few", "title": "Too many", "messages": 3, "recipients": 20, "senders": 2},
        ],
        "top": [
            {"sender": ALICE, "limit": "few", "messages": 2, "recipients": 11},
            {"sender": BOB, "limit": "few", "messages": 1, "recipients": 9},
            {"sender": BOB, "limit": "", "messages": 4, "recipients": 4},
        ],
    }


def test_what_would_have_been_refused_is_told_apart(office: Office) -> None:
    for number in range(5):
        office.desk.mail("a@local.example", f"r{number % 2}@away.example", size=9000 * number)
    told = office.report()
    assert told["refused"]["messages"] == 0
    assert told["would_refuse"] == {
        "messages": 2,
        "recipients": 4,
        "senders": 1,
        "by": [
            {
                "limit": "watched",
                "title": "watched",
                "messages": 2,
                "recipients": 4,
                "senders": 1,
            }
        ],
        "top": [{"sender": ALICE, "limit": "watched", "messages": 2, "recipients": 4}],
    }


def test_only_the_days_that_were_asked_for_count(office: Office) -> None:
    office.desk.mail(*external(5))
    office.desk.later(3 * DAY)
    office.desk.mail(*external(4))
    assert office.report(since="2d")["refused"]["recipients"] == 4
    assert office.report()["refused"]["recipients"] == 9
    assert office.report(since="2d")["incidents"]["opened"] == 1
    assert office.report()["incidents"]["opened"] == 2


@pytest.mark.parametrize("since", ["31d", "7 days", "x"])
def test_how_far_back_there_is_something_to_tell(office: Office, since: str) -> None:
    with pytest.raises(CommandError) as caught:
        office.report(since=since)
    assert caught.value.code == "usage"
    assert office.report(since="30d")["ok"]


def test_a_limit_that_is_no_more_is_told_without_its_title() -> None:
    office = Office()
    office.desk.mail(*external(5))
    office.desk.engine.obey(policy(limit("other", "account")), office.desk.now)
    (one,) = office.report()["refused"]["by"]
    assert (one["limit"], one["title"]) == ("few", "")


def test_incidents_are_told_the_newest_first(office: Office) -> None:
    desk = office.desk
    desk.mail(*external(5))
    desk.later(2 * HOUR)
    desk.mail(*external(4), sasl_username="bob")
    told = office.report()["incidents"]
    assert [told[name] for name in ("opened", "observed", "open")] == [2, 0, 1]
    newest, oldest = told["newest"]
    assert newest["account"] == BOB
    assert newest["opened"] == "2027-01-15T02:00:00+00:00"
    assert (oldest["account"], oldest["limit"], oldest["messages"], oldest["recipients"]) == (
        *(ALICE, "few", 1, 5),
    )
    assert "sample" not in newest  # the recipients are in the incident


def test_suspensions_are_told_that_began_or_hold(office: Office) -> None:
    office.suspend()
    office.suspend(BOB, START + HOUR)
    office.desk.later(10 * DAY)
    office.suspend("eve@local.example", office.desk.wall + HOUR)
    told = office.report()["suspensions"]
    assert [told[name] for name in ("begun", "ended", "in_force")] == [1, 0, 2]
    assert [one["name"] for one in told["newest"]] == ["eve@local.example", ALICE]
    told = office.report(since="20d")["suspensions"]
    assert [told[name] for name in ("begun", "ended", "in_force")] == [3, 1, 2]


def test_who_is_near_a_limit_is_told(office: Office) -> None:
    desk = office.desk
    desk.mail("a@away.example", "b@away.example", "c@away.example")
    desk.mail("a@away.example", sasl_username="bob")
    desk.mail("a@away.example", sasl_username="bob")
    assert office.report()["near"] == [
        {
            "limit": "few",
            "mode": "enforce",
            "per": ["account"],
            "values": [ALICE],
            "used": 3,
            "max": 3,
        },
        {
            "limit": "pairs",
            "mode": "enforce",
            "per": ["account", "recipient"],
            "values": [BOB, "a@away.example"],
            "used": 2,
            "max": 2,
        },
    ]
    desk.later(2 * DAY)
    assert office.report()["near"] == []


@pytest.mark.parametrize(("most", "near"), [(9, []), (None, []), (2, [2]), (0, [0])])
def test_near_is_near_what_holds_to_the_account(most: int | None, near: list[int]) -> None:
    only = limit("few", "account", max=100)
    office = Office(policy(only))
    office.desk.mail(*external(2))
    alice = condition("account", [ALICE], policy().accounts)
    override = Override(Matcher.of([alice]), {"few": most})
    office.desk.engine.obey(policy(only, overrides=(override,)), office.desk.now)
    assert [one["max"] for one in office.report()["near"]] == near


def test_lists_are_short_and_figures_whole(office: Office) -> None:
    for number in range(25):
        office.desk.mail(*external(4 + number), sasl_username=f"box{number}")
    told = office.report()
    assert (told["refused"]["senders"], told["incidents"]["opened"]) == (25, 25)
    top = [one["recipients"] for one in told["refused"]["top"]]
    assert top == sorted(range(9, 29), reverse=True)
    assert len(told["incidents"]["newest"]) == 20
    assert told["incidents"]["newest"][0]["account"] == "box24@local.example"


def test_what_is_long_is_looked_at_in_many_turns(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        office.desk.mail(*external(4), sasl_username=f"box{number}")
        office.desk.mail("a@away.example", sasl_username=f"ok{number}")
    few = office.report()
    before = office.clock.turns
    for module in (walking, reporting):
        monkeypatch.setattr(module, "AT_ONCE", 5)
    assert office.report() == few
    assert office.clock.turns - before > 3 * 30 / 5
