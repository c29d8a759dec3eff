"""Deciding without consequences: what the live rules and counts would make of a request.

The requests go the way of all others, through the very code that decides, on a transaction of their
own, or on a twin of the open one that they are about. What is different is what that leads to:
nothing is counted, no group of similar mail is opened, no incident, no answer is kept. What limits
reserve between one request and the next is given back at the end, all in one synchronous call.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from policyd.aup.applied import Applied, Message
from policyd.aup.deciding import Deciding
from policyd.aup.decision import Asked, Decision, Decisions
from policyd.aup.event import Event
from policyd.aup.kept_verdicts import KeptVerdicts
from policyd.aup.ladder import Attempt
from policyd.aup.tested import Tested
from policyd.aup.transaction import Connection
from policyd.clock import Instant, WallTime
from policyd.counting.counters import Claim, Figures
from policyd.protocol.reply import Verdict
from policyd.protocol.request import Request, Stage

NEW_INCIDENT: Final = "NEW-ONE"
"""Stands where the answer would name an incident that is opened for it; no id is like it."""

MOST_KEYS: Final = 20
"""Keys of one limit that are told of, those that come to the most."""


class Part(NamedTuple):
    """What one bucket holds of a key: it ends at *end*, and leaves the window at *leaves*."""

    end: WallTime
    amount: int
    leaves: WallTime


class Measured(NamedTuple):
    """A claim and its arithmetic.

    *room* is when there is room for it, if nothing is sent meanwhile: None where there is, or where
    time alone does not make it.
    """

    claim: Claim
    figures: Figures
    room: WallTime | None
    parts: Sequence[Part]


class Test(NamedTuple):
    """How one limit was tested: the keys that come to the most, and how many *more* there are."""

    applied: Applied
    measured: Sequence[Measured]
    more: int


class Step(NamedTuple):
    """What became of one request.

    *asked* and *tests* are None where the answer was given without looking at any limit. *size* is
    that of the message, in bytes. A request that is *repeated* gets the answer that it got before.
    """

    request: Request
    decision: Decision
    asked: Asked | None
    tests: Sequence[Test] | None
    size: int = 0
    repeated: bool = False


class Rehearsal(Deciding):
    """Decides as *live* does, for one transaction, which asks from *host*."""

    def __init__(self, live: Deciding, host: str, instance: str) -> None:
        decisions = _Watched(live.obeyed, live.hasher, live.decisions.ladder)
        super().__init__(live.obeyed, live.hasher, live.counts, decisions)
        self._live = live
        self._watched = decisions
        self._connection = Connection(host)
        self._original = live.transactions.get(host, instance)
        if self._original is not None:
            self.transactions.open(self._connection, self._original.twin())

    def ask(self, request: Request, now: Instant) -> Step:
        """Return what would become of *request*."""
        if request.stage is Stage.END_OF_MESSAGE:
            name = KeptVerdicts.name(request, self._connection.host)
            kept = self._live.verdicts.find(name, now.monotonic)
            if kept is not None:
                return Step(request, Decision(kept), None, None, repeated=True)
        self._watched.begin()
        decision = self.decide(request, self._connection, now)
        asked, tested = self._watched.asked, self._watched.tested
        tests = tested.tests if isinstance(tested, _Measuring) else None
        return Step(request, decision, asked, tests, self._watched.size)

    def end(self) -> None:
        """Give back what was reserved."""
        for transaction in self.transactions:
            transaction.release()
        if self._original is not None:
            self._original.hold_once_more()

    def _commit(self, message: Message, tested: Tested) -> None:
        """Count nothing."""


class _Measuring(Tested):
    """Remembers what was tested."""

    __slots__ = ("tests",)

    def __init__(self, now: WallTime, *, exact: bool = False) -> None:
        super().__init__(now, exact=exact)
        self.tests: list[Test] = []

    def test(self, applied: Applied, claims: Sequence[Claim]) -> None:
        """Test *claims*."""
        found = [(claim, applied.counter.figures(claim, self.now)) for claim in claims]
        found.sort(key=lambda one: one[1].total, reverse=True)
        measured = [self._measured(applied, *one) for one in found[:MOST_KEYS]]
        self.tests.append(Test(applied, measured, len(found) - len(measured)))
        super().test(applied, claims)

    def _measured(self, applied: Applied, claim: Claim, figures: Figures) -> Measured:
        counter, over = applied.counter, figures.total - applied.max
        parts = [
            Part(WallTime(counter.timeline.end(number)), amount, counter.timeline.leaves(number))
            for number, amount in counter.usage.parts(claim.key)
        ]
        # looked for last: it lets time pass
        room = counter.falls_by(claim, over, self.now) if over > 0 else None
        return Measured(claim, figures, room, parts)


Rehearsal.testing = _Measuring


class _Watched(Decisions):
    """Makes the same decisions, tells what they were made of, and leads to nothing."""

    def begin(self) -> None:
        """Forget the last decision."""
        self.asked: Asked | None = None
        self.size = 0
        self.tested: Tested | None = None

    def blocked(self, asked: Asked) -> Decision | None:
        """Return the refusal of a suspended sender's mail; None if it may pass."""
        self.asked = asked
        self.size = asked.transaction.size(asked.request)  # after a refusal it starts over
        return super().blocked(asked)

    def _decision(
        self,
        asked: Asked,
        verdict: Verdict,
        events: Sequence[Event],
        tested: Tested | None = None,
    ) -> Decision:
        self.tested = tested
        return super()._decision(asked, verdict, events, tested)

    def _noted(self, attempt: Attempt, now: WallTime) -> str:
        incident = self.ladder.open_for(attempt, now)
        return NEW_INCIDENT if incident is None else incident.id

    def _led_to(self) -> Sequence[Event]:
        return ()
