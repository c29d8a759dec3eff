"""Explaining: what it says is what then happens, and nothing is changed by asking."""

from dataclasses import replace
from typing import Any

from aup.building import DAY, HOUR, START, Desk, external, limit, policy, request
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.aup.explain import Explained, Said, State, explain, suspension_spares
from policyd.aup.incident import LADDER, Grant, Suspension, SuspensionKind
from policyd.aup.ladder_rules import Aftermath, LadderRules
from policyd.aup.match import Matcher, condition
from policyd.aup.policy import (
    Action,
    Count,
    EndSession,
    Exemption,
    Likeness,
    LikenessBy,
    Mode,
    Override,
    Policy,
    Recipients,
    Refuse,
)
from policyd.aup.rehearsal import NEW_INCIDENT
from policyd.aup.transaction import Connection
from policyd.clock import WallTime
from policyd.protocol.request import Request

RULES = policy(
    limit("bulk", "account likeness", max=4, strike=True, text="No bulk; {used} {incident}"),
    limit("repeat", "account likeness recipient", count=Count.MESSAGES, max=2),
    limit("each", "account", max=6, refuse=Refuse.RECIPIENT, window=HOUR),
    limit("mails", "account", max=5, refuse=Refuse.RECIPIENT, count=Count.MESSAGES),
    limit("seen", "account", max=3, refuse=Refuse.RECIPIENT, window=HOUR, mode=Mode.OBSERVE),
    limit("hold", "account", max=7, action=Action("HOLD"), text="Held"),
    limit("slow", "account", max=8, action=Action("DEFER", "4.7.1"), text="Slow"),
    limit("burst", "client_address", max=9, count=Count.RECIPIENTS, window=90),
    limit("volume", "account", max=40_000, count=Count.BYTES),
    limit("places", "account", max=1, count=Count.DISTINCT_CLIENTS, window=600),
    limit("new", "account", max=5, count=Count.FIRST_TIME_RECIPIENTS, known_for=2 * DAY),
    likeness=Likeness(tolerance=64),
    end_session=EndSession.NO,
    overrides=(
        Override(Matcher.of([condition("account", ["carol"], policy().accounts)]), {"*": None}),
    ),
)
ADDRESSES = [*external(6), "R1@AWAY.example.", "u1@local.example", "postmaster@local.example"]


def told(desk: Desk, *requests: Request) -> list[Explained]:
    """Explain, and see that nothing has changed."""
    desk.journal()
    engine = desk.engine
    before, pending = image(desk), list(engine.ladder._events)
    found = explain(engine, requests, ["other", "mx"], desk.now)
    engine._check()
    assert engine.ladder._events == pending
    assert engine.take_entries() == []
    assert not any(series.buckets for series in engine.take(desk.now).values())
    assert image(desk) == before
    return found


def image(desk: Desk) -> object:
    """Return all that there is."""
    engine = desk.engine
    held = {
        name: (
            {key: dict(value) for key, value in one._held.items()}
            if one._held and not isinstance(next(iter(one._held.values())), int)
            else dict(one._held)
        )
        for name, counter in engine.counts.counters()
        for one in [getattr(counter, "known", counter)]
    }
    return (
        {n: (s.meaning, s.buckets) for n, s in engine.whole(desk.now).items()},
        engine.whole_entries(),
        engine.open_transactions(desk.now),
        [(t.connections, t.refusal, list(t._holds)) for t in engine.transactions],
        held,
        len(engine.verdicts),
    )


def said(explained: Explained, name: str) -> Said:
    return next(one for one in explained.limits if one.limit.id == name)


USERS = ("alice", "bob", "carol", "")


class Session:
    """A message under way."""

    def __init__(self, serial: int, user: str) -> None:
        self.connection = Connection("mx")
        self.instance, self.user = f"{serial:x}", user
        self.accepted = self.size = 0


steps = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["rcpt", "rcpt", "rcpt", "end", "end", "again", "later", "reload", "block"]),
    st.integers(0, 100),
)


def asked(session: Session, act: str, number: int) -> Request:
    given = {"instance": session.instance, "sasl_username": session.user}
    given["client_address"] = f"192.0.{number % 2}.7"
    if act == "rcpt":
        return request("RCPT", ADDRESSES[number % len(ADDRESSES)], **given)
    count = max(1, session.accepted + (0, 0, 1, -1)[number % 4])
    size = session.size + (1000, 1050, 9000)[number % 3]
    queue = f"Q{session.instance}-{size}"
    return request(
        "END-OF-MESSAGE",
        ADDRESSES[number % len(ADDRESSES)] if count == 1 else "",
        **given,
        recipient_count=count,
        size=size,
        queue_id=queue,
    )


