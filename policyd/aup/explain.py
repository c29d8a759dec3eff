"""Why mail is answered as it is: for every limit whether it holds, what it comes to, or why not.

The answer itself comes from a rehearsal. What is said here of a limit that was not tested is worked
out beside it, from the same rules.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from policyd.aup.applied import Recipient
from policyd.aup.deciding import Deciding
from policyd.aup.event import Blocked, Exceeded
from policyd.aup.facts import Facts
from policyd.aup.holding import in_force
from policyd.aup.incident import LADDER, Suspension
from policyd.aup.kept_verdicts import KeptVerdicts
from policyd.aup.match import Condition
from policyd.aup.policy import (
    SCOPES,
    Exemption,
    LikenessBy,
    Limit,
    Mode,
    Override,
    Policy,
    Recipients,
    Refuse,
)
from policyd.aup.rehearsal import Rehearsal, Step, Test
from policyd.aup.transaction import Transaction
from policyd.clock import Instant, WallTime
from policyd.protocol.reply import Verdict
from policyd.protocol.request import Request, Stage

_LATER: Final = "what the message is like is known at END-OF-MESSAGE"
_BY_SIZE: Final = "if its content is not shown; what it says is not known here"


class State(Enum):
    """How a limit stands to a request."""

    EXCEEDED = "exceeded"
    ROOM = "room"
    NOTHING_COUNTS = "nothing-counts"
    NOT_TESTED = "not-tested"
    NO_MATCH = "no-match"


@dataclass(frozen=True, slots=True)
class Said:
    """How one *limit* stands to a request, and *why*, in words, where that is no arithmetic.

    *max* is the maximum for this sender, None where the limit does not hold to him. *override* is
    what has changed it.
    """

    limit: Limit
    state: State
    why: str
    max: int | None
    override: Override | None
    test: Test | None


@dataclass(frozen=True, slots=True)
class Explained:
    """What would become of one request.

    *why* says what the answer comes from, if it comes from no limit. *speaks* is the id of the
    limit that it comes from.
    """

    request: Request
    verdict: Verdict
    facts: Facts
    why: str
    speaks: str
    limits: Sequence[Said]
    suspension: Suspension | None
    exemptions: Sequence[Exemption]
    recipients: int
    size: int

    @property
    def is_refusal(self) -> bool:
        """Whether it does not pass; what passes, held or warned of, has no status."""
        return bool(self.verdict.status)


def explain(
    live: Deciding, requests: Sequence[Request], hosts: Iterable[str], now: Instant
) -> list[Explained]:
    """Return what *live* would make of *requests*, all of one transaction; nothing is changed.

    The *hosts* are those that may ask. Where one of them has the transaction open, or was answered
    already, it is that one that asks.
    """
    host = _host(live, requests, hosts, now)
    rehearsal = Rehearsal(live, host, requests[0]["instance"] if requests else "")
    try:
        return [_explained(live, rehearsal.ask(request, now), now.wall) for request in requests]
    finally:
        rehearsal.end()


def _host(live: Deciding, requests: Sequence[Request], hosts: Iterable[str], now: Instant) -> str:
    """Return which of the *hosts* asks: one that knows the transaction, or else the last."""
    host = ""
    for host in hosts:
        for request in requests:
            name = KeptVerdicts.name(request, host)
            if live.transactions.get(host, request["instance"]) is not None or (
                request["instance"] and live.verdicts.find(name, now.monotonic) is not None
            ):
                return host
    return host


def _explained(live: Deciding, step: Step, now: WallTime) -> Explained:
    policy, request, asked = live.obeyed, step.request, step.asked
    facts = Facts(request, policy.accounts) if asked is None else asked.facts
    events = step.decision.events
    blocked = any(isinstance(event, Blocked) for event in events)
    speaks = next(
        (
            event.limit.id
            for event in events
            if isinstance(event, Exceeded) and event.verdict == step.decision.verdict
        ),
        "",
    )
    suspension = live.decisions.ladder.suspensions.of(facts.account, facts.domain, now)
    exemptions = [
        one for one in in_force(policy.exemptions, now) if one.match and one.match.matches(facts)
    ]
    exempt = next((one for one in exemptions if not one.match.on_recipient), None)
    why = _why(step, suspension if blocked else None, exempt)
    return Explained(
        request=request,
        verdict=step.decision.verdict,
        facts=facts,
        why=why,
        speaks=speaks,
        limits=[_said(live, limit, step, why, now) for limit in policy.limits],
        suspension=suspension,
        exemptions=exemptions,
        recipients=0 if asked is None else len(asked.recipients),
        size=step.size,
    )


def _why(step: Step, suspension: Suspension | None, exempt: Exemption | None) -> str:
    """Return why no limit was looked at; nothing if they were."""
    if step.request.stage is None:
        return "nothing is decided in this protocol state"
    if step.repeated or step.asked is None:
        return "this very request was answered already; it gets the same answer and counts nothing"
    if suspension is not None:
        return f"{suspension.kind.value} {suspension.name} is suspended"
    if exempt is not None:
        return f"exempt: {exempt.match}{_because(exempt.reason)}"
    return "" if step.tests is not None else _why_untested(step.asked.transaction)


def _why_untested(transaction: Transaction) -> str:
    """Return why a further recipient of *transaction* was answered without any test."""
    if transaction.refusal is not None:
        limit = transaction.refusal.applied.limit.id
        return f"{limit} has refused the first recipient, and so refuses every later one"
    if transaction.recipients and not transaction.reserving:
        return "recipients were accepted before; limits decide at END-OF-MESSAGE"
    return "the message has this recipient already"


def suspension_spares(suspension: Suspension, policy: Policy) -> str:
    """Return why *suspension*, which is in force, keeps nobody from sending."""
    if suspension.by == LADDER and policy.mode is Mode.OBSERVE:
        return "the rules observe, and the ladder has suspended: it does not refuse"
    return "whom this is to may be written to by everybody"


def _said(live: Deciding, limit: Limit, step: Step, why: str, now: WallTime) -> Said:
    """Return how *limit* stands to the request of *step*."""
    policy = live.obeyed
    asked = step.asked
    facts = Facts(step.request, policy.accounts) if asked is None else asked.facts
    if mismatch := _mismatch(limit, facts):
        return Said(limit, State.NO_MATCH, mismatch, None, None, None)
    override = _override(limit, policy, facts, now)
    most = limit.max if override is None else _maximum(override, limit)
    if override is not None and most is None:
        unlimited = f"unlimited by the override for {override.match}{_because(override.reason)}"
        return Said(limit, State.NO_MATCH, unlimited, None, override, None)
    for test in step.tests or ():
        if test.applied.limit.id == limit.id:
            said = _tested(limit, override, test, step)
            by_content = _is_by_content(limit, policy) and bool(test.measured)
            return replace(said, why=said.why or _BY_SIZE) if by_content else said
    if not why:
        why = _untested(limit, step)
        if why == _LATER and _is_by_content(limit, policy):
            why = "what the message is like is known when its content is shown"
    return Said(limit, State.NOT_TESTED, why, most, override, None)


def _tested(limit: Limit, override: Override | None, test: Test, step: Step) -> Said:
    most = test.applied.max
    if not test.measured:
        counts = _nothing_counts(limit, step.asked.recipients if step.asked else ())
        return Said(limit, State.NOTHING_COUNTS, counts, most, override, test)
    if test.measured[0].figures.total <= most:
        return Said(limit, State.ROOM, "", most, override, test)
    why = ""
    if limit.mode is Mode.OBSERVE:
        why = "it observes: this is logged, and the mail passes"
    elif not limit.action.refuses:
        why = f"{limit.action.verb} lets the mail pass"
    elif test.measured[0].figures.asked > most:
        why = "more than ever passes at once"
    return Said(limit, State.EXCEEDED, why, most, override, test)


def _mismatch(limit: Limit, facts: Facts) -> str:
    """Return why *limit* does not hold to the sender; nothing if it does."""
    for part in limit.shared_parts:
        if part.name in SCOPES and not facts[part.name]:
            return f"no {part.name}: nobody has logged in" if not facts.account else "no domain"
    for one in limit.match.on_transaction:
        if not one.test(facts[one.attribute]):
            return f"match: {_is(one, facts)}, not {one.source}"
    for one in limit.unless.on_transaction:
        if one.test(facts[one.attribute]):
            return f"unless: {_is(one, facts)} ({one.source})"
    return ""


def _is(one: Condition, facts: Facts) -> str:
    value = facts[one.attribute]
    return f"{one.attribute} is {value}" if value else f"{one.attribute} is empty"


def _untested(limit: Limit, step: Step) -> str:
    """Return why *limit*, which holds, was not tested with others."""
    if step.asked is not None and limit.id in step.asked.transaction.noted:
        return "it would have refused a recipient before, and lets this message alone"
    if step.request.stage is not Stage.RCPT:
        return "the message was decided before"
    if limit.refuse is Refuse.RECIPIENT:
        return "another limit has refused this recipient before"
    if not limit.answers:
        observes = limit.mode is Mode.OBSERVE
        return f"{'it observes' if observes else limit.action.verb}: at END-OF-MESSAGE only"
    if step.asked is not None and len(step.asked.transaction.recipients) > 1:
        return "recipients were accepted before; it decides at END-OF-MESSAGE"
    return _LATER


def _is_by_content(limit: Limit, policy: Policy) -> bool:
    return limit.likeness_scope is not None and policy.likeness.by is LikenessBy.CONTENT


def _nothing_counts(limit: Limit, recipients: Sequence[Recipient]) -> str:
    """Return why none of the *recipients* counts for *limit*."""
    reasons = dict.fromkeys(_left_out(limit, one) for one in recipients)
    if not reasons:
        return "there is no recipient"
    return "no recipient counts: " + ", or ".join(reasons)


def _left_out(limit: Limit, one: Recipient) -> str:
    if one.exempt:
        return "exempt"
    if limit.external not in (None, one.external):
        return "external" if limit.recipients is Recipients.LOCAL else "local"
    for failed in limit.match.on_recipient:
        if not limit.match.matches_recipient(one.address):
            return f"not {failed.attribute} {failed.source}"
    return f"unless {limit.unless}"


def _override(limit: Limit, policy: Policy, facts: Facts, now: WallTime) -> Override | None:
    """Return the override that says the maximum of *limit*; None if the limit itself does."""
    return next(_overrides(limit, policy, facts, now), None)


def _overrides(limit: Limit, policy: Policy, facts: Facts, now: WallTime) -> Iterator[Override]:
    for override in in_force(policy.overrides, now):
        if override.match.matches(facts) and override.pattern_for(limit.id) is not None:
            yield override


def _maximum(override: Override, limit: Limit) -> int | None:
    pattern = override.pattern_for(limit.id)
    return limit.max if pattern is None else override.limits[pattern]


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
