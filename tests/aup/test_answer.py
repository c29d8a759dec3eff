"""From exceeded limits to the one answer."""

import math
from dataclasses import replace
from typing import Any

import pytest
from aup.building import HOUR, START, Desk, limit, policy, request
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.aup.answer import Excess, Told, by_strength, exceeded, suspended
from policyd.aup.applied import Applied, Rule
from policyd.aup.facts import Facts
from policyd.aup.incident import Suspension, SuspensionKind
from policyd.aup.ladder_rules import Aftermath, LadderRules
from policyd.aup.policy import (
    Action,
    Count,
    EndSession,
    Limit,
    Mode,
    Organization,
    Policy,
    Strength,
)
from policyd.aup.wording import Wording
from policyd.clock import WallTime
from policyd.counting.counters import Claim, Counter, DistinctCounter, Figures, SumCounter
from policyd.counting.distinct import Hasher
from policyd.protocol.reply import Verdict
from policyd.protocol.request import Request

HASH = Hasher(b"a secret of the tests")
NOW = WallTime(START)
REJECT, DEFER = Action("REJECT", "5.7.1"), Action("DEFER", "4.7.1")
HOLD, WARN = Action("HOLD"), Action("WARN")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def excess(
    rule: Limit, figures: tuple[int, int, int] = (3, 0, 1), counter: Counter | None = None
) -> Excess:
    counter = counter or SumCounter(rule.window)
    applied = Applied(Rule(rule, counter, None, form=0, tells_at_once=True), "key")
    return Excess(applied, Claim("key", 1), Figures(*figures))


def said(
    found: Excess, rules: Policy | None = None, stage: str = "END-OF-MESSAGE", **attributes: Any
) -> Verdict:
    rules = rules or policy(found.applied.limit)
    return exceeded(found, told(rules, request(stage, **attributes)), "K7M4XQ2", NOW)


def told(rules: Policy, asked: Request) -> Told:
    return Told(rules, Facts(asked, rules.accounts), asked)


# which one speaks


@pytest.mark.parametrize(
    ("actions", "first"),
    [
        ([WARN, HOLD, DEFER, REJECT], 3),
        ([REJECT, DEFER, HOLD, WARN], 0),
        ([WARN, HOLD, Action("452", "4.5.3")], 2),
        ([DEFER, Action("521", "5.7.1"), REJECT], 1),
        ([Action("421", "4.7.1"), DEFER], 0),
        ([HOLD, WARN, HOLD], 0),
        ([WARN], 0),
    ],
)
def test_the_strongest_speaks_and_of_equals_the_first(actions: list[Action], first: int) -> None:
    excesses = [excess(limit(action=action)) for action in actions]
    assert by_strength(excesses)[0] is excesses[first]


def test_of_nothing_nothing_speaks() -> None:
    assert by_strength([]) == []


@pytest.mark.parametrize(
    ("verb", "strength", "refuses"),
    [
        ("REJECT", Strength.REJECT, True),
        ("554", Strength.REJECT, True),
        ("DEFER", Strength.DEFER, True),
        ("452", Strength.DEFER, True),
        ("HOLD", Strength.HOLD, False),
        ("WARN", Strength.WARN, False),
    ],
)
def test_a_code_is_as_strong_as_the_verb_of_its_class(
    verb: str, strength: Strength, refuses: bool
) -> None:
    assert Action(verb).strength is strength
    assert Action(verb).refuses is refuses
    assert excess(limit(action=Action(verb))).answers is refuses
    observing = excess(limit(action=Action(verb), mode=Mode.OBSERVE))
    assert not observing.answers
    assert not observing.speaks
    assert excess(limit(action=Action(verb))).speaks


# what can never pass


@pytest.mark.parametrize(
    ("figures", "permanent"),
    [
        ((0, 0, 4), True),
        ((0, 0, 3), False),
        ((3, 0, 1), False),
        ((300, 0, 3), False),
        ((0, 300, 3), False),
        ((1, 1, 4), True),
    ],
)
@pytest.mark.parametrize("action", [DEFER, Action("452", "4.5.3"), Action("421", "4.7.1")])
def test_a_deferral_of_more_than_the_maximum_is_for_good(
    figures: tuple[int, int, int], permanent: bool, action: Action
) -> None:
    found = excess(limit(max=3, action=action), figures)
    if permanent:
        assert found.action == Action("REJECT", "5" + action.status[1:])
    else:
        assert found.action == action


