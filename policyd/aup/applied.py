"""A limit as it applies to one transaction: its maximum there, its key, and what it would count."""

from collections.abc import Sequence
from math import ceil
from typing import Final

from policyd.aup.address import fold_address, split_address
from policyd.aup.facts import Facts
from policyd.aup.match import client_network
from policyd.aup.policy import Count, KeyPart, Limit
from policyd.content.fingerprint import Fingerprint
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

    *likeness* names, by scope, the group that it belongs to, or would if it were counted. It is
    told by the *fingerprint* of the content, or without one by the size. *claims* are those that
    were made of it, by the form that limits have in common.
    """

    __slots__ = (
        "_counted",
        "_members",
        "claims",
        "fingerprint",
        "likeness",
        "recipients",
        "size",
    )

    def __init__(self, recipients: Sequence[Recipient], size: int) -> None:
        self.recipients = recipients
        self.size = size
        self.fingerprint: Fingerprint | None = None
        self.likeness: dict[Scope, str] = {}
        self.claims: dict[int, Sequence[Claim]] = {}
        self._counted: dict[bool | None, Sequence[Recipient]] = {}
        self._members: dict[bool | None, Sequence[bytes]] = {}

    def counted(self, external: bool | None) -> Sequence[Recipient]:
        """Return the recipients that are *external*, or not, or either, and not exempt."""
        found = self._counted.get(external)
        if found is None:
            found = self._counted[external] = [
                one
                for one in self.recipients
                if not one.exempt and (external is None or one.external is external)
            ]
        return found

    def members(self, external: bool | None) -> Sequence[bytes]:
        """Return what those that *counted* gives are known by."""
        found = self._members.get(external)
        if found is None:
            found = self._members[external] = [one.member for one in self.counted(external)]
        return found


class Rule:
    """A *limit* with its *counter*, and what of it depends on the rules alone.

    *tells_at_once* says that it is known, and decides, at the first recipient (rule 2). Limits of
    the same *form* count the same by the same keys, if they differ in all else.
    """

    __slots__ = ("counter", "form", "limit", "quiet", "tells_at_once", "warn_at")

    def __init__(
        self,
        limit: Limit,
        counter: Counter,
        warn_at: float | None,
        *,
        form: int,
        tells_at_once: bool,
    ) -> None:
        self.limit = limit
        self.counter = counter
        self.warn_at = warn_at if limit.strike else None
        self.form = form
        self.quiet = self.quiet_up_to(limit.max)
        self.tells_at_once = tells_at_once

    def quiet_up_to(self, most: int) -> int:
        """Return the most that nothing is to be told of, where *most* is the maximum."""
        return most if self.warn_at is None else min(most, ceil(self.warn_at * most) - 1)


class Applied:
    """One *limit* with its *counter* and its *max*, for the sender of one transaction.

    *shared* is what the keys of all recipients begin with. Up to *quiet* there is nothing to tell:
    it is the maximum, or what is near it. *client* is the hash that the network of the client is
    known by. *scope* is what the likeness in the key is within: kind and name, None without
    likeness.
    """

    __slots__ = ("client", "counter", "limit", "max", "quiet", "rule", "scope", "shared")

    def __init__(self, rule: Rule, shared: str, scope: Scope | None = None) -> None:
        self.rule = rule
        self.limit = rule.limit
        self.counter = rule.counter
        self.max = rule.limit.max
        self.quiet = rule.quiet
        self.shared = shared
        self.scope = scope
        self.client = b""

    def allow(self, most: int) -> None:
        """Let the maximum be *most*."""
        self.max = most
        self.quiet = self.rule.quiet_up_to(most)

    def claims(self, message: Message) -> Sequence[Claim]:
        """Return what *message* would add: a claim for each key, none if nothing of it counts."""
        limit = self.limit
        counted = message.counted(limit.external)
        if limit.chooses_recipients:
            counted = [one for one in counted if limit.chooses(one.address)]
        if not counted:
            return ()
        key = self.shared
        if self.scope is not None:
            key = f"{key}{SEPARATOR}{message.likeness[self.scope]}"
        if limit.split_by is not None:
            return self._split(key, counted, message.size)
        if limit.counts_recipients_apart and not limit.chooses_recipients:
            return (Claim(key, 0, message.members(limit.external)),)
        return (self._claim(key, counted, message.size),)

    def _split(self, key: str, counted: Sequence[Recipient], size: int) -> Sequence[Claim]:
        """Return a claim for each recipient, or for each domain of theirs."""
        limit = self.limit
        if limit.split_by == "recipient":
            if limit.count is Count.MESSAGES:
                return [Claim(f"{key}{SEPARATOR}{one.address}", 1) for one in counted]
            return [self._claim(f"{key}{SEPARATOR}{one.address}", (one,), size) for one in counted]
        by_domain: dict[str, list[Recipient]] = {}
        for one in counted:
            by_domain.setdefault(split_address(one.address)[1], []).append(one)
        return [
            self._claim(f"{key}{SEPARATOR}{domain}", group, size)
            for domain, group in by_domain.items()
        ]

    def _claim(self, key: str, counted: Sequence[Recipient], size: int) -> Claim:
        limit = self.limit
        if limit.counts_recipients_apart:
            return Claim(key, 0, [one.member for one in counted])
        count = limit.count
        if count is Count.MESSAGES:
            return Claim(key, 1)
        if count is Count.RECIPIENTS:
            return Claim(key, len(counted))
        return Claim(key, size) if count is Count.BYTES else Claim(key, 0, [self.client])


def key_value(part: KeyPart, facts: Facts) -> str:
    """Return the value that *part* has in the keys of the sender of whom *facts* tell."""
    value = facts[part.name]
    if part.is_address:
        return client_network(value, part.prefix4, part.prefix6)
    # no sender gets a count of its own by writing himself in capitals
    return fold_address(value) if part.name == "sender" else value.lower()