@settings(max_examples=150, deadline=None)
@given(moves=st.lists(steps, max_size=60), by_any=st.booleans())
def test_it_says_what_then_happens(moves: list[tuple[int, str, int]], by_any: bool) -> None:
    rules = replace(RULES, likeness=Likeness(by=LikenessBy.ANY)) if by_any else RULES
    desk = Desk(rules)
    sessions = [Session(n, user) for n, user in enumerate(USERS)]
    serial = len(USERS)
    last: Request | None = None
    for who, act, number in moves:
        session = sessions[who]
        if act == "later":
            desk.later((1, 61, 600, 4000)[number % 4])
        elif act == "reload":
            limits = [replace(one, max=one.max + number % 3 - 1) for one in RULES.limits]
            desk.engine.obey(replace(rules, limits=tuple(limits)), desk.now)
        elif act == "block":
            one = Suspension(
                *(SuspensionKind.MAILBOX, "bob@local.example", desk.now.wall),
                *(WallTime(desk.wall + 100), "anna", "stolen"),
            )
            desk.engine.ladder.suspensions.add(one)
            desk.engine.ladder.take_effect([one])
            desk.engine.ladder.events()
        else:
            ask = last if act == "again" and last is not None else asked(session, act, number)
            if ask["instance"] not in [one.instance for one in sessions]:
                continue
            session = next(one for one in sessions if one.instance == ask["instance"])
            (expected,) = told(desk, ask)
            decision = desk.ask(ask, session.connection)
            assert expected.verdict == hide(decision.verdict, expected.verdict)
            last = ask
            if ask["protocol_state"] == "RCPT":
                session.accepted += decision.verdict.verb in ("DUNNO", "WARN")
            elif act == "again":
                continue
            elif decision.verdict.verb in ("DUNNO", "HOLD"):
                desk.engine.disconnect(session.connection, desk.now)
                serial += 1
                sessions[sessions.index(session)] = Session(serial, session.user)
            else:
                session.accepted = int(ask["recipient_count"])
                session.size = int(ask["size"])


def hide(verdict: Any, expected: Any) -> Any:
    """Return *verdict* with the id of an incident hidden that is opened just now."""
    if not expected.text.endswith(NEW_INCIDENT):
        return verdict
    assert len(verdict.text) == len(expected.text)
    return verdict._replace(text=verdict.text[:-7] + NEW_INCIDENT)


@settings(max_examples=60, deadline=None)
@given(
    recipients=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=8),
    before=st.integers(0, 8),
)
def test_a_whole_message(recipients: list[str], before: int) -> None:
    desk = Desk(RULES)
    for address in external(before, 20):
        desk.mail(address, size=5000)
    desk.next_message()
    here = {"instance": "77.1", "queue_id": "Q77"}
    requests = [request("RCPT", one, **here) for one in recipients]
    requests.append(request("END-OF-MESSAGE", recipient_count=len(recipients), **here))
    found = told(desk, *requests)
    real = [desk.ask(one, desk.connection).verdict for one in requests]
    assert [one.verdict for one in found] == [
        hide(verdict, one.verdict) for verdict, one in zip(real, found, strict=True)
    ]


def accounts_condition(attribute: str, *values: str) -> Matcher:
    return Matcher.of([condition(attribute, values, policy().accounts)])


def rcpt(**attributes: Any) -> Request:
    return request("RCPT", "r1@away.example", **attributes)


def end(count: int = 1, **attributes: Any) -> Request:
    given = {"recipient": "r1@away.example" if count == 1 else "", "queue_id": "Q"} | attributes
    return request("END-OF-MESSAGE", recipient_count=count, **given)


def one(rules: Policy, *requests: Request, name: str = "few") -> Said:
    return said(told(Desk(rules), *requests)[-1], name)


def test_what_counts_is_told_with_its_arithmetic() -> None:
    desk = Desk(policy(limit("few", "account", max=3)))
    desk.mail(*external(2))
    found = told(desk, rcpt(instance="2.2"), end(instance="2.2"))
    few = said(found[1], "few")
    assert (few.state, few.why, few.max) == (State.ROOM, "", 3)
    assert few.test is not None
    (measured,) = few.test.measured
    assert measured.claim.key == "alice@local.example"
    assert measured.figures == (2, 0, 0)  # r1 is one of them
    assert measured.room is None
    assert [(part.amount, part.leaves - part.end) for part in measured.parts] == [(2, DAY)]
    assert found[1].recipients == 1
    assert found[1].size == 1000


def test_when_there_is_room_again() -> None:
    desk = Desk(policy(limit("few", "account", max=3)))
    desk.mail("r0@away.example")
    desk.later(HOUR)
    desk.mail(*external(2, 1))
    found = told(desk, request("RCPT", "r9@away.example", instance="2.2"))[0]
    few = said(found, "few")
    assert (few.state, found.speaks, found.verdict.verb) == (State.EXCEEDED, "few", "REJECT")
    assert few.test is not None
    (measured,) = few.test.measured
    assert measured.figures.total == 4
    assert measured.room == START + 300 + DAY
    desk.later(measured.room - desk.wall - 0.1)
    assert desk.mail("r9@away.example") == "REJECT"
    desk.later(0.1)
    assert desk.mail("r9@away.example") == "DUNNO"