@pytest.mark.parametrize("action", [REJECT, HOLD, WARN, Action("554", "5.7.0")])
def test_no_other_action_changes_with_the_figures(action: Action) -> None:
    assert excess(limit(max=3, action=action), (0, 0, 100)).action == action


def test_a_deferral_made_permanent_is_as_strong_as_any_refusal() -> None:
    deferred = excess(limit("first", max=3, action=DEFER), (0, 0, 4))
    refused = excess(limit("second", max=3))
    assert by_strength([deferred, refused]) == [deferred, refused]
    assert by_strength([refused, deferred]) == [refused, deferred]


def test_its_words_do_not_ask_anybody_to_come_back() -> None:
    text = "Too fast; try again in {retry_after}; see {aup_url}"
    rules = policy(
        limit(max=3, action=DEFER, text=text), organization=Organization(aup_url="aup.example")
    )
    (rule,) = rules.limits
    never = said(excess(rule, (0, 0, 4)), rules, "RCPT")
    assert never == Verdict("REJECT", "5.7.1", "Too fast; see aup.example")
    later = said(excess(rule, (0, 3, 1)), rules, "RCPT")
    assert later == Verdict("DEFER", "4.7.1", "Too fast; try again in 24 hours; see aup.example")


# the verb, at the end of a message and before

OLD, NEW = "3.7.11", "3.10.13"


@pytest.mark.parametrize(
    ("action", "end_session", "version", "verb"),
    [
        (REJECT, EndSession.AUTO, "", "521"),
        (REJECT, EndSession.AUTO, OLD, "521"),
        (REJECT, EndSession.AUTO, "3.8.19", "521"),
        (REJECT, EndSession.AUTO, "3.8.20", "REJECT"),
        (REJECT, EndSession.AUTO, NEW, "REJECT"),
        (REJECT, EndSession.AUTO, "3.12.0", "REJECT"),
        (REJECT, EndSession.YES, OLD, "521"),
        (REJECT, EndSession.YES, NEW, "521"),
        (REJECT, EndSession.NO, "", "REJECT"),
        (REJECT, EndSession.NO, OLD, "REJECT"),
        (REJECT, EndSession.NO, NEW, "REJECT"),
        (DEFER, EndSession.AUTO, "", "421"),
        (DEFER, EndSession.AUTO, OLD, "421"),
        (DEFER, EndSession.AUTO, NEW, "DEFER"),
        (DEFER, EndSession.YES, NEW, "421"),
        (DEFER, EndSession.NO, OLD, "DEFER"),
        (Action("554", "5.7.0"), EndSession.AUTO, OLD, "521"),
        (Action("554", "5.7.0"), EndSession.AUTO, NEW, "554"),
        (Action("452", "4.5.3"), EndSession.AUTO, OLD, "421"),
        (Action("452", "4.5.3"), EndSession.AUTO, NEW, "452"),
        (Action("452", "4.5.3"), EndSession.NO, OLD, "452"),
        *[
            (action, end_session, version, action.verb)
            for action in (HOLD, WARN)
            for end_session in EndSession
            for version in ("", OLD, NEW)
        ],
    ],
)
def test_a_refusal_of_a_message_ends_the_session_where_postfix_could_not_go_on(
    action: Action, end_session: EndSession, version: str, verb: str
) -> None:
    rules = policy(limit(action=action), end_session=end_session)
    found = excess(rules.limits[0], (3, 0, 1))
    answer = said(found, rules, mail_version=version)
    assert (answer.verb, answer.status) == (verb, action.status)
    # a recipient is refused in the ordinary way
    assert said(found, rules, "RCPT", mail_version=version).verb == action.verb


def test_a_deferral_made_permanent_ends_the_session_as_a_refusal_does() -> None:
    rules = policy(limit(max=3, action=DEFER))
    found = excess(rules.limits[0], (0, 0, 4))
    assert said(found, rules)[:2] == ("521", "5.7.1")
    assert said(found, rules, mail_version=NEW)[:2] == ("REJECT", "5.7.1")
    assert said(found, rules, "RCPT")[:2] == ("REJECT", "5.7.1")


