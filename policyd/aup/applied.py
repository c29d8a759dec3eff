"""A limit as it applies to one transaction: its maximum there, its key, and what it would count."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from policyd.aup.address import fold_address, split_address
from policyd.aup.facts import Facts
from policyd.aup.match import client_network
from policyd.aup.policy import Count, KeyPart, Limit
from policyd.counting.counters import Claim, Counter

SCOPES: Final = ("account", "domain")
"""What messages can be alike within, the narrower first."""

_SEPARATOR: Final = "\n"
"""Between the values of a key; no value holds one, as it ends the attribute in a request."""


class Recipient:
    """One recipient of a message: its folded *address* and what counting needs to know of it.

    *member* is the hash it is known by as a distinct recipient.
    """

    __slots__ = ("address", "exempt", "external", "member")

    def __init__(self, address: str, member: int, *, external: bool, exempt: bool) -> None:
        self.address = address
        self.member = member
        self.external = external
        self.exempt = exempt


def likeness_scope(limit: Limit) -> str | None:
    """Return what the likeness in the key of *limit* is within; None for a key without one."""
    if not limit.counts_per("likeness"):
        return None
    return next(scope for scope in SCOPES if limit.counts_per(scope))


class Applied:
    """One *limit* with its *counter* and its *max*, for the sender of one transaction.

    *scope* is what the likeness in its key is within: kind and name, None without likeness.
    """

    __slots__ = ("_fixed", "_value_of", "counter", "limit", "max", "scope")

    def __init__(self, limit: Limit, counter: Counter, most: int, facts: Facts) -> None:
        self.limit = limit
        self.counter = counter
        self.max = most
        kind = likeness_scope(limit)
        self.scope = None if kind is None else (kind, facts[kind])
        self._fixed = _SEPARATOR.join(_value(p, facts) for p in limit.per if p.name not in _LATER)
        self._value_of = next((_VALUES[n] for n in _VALUES if limit.counts_per(n)), None)

    def claims(self, recipients: Iterable[Recipient], likeness: str, size: int) -> Sequence[Claim]:
        """Return what a message to *recipients* would add: a claim for each key.

        *likeness* is the message's in this limit's scope, *size* is in bytes.
        """
        concerns = self.limit.concerns
        counted = [
            r for r in recipients if not r.exempt and concerns(r.address, external=r.external)
        ]
        if not counted:
            return ()
        key = self._fixed if self.scope is None else f"{self._fixed}{_SEPARATOR}{likeness}"
        if self._value_of is None:
            return (self._claim(key, counted, size),)
        by_value: dict[str, list[Recipient]] = {}
        for recipient in counted:
            by_value.setdefault(self._value_of(recipient.address), []).append(recipient)
        return [
            self._claim(f"{key}{_SEPARATOR}{value}", group, size)
            for value, group in by_value.items()
        ]

    def _claim(self, key: str, counted: Sequence[Recipient], size: int) -> Claim:
        count = self.limit.count
        if count is Count.DISTINCT_RECIPIENTS:
            return Claim(key, 0, [recipient.member for recipient in counted])
        if count is Count.RECIPIENTS:
            return Claim(key, len(counted))
        return Claim(key, size if count is Count.BYTES else 1)


_VALUES: Final[Mapping[str, Callable[[str], str]]] = {
    "recipient": str,
    "recipient_domain": lambda address: split_address(address)[1],
}
"""What each recipient has a value of its own for; the finer first, it includes the other."""

_LATER: Final = frozenset(("likeness", *_VALUES))
"""Parts of a key that are not the same for the whole transaction."""


def _value(part: KeyPart, facts: Facts) -> str:
    value = facts[part.name]
    if part.is_address:
        return client_network(value, part.prefix4, part.prefix6)
    # no sender gets a count of its own by writing himself in capitals
    return fold_address(value) if part.name == "sender" else value.lower()
