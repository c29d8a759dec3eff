"""The counts of all limits: a counter for each, and the groups of similar mail, by size or content.

A limit's counts go by its id. They outlive a change of max, text or action; a changed window
sorts them into new buckets; a change of what is counted starts them empty.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from policyd.aup.applied import SEPARATOR, Message, Scope
from policyd.aup.likeness import Groups
from policyd.aup.policy import SCOPES, Count, LikenessBy, Limit, Policy
from policyd.aup.series import Kept, Series
from policyd.clock import WallTime
from policyd.content.campaigns import Campaigns
from policyd.counting.changes import Bucket, Taken
from policyd.counting.counters import BucketCounter, Counter, DistinctCounter, SumCounter
from policyd.counting.first_time import FirstTimeCounter
from policyd.counting.window import bucket_width

LIMIT: Final = "limit"
LIKENESS: Final = "likeness"
LIKENESS_CONTENT: Final = "likeness-content"
"""Kinds of series: the first word of a name, the limit's id or the scope being the second."""

_GROUPS_WIDTH: Final = 60.0
"""Seconds; groups are kept by when they were prolonged, like counts."""


class Counts:
    """The counters of the limits of one *policy*, and the groups they use."""

    def __init__(self, policy: Policy) -> None:
        self.evicted: Tally[str] = Tally()  # entries forgotten for want of memory, by series
        self._policy = policy
        self._near = _near(policy)
        self._meanings = {limit.id: _meaning(limit, policy) for limit in policy.limits}
        self._counters = {limit.id: _counter(limit) for limit in policy.limits}
        self._dropped: list[Counter] = []  # of limits that are no more; forgotten in slices
        self._lives = {scope: _longest_window(policy, scope) for scope in SCOPES}
        self.groups = {scope: Groups(policy.likeness, self._lives[scope]) for scope in SCOPES}
        self.campaigns = {scope: Campaigns(self._lives[scope]) for scope in SCOPES}
        self._joined = WallTime(0.0)  # when a group was last prolonged

    def counter(self, limit: Limit) -> Counter:
        """Return the counter of *limit*."""
        return self._counters[limit.id]

    def obey(self, policy: Policy, now: WallTime) -> list[str]:
        """Go on under a changed *policy*; return the ids of the limits that start empty."""
        self.tidy(now, 0)  # what is forgotten stays forgotten
        emptied = []
        counters: dict[str, Counter] = {}
        meanings = {limit.id: _meaning(limit, policy) for limit in policy.limits}
        for limit in policy.limits:
            old = self._counters.get(limit.id)
            if old is not None and self._meanings[limit.id] == meanings[limit.id]:
                counters[limit.id] = old
                old.timeline.obey(limit.window)
                if isinstance(old, FirstTimeCounter):
                    old.known.timeline.obey(limit.known_for)
                continue
            counters[limit.id] = _counter(limit)
            if old is not None:
                emptied.append(limit.id)
        kept = set(counters.values())
        for old in self._counters.values():
            if old not in kept:
                for _, part in old.parts():
                    part.usage.drop()
                    self._dropped.append(part)
        self._policy = policy
        self._near = _near(policy)
        self._counters, self._meanings = counters, meanings
        self._lives = {scope: _longest_window(policy, scope) for scope in SCOPES}
        for scope, groups in self.groups.items():
            groups.obey(policy.likeness, self._lives[scope])
        for scope, campaigns in self.campaigns.items():
            campaigns.obey(self._lives[scope])
        return emptied

    def likeness(self, scope: Scope, message: Message, now: WallTime) -> str:
        """Return what *message* is like within *scope*: a name of its own if like no other."""
        kind, name = scope
        if message.fingerprint is not None:
            campaigns = self.campaigns[kind]
            return campaigns.find(name, message.fingerprint, now) or campaigns.next_name
        groups = self.groups[kind]
        return groups.find(name, message.size, now) or groups.next_name

    def join(self, scope: Scope, message: Message, now: WallTime) -> None:
        """Let *message*, which is counted, be one of those that it is like within *scope*."""
        self._joined = now
        kind, name = scope
        if message.fingerprint is not None:
            self.campaigns[kind].join(name, message.fingerprint, now)
        else:
            self.groups[kind].join(name, message.size, now)

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Forget up to *at_most* entries that are out of their windows; return how many."""
        done = 0
        for counter in (*self._counters.values(), *self._dropped):
            done += counter.tidy(now, at_most - done)
        self._dropped = [counter for counter in self._dropped if len(counter)]
        for groups in self.alike().values():
            done += groups.tidy(now, at_most - done)
        return done

    def take(self, now: WallTime) -> Kept:
        """Return what was counted since the last call."""
        self.tidy(now, 0)
        limits = {name: counter.take() for name, _, counter in self._parts()}
        # were the bucket that of now, after a step of the clock it would outlive them
        end = _end_of(min(self._joined, now))
        groups = {name: Taken([(end, one.take())]) for name, one in self.alike().items()}
        return self._series(now, {**limits, **groups})

    def whole(self, now: WallTime) -> Kept:
        """Return all that is counted."""
        self.tidy(now, 0)
        limits = {name: counter.whole() for name, _, counter in self._parts()}
        groups = {name: [Bucket(_end_of(now), one.whole())] for name, one in self.alike().items()}
        return self._series(now, {**limits, **groups})

    def restore(self, kept: Kept, now: WallTime) -> list[str]:
        """Take what *take* or *whole* gave, into empty counters; return the ids left empty."""
        emptied = set()
        for name, limit, counter in self._parts():
            if (series := kept.get(name)) is None:
                continue
            if series.meaning == self._meanings[limit]:
                _check_kind(series.buckets, bytes if isinstance(counter, DistinctCounter) else int)
                counter.restore(series.buckets, now)
            else:
                emptied.add(limit)
        for name, groups in self.alike().items():
            if (series := kept.get(name)) is not None:
                _check_kind(series.buckets, bytes)
                for _, entries in series.buckets:
                    groups.restore({who: bytes(group) for who, group in entries.items()})
        self.tidy(now, 0)
        return [limit for limit in self._counters if limit in emptied]

    def evict(self, at_most: int) -> int:
        """Look at up to *at_most* entries of each series that takes too much memory.

        Forget those that it can be spared of; return how many entries were looked at.
        """
        most = self._policy.state
        held = self._held()
        heaviest = max(held, key=lambda name: held[name].weight)
        too_heavy = sum(one.weight for one in held.values()) > most.max_memory
        looked = 0
        for name, one in held.items():
            if len(one) > most.max_keys or (too_heavy and name == heaviest):
                _, which = name.split(maxsplit=1)
                if isinstance(one, Groups | Campaigns):
                    evicted = one.evict(at_most, partial(self._is_near, which))
                else:
                    evicted = one.evict(at_most, self._near[which])
                if evicted:
                    self.evicted[name] += evicted
                looked += at_most
        return looked

    def _is_near(self, scope: str, name: str, likeness: str) -> bool:
        """Tell whether a limit per *scope* and likeness has come near its maximum there."""
        key = SEPARATOR.join((name, likeness))
        return any(
            self._counters[limit.id].usage.sum(key) >= self._near[limit.id]
            for limit in self._policy.limits
            if limit.likeness_scope == scope and limit.split_by is None
        )

    def _held(self) -> dict[str, Counter | Groups | Campaigns]:
        limits = {f"{LIMIT} {limit}": counter for limit, counter in self._counters.items()}
        return {**limits, **self.alike()}

    def alike(self) -> dict[str, Groups | Campaigns]:
        """Return all that tells which messages are alike, by the names of its series."""
        return {
            **{f"{LIKENESS} {scope}": groups for scope, groups in self.groups.items()},
            **{f"{LIKENESS_CONTENT} {scope}": one for scope, one in self.campaigns.items()},
        }

    def lowest_max(self, limit: Limit) -> float:
        """Return the least maximum that *limit* has for anybody."""
        return 2 * self._near[limit.id]

    def counters(self) -> Iterator[tuple[str, Counter]]:
        """Yield each limit's id and counter."""
        yield from self._counters.items()

    def _parts(self) -> Iterator[tuple[str, str, BucketCounter]]:
        """Yield what is kept: the names of the series, the ids of the limits, the counters."""
        for limit, counter in self._counters.items():
            for part, one in counter.parts():
                yield f"{LIMIT} {limit}{part}", limit, one

    def _series(self, now: WallTime, buckets: Mapping[str, Sequence[Bucket]]) -> Kept:
        """Return the *buckets* of each series as what it is."""
        series: dict[str, Series] = {}
        for name, limit, counter in self._parts():
            oldest, latest = counter.timeline.oldest(now), counter.timeline.latest(now)
            series[name] = Series(self._meanings[limit], oldest, latest, buckets[name])
        for name in self.alike():
            kind, scope = name.split()
            oldest = now - self._lives[scope]
            meaning = "size" if kind == LIKENESS else "content"
            series[name] = Series(meaning, oldest, _end_of(now), buckets[name])
        return series

    def _check(self) -> None:
        """Assert the invariants of all that is held."""
        for counter in self._counters.values():
            counter._check()
        for groups in self.alike().values():
            groups._check()


