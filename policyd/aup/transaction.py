"""Messages on their way in: what the requests of each instance have said so far.

Postfix asks once per recipient and once at the end. Nothing that it asks is counted before the end;
until then a transaction is a set of recipients, and what it reserved of the limits that reserve.
Being a set, it takes a retry, a recipient named twice and a service listed twice as one.

A transaction that comes to nothing says no goodbye. It is over when its connection speaks of
another one, or has been closed for a while without the transaction coming back on a new one.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from policyd.aup.answer import Excess
from policyd.aup.applied import Applied, Recipient
from policyd.aup.facts import Facts
from policyd.aup.match import Matcher
from policyd.aup.policy import Count, Policy
from policyd.clock import MonotonicTime
from policyd.counting.counters import Claim
from policyd.protocol.request import Request

GRACE: Final = 5.0
"""Seconds that a transaction outlives its connection: Postfix retries after one."""

LONGEST_HOLD: Final = 3600.0
"""Seconds after which reservations go; the recipients stay, as an upload may be slow."""

MOST_OPEN: Final = 100_000
MOST_RECIPIENTS: Final = 2_000_000
"""Of all open transactions; beyond it, and beyond *MOST_OPEN*, the oldest are given up."""


class TransactionState(NamedTuple):
    """A transaction as kept over a restart; *age* is in seconds, *base* what rule 7 says."""

    host: str
    attributes: Mapping[str, str]
    recipients: Sequence[str]
    rcpt_seen: bool
    noted: Sequence[str]
    base: tuple[int, int]
    age: float


class Transaction:
    """All requests of one *instance* of one asking *host*.

    *policy* are the rules that it was last looked at under; *applied* are the limits of them that
    hold to it, *reserving* those of them that refuse single recipients; *exempt* says that none
    does. Recipients that *exempt_recipients* match count nowhere. *refusal* is what every further
    recipient gets once the first was refused, and *first_refused* the first recipient that was.
    *noted* are the ids of the limits that would have refused a recipient and so charge nothing for
    this message. *recipients* is what was accepted at RCPT, in order; *rcpt_seen* tells an empty
    set from one that is not known. A *patient* one was cut off by our own restart, which Postfix
    notices only when it has something to ask.
    """

    __slots__ = (
        "_base_count",
        "_base_size",
        "_holds",
        "_may_hold",
        "applied",
        "connections",
        "exempt",
        "exempt_recipients",
        "facts",
        "first_refused",
        "host",
        "instance",
        "noted",
        "opened",
        "orphaned",
        "patient",
        "policy",
        "rcpt_seen",
        "recipients",
        "refusal",
        "reserving",
    )

    def __init__(self, host: str, instance: str, facts: Facts, now: MonotonicTime) -> None:
        self.host = host
        self.instance = instance
        self.facts = facts
        self.opened = now
        self.orphaned: MonotonicTime | None = None
        self.connections: set[Connection] = set()
        self.policy: Policy | None = None
        self.applied: Sequence[Applied] = ()
        self.reserving: Sequence[Applied] = ()
        self.exempt = False
        self.exempt_recipients: Sequence[Matcher] = ()
        self.recipients: dict[str, Recipient] = {}
        self.rcpt_seen = False
        self.patient = False
        self.refusal: Excess | None = None
        self.first_refused = ""
        self.noted: set[str] = set()
        self._base_size = 0
        self._base_count = 0
        self._holds: list[tuple[Applied, Claim]] = []
        self._may_hold = bool(instance)  # without one nothing would ever release it

    def size(self, request: Request) -> int:
        """Return the size of the message that *request* is about, in bytes.

        Postfix adds up the sizes of a transaction that goes on after a refusal (rule 7).
        """
        return max(0, request.size - self._base_size)

    def accepted_of(self, recipient_count: int) -> int:
        """Return how many of the recipients that Postfix has count for this message (rule 7)."""
        return max(0, recipient_count - self._base_count)

    def not_held(self, applied: Applied, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Return those *claims* that the transaction does not hold: it is one message only once."""
        if applied.limit.count is not Count.MESSAGES:
            return claims
        return [claim for claim in claims if (applied, claim) not in self._holds]

    def reserve(self, applied: Applied, claims: Sequence[Claim]) -> None:
        """Hold *claims* until they are released; nothing, if the transaction is too old."""
        if self._may_hold:
            for claim in claims:
                applied.counter.reserve(claim)
                self._holds.append((applied, claim))

    def release(self, only: Applied | None = None) -> None:
        """Give up what is reserved, of all limits or of one *only*; the recipients stay."""
        if not self._holds:
            return
        kept = []
        for applied, claim in self._holds:
            if only is None or applied is only:
                applied.counter.release(claim)
            else:
                kept.append((applied, claim))
        self._holds = kept

    def hold_no_more(self) -> None:
        """Give up what is reserved and reserve nothing again."""
        self.release()
        self._may_hold = False

    def hold_once_more(self) -> None:
        """Hold again what somebody else has released in this one's place."""
        for applied, claim in self._holds:
            applied.counter.reserve(claim)

    def twin(self) -> "Transaction":
        """Return what may go on in this one's place: it has a claim to what this one holds."""
        twin = Transaction(self.host, self.instance, self.facts, self.opened)
        twin.orphaned = self.orphaned
        twin.policy = self.policy
        twin.applied, twin.reserving = self.applied, self.reserving
        twin.exempt, twin.exempt_recipients = self.exempt, self.exempt_recipients
        twin.recipients = dict(self.recipients)
        twin.rcpt_seen = self.rcpt_seen
        twin.patient = self.patient
        twin.refusal, twin.first_refused = self.refusal, self.first_refused
        twin.noted = set(self.noted)
        # what is private is of this class
        twin._base_size, twin._base_count = self._base_size, self._base_count
        twin._holds, twin._may_hold = list(self._holds), self._may_hold
        return twin

    def start_over(self, request: Request) -> None:
        """Go on with an empty set after the message of *request* was refused (rule 7)."""
        self.release()
        self.recipients.clear()
        self.noted.clear()
        self._base_size = request.size
        self._base_count = request.recipient_count

    def dump(self, now: MonotonicTime) -> TransactionState:
        """Return what is to be kept over a restart; the rules may be other ones afterwards."""
        return TransactionState(
            self.host,
            self.facts.request.attributes,
            list(self.recipients),
            self.rcpt_seen,
            sorted(self.noted),
            (self._base_size, self._base_count),
            now - self.opened,
        )

    @classmethod
    def restored(cls, state: TransactionState, facts: Facts, now: MonotonicTime) -> "Transaction":
        """Return the transaction that *state* was, without its recipients."""
        opened = MonotonicTime(now - state.age)
        self = cls(state.host, facts.request["instance"], facts, opened)
        self.rcpt_seen = state.rcpt_seen
        self.noted = set(state.noted)
        self._base_size, self._base_count = state.base
        self.patient = True
        return self


