"""Which of many rules may match a sender, found without trying one after the other.

Of each rule one condition on the transaction is indexed. Rules that name values are found by the
value, rules that name networks by the network of each size that the address is in. What regular
expressions make of a value is remembered. A rule with none of these is always worth a try. What
is found may match; what is not found does not.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from policyd.aup.address import Accounts
from policyd.aup.facts import Facts
from policyd.aup.match import Condition, Matcher, folded, parsed_address

MOST_REMEMBERED: Final = 50_000
"""Values of one attribute that regular expressions were tried on, those met last."""


class Candidates:
    """The places of those *matchers* that may match."""

    def __init__(self, matchers: Sequence[Matcher], accounts: Accounts) -> None:
        self._always: list[int] = []
        self._indexes: dict[str, _Index] = {}
        for place, matcher in enumerate(matchers):
            condition = _indexed(matcher)
            if condition is None:
                self._always.append(place)
            else:
                attribute = condition.attribute
                index = self._indexes.setdefault(attribute, _Index(attribute, accounts))
                index.add(place, condition)

    def of(self, facts: Facts) -> Sequence[int]:
        """Return, in their order, the places of those that may match *facts*."""
        found: list[int] = []
        for attribute, index in self._indexes.items():
            found += index.find(facts[attribute])
        return sorted(self._always + found) if found else self._always


class _Index:
    """The conditions on one *attribute*."""

    def __init__(self, attribute: str, accounts: Accounts) -> None:
        self._named = attribute
        self._accounts = accounts
        self._by_value: dict[str, list[int]] = {}
        # by version and size of the network: by its first bits
        self._by_network: dict[tuple[int, int], dict[int, list[int]]] = {}
        self._tried: list[tuple[int, Callable[[str], bool]]] = []
        self._passed = lru_cache(MOST_REMEMBERED)(self._try)

    def add(self, place: int, condition: Condition) -> None:
        """Add *condition*, of the rule at that *place*."""
        if condition.has_patterns:
            self._tried.append((place, condition.test))
        for value in condition.values:
            self._by_value.setdefault(value, []).append(place)
        for network in condition.networks:
            size = network.prefixlen
            first = int(network.network_address) >> (network.max_prefixlen - size)
            by_first = self._by_network.setdefault((network.version, size), {})
            by_first.setdefault(first, []).append(place)

    def find(self, value: str) -> set[int]:
        """Return the places of rules whose condition *value* may pass."""
        found: set[int] = set()
        if self._by_value:
            self._find_by_value(folded(self._named, value, self._accounts), found)
        if self._by_network and (address := parsed_address(value)) is not None:
            bits, width = int(address), address.max_prefixlen
            for (version, size), by_first in self._by_network.items():
                if version == address.version:
                    found.update(by_first.get(bits >> (width - size), ()))
        if self._tried:
            found.update(self._passed(value))
        return found

    def _find_by_value(self, value: str, found: set[int]) -> None:
        found.update(self._by_value.get(value, ()))
        dot = value.find(".", 1)
        while dot > 0:  # .parent.example is every domain below it
            found.update(self._by_value.get(value[dot:], ()))
            dot = value.find(".", dot + 1)

    def _try(self, value: str) -> tuple[int, ...]:
        return tuple([place for place, test in self._tried if test(value)])


def _indexed(matcher: Matcher) -> Condition | None:
    """Return the condition by which *matcher* is found in the least time; None if it has none."""
    known = [one for one in matcher.on_transaction if one.is_indexed]
    return min(known, key=lambda one: one.has_patterns, default=None)
