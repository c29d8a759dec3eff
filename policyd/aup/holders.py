"""Whose a key is: the account, the domain or the client address among its values."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network

from policyd.aup.applied import SEPARATOR
from policyd.aup.facts import Facts
from policyd.aup.holding import in_force, most_for
from policyd.aup.match import client_network
from policyd.aup.policy import KeyPart, Limit, Policy
from policyd.clock import WallTime
from policyd.protocol.request import Request


def key_of(limit: Limit, kind: str, name: str, policy: Policy) -> Callable[[str], bool] | None:
    """Return what tells the keys of *limit* that are of *name*; None if none can be.

    *kind* says what the folded *name* is: an account, a domain, or a client address or network.
    """
    tests = [
        (at, test)
        for at, part in enumerate(limit.shared_parts)
        if (test := _test(part, kind, name, policy)) is not None
    ]
    if not tests:
        return None
    at, test = tests[0]
    if at == 0:
        return lambda key: test(key.partition(SEPARATOR)[0])
    return lambda key: test(key.split(SEPARATOR, at + 1)[at])


def key_part(limit: Limit, name: str) -> int | None:
    """Return which of the values of a key of *limit* is that *name*; None if none is."""
    names = [part.name for part in limit.shared_parts]
    return names.index(name) if name in names else None


def maximum(limit: Limit, key: str, policy: Policy, now: WallTime) -> int | None:
    """Return the most that *key* of *limit* may come to; None for no maximum.

    Of overrides, those count that match what the key tells of the sender.
    """
    if not policy.overrides:
        return limit.max
    given: dict[str, str] = {}
    for part, value in zip(limit.shared_parts, key.split(SEPARATOR), strict=False):
        given[policy.accounts.identity[0] if part.name == "account" else part.name] = value
    facts = _KeyFacts(Request(given), policy)
    overrides = [one for one in in_force(policy.overrides, now) if one.match.matches(facts)]
    return most_for(limit, overrides)


class _KeyFacts(Facts):
    """What a key tells of a sender."""

    __slots__ = ()

    def __init__(self, request: Request, policy: Policy) -> None:
        super().__init__(request, policy.accounts)
        self.domain = self.domain or request["domain"]


def _test(part: KeyPart, kind: str, name: str, policy: Policy) -> Callable[[str], bool] | None:
    accounts = policy.accounts
    if part.name == kind and kind != "client":
        return name.__eq__
    if kind == "account" and part.name in accounts.identity:
        return lambda value: accounts.normalise(value) == name
    if kind == "client" and part.name == "client_address":
        if "/" not in name:
            return client_network(name, part.prefix4, part.prefix6).__eq__
        return lambda value: _overlaps(value, name)
    return None


def _overlaps(value: str, network: str) -> bool:
    """Tell whether the address or network *value* and *network* have an address in common."""
    try:
        return ip_network(value).overlaps(ip_network(network))
    except (TypeError, ValueError):
        return False  # of different versions, or no address at all


def is_client(name: str) -> bool:
    """Tell whether *name* is an IP address or a network."""
    try:
        ip_address(name.partition("/")[0])
    except ValueError:
        return False
    return True


def values(key: str) -> Iterator[str]:
    """Yield the values of *key*, in the order of ``per``."""
    yield from key.split(SEPARATOR)
