"""What administrators write in a command: durations, names, networks; and lists as answers."""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import Any, TypeVar

from policyd.config.names import Flaw
from policyd.config.nodes import Scalar
from policyd.config.problem import Place, RuleError, Source, quoted
from policyd.config.quantities import MOST_DIGITS, Duration, Size
from policyd.service.admin_request import MOST_ENTRIES, Answer, Code, CommandError

_Listed = TypeVar("_Listed")


def listing(
    name: str, found: Sequence[_Listed], told: Callable[[_Listed], Mapping[str, Any]]
) -> Answer:
    """Return the list of what was *found*, the newest first; *more* says how many are left out."""
    more = max(len(found) - MOST_ENTRIES, 0)
    return Answer({"more": more}, name, map(told, islice(reversed(found), MOST_ENTRIES)))


def seconds(duration: str) -> int:
    """Return how long *duration* is, which is written as in the rule file."""
    try:
        return Duration("24h").parse(Scalar(Place(Source("")), duration))
    except RuleError as error:
        raise CommandError(Code.USAGE, f"{error.message}; {error.hint}") from None


def checked(name: str, flaw: Callable[[str], Flaw | None]) -> None:
    """Raise CommandError if *flaw* finds one in *name*, or a space."""
    found = flaw(name)
    if found is not None:
        raise CommandError(Code.USAGE, f"{found.message}; {found.hint}")
    if " " in name:
        raise CommandError(Code.USAGE, f"{quoted(name)} has a space in it")


def network(name: str) -> str:
    """Return the address or network that *name* is, in the one way to write it."""
    address, slash, _ = name.partition("/")
    try:
        network, first = ip_network(name, strict=False), ip_address(address)
    except ValueError:
        message = f"{quoted(name)} is no IP address or network; write 192.0.2.7 or 2001:db8::/48"
        raise CommandError(Code.USAGE, message) from None
    if first != network.network_address:
        raise CommandError(Code.USAGE, f"{quoted(name)} is no network; write {network}")
    return str(network if slash else first)


def size(text: str) -> int:
    """Return how many bytes *text* stands for, with its unit, or a number alone."""
    if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS:
        return int(text)
    try:
        return Size("20kB", least=0).parse(Scalar(Place(Source("")), text))
    except RuleError as error:
        raise CommandError(Code.USAGE, f"{error.message}; {error.hint}") from None