# the words


def test_all_that_a_text_may_name() -> None:
    text = (
        "{account} {domain} {sender} {recipient} {client_address} {used} {asked} {max} {window}"
        " {aup_url} {contact} {organization} {limit} {title}"
    )
    rules = policy(
        limit("bulk", text=text, max=3),
        organization=Organization("Example Mail", "https://x.example/aup", "abuse@x.example"),
    )
    answer = said(
        excess(rules.limits[0], (3, 1, 2)),
        rules,
        "RCPT",
        recipient="r@away.example",
        sender="News@Local.Example",
        sasl_username="Alice",
    )
    assert answer.text == (
        "alice@local.example local.example News@Local.Example r@away.example 192.0.2.7 6 2 3"
        " 24 hours https://x.example/aup abuse@x.example Example Mail bulk bulk"
    )


def test_the_null_sender_has_a_name() -> None:
    rules = policy(limit(text="mail from {sender}"))
    assert said(excess(rules.limits[0]), rules, sender="").text == "mail from <>"


def test_a_text_has_more_room_at_the_end_of_a_message() -> None:
    rules = policy(limit(text="x" * 600))
    found = excess(rules.limits[0])
    assert len(said(found, rules, "RCPT").text) == 200
    assert len(said(found, rules).text) == 450


# a sender who is suspended


def suspension(**changes: Any) -> Suspension:
    return replace(
        Suspension(
            kind=SuspensionKind.MAILBOX,
            name="alice@local.example",
            since=WallTime(START),
            until=WallTime(START + 5400),
            by="ladder",
            reason="repeated violations",
            incident="K7M4XQ2",
        ),
        **changes,
    )


def blocked(
    one: Suspension, text: Wording | None = None, stage: str = "RCPT", **attributes: Any
) -> Verdict:
    rules = policy(organization=Organization(contact="abuse@local.example"))
    if text is not None:
        rules = replace(rules, aftermath=Aftermath(LadderRules(suspended_text=text)))
    return suspended(one, told(rules, request(stage, **attributes)))


def test_who_is_suspended_is_told_why_and_whom_to_ask() -> None:
    assert blocked(suspension()) == Verdict(
        "REJECT",
        "5.7.1",
        "Sending is suspended for alice@local.example; repeated violations; "
        "ask abuse@local.example; incident K7M4XQ2",
    )


def test_a_suspended_sender_may_be_told_how_long() -> None:
    text = Wording("{domain} {since} to {until} {sender}")
    assert blocked(suspension(), text).text == (
        "local.example 2027-01-15 00h00 to 2027-01-15 01h30 alice@local.example"
    )
    assert "until it is lifted" in blocked(suspension(until=None), Wording("until {until}")).text


def test_a_suspension_without_a_reason_is_an_administrators() -> None:
    assert "; by an administrator;" in blocked(suspension(reason="")).text


def test_at_the_end_a_suspension_ends_the_session_where_a_refusal_does() -> None:
    assert blocked(suspension(), stage="END-OF-MESSAGE").verb == "521"
    new = {"mail_version": "3.12.0"}
    assert blocked(suspension(), stage="END-OF-MESSAGE", **new).verb == "REJECT"


def test_what_is_said_of_a_suspension_fits_into_a_reply() -> None:
    long = suspension(name="a" * 300, reason="b" * 300)
    assert len(blocked(long).text) <= 200


# when to come back


def seconds(text: str) -> int:
    number, unit = text.rpartition(" in ")[2].split()
    return int(number) * SECONDS[unit.removesuffix("s")]


RULE = limit(max=6, window=100, action=DEFER, text="retry in {retry_after}")
HISTORY = st.lists(
    st.tuples(st.integers(0, 99), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3)),
    min_size=1,
    max_size=8,
).map(sorted)


def waits(counter: Counter, claim: Claim, now: float) -> int | None:
    """Return in how many seconds there is room, as the answer says; None if there is room now."""
    figures = counter.figures(claim, WallTime(now))
    if figures.total <= RULE.max:
        return None
    found = excess(RULE, counter=counter)._replace(claim=claim, figures=figures)
    return seconds(exceeded(found, told(policy(RULE), request()), "", WallTime(now)).text)


