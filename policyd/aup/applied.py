"""A limit as it applies to one transaction: its maximum there, its key, and what it would count."""

from collections.abc import Sequence
from typing import Final

from policyd.aup.address import fold_address, split_address
from policyd.aup.facts import Facts
from policyd.aup.match import client_network
from policyd.aup.policy import Count, KeyPart, Limit, Recipients
from policyd.counting.counters import Claim, Counter

SEPARATOR: Final = "\n"
"""Between the values of a key; no value holds one, as it ends the attribute in a request."""


class Recipient:
    """One recipient of a message: its folded *address* and what counting needs to know of it.

    *member* is the hash it is known by as a distinct recipient.
    """

    __slots__ = ("address", "exempt", "external", "member")

    def __init__(self, address: str, member: bytes, *, external: bool, exempt: bool) -> None:
        self.address = address
        self.member = member
        self.external = external
        self.exempt = exempt


Scope = tuple[str, str]
"""What messages are alike within: its kind, account or domain, and which one."""


class Message:
    """What limits see of a message: its *recipients*, its *size* in bytes, what it is like.

    *likeness* names, by scope, the group that it belongs to; empty where it is like no other yet.
    """

    __slots__ = ("_by_kind", "likeness", "recipients", "size")

    def __init__(self, recipients: Sequence[Recipient], size: int) -> None:
        self.recipients = recipients
        self.size = size
        self.likeness: dict[Scope, str] = {}
        self._by_kind: dict[Recipients, Sequence[Recipient]] = {}

    def counted(self, kind: Recipients) -> Sequence[Recipient]:
        """Return the recipients of *kind* that are not exempt."""
        found = self._by_kind.get(kind)
        if found is None:
            found = self._by_kind[kind] = [
                recipient
                for recipient in self.recipients
                if not recipient.exempt and kind.include(external=recipient.external)
            ]
        return found


class Applied:
    """One *limit* with its *counter* and its *max*, for the sender of one transaction.

    *client* is the hash that the network of the client is known by. *scope* is what the likeness in
    the key is within: kind and name, None without likeness.
    """

    __slots__ = ("_client", "_shared", "counter", "limit", "max", "scope")

    def __init__(
        self, limit: Limit, counter: Counter, most: int, facts: Facts, client: bytes = b""
    ) -> None:
        self._client = client
        self.limit = limit
        self.counter = counter
        self.max = most
        kind = limit.likeness_scope
        self.scope: Scope | None = None if kind is None else (kind, facts[kind])
        self._shared = SEPARATOR.join([_value(part, facts) for part in limit.shared_parts])

    def claims(self, message: Message) -> Sequence[Claim]:
        """Return what *message* would add: a claim for each key, none if nothing of it counts."""
        limit = self.limit
        counted = message.counted(limit.recipients)
        if limit.chooses_recipients:
            counted = [recipient for recipient in counted if limit.chooses(recipient.address)]
        if not counted:
            return ()
        key = self._shared
        if self.scope is not None:
            key = f"{key}{SEPARATOR}{message.likeness[self.scope]}"
        if limit.split_by is None:
            return (self._claim(key, counted, message.size),)
        by_value: dict[str, list[Recipient]] = {}
        for recipient in counted:
            whole = limit.split_by == "recipient"
            value = recipient.address if whole else split_address(recipient.address)[1]
            by_value.setdefault(value, []).append(recipient)
        return [
            self._claim(f"{key}{SEPARATOR}{value}", group, message.size)
            for value, group in by_value.items()
        ]

    def _claim(self, key: str, counted: Sequence[Recipient], size: int) -> Claim:
        count = self.limit.count
        if count is Count.DISTINCT_CLIENTS:
            return Claim(key, 0, [self._client])
        if count in (Count.DISTINCT_RECIPIENTS, Count.FIRST_TIME_RECIPIENTS):
            return Claim(key, 0, [recipient.member for recipient in counted])
        if count is Count.RECIPIENTS:
            return Claim(key, len(counted))
        return Claim(key, size if count is Count.BYTES else 1)


def _value(part: KeyPart, facts: Facts) -> str:
    value = facts[part.name]
    if part.is_address:
        return client_network(value, part.prefix4, part.prefix6)
    # no sender gets a count of its own by writing himself in capitals
    return fold_address(value) if part.name == "sender" else value.lower()
