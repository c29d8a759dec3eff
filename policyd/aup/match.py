"""Which requests a rule is about: conditions, compiled when the rules are loaded.

A condition names an attribute and the values that it may have: a plain value (addresses and names
compare without regard to case), a network for an address, or a ``/regular expression/``. Those on
the recipient choose among the recipients of a message, the others are settled once for a whole
transaction.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from policyd.aup.address import Accounts, fold_address, fold_domain, split_address

RECIPIENT_ATTRIBUTES: Final = frozenset(("recipient", "recipient_domain"))
ADDRESS_ATTRIBUTES: Final = frozenset(("client_address", "server_address"))
"""Attributes that hold an IP address, so that a network makes sense as a value."""

DOMAIN_ATTRIBUTES: Final = frozenset(("domain", "recipient_domain"))
"""Attributes of which a value with a leading dot includes the subdomains."""

ALIASES: Final = {"client": "client_address"}
"""Shorter names that the rule file may use."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Facts(Protocol):
    def __getitem__(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Condition:
    """One attribute and the test that its value must pass; *source* is how the rule says it.

    One that *is_indexed* says what passes: the folded *values*, those with a leading dot being any
    domain below, what is in the *networks*, and if it *has_patterns* what matches one of them.
    """

    attribute: str
    test: Callable[[str], bool]
    source: str
    is_indexed: bool = False
    values: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    has_patterns: bool = False


@dataclass(frozen=True, slots=True)
class Matcher:
    """The conditions of one rule: to *match* all must hold, to *touch* one is enough."""

    on_transaction: tuple[Condition, ...] = ()
    on_recipient: tuple[Condition, ...] = ()

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> "Matcher":
        """Sort the *conditions* by what they look at."""
        both = tuple(conditions)
        return cls(
            tuple(c for c in both if c.attribute not in RECIPIENT_ATTRIBUTES),
            tuple(c for c in both if c.attribute in RECIPIENT_ATTRIBUTES),
        )

    def __bool__(self) -> bool:
        """Tell whether there is any condition."""
        return bool(self.on_transaction or self.on_recipient)

    def __str__(self) -> str:
        return ", ".join(
            f"{c.attribute} {c.source}" for c in self.on_transaction + self.on_recipient
        )

    def matches(self, facts: _Facts) -> bool:
        """Tell whether all conditions on the transaction hold."""
        return all(one.test(facts[one.attribute]) for one in self.on_transaction)

    def touches(self, facts: _Facts) -> bool:
        """Tell whether any condition on the transaction holds."""
        return any(one.test(facts[one.attribute]) for one in self.on_transaction)

    def matches_recipient(self, address: str) -> bool:
        """Tell whether all conditions on the recipient hold for the folded *address*."""
        return all(one.test(_part(one, address)) for one in self.on_recipient)

    def touches_recipient(self, address: str) -> bool:
        """Tell whether any condition on the recipient holds for the folded *address*."""
        return any(one.test(_part(one, address)) for one in self.on_recipient)


def condition(attribute: str, values: Sequence[str], accounts: Accounts) -> Condition:
    """Compile one condition: *attribute* has one of the *values*.

    Raise ValueError, with a sentence for the administrator, for a value that does not compile.
    """
    attribute = ALIASES.get(attribute, attribute)
    plain: set[str] = set()
    suffixes: list[str] = []
    networks: list[Network] = []
    patterns: list[re.Pattern[str]] = []
    for value in values:
        if len(value) > 1 and value.startswith("/") and value.endswith("/"):
            patterns.append(_pattern(value[1:-1]))
        elif attribute in ADDRESS_ATTRIBUTES:
            networks.append(_network(value))
        else:
            name = folded(attribute, value, accounts)
            if name.startswith(".") and attribute in DOMAIN_ATTRIBUTES:
                suffixes.append(name)
            plain.add(name.removeprefix(".") if attribute in DOMAIN_ATTRIBUTES else name)

    def test(value: str) -> bool:
        name = folded(attribute, value, accounts)
        return (
            name in plain
            or any(name.endswith(suffix) for suffix in suffixes)
            or any(pattern.search(value) for pattern in patterns)
            or (bool(networks) and _within(value, networks))
        )

    return Condition(
        attribute,
        test,
        " or ".join(values) if values else "(none)",
        is_indexed=True,
        values=(*plain, *suffixes),
        networks=tuple(networks),
        has_patterns=bool(patterns),
    )


def condition_in(
    attribute: str, values: Iterable[str], accounts: Accounts, source: str
) -> Condition:
    """Compile a condition on membership in a long list of plain *values*, read from *source*."""
    members = frozenset(folded(attribute, value, accounts) for value in values)
    return Condition(attribute, members.__contains__, f"listed in {source}")


def client_network(address: str, prefix4: int, prefix6: int) -> str:
    """Return the network of *address*, cut to *prefix4* or *prefix6* bits; else *address* as is.

    An IPv4 address that is written as an IPv6 one counts as the IPv4 address.
    """
    parsed = parsed_address(address)
    if parsed is None:
        return address
    prefix = prefix4 if parsed.version == 4 else prefix6
    if prefix == parsed.max_prefixlen:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


def _part(tested: Condition, address: str) -> str:
    return address if tested.attribute == "recipient" else split_address(address)[1]


def folded(attribute: str, value: str, accounts: Accounts) -> str:
    """Return *value* of *attribute* in the form in which values are compared."""
    if attribute == "account":
        return accounts.normalise(value)
    if attribute in DOMAIN_ATTRIBUTES:
        dot = "." if value.startswith(".") else ""
        return dot + fold_domain(value[len(dot) :])
    if attribute in ("sender", "recipient"):
        return fold_address(value)
    return value.lower()


def _pattern(source: str) -> re.Pattern[str]:
    try:
        return re.compile(source, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise ValueError(f"the regular expression /{source}/ does not compile: {error}") from None


def _network(value: str) -> Network:
    if (address := parsed_address(value)) is not None:
        return ipaddress.ip_network(address)
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        try:
            cure = str(ipaddress.ip_network(value, strict=False))
        except ValueError:
            raise ValueError(f"{value!r} is no IP address or network") from None
        raise ValueError(f"{error}; the network is written {cure}") from None


def parsed_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return *text* as an IP address, None if it is none.

    An IPv4 address that is written as an IPv6 one is the IPv4 address.
    """
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _within(value: str, networks: Iterable[Network]) -> bool:
    parsed = parsed_address(value)
    return parsed is not None and any(parsed in network for network in networks)
