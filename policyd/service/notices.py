"""Notices: from what happened to the mail that administrators get.

A notice is owed from the moment that an incident opens, and noted in the ledger; it is written a
few seconds later, when the first figures are known and what was done about the sender. More
than the rules permit in an hour are gathered for digests. The ledger's rows are

- without message and recipients: owed, to be written from the incident;
- without message, with lists of recipients: gathered, for a digest to each of them;
- with a message: a mail that waits to be sent;
- sent: an early notice, kept so that it is not repeated within the limit's window.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from policyd.aup.event import (
    Event,
    ExtremeSpared,
    IncidentClosed,
    IncidentOpened,
    NearLimit,
    Suspended,
)
from policyd.aup.incident import LADDER, Entry, Incident, Row, SuspensionKind
from policyd.aup.ladder import Ladder
from policyd.aup.ladder_rules import NoticeRules
from policyd.aup.notice import Notice, addresses, compose, digest, message
from policyd.aup.notice_words import Kind
from policyd.aup.policy import Policy
from policyd.clock import MonotonicTime, WallTime
from policyd.service.alarm import Alarm
from policyd.service.early_notices import EarlyNotices
from policyd.service.notice_digests import Digests, Readers
from policyd.service.notice_queue import NOTICES, Mail, NoticeQueue, Outside, entry

HOLD: Final = 5.0
"""Seconds from the first refusal to the writing of the notice."""

HOUR: Final = 3600.0
_MOST_NEAR: Final = 1000
"""Early notices that wait to be written."""

_AT_ONCE: Final = 3
"""Notices that are written in one turn of the reactor, a millisecond or two each."""

_INCIDENT: Final = "incident"
_SUSPENSION: Final = "suspension"
_SUMMARY: Final = "summary"
_EXTREME: Final = "extreme"
_WARNING: Final = "warning"
_KINDS: Final = {
    _INCIDENT: Kind.INCIDENT,
    _SUSPENSION: Kind.INCIDENT,
    _SUMMARY: Kind.SUMMARY,
    _EXTREME: Kind.EXTREME,
}
"""What kind of notice each is, by the first word of its id; the second one is the incident's."""


@dataclass(frozen=True, slots=True)
class _Owed:
    id: str
    incident: str
    made: WallTime
    due: MonotonicTime

    @property
    def kind(self) -> Kind:
        return _KINDS[self.id.partition(" ")[0]]


