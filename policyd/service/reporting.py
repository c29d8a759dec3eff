"""The report: what was refused in some days, to whom, what it led to, and who may be next.

What was refused is counted as it happens (aup/tally.py). What has to be looked for among all keys,
or incidents, is looked for in many turns of the reactor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nlargest
from typing import Any, Final, NamedTuple, TypeVar

from policyd.aup.engine import Engine
from policyd.aup.holders import maximum
from policyd.aup.incident import Incident, Suspension
from policyd.aup.policy import Limit
from policyd.aup.tally import BLOCKED, KEPT_FOR, OTHERS, REFUSED, WOULD_REFUSE, Entry, Part
from policyd.clock import Instant, WallTime
from policyd.counting.counters import Counter
from policyd.service.admin_answers import incident_told, moment_told, suspension_told
from policyd.service.admin_names import seconds
from policyd.service.admin_request import Answer, Code, Command, CommandError, Request
from policyd.service.walking import Walks

NEAR: Final = 0.8
"""What part of its maximum makes a key near its limit."""

MOST_LISTED: Final = 20
"""Entries of each list."""

AT_ONCE: Final = 1000
"""Figures, incidents, suspensions that are looked at in one turn, two milliseconds of work."""

_OF_INCIDENTS: Final = (
    *("id", "account", "domain", "limit", "observed", "open", "opened", "last"),
    *("messages", "recipients", "strike"),
)
"""What is told of each."""

_Listed = TypeVar("_Listed")
Told = dict[str, Any]


class Figures(NamedTuple):
    """How many *messages* to how many *recipients*, from how many *senders*."""

    messages: int = 0
    recipients: int = 0
    senders: int = 0


class _Near(NamedTuple):
    """A key that is near its limit."""

    share: float
    limit: Limit
    key: str
    used: int
    most: int


class Reporting:
    """The command ``report``, about *engine*; *walks* are made at the time *now* tells."""

    def __init__(self, engine: Engine, walks: Walks, now: Callable[[], Instant]) -> None:
        self._engine = engine
        self._walks = walks
        self._now = now

    @property
    def commands(self) -> Mapping[str, Command]:
        """The command by its name."""
        return {"report": Command(self._report, takes=("since",))}

    async def _report(self, request: Request) -> Answer:
        back = seconds(request["since"] or "7d")
        if back > KEPT_FOR:
            raise CommandError(Code.USAGE, "since is 30d at most: older figures are not kept")
        policy, now = self._engine.policy, self._now().wall
        since = WallTime(now - back)
        refusals = await self._refusals(since)
        return Answer(
            {
                **moment_told("since", since, policy.time_zone),
                **moment_told("until", now, policy.time_zone),
                "mode": policy.mode.value,
                "organization": policy.organization.name,
                **refusals.told(policy.limits),
                "incidents": await self._incidents(since),
                "suspensions": await self._suspensions(since, now),
                "near_from": NEAR,
                "near": await self._near(),
            }
        )

    async def _refusals(self, since: float) -> "_Refusals":
        refusals = _Refusals()
        await self._walks.through(self._engine.tally.parts(since, AT_ONCE), refusals.add)
        await self._walks.through(_sliced(list(refusals.figures.items())), refusals.rank)
        return refusals

    async def _incidents(self, since: float) -> Told:
        opened: list[Incident] = []
        figures = {"opened": 0, "observed": 0, "open": 0}

        def look(some: Sequence[Incident]) -> None:
            for one in some:
                figures["open"] += one.closed is None
                if one.opened > since:
                    figures["opened"] += 1
                    figures["observed"] += one.observed
                    opened.append(one)
            del opened[:-MOST_LISTED]

        await self._walks.through(_sliced(list(self._engine.ladder.incidents.values())), look)
        told = [incident_told(one, self._engine.policy.time_zone) for one in reversed(opened)]
        newest = [{name: one[name] for name in _OF_INCIDENTS} for one in told]
        return {**figures, "newest": newest}

    async def _suspensions(self, since: float, now: WallTime) -> Told:
        found: list[Suspension] = []
        figures = {"begun": 0, "ended": 0, "in_force": 0}

        def look(some: Sequence[Suspension]) -> None:
            for one in some:
                holds, begun = one.holds(now), one.since > since
                figures["begun"] += begun
                figures["in_force"] += holds
                figures["ended"] += one.lifted is not None and one.lifted > since
                if holds or begun:
                    found.append(one)
            del found[:-MOST_LISTED]

        await self._walks.through(
            _sliced(list(self._engine.ladder.suspensions.by_id.values())), look
        )
        zone = self._engine.policy.time_zone
        return {**figures, "newest": [suspension_told(one, now, zone) for one in reversed(found)]}

    async def _near(self) -> Sequence[Told]:
        """Return the keys that come nearest to their limits, or are beyond, at present."""
        found: list[_Near] = []
        counters = dict(self._engine.counts.counters())
        for limit in self._engine.policy.limits:
            counter, least = counters[limit.id], self._least(limit) * NEAR

            def look(
                keys: Sequence[str],
                limit: Limit = limit,
                counter: Counter = counter,
                least: float = least,
            ) -> None:
                found.extend(self._nearest(limit, counter, keys, least))
                found[:] = nlargest(MOST_LISTED, found, key=lambda one: (one.share, one.used))

            await self._walks.over(counter, look)
        return [
            {
                "limit": one.limit.id,
                "mode": one.limit.mode.value,
                "per": [part.name for part in _named(one.limit)],
                "values": _values(one.limit, one.key),
                "used": one.used,
                "max": one.most,
            }
            for one in found
        ]

    def _nearest(
        self, limit: Limit, counter: Counter, keys: Sequence[str], least: float
    ) -> Iterator[_Near]:
        policy, now = self._engine.policy, self._now().wall
        for key in keys:
            used = counter.usage.sum(key)
            if used and used >= least:
                most = maximum(limit, key, policy, now)
                if most is not None and used >= most * NEAR:
                    yield _Near(used / max(most, 1), limit, key, used, most)

    def _least(self, limit: Limit) -> int:
        """Return the least that holds to anybody."""
        given = [
            override.limits[pattern]
            for override in self._engine.policy.overrides
            if (pattern := override.pattern_for(limit.id)) is not None
        ]
        return min([limit.max, *(most for most in given if most is not None)])


class _Refusals:
    """What was refused: *figures* by key; the keys with the most of each kind."""

    def __init__(self) -> None:
        self.figures: dict[str, tuple[int, int]] = {}
        self._sums: dict[tuple[str, str], Figures] = {}  # by kind and limit
        self._senders: dict[str, set[str]] = {}  # by kind
        self._top: dict[str, list[tuple[int, int, Entry]]] = {}

    def add(self, parts: Sequence[Part]) -> None:
        """Add up *parts*."""
        figures = self.figures
        for key, messages, recipients in parts:
            before = figures.get(key, (0, 0))
            figures[key] = before[0] + messages, before[1] + recipients

    def rank(self, some: Sequence[tuple[str, tuple[int, int]]]) -> None:
        """Add *some* of the figures to the sums, and to those of whom there is the most."""
        for key, (messages, recipients) in some:
            entry = Entry.of(key)
            kind = _kind(entry)
            which = entry.kind, entry.limit if entry.kind != BLOCKED else ""
            before = self._sums.get(which, Figures())
            self._sums[which] = Figures(
                before.messages + messages, before.recipients + recipients, before.senders + 1
            )
            self._senders.setdefault(kind, set()).add(entry.who)
            if entry.who != OTHERS:
                self._top.setdefault(kind, []).append((recipients, messages, entry))
        for kind, top in self._top.items():
            self._top[kind] = nlargest(MOST_LISTED, top)

    def told(self, limits: Sequence[Limit]) -> Told:
        """Return what there is to tell, by the *limits* of the rules."""
        titles = {limit.id: limit.title for limit in limits}
        told: Told = {}
        for kind, name in ((REFUSED, "refused"), (WOULD_REFUSE, "would_refuse")):
            here = {which: one for which, one in self._sums.items() if _kind_of(which[0]) == kind}
            total = Figures(
                sum(one.messages for one in here.values()),
                sum(one.recipients for one in here.values()),
                len(self._senders.get(kind, ())),
            )
            by_most = sorted(here.items(), key=lambda one: one[1], reverse=True)
            told[name] = {
                **total._asdict(),
                "by": [
                    {"limit": limit, "title": titles.get(limit, ""), **figures._asdict()}
                    for (_, limit), figures in by_most
                ],
                "top": [
                    {
                        "sender": entry.who,
                        "limit": entry.limit if entry.kind != BLOCKED else "",
                        "messages": messages,
                        "recipients": recipients,
                    }
                    for recipients, messages, entry in self._top.get(kind, ())
                ],
            }
        return told


def _kind(entry: Entry) -> str:
    return _kind_of(entry.kind)


def _kind_of(kind: str) -> str:
    """Return the kind that *kind* is told with: what is blocked is refused too."""
    return WOULD_REFUSE if kind == WOULD_REFUSE else REFUSED


def _named(limit: Limit) -> list[Any]:
    """Return the parts of the key that say whose it is: not which group of similar mail."""
    split = [part for part in limit.per if part.name == limit.split_by]
    return [*limit.shared_parts, *split]


def _values(limit: Limit, key: str) -> list[str]:
    values = key.split("\n")
    if limit.likeness_scope is not None:
        del values[len(limit.shared_parts)]
    return values


def _sliced(items: Sequence[_Listed]) -> Iterator[Sequence[_Listed]]:
    for at in range(0, len(items), AT_ONCE):
        yield items[at : at + AT_ONCE]
