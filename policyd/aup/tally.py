"""How much was refused, to whom, by what: the figures of the provider's report.

A message counts once, and so does each of its recipients, however often Postfix asks about it: one
that is refused recipient by recipient is one message. Kept for 30 days, like counts, and like them
over a restart.

Senders are without end, memory is not. When there is no room for more names, what is refused is
counted under no name: the sums stay right.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from policyd.aup.applied import SEPARATOR
from policyd.aup.event import Blocked, Event, Exceeded
from policyd.aup.ladder_rules import DAY
from policyd.aup.series import Kept, Series
from policyd.clock import WallTime
from policyd.counting.changes import Bucket
from policyd.counting.counters import Claim, SumCounter
from policyd.protocol.request import Request, Stage

SERIES: Final = "tally"
"""Kind of series: the first word of a name."""

KEPT_FOR: Final = 30 * DAY
"""Seconds."""

REFUSED: Final = "refused"
WOULD_REFUSE: Final = "would-refuse"
BLOCKED: Final = "blocked"
"""Kinds of what is counted; what is blocked is the mail of suspended senders."""

OTHERS: Final = ""
"""The name of those for whose names there was no room."""

MOST_NAMES: Final = 20_000
"""Entries with a name of their own."""

MOST_WEIGHT: Final = 32_000_000
"""Bytes that each of the two counters takes, about, before names are left out."""

_MOST_UNDER_WAY: Final = 10_000
"""Messages whose recipients are refused one by one, and that are known to be counted."""


class Entry(NamedTuple):
    """What is counted together: of one *kind*, by one *limit*, from one sender, *who*.

    *limit* is its id; of what is blocked it is the kind of the suspension. *who* is the account, or
    the client's address where there is none.
    """

    kind: str
    limit: str
    who: str

    @classmethod
    def of(cls, key: str) -> "Entry":
        """Return the entry with this *key*."""
        kind, limit, who = key.split(SEPARATOR, 2)
        return cls(kind, limit, who)

    @property
    def key(self) -> str:
        """What it is counted under."""
        return SEPARATOR.join(self)


class Part(NamedTuple):
    """Some of the *messages* and *recipients* that were counted under *key*."""

    key: str
    messages: int
    recipients: int


class Tally:
    """Messages and their recipients, by entry, in a window of *KEPT_FOR*."""

    def __init__(self) -> None:
        self.messages = SumCounter(KEPT_FOR)
        self.recipients = SumCounter(KEPT_FOR)
        self._counted: OrderedDict[str, set[str]] = OrderedDict()  # keys, by instance

    def note(self, request: Request, events: Iterable[Event], now: WallTime) -> None:
        """Count what *events* tell of one *request*."""
        told = [event for event in events if isinstance(event, Exceeded | Blocked)]
        instance = request["instance"]
        for event in told:
            self._note(event, instance, now)
        if told and request.stage is not Stage.RCPT:
            # it ends here, or another message goes on under the same instance
            self._counted.pop(instance, None)

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Forget up to *at_most* entries that are out of the window; return how many."""
        done = self.messages.tidy(now, at_most)
        return done + self.recipients.tidy(now, at_most - done)

    def take(self, now: WallTime) -> Kept:
        """Return what was counted since the last call."""
        return {name: _series(one, one.take(), now) for name, one in self._counters()}

    def whole(self, now: WallTime) -> Kept:
        """Return all that is counted."""
        return {name: _series(one, one.whole(), now) for name, one in self._counters()}

    def parts(self, since: float, at_most: int) -> Iterator[Sequence[Part]]:
        """Yield what was counted since then, in parts that are to be added up, some at a time."""
        for is_messages, counter in ((True, self.messages), (False, self.recipients)):
            usage = counter.usage
            first = usage.timeline.number_after(since)
            for keys in usage.slices(at_most):
                found = [(key, amount) for key in keys if (amount := usage.sum_from(key, first))]
                yield [
                    Part(key, amount, 0) if is_messages else Part(key, 0, amount)
                    for key, amount in found
                ]

    def restore(self, kept: Kept, now: WallTime) -> None:
        """Take what *take* or *whole* gave."""
        for name, counter in self._counters():
            if (series := kept.get(name)) is not None:
                counter.restore(series.buckets, now)

    def _counters(self) -> Iterator[tuple[str, SumCounter]]:
        yield f"{SERIES} messages", self.messages
        yield f"{SERIES} recipients", self.recipients

    def _note(self, event: Exceeded | Blocked, instance: str, now: WallTime) -> None:
        entry = _entry(event)
        key = entry.key
        if not self._has_room(key):
            key = entry._replace(who=OTHERS).key
        self.recipients.commit(Claim(key, event.recipients), now)
        if key in self._counted.get(instance, ()):
            return
        self.messages.commit(Claim(key, 1), now)
        if instance:
            self._counted.setdefault(instance, set()).add(key)
            if len(self._counted) > _MOST_UNDER_WAY:
                self._counted.popitem(last=False)

    def _has_room(self, key: str) -> bool:
        usage = self.recipients.usage
        is_new = not usage.sum(key)
        return usage.weight < MOST_WEIGHT and not (is_new and len(usage) >= MOST_NAMES)

    def _check(self) -> None:
        """Assert the invariants."""
        self.messages._check()
        self.recipients._check()
        assert len(self._counted) <= _MOST_UNDER_WAY


def _entry(event: Exceeded | Blocked) -> Entry:
    who = event.account or event.request["client_address"]
    if isinstance(event, Blocked):
        return Entry(BLOCKED, event.suspension.kind.value, who)
    return Entry(REFUSED if event.refused else WOULD_REFUSE, event.limit.id, who)


def _series(counter: SumCounter, buckets: Sequence[Bucket], now: WallTime) -> Series:
    timeline = counter.timeline
    return Series("sums", timeline.oldest(now), timeline.latest(now), buckets)
