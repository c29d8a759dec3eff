"""Mail addresses in the one form in which they are counted, and whose they are.

Clients write the same address in many ways: in capitals, with a dot at the end, with the domain in
Unicode or as an A-label (RFC 5890). Counting tells none of these apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import idna


def fold_domain(domain: str) -> str:
    """Return *domain* in lower case, as A-labels, without the dot at the end.

    What is no valid internationalised name stays as it is, in lower case: it still counts.
    """
    domain = domain.rstrip(".").lower()
    if domain.isascii():
        return domain
    return _to_ascii(domain)


@lru_cache(maxsize=4096)
def _to_ascii(domain: str) -> str:
    try:
        # other scripts have dots of their own, at the end as well
        return idna.encode(domain, uts46=True).decode("ascii").lower().rstrip(".")
    except (idna.IDNAError, UnicodeError):
        return domain


def split_address(address: str) -> tuple[str, str]:
    """Return the local part and the domain of *address*; the domain may be empty."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (domain, "")


def fold_address(address: str, extension: str = "") -> str:
    """Return *address* folded: local part and domain in lower case, the domain as A-labels.

    With *extension*, a delimiter such as ``+``, the local part ends where it first stands, unless
    nothing would remain.
    """
    if (
        address.isascii()
        and not address.endswith((".", "@"))
        and (not extension or extension not in address)
    ):
        return address.lower()  # most of them, and the same as below
    local, domain = split_address(address)
    local = local.lower()
    if extension:
        local = local[: local.find(extension, 1)] if local.find(extension, 1) > 0 else local
    domain = fold_domain(domain)
    # without its last @ a@b@ would pass for an address at b
    return f"{local}@{domain}" if domain or "@" in local else local


class LocalDomains:
    """The provider's own domains; every other domain is external."""

    __slots__ = ("_names", "_parents")

    def __init__(self, domains: Iterable[str] = ()) -> None:
        """Take the *domains*; one with a leading dot stands for its subdomains as well."""
        self._names: set[str] = set()
        self._parents: set[str] = set()
        for domain in domains:
            name = fold_domain(domain.removeprefix("."))
            self._names.add(name)
            if domain.startswith("."):
                self._parents.add(name)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> list[str]:
        """The domains, in the order of the alphabet."""
        return sorted(self._names)

    def __contains__(self, domain: str) -> bool:
        """Tell whether the folded *domain* is one of the provider's."""
        if domain in self._names:
            return True
        if self._parents:
            _, dot, parent = domain.partition(".")
            while dot:
                if parent in self._parents:
                    return True
                _, dot, parent = parent.partition(".")
        return False

    def is_external(self, address: str) -> bool:
        """Tell whether mail to the folded *address* leaves the provider.

        An address without a domain is local; one whose local part can be routed on is external.
        """
        local, at, domain = address.rpartition("@")
        if not at:
            local, domain = domain, ""
        if "%" in local or "!" in local or "@" in local:
            return True  # it can be routed on, to anywhere
        return bool(domain) and domain not in self._names and domain not in self


@dataclass(frozen=True, slots=True)
class Accounts:
    """How the sending account is found in a request: the rule file's ``accounts``."""

    identity: tuple[str, ...] = ("sasl_username",)
    default_domain: str = ""
    strip_extension: str = ""
    _folded_default: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folded_default", fold_domain(self.default_domain))

    def normalise(self, login: str) -> str:
        """Return the account of *login*, with the default domain if it has none of its own."""
        account = fold_address(login, self.strip_extension)
        if self._folded_default and "@" not in account:
            return f"{account}@{self._folded_default}"
        return account