def test_the_keys_that_come_to_the_most() -> None:
    rules = policy(limit("few", "account recipient", max=3, count=Count.MESSAGES))
    desk = Desk(rules)
    for _ in range(3):
        desk.mail(external(30)[29])
    requests = [request("RCPT", address, instance="5.5") for address in external(30)]
    found = told(desk, *requests, end(30, instance="5.5"))
    few = said(found[-1], "few")
    assert few.test is not None
    assert (len(few.test.measured), few.test.more) == (20, 10)
    assert few.test.measured[0].figures == (3, 0, 1)


def test_why_a_limit_does_not_hold() -> None:
    few = limit("few", "account", max=3)
    no_login = {"sasl_username": ""}
    matching = accounts_condition("policy_context", "submission")
    on_client = accounts_condition("client", "192.0.2.0/24")
    cases = [
        (few, rcpt(**no_login), "no account: nobody has logged in"),
        (replace(few, match=matching), rcpt(), "match: policy_context is empty, not submission"),
        (
            *(replace(few, match=matching), rcpt(policy_context="smtps")),
            "match: policy_context is smtps, not submission",
        ),
        (
            *(replace(few, unless=on_client), rcpt()),
            "unless: client_address is 192.0.2.7 (192.0.2.0/24)",
        ),
    ]
    for rule, asking, why in cases:
        found = one(policy(rule), asking)
        assert (found.state, found.why, found.max) == (State.NO_MATCH, why, None)
    no_domain = policy(
        limit("few", "domain"), accounts=replace(policy().accounts, default_domain="")
    )
    assert one(no_domain, rcpt()).why == "no domain"


def test_overrides() -> None:
    few = limit("few", "account", max=3)
    alice = accounts_condition("account", "alice")
    unlimited = policy(few, overrides=(Override(alice, {"f*": None}, reason="boss"),))
    found = one(unlimited, rcpt())
    assert found.why == "unlimited by the override for account alice (boss)"
    assert found.state is State.NO_MATCH
    more = policy(few, overrides=(Override(alice, {"few": 9}),))
    found = one(more, rcpt())
    assert (found.state, found.max, found.override) == (State.ROOM, 9, more.overrides[0])
    over = policy(few, overrides=(Override(alice, {"few": 9}, until=WallTime(START)),))
    assert one(over, rcpt()).max == 3


def test_exempt() -> None:
    rules = policy(
        limit("few", "account", max=3),
        exemptions=(
            Exemption(accounts_condition("recipient", "r1@away.example"), reason="partner"),
            Exemption(accounts_condition("account", "lists"), reason="list host"),
        ),
    )
    found = one(rules, rcpt(), end())
    assert found.state is State.NOTHING_COUNTS
    assert found.why == "no recipient counts: exempt"
    (whole,) = told(Desk(rules), rcpt(sasl_username="lists"))
    assert whole.why == "exempt: account lists (list host)"
    assert said(whole, "few").state is State.NOT_TESTED
    assert said(whole, "few").why == whole.why
    assert whole.verdict.verb == "DUNNO"


def test_what_was_granted_by_command() -> None:
    desk = Desk(policy(limit("few", "account", max=3)))
    desk.engine.grant(Grant("client", "192.0.2.7", WallTime(START), None, "anna", "migration"))
    (found,) = told(desk, rcpt())
    assert found.why == "exempt: client_address 192.0.2.7 (migration)"


def test_recipients_that_do_not_count() -> None:
    few = limit("few", "account", max=3)
    to_local = request("END-OF-MESSAGE", "u@local.example", recipient_count=1)
    assert one(policy(few), to_local).why == "no recipient counts: local"
    local = replace(few, recipients=Recipients.LOCAL)
    assert one(policy(local), end()).why == "no recipient counts: external"
    chosen = replace(few, match=accounts_condition("recipient_domain", "list.example"))
    why = "no recipient counts: not recipient_domain list.example"
    assert one(policy(chosen), end()).why == why
    spared = replace(few, unless=accounts_condition("recipient_domain", "away.example"))
    why = "no recipient counts: unless recipient_domain away.example"
    assert one(policy(spared), end()).why == why
    assert one(policy(few), end(0)).why == "there is no recipient"


