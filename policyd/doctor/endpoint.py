"""Where a policy service is asked, as Postfix writes it, and where policyd listens."""

import re
from collections.abc import Iterable
from enum import Enum
from ipaddress import ip_address
from typing import Final, NamedTuple

from policyd.doctor.postfix import is_loopback

DEFAULT_PORT: Final = 10040

_LISTENS: Final = re.compile(r"tcp:\[?(?P<host>.*?)\]?:(?P<port>\d+)")
_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not listened on


class Reach(Enum):
    """What comes of an attempt to reach an address, as Postfix's user."""

    OK = "ok"
    MISSING = "missing"
    NO_SOCKET = "no socket"
    FORBIDDEN = "forbidden"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Target(NamedTuple):
    """What is to be reached: a UNIX socket's *path*, or else a *host* and a *port*."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def target(service: str, queue: str, *, chrooted: bool) -> Target | None:
    """Return what an smtpd reaches that asks *service*; None if that is no address.

    A name that does not begin with a slash begins in the directory *queue*, and for one who is
    *chrooted* there every other one as well.
    """
    kind, _, rest = service.partition(":")
    if kind == "unix" and rest:
        if rest.startswith("/") and not chrooted:
            return Target(path=rest)
        return Target(path=f"{queue}/{rest.lstrip('/')}")
    if kind == "inet":
        host, _, port = rest.rpartition(":")
        if port.isdecimal():
            return Target(host=host.strip("[]") or "localhost", port=int(port))
    return None


def serves(listening: Iterable[str], wanted: Target) -> bool:
    """Tell whether who is *listening* there, as policyd writes it, is reached at *wanted*."""
    return any(_is_at(one, wanted) for one in listening)


def _is_at(listening: str, wanted: Target) -> bool:
    if wanted.path:
        # its mode may follow
        return listening.partition(":mode=")[0] == f"unix:{wanted.path}"
    found = _LISTENS.fullmatch(listening)
    if found is None or int(found["port"]) != wanted.port:
        return False
    host = found["host"]
    return host in _WILDCARDS or _same_host(host, wanted.host)


def _same_host(one: str, other: str) -> bool:
    if other == "localhost":
        return is_loopback(one)
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return False  # a name, which would have to be looked up


def as_postfix_writes(listening: str, queue: str) -> str:
    """Return the address of *listening* for main.cf."""
    if found := _LISTENS.fullmatch(listening):
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found["host"], found["host"])  # noqa: S104
        return f"inet:{f'[{host}]' if ':' in host else host}:{found['port']}"
    path = listening.partition(":mode=")[0].removeprefix("unix:")
    return f"unix:{path.removeprefix(f'{queue}/')}"
