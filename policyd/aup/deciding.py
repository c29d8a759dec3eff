"""Deciding: one request in, one verdict out, and what happened (POLICY.md "Deciding").

At RCPT nothing is counted. A sender who is over a limit already is told at the first recipient,
and limits that refuse single recipients reserve. At END-OF-MESSAGE every limit is tested with the
transaction's own set of recipients; then the message is counted under every one of them, or it is
refused and counted under none. Both happen in one synchronous call, so that messages in flight
never see each other half counted. Where likeness is told by content, and the content is still to
be shown, the message is decided and counted there (deciding_content.py).
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

from policyd.aup.address import fold_address
from policyd.aup.answer import by_strength
from policyd.aup.applied import Applied, Message, Recipient, Scope
from policyd.aup.awaiting import Awaiting
from policyd.aup.counts import Counts
from policyd.aup.decision import Asked, Decision, Decisions
from policyd.aup.facts import Facts
from policyd.aup.holding import Holding, in_force
from policyd.aup.kept_verdicts import KeptVerdicts
from policyd.aup.policy import Policy, Refuse
from policyd.aup.tested import Tested
from policyd.aup.transaction import Connection, Transaction, Transactions
from policyd.clock import Instant, WallTime
from policyd.counting.counters import Claim
from policyd.counting.distinct import Hasher
from policyd.protocol.reply import PASS
from policyd.protocol.request import Request, Stage

MOST_STAND_INS: Final = 10_000
"""Recipients that a bare recipient_count stands for at most; no Postfix accepts as many."""

_ONE_BYTE: Final = 1
"""The least that a message is; its size is not known at RCPT."""


class Deciding:
    """What decides requests under the rules *obeyed*, and what that is done with."""

    testing: ClassVar[type[Tested]] = Tested

    def __init__(
        self, obeyed: Policy, hasher: Hasher, counts: Counts, decisions: Decisions
    ) -> None:
        self.hasher = hasher
        self.counts = counts
        self.decisions = decisions
        self.transactions = Transactions()
        self.verdicts = KeptVerdicts()
        self.awaiting = Awaiting()
        self.obey_now(obeyed)

    def obey_now(self, policy: Policy) -> None:
        """Let *policy* be the rules *obeyed* from here on; the counts are for it already."""
        self.obeyed = policy
        self._holding = Holding(policy, self.counts, self.hasher)
        self._reserves = any(limit.refuse is Refuse.RECIPIENT for limit in policy.limits)

    def decide(self, request: Request, connection: Connection, now: Instant) -> Decision:
        """Return the answer to *request*, which arrived on *connection*."""
        stage = request.stage
        if stage is None:
            return self.decisions.other(request, PASS)
        if stage is Stage.RCPT:
            return self._at_rcpt(request, self._transaction(request, connection, now), now)
        name = KeptVerdicts.name(request, connection.host)
        kept = self.verdicts.find(name, now.monotonic)
        if kept is not None:
            # a transaction that goes on after a refusal came back to do so on this connection
            self.transactions.find(connection, request["instance"])
            return self.decisions.other(request, kept)
        decision = self._at_end(request, self._transaction(request, connection, now), now)
        if request["instance"]:
            self.verdicts.keep(name, decision.verdict, now.monotonic)
        self.awaiting.note_end(request, now.monotonic)
        return decision

    def _at_rcpt(self, request: Request, transaction: Transaction, now: Instant) -> Decision:
        transaction.rcpt_seen = True
        recipient = self._recipient(transaction, request["recipient"])
        asked = Asked(request, transaction, (recipient,), now.wall)
        if (blocked := self.decisions.blocked(asked)) is not None:
            return blocked
        if transaction.refusal is not None:
            return self.decisions.refusal(asked, [transaction.refusal])
        if recipient.address in transaction.recipients:
            return self.decisions.passed(asked)
        if transaction.exempt or (transaction.recipients and not transaction.reserving):
            # kept of exempt ones as well: a reload may end the exemption before the message ends
            self.transactions.accept(transaction, recipient)
            return self.decisions.passed(asked)
        return self._at_new_rcpt(asked, recipient)

    def _at_new_rcpt(self, asked: Asked, recipient: Recipient) -> Decision:
        transaction = asked.transaction
        message = Message((recipient,), _ONE_BYTE)
        tested = self.testing(asked.now, exact=self.decisions.trace)
        if not transaction.recipients:
            self._test_first(transaction, message, tested)
            if tested.excesses:
                refusing = by_strength(tested.excesses)
                transaction.refusal = refusing[0]
                return self.decisions.refusal(asked, refusing, tested)
        if transaction.reserving:
            self._test_each(transaction, message, tested)
            if refusing := by_strength(e for e in tested.excesses if e.answers):
                return self.decisions.refusal(asked, refusing, tested)
            for excess in tested.excesses:
                transaction.noted.add(excess.applied.limit.id)
                transaction.release(excess.applied)
            for applied, claims in tested.passed:
                if applied.limit.refuse is Refuse.RECIPIENT:
                    transaction.reserve(applied, claims)
        self.transactions.accept(transaction, recipient)
        return self.decisions.passed(asked, tested)

    def _test_first(self, transaction: Transaction, message: Message, tested: Tested) -> None:
        """Test what has no room for the first recipient, and so for no message (rule 2)."""
        for applied in transaction.applied:
            if applied.rule.tells_at_once:
                tested.test(applied, self._claims(applied, message, tested.now))

    def _test_each(self, transaction: Transaction, message: Message, tested: Tested) -> None:
        """Test the limits that refuse single recipients (rule 3)."""
        for applied in transaction.reserving:
            if applied.limit.id not in transaction.noted:
                claims = self._claims(applied, message, tested.now)
                tested.test(applied, transaction.not_held(applied, claims))

    def _at_end(self, request: Request, transaction: Transaction, now: Instant) -> Decision:
        recipients = self._settled(request, transaction)
        asked = Asked(request, transaction, recipients, now.wall)
        if (decision := self.decisions.blocked(asked)) is not None:
            self.transactions.start_over(transaction, request)
            return decision
        if transaction.exempt:
            self.transactions.close(transaction)
            return self.decisions.passed(asked)
        message = Message(recipients, transaction.size(request))
        transaction.release()  # from here on the set itself is what is asked
        is_awaited = self.awaiting.is_awaited(asked)
        tested = self._test_all(transaction, message, now.wall, without_likeness=is_awaited)
        if tested.excesses and (refusing := by_strength(e for e in tested.excesses if e.answers)):
            decision = self.decisions.refusal(asked, refusing, tested)
            self.transactions.start_over(transaction, request)
            return decision
        if is_awaited:
            self.awaiting.keep(asked, now.monotonic)
            decision = self.decisions.passed(asked)
        else:
            self._commit(message, tested)
            decision = self.decisions.passed(asked, tested)
        self.transactions.close(transaction)
        return decision

    def _test_all(
        self,
        transaction: Transaction,
        message: Message,
        now: WallTime,
        *,
        without_likeness: bool = False,
    ) -> Tested:
        """Test *message* by all limits that hold to it, or by those *without_likeness* alone."""
        tested = self.testing(now, exact=self.decisions.trace)
        for applied in transaction.applied:
            if applied.limit.id in transaction.noted:
                continue
            if applied.scope is None or not without_likeness:
                tested.test(applied, self._claims(applied, message, now))
        return tested

    def _commit(self, message: Message, tested: Tested) -> None:
        """Count *message* under every limit that it passed."""
        now = tested.now
        joined: set[Scope] = set()
        for applied, claims in tested.passed:
            scope = applied.scope
            if scope is not None and claims and scope not in joined:
                joined.add(scope)
                self.counts.join(scope, message, now)
            applied.counter.commit_all(claims, now)

    def _transaction(self, request: Request, connection: Connection, now: Instant) -> Transaction:
        """Return the transaction of *request*, a new one if need be."""
        instance = request["instance"]
        found = self.transactions.find(connection, instance)
        if found is None:
            facts = Facts(request, self.obeyed.accounts)
            found = Transaction(connection.host, instance, facts, now.monotonic)
            self._apply(found, facts, now.wall)
            self.transactions.open(connection, found)
        elif found.policy is not self.obeyed:
            self._renew(found, now.wall)
        return found

    def _renew(
        self, transaction: Transaction, now: WallTime, recipients: Iterable[str] | None = None
    ) -> None:
        """Let *transaction*, with its own or these *recipients*, be held to the present rules."""
        self._apply(transaction, Facts(transaction.facts.request, self.obeyed.accounts), now)
        transaction.refusal = None
        addresses = transaction.recipients if recipients is None else recipients
        self.transactions.replace(transaction, [self._recipient(transaction, a) for a in addresses])
        for applied in transaction.reserving:
            if applied.limit.id not in transaction.noted:
                self._hold_again(transaction, applied, now)

    def _apply(self, transaction: Transaction, facts: Facts, now: WallTime) -> None:
        """Work out which limits hold to *transaction*, once for all of its requests."""
        policy = transaction.policy = self.obeyed
        transaction.facts = facts
        if policy.exemptions:
            exemptions = [e for e in in_force(policy.exemptions, now) if e.match.matches(facts)]
            transaction.exempt = any(not e.match.on_recipient for e in exemptions)
            transaction.exempt_recipients = [e.match for e in exemptions if e.match.on_recipient]
        else:
            transaction.exempt, transaction.exempt_recipients = False, ()
        if transaction.exempt:
            transaction.applied = transaction.reserving = ()
            return
        transaction.applied = self._holding.to(facts, now)
        if self._reserves:
            transaction.reserving = [
                one for one in transaction.applied if one.limit.refuse is Refuse.RECIPIENT
            ]
        else:
            transaction.reserving = ()

    def _recipient(self, transaction: Transaction, address: str) -> Recipient:
        policy = self.obeyed
        folded = fold_address(address, policy.recipient_extension)
        return Recipient(
            folded,
            self.hasher(folded),
            external=policy.local.is_external(folded),
            exempt=bool(transaction.exempt_recipients)
            and any(m.matches_recipient(folded) for m in transaction.exempt_recipients),
        )

    def _settled(self, request: Request, transaction: Transaction) -> Sequence[Recipient]:
        """Return the recipients that Postfix accepted (rule 5)."""
        asked = request.recipient_count
        count = transaction.accepted_of(asked)
        only = request["recipient"] if asked == 1 else ""
        if not transaction.rcpt_seen:
            return self._stand_ins(request, transaction, only, count)
        if only and transaction.recipients:
            return (self._recipient(transaction, only),)
        return list(transaction.recipients.values())[:count]

    def _stand_ins(
        self, request: Request, transaction: Transaction, only: str, count: int
    ) -> Sequence[Recipient]:
        """Return what stands for recipients that we were not asked about: external, distinct."""
        if only:
            return (self._recipient(transaction, only),)
        names = (
            f"? {number} {request['queue_id']} {transaction.instance}"
            for number in range(min(count, MOST_STAND_INS))
        )
        return [Recipient(n, self.hasher(n), external=True, exempt=False) for n in names]

    def _claims(self, applied: Applied, message: Message, now: WallTime) -> Sequence[Claim]:
        """Return what *applied* would count of *message*, having found out what it is like."""
        claims = message.claims.get(applied.rule.form)
        if claims is None:
            scope = applied.scope
            if scope is not None and scope not in message.likeness:
                message.likeness[scope] = self.counts.likeness(scope, message, now)
            claims = message.claims[applied.rule.form] = applied.claims(message)
        return claims

    def _hold_again(self, transaction: Transaction, applied: Applied, now: WallTime) -> None:
        """Reserve under changed rules what *transaction* holds already."""
        for recipient in transaction.recipients.values():
            claims = self._claims(applied, Message((recipient,), _ONE_BYTE), now)
            transaction.reserve(applied, transaction.not_held(applied, claims))