def test_limits_that_do_not_decide_at_rcpt() -> None:
    rules = policy(
        limit("bulk", max=3),
        limit("observed", "account", mode=Mode.OBSERVE),
        limit("held", "account", action=Action("HOLD")),
        limit("few", "account", max=9),
    )
    first, second = told(Desk(rules), rcpt(), request("RCPT", "r2@away.example"))
    reasons = {one.limit.id: one.why for one in first.limits}
    assert reasons == {
        "bulk": "what the message is like is known at END-OF-MESSAGE",
        "observed": "it observes: at END-OF-MESSAGE only",
        "held": "HOLD: at END-OF-MESSAGE only",
        "few": "",
    }
    later = "recipients were accepted before; limits decide at END-OF-MESSAGE"
    assert {one.why for one in second.limits} == {later}
    (again,) = told(Desk(rules), rcpt())
    assert again.verdict.verb == "DUNNO"


def test_what_is_exceeded_and_lets_mail_pass() -> None:
    rules = policy(
        limit("observed", "account", max=0, mode=Mode.OBSERVE),
        limit("warned", "account", max=0, action=Action("WARN"), text="Careful"),
    )
    found = told(Desk(rules), rcpt(), end())[1]
    assert said(found, "observed").why == "it observes: this is logged, and the mail passes"
    assert said(found, "warned").why == "WARN lets the mail pass"
    assert (found.verdict.verb, found.speaks) == ("WARN", "warned")


def test_what_can_never_pass() -> None:
    found = one(policy(limit("few", "account", max=3)), end(9))
    assert found.why == "more than ever passes at once"
    assert found.test is not None
    assert found.test.measured[0].room is None


def test_a_refusal_at_the_first_recipient_holds_to_the_next() -> None:
    found = told(
        Desk(policy(limit("few", "account", max=0))), rcpt(), request("RCPT", "b@x.example")
    )
    assert [one.verdict.verb for one in found] == ["REJECT", "REJECT"]
    assert found[1].why == "few has refused the first recipient, and so refuses every later one"


def test_suspended() -> None:
    ladder = LadderRules(never_suspend=frozenset())
    rules = policy(limit("few", "account", max=3), aftermath=Aftermath(ladder))
    desk = Desk(rules)
    who = "alice@local.example"
    one = Suspension(SuspensionKind.MAILBOX, who, WallTime(START), None, LADDER, "so")
    desk.engine.ladder.suspensions.add(one)
    desk.engine.ladder.take_effect([one])
    desk.engine.ladder.events()
    (found,) = told(desk, rcpt())
    assert (found.suspension, found.verdict.verb) == (one, "REJECT")
    assert found.why == "mailbox alice@local.example is suspended"
    (spared,) = told(desk, request("RCPT", "postmaster@local.example"))
    assert (spared.suspension, spared.verdict.verb, spared.why) == (one, "DUNNO", "")
    assert suspension_spares(one, rules) == "whom this is to may be written to by everybody"
    observing = replace(rules, mode=Mode.OBSERVE)
    assert suspension_spares(one, observing).startswith("the rules observe")


def test_a_request_that_was_answered_gets_the_same_answer() -> None:
    desk = Desk(policy(limit("few", "account", max=1)))
    asking = end(instance="9.9")
    assert desk.ask(asking).verdict.verb == "DUNNO"
    (found,) = told(desk, asking)
    assert found.verdict.verb == "DUNNO"
    assert found.why.startswith("this very request was answered already")


def test_other_protocol_states() -> None:
    (found,) = told(Desk(policy(limit("few", "account", max=0))), request("DATA"))
    assert (found.verdict.verb, found.why) == ("DUNNO", "nothing is decided in this protocol state")


def test_a_recipient_that_is_there_already() -> None:
    rules = policy(limit("each", "account", max=3, refuse=Refuse.RECIPIENT))
    desk = Desk(rules)
    desk.ask(rcpt(instance="4.4"))
    again, more = told(
        desk, rcpt(instance="4.4"), request("RCPT", "r2@away.example", instance="4.4")
    )
    assert again.why == "the message has this recipient already"
    assert said(more, "each").test is not None
    assert desk.ask(end(instance="4.4")).verdict.verb == "DUNNO"
    assert desk.usage("each") == 1


def test_by_content_it_is_said_that_the_content_is_not_known() -> None:
    desk = Desk(policy(limit(max=1), likeness=Likeness(LikenessBy.CONTENT)))
    (at_rcpt,) = told(desk, request("RCPT", "r1@away.example"))
    assert at_rcpt.limits[0].why == "what the message is like is known when its content is shown"
    (at_end,) = told(desk, request("END-OF-MESSAGE", "r1@away.example", recipient_count=1))
    (said,) = at_end.limits
    assert said.state is State.ROOM
    assert said.why == "if its content is not shown; what it says is not known here"
    # what nothing counts of needs no content to be told
    (local,) = told(desk, request("END-OF-MESSAGE", "u@local.example", recipient_count=1))
    assert local.limits[0].why == "no recipient counts: local"