class Connection:
    """A policy connection: the asking *host*, and the *transaction* it speaks of."""

    __slots__ = ("host", "transaction")

    def __init__(self, host: str) -> None:
        self.host = host
        self.transaction: Transaction | None = None


class Transactions:
    """All open transactions, no more than *most_open*, with *most_recipients* in all."""

    def __init__(self) -> None:
        self.most_open = MOST_OPEN
        self.most_recipients = MOST_RECIPIENTS
        self._open: dict[tuple[str, str], Transaction] = {}
        self._by_age: dict[Transaction, None] = {}  # those that may still hold, oldest first
        self._orphans: deque[tuple[MonotonicTime, Transaction]] = deque()
        self._cut_off: deque[tuple[MonotonicTime, Transaction]] = deque()  # by our own restart
        self._recipients = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Transaction]:
        return iter(self._open.values())

    def get(self, host: str, instance: str) -> Transaction | None:
        """Return the open transaction of *instance*, and leave it alone."""
        return self._open.get((host, instance))

    def find(self, connection: Connection, instance: str) -> Transaction | None:
        """Return the open transaction of *instance* and make it that of *connection*.

        The one that the connection spoke of before is over.
        """
        current = connection.transaction
        if current is not None:
            if current.instance == instance:
                return current
            self.close(current)
        found = self._open.get((connection.host, instance))
        if found is not None:
            self._join(connection, found)
        return found

    def open(self, connection: Connection, transaction: Transaction) -> None:
        """Take in a new *transaction*; without an instance it is good for one request only."""
        if transaction.instance:
            self._take_in(transaction)
            self._join(connection, transaction)

    def restore(self, transaction: Transaction, now: MonotonicTime) -> None:
        """Take in a *transaction* that was open when this process's predecessor ended."""
        if not transaction.instance:
            return
        self._take_in(transaction)
        transaction.orphaned = now
        self._orphans.append((now, transaction))
        self._cut_off.append((now, transaction))

    def accept(self, transaction: Transaction, recipient: Recipient) -> None:
        """Add *recipient* to those that *transaction* has."""
        transaction.recipients[recipient.address] = recipient
        self._note(transaction, 1)

    def start_over(self, transaction: Transaction, request: Request) -> None:
        """Let *transaction* go on with an empty set after a refusal."""
        self._note(transaction, -len(transaction.recipients))
        transaction.start_over(request)

    def replace(self, transaction: Transaction, recipients: Sequence[Recipient]) -> None:
        """Let *transaction* have these *recipients* instead of its own."""
        before = len(transaction.recipients)
        transaction.recipients = {recipient.address: recipient for recipient in recipients}
        self._note(transaction, len(transaction.recipients) - before)

    def close(self, transaction: Transaction) -> None:
        """End *transaction*: what it reserved is released."""
        transaction.release()
        if self._open.pop((transaction.host, transaction.instance), None) is not None:
            self._recipients -= len(transaction.recipients)
        self._by_age.pop(transaction, None)
        for connection in transaction.connections:
            connection.transaction = None
        transaction.connections.clear()

    def leave(self, connection: Connection, now: MonotonicTime) -> None:
        """Note that *connection* was closed."""
        transaction = connection.transaction
        if transaction is None:
            return
        connection.transaction = None
        transaction.connections.discard(connection)
        if not transaction.connections:
            transaction.orphaned = now
            self._orphans.append((now, transaction))

    def tidy(self, now: MonotonicTime, at_most: int) -> int:
        """End what did not come back, release what is too old; look at up to *at_most*."""
        done = 0
        while self._orphans and done < at_most and self._orphans[0][0] + GRACE <= now:
            since, transaction = self._orphans.popleft()
            if transaction.orphaned == since:
                if transaction.patient:
                    transaction.hold_no_more()
                else:
                    self.close(transaction)
            done += 1
        while self._cut_off and done < at_most and self._cut_off[0][0] + LONGEST_HOLD <= now:
            since, transaction = self._cut_off.popleft()
            if transaction.orphaned == since:
                self.close(transaction)
            done += 1
        while done < at_most and self._too_many():
            self.close(next(iter(self._open.values())))
            done += 1
        oldest = islice(self._by_age, at_most - done)
        old = [transaction for transaction in oldest if transaction.opened + LONGEST_HOLD <= now]
        for transaction in old:
            del self._by_age[transaction]
            transaction.hold_no_more()
        return done + len(old)

    def _note(self, transaction: Transaction, more: int) -> None:
        """Note that *transaction* has so many recipients *more*."""
        if transaction.instance:
            self._recipients += more

    def _too_many(self) -> bool:
        return len(self._open) > self.most_open or self._recipients > self.most_recipients

    def _take_in(self, transaction: Transaction) -> None:
        self._open[transaction.host, transaction.instance] = transaction
        self._by_age[transaction] = None
        self._recipients += len(transaction.recipients)

    @staticmethod
    def _join(connection: Connection, transaction: Transaction) -> None:
        transaction.connections.add(connection)
        transaction.orphaned = None
        transaction.patient = False
        connection.transaction = transaction

    def _check(self) -> None:
        """Assert that transactions and connections agree."""
        assert set(self._by_age) <= set(self._open.values())
        assert self._recipients == sum(len(one.recipients) for one in self)
        for (host, instance), transaction in self._open.items():
            assert (host, instance) == (transaction.host, transaction.instance)
            assert transaction.connections or transaction.orphaned is not None
            for connection in transaction.connections:
                assert connection.transaction is transaction
