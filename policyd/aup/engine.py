"""Deciding: one request in, one verdict out, and what happened (POLICY.md "Deciding").

At RCPT nothing is counted. A sender who is over a limit already is told at the first recipient,
and limits that refuse single recipients reserve. At END-OF-MESSAGE every limit is tested with the
transaction's own set of recipients; then the message is counted under every one of them, or it is
refused and counted under none. Both happen in one synchronous call, so that messages in flight
never see each other half counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from policyd.aup import answer
from policyd.aup.address import fold_address
from policyd.aup.answer import Excess, strongest
from policyd.aup.applied import Applied, Message, Recipient, Scope
from policyd.aup.counts import Counts
from policyd.aup.event import Decided, Event, Exceeded
from policyd.aup.facts import Facts
from policyd.aup.kept_verdicts import KeptVerdicts
from policyd.aup.policy import Exemption, LikenessBy, Limit, Override, Policy, Refuse
from policyd.aup.series import Kept
from policyd.aup.transaction import Connection, Transaction, Transactions, TransactionState
from policyd.clock import Instant, WallTime
from policyd.counting.counters import Claim, Figures
from policyd.counting.distinct import Hasher
from policyd.protocol.reply import PASS, Verdict
from policyd.protocol.request import Request, Stage

MOST_STAND_INS: Final = 100_000
"""Recipients that a bare recipient_count stands for at most; no Postfix accepts as many."""

_VERDICTS: Final = "verdicts"
"""The name of their series."""

_ONE_BYTE: Final = 1
"""The least that a message is; its size is not known at RCPT."""


class Decision(NamedTuple):
    """The answer to one request, and what happened."""

    verdict: Verdict
    events: Sequence[Event] = ()


class Engine:
    """The policy at work: it decides requests and holds the counts.

    With *trace* set each decision tells its arithmetic in an event.
    """

    def __init__(self, policy: Policy, hasher: Hasher) -> None:
        self.trace = False
        self.counts = Counts(policy)
        self.transactions = Transactions()
        self._policy = policy
        self._hasher = hasher
        self._verdicts = KeptVerdicts()

    @property
    def policy(self) -> Policy:
        """The rules that are obeyed."""
        return self._policy

    def decide(self, request: Request, connection: Connection, now: Instant) -> Decision:
        """Return the answer to *request*, which arrived on *connection*."""
        stage = request.stage
        if stage is None:
            return self._decision(request, PASS)
        if stage is Stage.RCPT:
            return self._at_rcpt(request, self._transaction(request, connection, now), now)
        name = KeptVerdicts.name(request, connection.host)
        kept = self._verdicts.find(name, now.monotonic)
        if kept is not None:
            # a transaction that goes on after a refusal came back to do so on this connection
            self.transactions.find(connection, request["instance"])
            return self._decision(request, kept)
        decision = self._at_end(request, self._transaction(request, connection, now), now)
        if request["instance"]:
            self._verdicts.keep(name, decision.verdict, now.monotonic)
        return decision

    def disconnect(self, connection: Connection, now: Instant) -> None:
        """Note that *connection* was closed; its transaction may come back on another."""
        self.transactions.leave(connection, now.monotonic)

    def obey(self, policy: Policy, now: Instant) -> list[str]:
        """Go on under a changed *policy*; return the ids of the limits that start empty.

        Open transactions keep their recipients and are held to the new rules.
        """
        for transaction in self.transactions:
            transaction.release()
        emptied = self.counts.obey(policy, now.wall)
        self._policy = policy
        # the others are looked at again when they are asked about
        if any(limit.refuse is Refuse.RECIPIENT for limit in policy.limits):
            for transaction in self.transactions:
                self._renew(transaction, now.wall)
        return emptied

    def take(self, now: Instant) -> Kept:
        """Return what is to be kept of all that happened since the last call."""
        return {**self.counts.take(now.wall), _VERDICTS: self._verdicts.take(now.wall)}

    def whole(self, now: Instant) -> Kept:
        """Return all that is to be kept; from here on *take* gives the changes."""
        self.take(now)
        return {**self.counts.whole(now.wall), _VERDICTS: self._verdicts.whole(now)}

    def open_transactions(self, now: Instant) -> list[TransactionState]:
        """Return what is to be kept over a restart beside what is counted."""
        return [transaction.dump(now.monotonic) for transaction in self.transactions]

    def restore(
        self, kept: Kept, transactions: Iterable[TransactionState], now: Instant
    ) -> list[str]:
        """Go on where another engine ended; return the ids of the limits that start empty.

        Raise ValueError if this is nothing that an engine gave.
        """
        emptied = self.counts.restore(kept, now.wall)
        if verdicts := kept.get(_VERDICTS):
            self._verdicts.restore(verdicts.buckets, now)
        for state in transactions:
            facts = Facts(Request(state.attributes), self._policy.accounts)
            transaction = Transaction.restored(state, facts, now.monotonic)
            self.transactions.restore(transaction, now.monotonic)
            self._renew(transaction, now.wall, state.recipients)
        return emptied

    def tidy(self, now: Instant, at_most: int) -> int:
        """Let time pass and forget what is over; do up to *at_most* steps and return how many."""
        done = self.transactions.tidy(now.monotonic, at_most)
        done += self._verdicts.tidy(now.monotonic, at_most - done)
        done += self.counts.tidy(now.wall, at_most - done)
        return done + self.counts.evict(at_most)

    def _at_rcpt(self, request: Request, transaction: Transaction, now: Instant) -> Decision:
        transaction.rcpt_seen = True
        if transaction.refusal is not None:
            return self._refusal(transaction.refusal, request, transaction, now)
        recipient = self._recipient(transaction, request["recipient"])
        if recipient.address in transaction.recipients:
            return self._decision(request, PASS, transaction.facts)
        if transaction.exempt or (transaction.recipients and not transaction.reserving):
            # kept of exempt ones as well: a reload may end the exemption before the message ends
            self.transactions.accept(transaction, recipient)
            return self._decision(request, PASS, transaction.facts)
        return self._at_new_rcpt(request, transaction, recipient, now)

    def _at_new_rcpt(
        self, request: Request, transaction: Transaction, recipient: Recipient, now: Instant
    ) -> Decision:
        message = Message((recipient,), _ONE_BYTE)
        test = _Test(now.wall)
        if not transaction.recipients:
            self._test_first(transaction, message, test)
            if (excess := strongest(test.excesses)) is not None:
                transaction.refusal = excess
                return self._refusal(excess, request, transaction, now, test)
        self._test_each(transaction, message, test)
        if (refused := strongest(e for e in test.excesses if e.answers)) is not None:
            return self._refusal(refused, request, transaction, now, test)
        for excess in test.excesses:
            transaction.noted.add(excess.applied.limit.id)
            transaction.release(excess.applied)
        for applied, claims, _ in test.passed:
            if applied.limit.refuse is Refuse.RECIPIENT:
                transaction.reserve(applied, claims)
        self.transactions.accept(transaction, recipient)
        return self._noting(request, transaction, now, test)

    def _test_first(self, transaction: Transaction, message: Message, test: "_Test") -> None:
        """Test what has no room for the first recipient, and so for no message (rule 2)."""
        for applied in transaction.applied:
            limit = applied.limit
            if limit.refuse is Refuse.MESSAGE and limit.answers and self._known_at_rcpt(applied):
                test.run(applied, self._claims(applied, message, test.now))

    def _test_each(self, transaction: Transaction, message: Message, test: "_Test") -> None:
        """Test the limits that refuse single recipients (rule 3)."""
        for applied in transaction.reserving:
            if applied.limit.id not in transaction.noted:
                claims = self._claims(applied, message, test.now)
                test.run(applied, transaction.not_held(applied, claims))

    def _at_end(self, request: Request, transaction: Transaction, now: Instant) -> Decision:
        if transaction.exempt:
            self.transactions.close(transaction)
            return self._decision(request, PASS, transaction.facts)
        message = Message(self._settled(request, transaction), transaction.size(request))
        transaction.release()  # from here on the set itself is what is asked
        test = _Test(now.wall)
        for applied in transaction.applied:
            if applied.limit.id not in transaction.noted:
                test.run(applied, self._claims(applied, message, now.wall))
        if (refused := strongest(e for e in test.excesses if e.answers)) is not None:
            self.transactions.start_over(transaction, request)
            return self._refusal(refused, request, transaction, now, test)
        self._commit(message, test)
        self.transactions.close(transaction)
        return self._noting(request, transaction, now, test)

    def _commit(self, message: Message, test: "_Test") -> None:
        """Count *message* under every limit that it passed."""
        new = {scope for scope, name in message.likeness.items() if not name}
        joined: set[Scope] = set()
        for applied, claims, _ in test.passed:
            scope = applied.scope
            if scope is not None and claims:
                if scope not in joined:
                    groups = self.counts.groups[scope[0]]
                    message.likeness[scope] = groups.join(scope[1], message.size, test.now)
                    joined.add(scope)
                if scope in new:  # only now its group has a name to be counted under
                    claims = applied.claims(message)  # noqa: PLW2901
            for claim in claims:
                applied.counter.commit(claim, test.now)

    def _transaction(self, request: Request, connection: Connection, now: Instant) -> Transaction:
        """Return the transaction of *request*, a new one if need be."""
        instance = request["instance"]
        found = self.transactions.find(connection, instance)
        if found is None:
            facts = Facts(request, self._policy.accounts)
            found = Transaction(connection.host, instance, facts, now.monotonic)
            self._apply(found, facts, now.wall)
            self.transactions.open(connection, found)
        elif found.policy is not self._policy:
            self._renew(found, now.wall)
        return found

    def _renew(
        self, transaction: Transaction, now: WallTime, recipients: Iterable[str] | None = None
    ) -> None:
        """Let *transaction*, with its own or these *recipients*, be held to the present rules."""
        self._apply(transaction, Facts(transaction.facts.request, self._policy.accounts), now)
        transaction.refusal = None
        addresses = transaction.recipients if recipients is None else recipients
        self.transactions.replace(transaction, [self._recipient(transaction, a) for a in addresses])
        for applied in transaction.reserving:
            if applied.limit.id not in transaction.noted:
                self._hold_again(transaction, applied, now)

    def _apply(self, transaction: Transaction, facts: Facts, now: WallTime) -> None:
        """Work out which limits hold to *transaction*, once for all of its requests."""
        policy = transaction.policy = self._policy
        transaction.facts = facts
        exemptions = [e for e in _in_force(policy.exemptions, now) if e.match.matches(facts)]
        transaction.exempt = any(not e.match.on_recipient for e in exemptions)
        transaction.exempt_recipients = [e.match for e in exemptions if e.match.on_recipient]
        if transaction.exempt:
            transaction.applied = transaction.reserving = ()
            return
        overrides = [
            override
            for override in _in_force(policy.overrides, now)
            if override.match.matches(facts)
        ]
        transaction.applied = [
            Applied(limit, self.counts.counter(limit), most, facts)
            for limit in policy.limits
            if limit.applies_to(facts) and (most := _most(limit, overrides)) is not None
        ]
        transaction.reserving = [
            applied for applied in transaction.applied if applied.limit.refuse is Refuse.RECIPIENT
        ]

    def _recipient(self, transaction: Transaction, address: str) -> Recipient:
        policy = self._policy
        folded = fold_address(address, policy.recipient_extension)
        return Recipient(
            folded,
            self._hasher(folded),
            external=policy.local.is_external(folded),
            exempt=any(m.matches_recipient(folded) for m in transaction.exempt_recipients),
        )

    def _settled(self, request: Request, transaction: Transaction) -> Sequence[Recipient]:
        """Return the recipients that Postfix accepted (rule 5)."""
        count = transaction.recipient_count(request)
        only = request["recipient"] if request.recipient_count == 1 else ""
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
        return [Recipient(n, self._hasher(n), external=True, exempt=False) for n in names]

    def _claims(self, applied: Applied, message: Message, now: WallTime) -> Sequence[Claim]:
        """Return what *applied* would count of *message*, having found out what it is like."""
        scope = applied.scope
        if scope is not None and scope not in message.likeness:
            groups = self.counts.groups[scope[0]]
            message.likeness[scope] = groups.find(scope[1], message.size, now) or ""
        return applied.claims(message)

    def _known_at_rcpt(self, applied: Applied) -> bool:
        """Tell whether the key of *applied* is known before the message is."""
        return applied.scope is None or self._policy.likeness.by is LikenessBy.ANY

    def _hold_again(self, transaction: Transaction, applied: Applied, now: WallTime) -> None:
        """Reserve under changed rules what *transaction* holds already."""
        for recipient in transaction.recipients.values():
            claims = self._claims(applied, Message((recipient,), _ONE_BYTE), now)
            transaction.reserve(applied, transaction.not_held(applied, claims))

    def _refusal(
        self,
        excess: Excess,
        request: Request,
        transaction: Transaction,
        now: Instant,
        test: "_Test | None" = None,
    ) -> Decision:
        event = self._exceeded(excess, request, transaction.facts, now, refused=True)
        return self._decision(request, event.verdict, transaction.facts, test, (event,))

    def _noting(
        self, request: Request, transaction: Transaction, now: Instant, test: "_Test"
    ) -> Decision:
        """Return a pass, or what a WARN or HOLD has to say, and note what was exceeded."""
        events = [
            self._exceeded(excess, request, transaction.facts, now, refused=False)
            for excess in test.excesses
        ]
        spoken = strongest(excess for excess in test.excesses if excess.speaks)
        verdict = PASS if spoken is None else events[test.excesses.index(spoken)].verdict
        return self._decision(request, verdict, transaction.facts, test, tuple(events))

    def _exceeded(
        self, excess: Excess, request: Request, facts: Facts, now: Instant, *, refused: bool
    ) -> Exceeded:
        return Exceeded(
            refused=refused,
            stage=request.stage or Stage.END_OF_MESSAGE,
            limit=excess.applied.limit,
            most=excess.applied.max,
            key=excess.claim.key,
            figures=excess.figures,
            action=excess.action,
            verdict=answer.verdict(excess, self._policy, facts, request, now.wall),
            account=facts.account,
            domain=facts.domain,
            request=request,
        )

    def _decision(
        self,
        request: Request,
        verdict: Verdict,
        facts: Facts | None = None,
        test: "_Test | None" = None,
        events: tuple[Event, ...] = (),
    ) -> Decision:
        if self.trace:
            decided = Decided(
                verdict=verdict,
                account="" if facts is None else facts.account,
                request=request,
                figures=() if test is None else tuple(test.figures()),
            )
            events = (*events, decided)
        return Decision(verdict, events)

    def _check(self) -> None:
        """Assert the invariants of all that is held."""
        self.counts._check()
        self.transactions._check()
        self._verdicts._check()


class _Test:
    """Every limit tested, before any is counted."""

    __slots__ = ("excesses", "now", "passed")

    def __init__(self, now: WallTime) -> None:
        self.now = now
        self.excesses: list[Excess] = []
        self.passed: list[tuple[Applied, Sequence[Claim], Figures | None]] = []

    def run(self, applied: Applied, claims: Sequence[Claim]) -> None:
        """Test *claims*; of several the one that comes to the most speaks."""
        worst: Figures | None = None
        over: list[tuple[Claim, Figures]] = []
        for claim in claims:
            figures = applied.counter.figures(claim, self.now)
            total = figures.total
            if worst is None or total > worst.total:
                worst = figures
            if total > applied.max:
                over.append((claim, figures))
        if over:
            over.sort(key=lambda one: one[1].total, reverse=True)
            self.excesses.append(Excess(applied, *over[0], over[1:]))
        else:
            self.passed.append((applied, claims, worst))

    def figures(self) -> Iterator[tuple[str, Figures, int]]:
        """Yield what was tested: id of the limit, figures, maximum."""
        for applied, _, figures in self.passed:
            if figures is not None:
                yield applied.limit.id, figures, applied.max
        for excess in self.excesses:
            yield excess.applied.limit.id, excess.figures, excess.applied.max


_Ending = TypeVar("_Ending", Exemption, Override)


def _in_force(rules: Iterable[_Ending], now: WallTime) -> Iterator[_Ending]:
    """Yield the *rules* that have not ended."""
    return (rule for rule in rules if rule.until is None or now < rule.until)


def _most(limit: Limit, overrides: Iterable[Override]) -> int | None:
    """Return the maximum of *limit* under the first override that speaks of it; None for none."""
    for override in overrides:
        if (pattern := override.pattern_for(limit.id)) is not None:
            return override.limits[pattern]
    return limit.max
