"""Which listeners ask policyd, which of all policy services that is, and what each is there for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from policyd.doctor.endpoint import DEFAULT_PORT, Target, serves, target
from policyd.doctor.postfix import Listener, Postfix
from policyd.doctor.restrictions import Ask, asks

FILTERS: Final = ("content_filter", "smtpd_proxy_filter")
USUAL_SERVICE: Final = f"inet:127.0.0.1:{DEFAULT_PORT}"


@dataclass(frozen=True)
class Asking:
    """What a *listener* asks policyd, and where.

    *takes_back* says that a content filter hands the mail back to it, *sends_notices* that
    policyd's own notices go by it.
    """

    listener: Listener
    asks: tuple[Ask, ...]
    takes_back: bool
    sends_notices: bool

    def at(self, *lists: str) -> list[Ask]:
        """Return what is asked in these *lists*."""
        return [ask for ask in self.asks if ask.where in lists]


def everyone_asking(
    postfix: Postfix, queue: str, listening: Iterable[str], notices: tuple[str, int] | None
) -> list[Asking]:
    """Return what each listener asks policyd, which is *listening* there and sends *notices* so."""
    listening = tuple(listening)
    found = [(listener, asks(listener)) for listener in postfix.listeners]
    services = {ask.service for _, some in found for ask in some}
    ours = {
        listener: [ask for ask in some if _is_ours(ask, listener, queue, listening)]
        for listener, some in found
    }
    if len(services) == 1 and not any(ours.values()):
        # there is no other that it could be
        ours = dict(found)
    filtered = any(_filters(listener) for listener in postfix.listeners)
    destinations = [one for listener in postfix.listeners for one in _filters(listener)]
    return [
        Asking(
            listener,
            tuple(ours[listener]),
            takes_back=_takes_back(listener, destinations, filtered=filtered),
            sends_notices=notices is not None and _is_reached(listener, notices),
        )
        for listener in postfix.listeners
    ]


def _is_ours(ask: Ask, listener: Listener, queue: str, listening: Iterable[str]) -> bool:
    """Tell whether it is policyd that is asked, at least as far as the administrator means it."""
    if ask.service == listener.value("policyd_service"):
        return True
    either = (target(ask.service, queue, chrooted=chrooted) for chrooted in (True, False))
    return any(one and (_looks_like_ours(one) or serves(listening, one)) for one in either)


def _looks_like_ours(one: Target) -> bool:
    return one.port == DEFAULT_PORT or "policyd" in one.path


def _filters(listener: Listener) -> list[str]:
    """Return where *listener* has its mail filtered."""
    return [value for name in FILTERS if (value := listener.value(name))]


def _takes_back(listener: Listener, destinations: Iterable[str], *, filtered: bool) -> bool:
    """Tell whether mail comes by a second time at *listener*."""
    if _filters(listener) or not listener.is_loopback:
        return False
    if any(one.endswith(f":{listener.port}") for one in destinations):
        return True
    marks = (*FILTERS, "smtpd_authorized_xforward_hosts")
    if any(listener.has_own(name) for name in marks):
        return True
    return filtered and not listener.says_yes("smtpd_sasl_auth_enable")


def _is_reached(listener: Listener, address: tuple[str, int]) -> bool:
    """Tell whether who connects to *address* talks to *listener*."""
    host, port = address
    return listener.port == port and (not listener.host or listener.host == host)
