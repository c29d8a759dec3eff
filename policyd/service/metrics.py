"""The figures of the daemon, as Prometheus reads them (POLICY.md "Metrics").

What happens is counted where it happens; everything else is looked up when somebody asks, in a
time that does not grow with the number of senders. No figure tells of a single sender: labels are
limits, stages, answers and other things that the rules bound.
"""

import platform
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import twisted

from policyd import __version__
from policyd.aup.engine import Engine
from policyd.aup.event import Event
from policyd.aup.incident import SuspensionKind
from policyd.aup.ladder import LONGEST, Ladder
from policyd.aup.policy import Mode
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.protocol.request import Stage
from policyd.service.content_families import of_contents
from policyd.service.event_figures import EventFigures
from policyd.service.exposition import (
    COUNTER,
    GAUGE,
    Family,
    Sample,
    counter,
    counters,
    exposed,
    gauge,
    gauges,
    histogram,
)
from policyd.service.hooks import Hooks
from policyd.service.maillog import MailLog
from policyd.service.notice_queue import NoticeQueue
from policyd.service.persistence import Persistence
from policyd.service.policy_server import PolicyService
from policyd.service.process_figures import of_process
from policyd.service.reload import Reloader
from policyd.service.request_figures import BOUNDS
from policyd.service.shown_content import ShownContent

BEAT_EVERY: Final = 0.25
"""Seconds between two looks at how late the reactor is."""

_LAGS: Final = 240
"""Looks that are remembered: a minute."""

