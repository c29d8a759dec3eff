"""The ladder: refusals make incidents, incidents make strikes, strikes lead to steps.

A refusal by a limit with ``strike: true`` opens an incident or extends the open one. Each new one
is a strike against its account, and strikes reach the steps of the rules: a mailbox is suspended,
and by extreme abuse a whole domain. What happens is told in events.

How many distinct recipients and messages an incident has is counted like everything else, in
windows of keyed hashes, under the id of the incident.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final, NamedTuple

from policyd.aup import incident as records
from policyd.aup.event import (
    Event,
    ExtremeSpared,
    IncidentClosed,
    IncidentOpened,
    Lifted,
    Suspended,
)
from policyd.aup.incident import Entry, Incident, Sample, Suspension, SuspensionKind
from policyd.aup.incidents import Against, Incidents
from policyd.aup.ladder_rules import DAY, Do, LadderRules
from policyd.aup.policy import Limit
from policyd.aup.series import Kept, Series
from policyd.aup.suspensions import Suspensions
from policyd.aup.wording import duration
from policyd.clock import WallTime
from policyd.counting.changes import Bucket
from policyd.counting.counters import Claim, DistinctCounter
from policyd.counting.distinct import Hasher

SERIES: Final = "ladder"
"""Kind of series: the first word of a name."""

LONGEST: Final = DAY
"""Seconds that an incident lasts at most."""

MOST_COUNTED: Final = 100_000
"""Recipients, and messages, of one incident or account that are told apart; more count no more."""

MOST_WEIGHT: Final = 256_000_000
"""Bytes that each counter takes at most, about; the oldest is forgotten first."""

_LEAST_KEPT: Final = 30 * DAY
"""Seconds; incidents that count longer are kept longer."""


class Attempt(NamedTuple):
    """A message that *limit* refused, or would have, when *observed*.

    *account* is empty where the limit holds to a domain. *message* tells the message from others,
    *members* are its external recipients. *used* and *max* are the arithmetic.
    """

    limit: Limit
    account: str
    domain: str
    observed: bool
    client_address: str
    message: bytes
    members: Sequence[bytes]
    sample: Sample
    used: int
    max: int

    @property
    def against(self) -> Against:
        """Whom it is held against."""
        return Against(self.account or self.domain, self.limit.id, self.observed)


class Ladder:
    """Incidents, and the *suspensions* they lead to, under *rules*; ids come from *hasher*."""

    def __init__(self, rules: LadderRules, hasher: Hasher) -> None:
        self._record = Incidents()
        self.incidents = self._record.by_id
        self.suspensions = Suspensions()
        self._hasher = hasher
        self._counted = DistinctCounter(LONGEST)
        self._by_window: dict[float, DistinctCounter] = {}  # for extremes
        self._events: list[Event] = []
        self._now = WallTime(0.0)
        self.obey(rules)

    def obey(self, rules: LadderRules) -> None:
        """Go on under changed *rules*."""
        self.rules = rules
        windows = [one.within for one in rules.extremes if one.recipients is not None]
        known = self._by_window
        self._by_window = {w: known.get(w) or DistinctCounter(w) for w in windows}

    def attempt(self, attempt: Attempt, now: WallTime) -> Incident:
        """Note *attempt*; return the incident that it belongs to."""
        incident = self._record.open(attempt.against)
        if incident is not None and self._is_over(incident, now):
            self._close(incident, now)
            incident = None
        is_new = incident is None
        if incident is None:
            incident = self._opened(attempt, now)
        self._extend(incident, attempt, now)
        self._record.extended(incident)
        if is_new:
            self._climb(incident, now)
        self._check_recipients(incident, attempt.members, now)
        return incident

    def open_for(self, attempt: Attempt, now: WallTime) -> Incident | None:
        """Return the incident that *attempt* would belong to; None if it would open one."""
        incident = self._record.open(attempt.against)
        return None if incident is None or self._is_over(incident, now) else incident

    def strikes(self, account: str, now: WallTime) -> int:
        """Return how many strikes are held against *account*."""
        since = max(now - self.rules.strikes_expire, self.suspensions.forgiven(account))
        found = self._record.of(account)
        return sum(1 for one in found if one.strike and one.opened > since)

    def take_effect(self, suspensions: Iterable[Suspension]) -> None:
        """Let *suspensions*, which are on the disk now, be in force."""
        for one in self.suspensions.take_effect(suspensions):
            self._events.append(Suspended(one, self.incidents.get(one.incident)))

    def lift(
        self, kind: SuspensionKind, name: str, now: WallTime, *, by: str, why: str
    ) -> Sequence[Suspension]:
        """Lift what suspends *name*, and let strikes begin anew; return what was lifted."""
        lifted = self.suspensions.lift(kind, name, now, by=by, why=why)
        self._events += map(Lifted, lifted)
        return lifted

    def pass_time(self, now: WallTime, at_most: int) -> int:
        """Close incidents, end suspensions, forget up to *at_most* of what is over; say how many.

        What is decided is right without it; this is what tells of it and frees the memory.
        """
        if now < self._now:
            self._step_back(now)
        self._now = now
        for incident in list(self._quiet(now)):
            self._close(incident, now)
        self._events += map(Lifted, self.suspensions.end(now))
        done = self._forget(now, at_most)
        for _, counter in self._counters():
            done += counter.tidy(now, max(at_most - done, 0))
            if counter.weight > MOST_WEIGHT:
                counter.evict(at_most, inf)
        return done

    def events(self) -> Sequence[Event]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def take(self, now: WallTime) -> Kept:
        """Return what was counted since the last call."""
        return {name: _series(one, one.take(), now) for name, one in self._counters()}

    def whole(self, now: WallTime) -> Kept:
        """Return all that is counted."""
        return {name: _series(one, one.whole(), now) for name, one in self._counters()}

    def take_entries(self) -> list[Entry]:
        """Return the rows of ledgers that changed since the last call."""
        return self._record.take_entries() + self.suspensions.take_entries()

    def whole_entries(self) -> list[Entry]:
        """Return all rows."""
        return self._record.whole_entries() + self.suspensions.whole_entries()

    def restore(
        self, kept: Kept, rows: Mapping[str, Iterable[Mapping[str, Any]]], now: WallTime
    ) -> None:
        """Go on from what was taken; raise ValueError if the *rows* are none of ours."""
        for name, counter in self._counters():
            if (series := kept.get(name)) is not None:
                counter.restore(series.buckets, now)
        self._record.restore(rows.get(records.INCIDENTS, ()))
        self.suspensions.restore(rows.get(records.SUSPENSIONS, ()))
        self._step_back(now)

    # incidents

    def _opened(self, attempt: Attempt, now: WallTime) -> Incident:
        incident = Incident(
            id=self._new_id(attempt, now),
            account=attempt.account,
            domain=attempt.domain,
            limit=attempt.limit.id,
            title=attempt.limit.title,
            opened=now,
            last=now,
            sample=attempt.sample,
            sampled=attempt.message,
            observed=attempt.observed,
            used=attempt.used,
            max=attempt.max,
            window=attempt.limit.window,
        )
        if attempt.account and not attempt.observed:
            incident.strike = self.strikes(attempt.account, now) + 1
        return incident

    def _extend(self, incident: Incident, attempt: Attempt, now: WallTime) -> None:
        incident.last = now
        incident.attempts += 1
        # what was forgotten for want of memory stays in the figures
        messages = self._count(f"{incident.id}\nmessages", [attempt.message], now)
        incident.messages = max(messages, incident.messages)
        incident.recipients = max(
            self._count(incident.id, attempt.members, now), incident.recipients
        )
        client = attempt.client_address
        if client not in incident.clients and len(incident.clients) < records.MOST_CLIENTS:
            incident.clients.append(client)
        if incident.sampled == attempt.message:  # at RCPT its recipients come one by one
            both = dict.fromkeys((*incident.sample.recipients, *attempt.sample.recipients))
            incident.sample.recipients = list(both)[: records.MOST_SAMPLED]

    def _count(self, key: str, members: Sequence[bytes], now: WallTime) -> int:
        if members and self._counted.usage.sum(key) < MOST_COUNTED:
            self._counted.commit(Claim(key, 0, members), now)
        return self._counted.usage.sum(key)

    def _is_over(self, incident: Incident, now: WallTime) -> bool:
        return (
            now >= incident.last + self.rules.quiet
            or now >= incident.opened + LONGEST
            or incident.opened <= self.suspensions.forgiven(incident.who)
        )

    def _quiet(self, now: WallTime) -> Iterator[Incident]:
        for incident in self._record.longest_quiet():
            if now < incident.last + self.rules.quiet:
                return  # those after it were extended later
            yield incident

    def _close(self, incident: Incident, now: WallTime) -> None:
        self._record.close(incident, now)
        self._events.append(IncidentClosed(incident))

    def _is_told(self, incident: Incident) -> bool:
        """Tell whether the administrator is to be told of *incident*."""
        least = self.rules.notice_from
        if incident.observed or least is None:
            return False
        return not incident.account or incident.strike >= least

    # strikes

    def _climb(self, incident: Incident, now: WallTime) -> None:
        """Do what a new *incident* leads to."""
        reached = [
            step
            for step in self.rules.steps
            if step.do is Do.SUSPEND_MAILBOX and step.strikes == incident.strike
        ]
        notice = self._is_told(incident) or bool(reached)
        self._events.append(IncidentOpened(incident, notice))
        if not reached:
            return
        strikes = f"{incident.strike} incidents" if incident.strike > 1 else "1 incident"
        why = f"repeated violations, {strikes} in {duration(self.rules.strikes_expire)}"
        lasts = max((step.lasts for step in reached), key=_length)
        self._suspend(SuspensionKind.MAILBOX, incident, lasts, why, now)
        for extreme in self.rules.extremes:
            if extreme.suspended_mailboxes is not None:
                since = now - extreme.within
                suspended = len(self.suspensions.mailboxes(incident.domain, since))
                if suspended >= extreme.suspended_mailboxes:
                    what = f"{suspended} mailboxes suspended in {duration(extreme.within)}"
                    self._end_domain(incident, what, now)

    def _check_recipients(
        self, incident: Incident, members: Sequence[bytes], now: WallTime
    ) -> None:
        """Count *members* against the extremes; see whether one is reached."""
        if not incident.strike:
            return
        forgiven = self.suspensions.forgiven(incident.account, incident.domain)
        key = f"{incident.account}\n{forgiven:.3f}"
        for window, counter in self._by_window.items():
            if members and counter.usage.sum(key) < MOST_COUNTED:
                counter.commit(Claim(key, 0, members), now)
            reached = counter.usage.sum(key)
            for extreme in self.rules.extremes:
                if extreme.within == window and reached >= (extreme.recipients or MOST_COUNTED + 1):
                    self._end_domain(incident, f"{reached} recipients in {duration(window)}", now)

    def _end_domain(self, incident: Incident, what: str, now: WallTime) -> None:
        """Suspend the domain of *incident*, or say that it is spared; once."""
        if incident.extreme:
            return
        incident.extreme = True
        if incident.domain and incident.domain not in self.rules.never_suspend:
            self._suspend(SuspensionKind.DOMAIN, incident, None, f"extreme abuse, {what}", now)
        else:
            incident.actions.append(f"extreme abuse, {what}")
            self._events.append(ExtremeSpared(incident))

    def _suspend(
        self,
        kind: SuspensionKind,
        incident: Incident,
        lasts: float | None,
        reason: str,
        now: WallTime,
    ) -> None:
        name = incident.account if kind is SuspensionKind.MAILBOX else incident.domain
        until = None if lasts is None else WallTime(now + lasts)
        self.suspensions.add(
            Suspension(kind, name, now, until, records.LADDER, reason, incident.id)
        )
        term = "until an administrator lifts it" if lasts is None else f"for {duration(lasts)}"
        incident.actions.append(f"{kind.value} {name} suspended {term}")

    # keeping

    def _counters(self) -> Iterator[tuple[str, DistinctCounter]]:
        yield f"{SERIES} incidents", self._counted
        for window, counter in self._by_window.items():
            yield f"{SERIES} extremes in {window:.0f}", counter

    def _forget(self, now: WallTime, at_most: int) -> int:
        """Forget incidents and suspensions that count no more."""
        longest = max((extreme.within for extreme in self.rules.extremes), default=0.0)
        before = now - max(self.rules.strikes_expire, longest, _LEAST_KEPT)
        done = self._record.forget(before, at_most)
        return done + self.suspensions.forget(before, at_most - done)

    def _step_back(self, now: WallTime) -> None:
        """Let nothing be of the future: the clock was stepped back."""
        self._record.step_back(now)
        self.suspensions.step_back(now)

    def _new_id(self, attempt: Attempt, now: WallTime) -> str:
        who = attempt.against.who
        count = 0
        while True:
            digest = self._hasher(f"incident {who} {attempt.limit.id} {now} {count}")
            name = records.public_id(digest)
            if name not in self.incidents:
                return name
            count += 1

    def _check(self) -> None:
        """Assert the invariants."""
        self._record._check()
        self.suspensions._check()
        for _, counter in self._counters():
            counter._check()


def _length(lasts: float | None) -> float:
    return float("inf") if lasts is None else lasts


def _series(counter: DistinctCounter, buckets: Sequence[Bucket], now: WallTime) -> Series:
    timeline = counter.timeline
    return Series("recipients", timeline.oldest(now), timeline.latest(now), buckets)
