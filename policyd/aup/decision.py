"""From what was tested to a decision: the answer, and what happened.

Here deciding meets the ladder: a refusal belongs to an incident, whose id is part of the answer,
and a sender who is suspended gets no further than this.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from policyd.aup import answer
from policyd.aup.address import fold_address, split_address
from policyd.aup.answer import Excess, by_strength
from policyd.aup.applied import Recipient
from policyd.aup.event import Blocked, Decided, Event, Exceeded, NearLimit
from policyd.aup.facts import Facts
from policyd.aup.incident import LADDER, MOST_SAMPLED, Sample
from policyd.aup.ladder import Attempt, Ladder
from policyd.aup.policy import Mode, Policy
from policyd.aup.tested import Tested
from policyd.aup.transaction import Transaction
from policyd.clock import WallTime
from policyd.counting.distinct import Hasher
from policyd.protocol.reply import PASS, Verdict
from policyd.protocol.request import Request, Stage

_ALWAYS_MAILED: Final = frozenset(("postmaster", "abuse"))
"""Local parts that RFC 5321 and RFC 2142 want mail to be taken for: whom to ask for help."""


class Decision(NamedTuple):
    """The answer to one request, and what happened."""

    verdict: Verdict
    events: Sequence[Event] = ()


_PASSED: Final = Decision(PASS)
"""Most decisions."""


class Asked:
    """What one request is about: the *recipients* of a *transaction*, *now*, and its *subject*."""

    __slots__ = ("now", "recipients", "request", "subject", "transaction")

    def __init__(
        self,
        request: Request,
        transaction: Transaction,
        recipients: Sequence[Recipient],
        now: WallTime,
        subject: str = "",
    ) -> None:
        self.request = request
        self.transaction = transaction
        self.recipients = recipients
        self.now = now
        self.subject = subject

    @property
    def facts(self) -> Facts:
        """Who is sending."""
        return self.transaction.facts


class Decisions:
    """Makes decisions under a *policy*; with *trace* set each tells its arithmetic in an event.

    The *ladder*, a new one if none is given, is what refusals lead to.
    """

    def __init__(self, policy: Policy, hasher: Hasher, ladder: Ladder | None = None) -> None:
        self.trace = False
        self.ladder = ladder or Ladder(policy.aftermath.ladder, hasher)
        self._hasher = hasher
        self._policy = policy

    def obey(self, policy: Policy) -> None:
        """Go on under a changed *policy*."""
        self._policy = policy
        self.ladder.obey(policy.aftermath.ladder)

    def other(self, request: Request, verdict: Verdict) -> Decision:
        """Return the *verdict* on a *request* that nothing was tested for."""
        if not self.trace:
            return _PASSED if verdict is PASS else Decision(verdict)
        return Decision(verdict, (Decided(verdict, "", request, ()),))

    def blocked(self, asked: Asked) -> Decision | None:
        """Return the refusal of a suspended sender's mail; None if it may pass."""
        suspensions = self.ladder.suspensions
        if not suspensions.any_in_force:
            return None
        facts = asked.facts
        suspension = suspensions.of(facts.account, facts.domain, asked.now)
        if suspension is None:
            return None
        if suspension.by == LADDER and self._policy.mode is Mode.OBSERVE:
            return None
        if all(map(self._may_be_mailed, asked.recipients)):
            return None
        verdict = answer.suspended(suspension, self._told(asked))
        blocked = Blocked(
            stage=asked.request.stage or Stage.END_OF_MESSAGE,
            suspension=suspension,
            verdict=verdict,
            account=facts.account,
            domain=facts.domain,
            request=asked.request,
            recipients=len(asked.recipients),
        )
        return self._decision(asked, verdict, [blocked])

    def refusal(
        self, asked: Asked, refusing: Sequence[Excess], tested: Tested | None = None
    ) -> Decision:
        """Return the refusal by the first of those *refusing*."""
        incident = self._attempt(asked, refusing)
        exceeded = self._exceeded(asked, refusing[0], incident, refused=True)
        events = [exceeded, *self._led_to()]
        return self._decision(asked, exceeded.verdict, events, tested)

    def passed(self, asked: Asked, tested: Tested | None = None) -> Decision:
        """Return a pass, or what a WARN or HOLD has to say, and note what was exceeded."""
        if tested is None or not (tested.excesses or tested.weighed):
            return self._decision(asked, PASS, (), tested)
        verdict = PASS
        events: list[Event] = []
        if tested.excesses:
            would_refuse = by_strength(one for one in tested.excesses if one.action.refuses)
            observed = [one for one in would_refuse if not one.speaks]
            incident = self._attempt(asked, observed)
            exceeded = [
                self._exceeded(asked, one, incident, refused=False) for one in tested.excesses
            ]
            if spoken := by_strength(one for one in tested.excesses if one.speaks):
                verdict = exceeded[tested.excesses.index(spoken[0])].verdict
            events = [*exceeded, *self._led_to()]
        events += self._near(asked, tested)
        return self._decision(asked, verdict, events, tested)

    def _decision(
        self,
        asked: Asked,
        verdict: Verdict,
        events: Sequence[Event],
        tested: Tested | None = None,
    ) -> Decision:
        if self.trace:
            figures = () if tested is None else tuple(tested.figures())
            decided = Decided(verdict, asked.facts.account, asked.request, figures)
            events = (*events, decided)
        return Decision(verdict, events) if events or verdict is not PASS else _PASSED

    def _told(self, asked: Asked) -> answer.Told:
        return answer.Told(self._policy, asked.facts, asked.request)

    def _exceeded(self, asked: Asked, excess: Excess, incident: str, *, refused: bool) -> Exceeded:
        facts = asked.facts
        return Exceeded(
            refused=refused,
            stage=asked.request.stage or Stage.END_OF_MESSAGE,
            limit=excess.applied.limit,
            most=excess.applied.max,
            key=excess.claim.key,
            figures=excess.figures,
            action=excess.action,
            verdict=answer.exceeded(excess, self._told(asked), incident, asked.now),
            account=facts.account,
            domain=facts.domain,
            request=asked.request,
            incident=incident,
            recipients=len(asked.recipients),
            subject=asked.subject,
        )

    def _near(self, asked: Asked, tested: Tested) -> Iterator[NearLimit]:
        """Yield the strike limits that a message has brought near their maximum."""
        warn_at = self._policy.aftermath.ladder.warn_at
        facts = asked.facts
        if warn_at is None or asked.request.stage is Stage.RCPT or not facts.authenticated:
            return
        for applied, figures in tested.weighed:
            limit = applied.limit
            near = warn_at * applied.max
            if limit.strike and figures.used < near <= figures.total:
                account = facts.account if limit.counts_per("account") else ""
                total = figures.total
                yield NearLimit(limit, applied.max, total, account, facts.domain, asked.now)

    def _attempt(self, asked: Asked, excesses: Sequence[Excess]) -> str:
        """Note what was refused, or would have been, for the first strike among *excesses*.

        Return the id of the incident that this belongs to; empty if it belongs to none.
        """
        excess = next((one for one in excesses if one.applied.limit.strike), None)
        if excess is None or not asked.facts.authenticated:
            return ""
        facts, request = asked.facts, asked.request
        limit = excess.applied.limit
        external = [one for one in asked.recipients if one.external and not one.exempt]
        size = asked.transaction.size(request)
        names = [one.address for one in external or asked.recipients if " " not in one.address]
        attempt = Attempt(
            limit=limit,
            account=facts.account if limit.counts_per("account") else "",
            domain=facts.domain,
            observed=limit.mode is Mode.OBSERVE,
            client_address=facts.client_address,
            message=self._message(asked, size),
            members=[one.member for one in external],
            sample=Sample(request["sender"], names[:MOST_SAMPLED], size, asked.subject),
            used=excess.figures.total,
            max=excess.applied.max,
        )
        return self._noted(attempt, asked.now)

    def _noted(self, attempt: Attempt, now: WallTime) -> str:
        """Note *attempt*; return the id of its incident."""
        return self.ladder.attempt(attempt, now).id

    def _led_to(self) -> Sequence[Event]:
        """Return what attempts have led to since the last call."""
        return self.ladder.events()

    def _message(self, asked: Asked, size: int) -> bytes:
        """Return what is the same when the same mail is tried again."""
        transaction, recipients = asked.transaction, asked.recipients
        if asked.request.stage is Stage.RCPT:
            transaction.first_refused = transaction.first_refused or recipients[0].address
            return self._hasher(f"to {transaction.first_refused} from {asked.request['sender']}")
        members = sum(int.from_bytes(one.member, "big") for one in recipients)
        return self._hasher(f"size {size} to {members}")

    def _may_be_mailed(self, recipient: Recipient) -> bool:
        """Tell whether even a suspended sender may write to *recipient*."""
        if recipient.external:
            contact = self._policy.organization.contact
            return bool(contact) and recipient.address == fold_address(contact)
        if self._policy.aftermath.ladder.suspended_to_local:
            return True
        return split_address(recipient.address)[0] in _ALWAYS_MAILED