def _end_of(now: WallTime) -> float:
    """Return when the bucket ends that groups prolonged *now* are kept in."""
    return (now // _GROUPS_WIDTH + 1) * _GROUPS_WIDTH


def _check_kind(buckets: Iterable[Bucket], kind: type[int] | type[bytes]) -> None:
    """Raise ValueError if there is anything in *buckets* that is not of this *kind*.

    Bytes made of a number are as many as that.
    """
    for _, entries in buckets:
        if not all(isinstance(value, kind) for value in entries.values()):
            raise ValueError(f"there is something among the counts that is no {kind.__name__}")


def _counter(limit: Limit) -> Counter:
    if limit.count is Count.FIRST_TIME_RECIPIENTS:
        return FirstTimeCounter(limit.window, limit.known_for)
    distinct = limit.count in (Count.DISTINCT_RECIPIENTS, Count.DISTINCT_CLIENTS)
    return DistinctCounter(limit.window) if distinct else SumCounter(limit.window)


def _meaning(limit: Limit, policy: Policy) -> str:
    """Return what the counts of *limit* are counts of; when it changes they mean nothing."""
    accounts = policy.accounts
    by_content = limit.counts_per("likeness") and policy.likeness.by is LikenessBy.CONTENT
    return (
        f"{limit.count.value} to {limit.recipients.value}"
        f" per {' '.join(map(str, limit.per))}"
        f" by {' '.join(accounts.identity)}"
        f" less {accounts.strip_extension!r} {policy.recipient_extension!r}"
        f"{' alike in content' if by_content else ''}"
    )


def _near(policy: Policy) -> dict[str, float]:
    """Return, by id, what is near the limit: half of the least that holds to anybody."""
    least = {limit.id: limit.max for limit in policy.limits}
    for override in policy.overrides:
        for limit, most in least.items():
            pattern = override.pattern_for(limit)
            if pattern is not None and (given := override.limits[pattern]) is not None:
                least[limit] = min(most, given)
    return {limit: most / 2 for limit, most in least.items()}


def _longest_window(policy: Policy, scope: str) -> float:
    """Return how long the groups of *scope* live: as long as anything counted under them."""
    return max(
        (
            limit.window + bucket_width(limit.window)
            for limit in policy.limits
            if limit.likeness_scope == scope
        ),
        default=0,
    )
