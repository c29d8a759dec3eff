"""Which limits hold to a sender, and with what maximum.

It is asked once for every transaction, so what depends on the rules alone is worked out when they
come into force.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from policyd.aup.applied import SEPARATOR, Applied, Rule, Scope, key_value
from policyd.aup.candidates import Candidates
from policyd.aup.counts import Counts
from policyd.aup.facts import Facts
from policyd.aup.match import client_network
from policyd.aup.policy import (
    SCOPES,
    Count,
    Exemption,
    KeyPart,
    LikenessBy,
    Limit,
    Override,
    Policy,
    Refuse,
)
from policyd.clock import WallTime
from policyd.counting.distinct import Hasher

CLIENT_NETWORK: Final = (24, 64)
"""Prefixes of the networks that distinct clients are told by, IPv4 and IPv6, in bits."""


class _Held(NamedTuple):
    """A *rule*, and when and how it holds."""

    rule: Rule
    limit: Limit
    key: int  # which of the keys is its own
    has_conditions: bool
    counts_clients: bool


class Holding:
    """The limits of *policy* with their counters, among *counts*."""

    def __init__(self, policy: Policy, counts: Counts, hasher: Hasher) -> None:
        self._policy = policy
        self._hasher = hasher
        self._keys: list[tuple[KeyPart, ...]] = []  # several limits count by the same
        self._forms: list[tuple[object, ...]] = []  # and the same
        self._held = [self._rule(limit, counts) for limit in policy.limits]
        self._candidates = Candidates([one.match for one in policy.limits], policy.accounts)

    def to(self, facts: Facts, now: WallTime) -> Sequence[Applied]:
        """Return the limits that hold to the sender of whom *facts* tell, in the file's order."""
        keys = [_shared_key(parts, facts) for parts in self._keys]
        scopes: dict[str | None, Scope | None] = {
            None: None,
            "account": ("account", facts.account),
            "domain": ("domain", facts.domain),
        }
        found = []
        for place in self._candidates.of(facts):
            rule, limit, at, has_conditions, counts_clients = self._held[place]
            key = keys[at]
            if key is None or (has_conditions and not limit.holds_to(facts)):
                continue
            applied = Applied(rule, key, scopes[limit.likeness_scope])
            found.append(applied)
            if counts_clients:
                applied.client = self._client(facts)
        return self._overridden(found, facts, now) if self._policy.overrides else found

    def _rule(self, limit: Limit, counts: Counts) -> _Held:
        parts = limit.shared_parts
        if parts not in self._keys:
            self._keys.append(parts)
        by_any = self._policy.likeness.by is LikenessBy.ANY
        is_known = limit.likeness_scope is None or by_any
        rule = Rule(
            limit,
            counts.counter(limit),
            self._policy.aftermath.ladder.warn_at,
            form=self._form(limit),
            tells_at_once=is_known and limit.refuse is Refuse.MESSAGE and limit.answers,
        )
        return _Held(
            rule=rule,
            limit=limit,
            key=self._keys.index(parts),
            has_conditions=bool(limit.match.on_transaction or limit.unless.on_transaction),
            counts_clients=limit.count is Count.DISTINCT_CLIENTS,
        )

    def _form(self, limit: Limit) -> int:
        """Return the number of what the claims of *limit* depend on."""
        form = (
            *(limit.shared_parts, limit.likeness_scope, limit.split_by, limit.external),
            *(limit.count, limit.match.on_recipient, limit.unless.on_recipient),
        )
        if form not in self._forms:
            self._forms.append(form)
        return self._forms.index(form)

    def _overridden(
        self, found: Iterable[Applied], facts: Facts, now: WallTime
    ) -> Sequence[Applied]:
        overrides = [
            override
            for override in in_force(self._policy.overrides, now)
            if override.match.matches(facts)
        ]
        if not overrides:
            return list(found)
        kept = []
        for applied in found:
            most = most_for(applied.limit, overrides)
            if most is not None:
                applied.allow(most)
                kept.append(applied)
        return kept

    def _client(self, facts: Facts) -> bytes:
        return self._hasher(client_network(facts.client_address, *CLIENT_NETWORK))


def _shared_key(parts: Sequence[KeyPart], facts: Facts) -> str | None:
    """Return what keys of *parts* begin with; None if the sender is nobody they could be of."""
    for part in parts:
        if part.name in SCOPES and not facts[part.name]:
            return None
    return SEPARATOR.join([key_value(part, facts) for part in parts])


_Ending = TypeVar("_Ending", Exemption, Override)


def in_force(rules: Iterable[_Ending], now: WallTime) -> Iterator[_Ending]:
    """Yield the *rules* that have not ended."""
    return (rule for rule in rules if rule.until is None or now < rule.until)


def most_for(limit: Limit, overrides: Iterable[Override]) -> int | None:
    """Return the maximum of *limit* under the first override that speaks of it; None for none."""
    for override in overrides:
        if (pattern := override.pattern_for(limit.id)) is not None:
            return override.limits[pattern]
    return limit.max