LONGEST_TROUBLE: Final = 300.0
"""Seconds without anything on the disk; after that the daemon says that it is not well."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to tell of."""

    engine: Engine
    service: PolicyService
    contents: ShownContent
    persistence: Persistence
    notices: NoticeQueue
    hooks: Hooks
    reloader: Reloader
    log: MailLog


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the daemon is well, and what there is to say of it."""

    well: bool
    said: Mapping[str, str]


class Metrics:
    """The figures of all *sources*; *now* tells the time."""

    def __init__(self, sources: Sources, now: Callable[[], Instant]) -> None:
        self.stopping = False
        self._sources = sources
        self._now = now
        self._events = EventFigures()
        self._evicted: Counter[str] = Counter()
        self._begun = self._obeyed = now().wall
        self._last_beat: MonotonicTime | None = None
        self._lags: deque[float] = deque(maxlen=_LAGS)

    def happened(self, event: Event) -> None:
        """Count *event*."""
        self._events.happened(event, self._now().monotonic)

    def obeyed(self) -> None:
        """Note that new rules are in force."""
        self._obeyed = self._now().wall

    def evicted(self, entries: Mapping[str, int]) -> None:
        """Note what the engine has told to have forgotten, and tells no more."""
        self._evicted.update(entries)

    def beat(self) -> None:
        """Note how much more than *BEAT_EVERY* has passed since the last call."""
        now = self._now().monotonic
        if self._last_beat is not None:
            self._lags.append(max(now - self._last_beat - BEAT_EVERY, 0.0))
        self._last_beat = now

    def text(self) -> bytes:
        """Return all figures in Prometheus's format."""
        return exposed(self.families())

    def health(self) -> Health:
        """Return how the daemon is."""
        sources, now = self._sources, self._now()
        stuck = sources.persistence.lag(now) > LONGEST_TROUBLE
        status = "stopping" if self.stopping else "state-trouble" if stuck else "ok"
        said = {
            "status": status,
            "mode": sources.engine.policy.mode.value,
            "state": "trouble" if stuck or sources.persistence.is_behind else "ok",
            "reload": "ok" if sources.reloader.is_good else "failed",
            "version": __version__,
        }
        return Health(status == "ok", said)

    def families(self) -> Iterator[Family]:
        """Yield all figures."""
        now = self._now()
        yield from self._about()
        yield from self._of_requests()
        yield from of_contents(self._sources.contents)
        yield from self._of_limits(now)
        yield from self._of_ladder(now)
        yield from self._of_telling()
        yield from self._of_state(now)
        yield from self._of_log()
        yield from of_process(self._begun)

    def _about(self) -> Iterator[Family]:
        sources = self._sources
        versions = {
            "version": __version__,
            "python": platform.python_version(),
            "twisted": twisted.__version__,
        }
        yield Family(
            "policyd_build_info", GAUGE, "1; the labels tell the versions.", [Sample(1, versions)]
        )
        yield gauge(
            "policyd_enforcing",
            "1 if the rules are enforced, 0 if they only observe.",
            int(sources.engine.policy.mode is Mode.ENFORCE),
        )
        yield gauge(
            "policyd_last_reload_success",
            "1 if the rules in force are those of the rule file, 0 if it has a mistake.",
            int(sources.reloader.is_good),
        )
        yield gauge(
            "policyd_last_successful_reload_timestamp_seconds",
            "When the rules in force were read.",
            self._obeyed,
        )
        yield gauge(
            "policyd_reactor_lag_seconds",
            "How late the event loop was at most, in the last minute.",
            max(self._lags, default=0.0),
        )

    def _of_requests(self) -> Iterator[Family]:
        service, figures = self._sources.service, self._sources.service.answering.figures
        yield Family(
            "policyd_requests_total",
            COUNTER,
            "Requests, by stage and by the answer's verb; DUNNO is a pass.",
            [
                Sample(number, {"stage": stage, "answer": verb})
                for stage, answers in figures.by_stage().items()
                for verb, number in ({"DUNNO": 0} | answers).items()
            ],
        )
        yield counter(
            "policyd_requests_without_login_total",
            "Requests about mail of somebody who did not log in.",
            figures.without_login,
        )
        yield histogram(
            "policyd_decision_duration_seconds",
            "What deciding a request and making the reply took.",
            BOUNDS,
            figures.durations,
            figures.seconds,
        )
        yield counter(
            "policyd_deciding_faults_total",
            "Requests passed because of a fault in policyd.",
            figures.faults,
        )
        yield counter(
            "policyd_protocol_errors_total",
            "Connections that sent what is not Postfix's policy protocol.",
            figures.bad,
        )
        yield gauge("policyd_connections", "Open policy connections.", len(service.servers))
        yield gauge(
            "policyd_open_transactions",
            "Messages that are under way.",
            len(self._sources.engine.transactions),
        )

    def _of_limits(self, now: Instant) -> Iterator[Family]:
        engine, events = self._sources.engine, self._events
        limits = engine.policy.limits
        none = {limit.id: 0 for limit in limits}
        exceeded = {
            (limit.id, stage.value, limit.action.verb, limit.mode.value): 0
            for limit in limits
            for stage in Stage
        }
        names = ("limit", "stage", "action", "mode")
        yield Family(
            "policyd_decisions_total",
            COUNTER,
            "How often a limit was exceeded: mode enforce answered so, observe would have.",
            [
                Sample(number, dict(zip(names, which, strict=True)))
                for which, number in (exceeded | events.exceeded).items()
            ],
        )
        yield gauges(
            "policyd_keys_over_limit",
            "Distinct keys (senders, say) of a limit that exceeded it in the last hour.",
            "limit",
            none | events.over.counts(now.monotonic),
        )
        yield gauges(
            "policyd_keys_near_limit",
            "Distinct senders that came near a limit (ladder.warn_at) in the last hour.",
            "limit",
            none | events.near.counts(now.monotonic),
        )
        yield gauges(
            "policyd_keys",
            "Keys that are counted, by limit.",
            "limit",
            {name: len(one) for name, one in engine.counts.counters()},
        )
        held = [one.weight for _, one in engine.counts.counters()]
        held += [groups.weight for groups in engine.counts.alike().values()]
        yield gauge("policyd_counts_memory_bytes", "Memory of the counts, about.", sum(held))
        evictions: Counter[str] = Counter({f"limit {name}": 0 for name in none})
        evictions.update(self._evicted)
        evictions.update(engine.counts.evicted)
        yield counters(
            "policyd_evictions_total",
            "Entries forgotten for want of memory.",
            "series",
            evictions,
        )

    def _of_ladder(self, now: Instant) -> Iterator[Family]:
        ladder, events = self._sources.engine.ladder, self._events
        yield gauge("policyd_incidents_open", "Incidents that go on.", _open(ladder, now.wall))
        yield counters(
            "policyd_incidents_opened_total",
            "Incidents that began; those with mode observe lead to nothing.",
            "mode",
            {
                Mode.ENFORCE.value: events.opened[False],
                Mode.OBSERVE.value: events.opened[True],
            },
        )
        kinds = {kind.value: 0 for kind in SuspensionKind}
        in_force = Counter(kinds)
        for one in ladder.suspensions.by_id.values():
            if one.in_force and one.holds(now.wall):
                in_force[one.kind.value] += 1
        yield gauges(
            "policyd_suspensions_in_force", "Mailboxes and domains suspended.", "kind", in_force
        )
        yield counters(
            "policyd_suspended_total",
            "Suspensions that came into force.",
            "kind",
            kinds | events.suspended,
        )
        blocked = {(kind, stage.value): 0 for kind in kinds for stage in Stage}
        yield Family(
            "policyd_suspended_refusals_total",
            COUNTER,
            "Requests refused because the sender is suspended.",
            [
                Sample(number, {"kind": kind, "stage": stage})
                for (kind, stage), number in (blocked | events.blocked).items()
            ],
        )

    def _of_telling(self) -> Iterator[Family]:
        notices, hooks = self._sources.notices, self._sources.hooks
        yield gauge("policyd_notices_waiting", "Notices that wait to be sent.", len(notices))
        yield counter("policyd_notices_queued_total", "Notices written.", notices.queued)
        yield counter(
            "policyd_notices_sent_total", "Notices the mail server has taken.", notices.sent
        )
        yield counter(
            "policyd_notices_failed_total", "Tries to send a notice that failed.", notices.failed
        )
        yield counter(
            "policyd_notices_given_up_total", "Notices nobody will get.", notices.given_up
        )
        yield gauge("policyd_hooks_waiting", "Things that hooks are yet to be told.", len(hooks))
        yield counter("policyd_hooks_done_total", "Things that hooks were told.", hooks.done)
        yield counter(
            "policyd_hooks_failed_total", "Tries to tell a hook that failed.", hooks.failed
        )
        yield counter(
            "policyd_hooks_given_up_total",
            "Things that a hook will not hear of.",
            hooks.given_up,
        )

    def _of_state(self, now: Instant) -> Iterator[Family]:
        state = self._sources.persistence
        yield gauge(
            "policyd_state_trouble",
            "1 while the disk takes nothing; counting goes on in memory.",
            int(state.is_behind),
        )
        yield gauge(
            "policyd_journal_lag_seconds",
            "How long ago it was counted what a crash would lose, at most.",
            state.lag(now),
        )
        yield gauge(
            "policyd_snapshot_age_seconds",
            "Time since the last snapshot, or since the start.",
            state.snapshot_age(now),
        )
        yield gauge(
            "policyd_snapshot_duration_seconds",
            "What the last snapshot took; mail did not wait for it.",
            state.snapshot_took,
        )
        yield gauge(
            "policyd_copy_age_seconds",
            "Time since the copy of the state was made.",
            state.copy_age(now),
        )

    def _of_log(self) -> Iterator[Family]:
        log = self._sources.log
        yield counters(
            "policyd_log_lines_total", "Lines logged, by event.", "event", dict(log.said)
        )
        yield counter(
            "policyd_log_lines_lost_total",
            "Lines lost because the reader of the log is slow.",
            log.lost,
        )


def _open(ladder: Ladder, now: WallTime) -> int:
    """Return how many incidents are open; none that began longer ago than one lasts is."""
    since = now - LONGEST - ladder.rules.quiet
    number = 0
    for incident in reversed(ladder.incidents.values()):
        if incident.opened < since:
            break
        number += incident.closed is None
    return number