class Notices:
    """Tells administrators what happened, by the *policy* of the moment.

    *ladder* knows the incidents and suspensions. The *queue* has figures.
    """

    def __init__(self, policy: Callable[[], Policy], ladder: Ladder, outside: Outside) -> None:
        self.queue = NoticeQueue(lambda: policy().aftermath.notices, outside, self._remains)
        self._policy = policy
        self._ladder = ladder
        self._outside = outside
        self._digests = Digests(outside, self._write_digest)
        self._owed: dict[str, _Owed] = {}  # the one that is due first is first
        self._near: deque[NearLimit] = deque()
        self._early = EarlyNotices(outside)
        self._recent: deque[MonotonicTime] = deque()  # when notices were written
        self._no_room_before = MonotonicTime(0.0)
        self._work = Alarm(outside.clock, self._write_some)

    def happened(self, event: Event) -> None:
        """Note *event*; what is to be written about it is written later."""
        rules = self._rules
        if rules is None:
            return
        if isinstance(event, NearLimit):
            if len(self._near) < _MOST_NEAR and (event.limit.answers or rules.observed):
                self._near.append(event)
                self._work.within(0)
        elif (owed := self._called_for(event, rules)) is not None:
            self._owe(*owed)

    def restore(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Go on from the *rows* of the ledger."""
        for row in rows:
            name = str(row["id"])
            try:
                self._restore(name, row)
            except (KeyError, TypeError, ValueError) as error:
                self._outside.log.state_problem(f"a notice makes no sense: {name}: {error!r}")
                self._outside.keep([Entry(NOTICES, name, None)])
        self._no_room_before = self._digests.due or self._no_room_before
        now = self._outside.now().monotonic
        self._recent.extend(sorted(mail.since for mail in self.queue if mail.since > now - HOUR))

    def entries(self) -> Sequence[Entry]:
        """Return all rows of the ledger."""
        owed = [entry(one.id, (), b"", one.made, one.made) for one in self._owed.values()]
        return [*owed, *self._early.entries(), *self._digests.entries(), *self.queue.entries()]

    def is_owed(self, incident: str) -> bool:
        """Tell whether a notice about the *incident* of that id is yet to be sent."""
        names = [f"{kind} {incident}" for kind in _KINDS]
        names += [f"{_SUSPENSION} {incident} {kind.value}" for kind in SuspensionKind]
        return any(map(self._has, names))

    def stop(self) -> Deferred[None]:
        """Write no more; fires when the mail that is under way, if any, is sent or not."""
        self._work.off()
        self._early.stop()
        self._digests.stop()
        return self.queue.stop()

    @property
    def _rules(self) -> NoticeRules | None:
        return self._policy().aftermath.notices

    def _has(self, name: str) -> bool:
        return name in self._owed or name in self._digests or name in self.queue

    # what is owed

    def _called_for(self, event: Event, rules: NoticeRules) -> tuple[str, Incident] | None:
        """Return what notice *event* calls for, if any: its id, and the incident."""
        match event:
            case IncidentOpened(incident, notice):
                if rules.observed if incident.observed else notice:
                    return f"{_INCIDENT} {incident.id}", incident
            case IncidentClosed(incident):
                if self._has_grown(incident):
                    return f"{_SUMMARY} {incident.id}", incident
            case Suspended(suspension, Incident() as incident) if suspension.by == LADDER:
                told = f"{_INCIDENT} {incident.id}"
                if told not in self._owed and told not in self._digests:
                    return f"{_SUSPENSION} {incident.id} {suspension.kind.value}", incident
            case ExtremeSpared(incident):
                return f"{_EXTREME} {incident.id}", incident
        return None

    def _owe(self, name: str, incident: Incident) -> None:
        if self._has(name):
            return
        now = self._outside.now()
        due = MonotonicTime(now.monotonic + HOLD)
        self._owed[name] = _Owed(name, incident.id, now.wall, due)
        self._outside.keep([entry(name, (), b"", now.wall, now.wall + HOLD)])
        self._work.within(HOLD)

    def _has_grown(self, incident: Incident) -> bool:
        """Tell whether a closed *incident* was much more than the administrator was told."""
        return (0 < 2 * incident.told <= incident.recipients) or (
            0 < 2 * incident.told_messages <= incident.messages
        )

    def _restore(self, name: str, row: Mapping[str, Any]) -> None:
        kind, incident, *_ = name.split(" ")
        if row["sent"] is not None:
            self._early.restore(name, row)
        elif row["message"]:
            self.queue.restore(name, row)
        elif kind not in _KINDS:
            raise ValueError(f"{kind} is no kind of notice")
        elif row["recipients"] != "[]":
            self._digests.restore(name, incident, row)
        else:
            due = MonotonicTime(self._outside.now().monotonic + HOLD)
            self._owed[name] = _Owed(name, incident, WallTime(row["made"]), due)
            self._work.within(HOLD)

    # writing

    def _write_some(self) -> None:
        """Write a few of the notices that are due, and others in the next turns."""
        now = self._outside.now().monotonic
        for _ in range(_AT_ONCE):
            owed = next(iter(self._owed.values()), None)
            if self._near:
                self._attempt(self._warn, self._near.popleft())
            elif owed is not None and owed.due <= now:
                del self._owed[owed.id]
                self._attempt(self._write, owed)
        if self._near:
            self._work.within(0)
        elif (owed := next(iter(self._owed.values()), None)) is not None:
            self._work.within(owed.due - now)

    def _attempt(self, work: Callable[[Any], None], what: Any) -> None:
        """Do *work*; let a fault of ours in it cost this notice alone."""
        try:
            work(what)
        except Exception:  # noqa: BLE001 - whatever it is, the next notice is to be written
            self._outside.log.task_failed("notices", Failure())  # type: ignore[no-untyped-call]
            if isinstance(what, _Owed):
                self._outside.keep([Entry(NOTICES, what.id, None)])

    def _write(self, owed: _Owed) -> None:
        policy = self._policy()
        incident = self._ladder.incidents.get(owed.incident)
        if policy.aftermath.notices is None or incident is None:
            self._drop(owed.id, "the incident, or the rules about notices, are gone")
            return
        provider = incident.observed or owed.kind is Kind.EXTREME
        readers = [some for some in addresses(policy, incident.domain, provider=provider) if some]
        if not readers:
            self._drop(owed.id, "the rules name nobody who is to get it")
        elif self._has_room(policy.aftermath.notices):
            suspensions = [
                one
                for one in self._ladder.suspensions.by_id.values()
                if one.incident == incident.id
            ]
            notice = compose(owed.kind, incident, policy, self._outside.now().wall, suspensions)
            self._queue(owed.id, notice, owed.made)
            self._is_told(incident)
        elif not self._digests.is_full:
            self._digests.add(owed.id, incident.id, owed.made, readers)
        else:
            self._drop(owed.id, "too many notices wait for a digest")

    def _write_digest(self, name: str, readers: Readers, incidents: Sequence[str]) -> None:
        found = [one for name in incidents if (one := self._ladder.incidents.get(name))]
        if self._rules is None or not found:
            return
        if self.queue.is_full:
            self._drop(name, "too many notices wait to be sent")
            return
        self._queue(name, digest(readers, found, self._policy()), self._outside.now().wall)
        for incident in found:
            self._is_told(incident)
        self._outside.log.notices_digested(readers, len(found))

    def _warn(self, event: NearLimit) -> None:
        name = f"{_WARNING} {event.limit.id} {_quoted(event.account or event.domain)}"
        rules = self._rules
        if rules is None or name in self._early or name in self.queue:
            return
        notice = compose(Kind.WARNING, event, self._policy(), self._outside.now().wall)
        if not notice.recipients:
            return
        if not self._has_room(rules):
            self._drop(name, f"more than {rules.most_per_hour} notices an hour")
            return
        self._queue(name, notice, event.when)

    def _queue(self, name: str, notice: Notice, made: WallTime) -> None:
        """Queue *notice*; the same one has the same Message-ID, should it be sent again."""
        digest = hashlib.sha256(f"{name} {made}".encode()).hexdigest()
        host = notice.sender.rpartition("@")[2]
        date = datetime.fromtimestamp(self._outside.now().wall, self._policy().time_zone)
        mail = message(notice, f"<policyd.{digest[:24]}@{host}>", date)
        self.queue.add(name, notice.recipients, mail, made)

    def _is_told(self, incident: Incident) -> None:
        """Note that the administrator knows what *incident* is like by now."""
        incident.told, incident.told_messages = incident.recipients, incident.messages
        self._outside.keep([incident.entry()])

    def _has_room(self, rules: NoticeRules) -> bool:
        """Tell whether one more notice may go out this hour; if so, it is counted."""
        now = self._outside.now().monotonic
        while self._recent and self._recent[0] <= now - HOUR:
            self._recent.popleft()
        full = len(self._recent) >= rules.most_per_hour or self.queue.is_full
        if full or now < self._no_room_before:
            return False
        self._recent.append(now)
        return True

    def _drop(self, name: str, why: str) -> None:
        self.queue.given_up += 1
        self._outside.keep([Entry(NOTICES, name, None)])
        self._outside.log.notice_given_up(name, why)

    def _remains(self, mail: Mail) -> Row | None:
        """Return the row of a *mail* that was sent: of an early notice something stays."""
        kind, limit, *_ = mail.id.split(" ")
        if kind != _WARNING:
            return None
        windows = {one.id: one.window for one in self._policy().limits}
        return self._early.add(mail, windows.get(limit, 0))


def _quoted(text: str) -> str:
    """Return *text* without spaces, and as what a database takes for text."""
    return quote(text, safe="@+=", errors="surrogateescape")