def there_is_room_then_and_not_before(counter: Counter, claim: Claim, now: float) -> None:
    """The answer is rounded up to a whole second, which is more than a bucket of this window."""
    wait = waits(counter, claim, now)
    if wait is not None:
        before, then = WallTime(now + wait - 1), WallTime(now + wait)
        assert counter.figures(claim, before).total > RULE.max
        assert counter.figures(claim, then).total <= RULE.max


@settings(deadline=None, max_examples=300)
@given(HISTORY, st.integers(1, 6), st.integers(0, 30))
def test_a_sum_has_room_when_it_says_and_not_before(
    history: list[tuple[int, list[str]]], asked: int, later: int
) -> None:
    counter = SumCounter(RULE.window)
    for second, names in history:
        counter.commit(Claim("key", len(names)), WallTime(START + second))
    there_is_room_then_and_not_before(counter, Claim("key", asked), START + 99 + later)


def distinct(history: list[tuple[int, list[str]]]) -> DistinctCounter:
    counter = DistinctCounter(RULE.window)
    for second, names in history:
        counter.commit(Claim("key", 0, [HASH(n) for n in names]), WallTime(START + second))
    return counter


@settings(deadline=None, max_examples=300)
@given(HISTORY, st.integers(1, 6), st.integers(0, 30))
def test_new_recipients_have_room_when_it_says_and_not_before(
    history: list[tuple[int, list[str]]], asked: int, later: int
) -> None:
    new = Claim("key", 0, [HASH(f"new{number}") for number in range(asked)])
    there_is_room_then_and_not_before(distinct(history), new, START + 99 + later)


@settings(deadline=None, max_examples=300)
@given(HISTORY, st.sets(st.sampled_from("abcdefghij"), min_size=1, max_size=6), st.integers(0, 30))
def test_recipients_that_were_mailed_before_have_room_when_it_says_and_not_before(
    history: list[tuple[int, list[str]]], asked: set[str], later: int
) -> None:
    # when the oldest is forgotten and is in this mail too, nothing is gained
    claim = Claim("key", 0, [HASH(name) for name in sorted(asked)])
    there_is_room_then_and_not_before(distinct(history), claim, START + 99 + later)


def test_the_oldest_recipient_being_mailed_again_makes_no_room() -> None:
    counter = distinct([(0, ["a"]), (10, ["b", "c", "d", "e"]), (20, ["f"])])
    claim = Claim("key", 0, [HASH("a"), HASH("new")])
    # at 100 seconds a is forgotten, and would be a further one
    assert waits(counter, claim, START + 50) == math.ceil(10 + 0.25 + 100) - 50


def test_with_a_key_for_each_recipient_the_last_to_have_room_tells_when() -> None:
    rules = policy(
        limit(
            per="account recipient",
            count=Count.MESSAGES,
            max=2,
            window=HOUR,
            action=DEFER,
            text="retry in {retry_after}",
        ),
        end_session=EndSession.NO,
    )
    desk = Desk(rules)
    for recipient in ("early@away.example", "late@away.example"):
        assert [desk.mail(recipient) for _ in range(2)] == ["DUNNO"] * 2
        desk.later(600)
    desk.next_message()
    # the first of a transaction would be told at once
    assert desk.rcpt("other@away.example") == "DUNNO"
    assert desk.rcpt("early@away.example") == "DUNNO"
    assert desk.rcpt("late@away.example") == "DUNNO"
    assert desk.end(3) == "DEFER"
    ended = request("END-OF-MESSAGE", recipient_count=3, instance="1.5.1.0", queue_id="Q5")
    wait = seconds(desk.ask(ended).verdict.text)
    assert wait == 600 + 3600 - 1200 + 60  # said in minutes, and rounded up
    desk.later(wait)
    assert desk.mail("late@away.example") == "DUNNO"


def test_what_open_transactions_hold_may_last_as_long_as_the_window() -> None:
    rule = limit(max=3, window=HOUR, action=DEFER, text="retry in {retry_after}")
    counter = SumCounter(HOUR)
    found = excess(rule, (0, 3, 1), counter)
    assert said(found).text == "retry in 1 hour"
