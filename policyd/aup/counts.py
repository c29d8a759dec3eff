"""The counts of all limits: a counter for each, and the groups of similar mail.

A limit's counts go by its id. They outlive a change of max, text or action; a changed window
sorts them into new buckets; a change of what is counted starts them empty.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from policyd.aup.likeness import Group, Groups
from policyd.aup.policy import SCOPES, Count, Limit, Policy
from policyd.clock import WallTime
from policyd.counting.counters import BucketState, Counter, DistinctCounter, SumCounter
from policyd.counting.distinct import Hasher
from policyd.counting.window import bucket_width


@dataclass(frozen=True, slots=True)
class LimitState:
    """The counts of one limit as kept on disk; *meaning* says what they are counts of.

    *width* is that of the buckets, in seconds.
    """

    meaning: str
    width: float
    buckets: tuple[BucketState, ...]


@dataclass(frozen=True, slots=True)
class CountsState:
    """All counts as kept on disk: per limit id, and per scope the groups of similar mail."""

    limits: Mapping[str, LimitState]
    groups: Mapping[str, tuple[Group, ...]]


class Counts:
    """The counters of the limits of one *policy*, and the groups they use."""

    def __init__(self, policy: Policy, hasher: Hasher) -> None:
        self._hasher = hasher
        self._meanings = {limit.id: _meaning(limit, policy) for limit in policy.limits}
        self._counters = {limit.id: self._counter(limit) for limit in policy.limits}
        self.groups = {
            scope: Groups(policy.likeness, _longest_window(policy, scope)) for scope in SCOPES
        }

    def counter(self, limit: Limit) -> Counter:
        """Return the counter of *limit*."""
        return self._counters[limit.id]

    def obey(self, policy: Policy, now: WallTime) -> list[str]:
        """Go on under a changed *policy*; return the ids of the limits that start empty."""
        emptied = []
        counters: dict[str, Counter] = {}
        meanings = {limit.id: _meaning(limit, policy) for limit in policy.limits}
        for limit in policy.limits:
            old = self._counters.get(limit.id)
            if old is not None and self._meanings[limit.id] != meanings[limit.id]:
                emptied.append(limit.id)
                old = None
            if old is not None and old.timeline.window == limit.window:
                counters[limit.id] = old
                continue
            counter = counters[limit.id] = self._counter(limit)
            if old is not None:
                old.tidy(now, 0)  # what is forgotten stays forgotten, however long the window is
                counter.restore(old.dump(), old.timeline.width, now)
        self._counters, self._meanings = counters, meanings
        for scope, groups in self.groups.items():
            groups.obey(policy.likeness, _longest_window(policy, scope))
        return emptied

    def tidy(self, now: WallTime, at_most: int) -> int:
        """Forget up to *at_most* entries that are out of their windows; return how many."""
        done = 0
        for counter in self._counters.values():
            done += counter.tidy(now, at_most - done)
        for groups in self.groups.values():
            done += groups.tidy(now, at_most - done)
        return done

    def dump(self) -> CountsState:
        """Return all counts."""
        return CountsState(
            {
                limit: LimitState(
                    self._meanings[limit], counter.timeline.width, tuple(counter.dump())
                )
                for limit, counter in self._counters.items()
            },
            {scope: tuple(groups.dump()) for scope, groups in self.groups.items()},
        )

    def restore(self, state: CountsState, now: WallTime) -> list[str]:
        """Take what *dump* gave, into empty counters; return the ids of limits left empty."""
        emptied = []
        for limit, counter in self._counters.items():
            if (kept := state.limits.get(limit)) is None:
                continue
            if kept.meaning == self._meanings[limit]:
                counter.restore(kept.buckets, kept.width, now)
            else:
                emptied.append(limit)
        for scope, groups in self.groups.items():
            groups.restore(state.groups.get(scope, ()))
        self.tidy(now, 0)
        return emptied

    def counters(self) -> Iterator[tuple[str, Counter]]:
        """Yield each limit's id and counter."""
        yield from self._counters.items()

    def _counter(self, limit: Limit) -> Counter:
        if limit.count is Count.DISTINCT_RECIPIENTS:
            return DistinctCounter(limit.window, self._hasher)
        return SumCounter(limit.window)

    def _check(self) -> None:
        """Assert the invariants of all that is held."""
        for counter in self._counters.values():
            counter._check()
        for groups in self.groups.values():
            groups._check()


def _meaning(limit: Limit, policy: Policy) -> str:
    """Return what the counts of *limit* are counts of; when it changes they mean nothing."""
    accounts = policy.accounts
    return (
        f"{limit.count.value} to {limit.recipients.value}"
        f" per {' '.join(map(str, limit.per))}"
        f" by {' '.join(accounts.identity)}"
        f" less {accounts.strip_extension!r} {policy.recipient_extension!r}"
    )


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
