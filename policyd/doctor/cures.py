"""The lines to write, in the words of the snippets where main.cf knows these."""

from collections.abc import Iterable
from dataclasses import replace

from policyd.doctor.asking import USUAL_SERVICE, Asking
from policyd.doctor.endpoint import as_postfix_writes
from policyd.doctor.fault import Place
from policyd.doctor.lists import Cure, Relisted, option, setting
from policyd.doctor.options import better_options
from policyd.doctor.postfix import Listener
from policyd.doctor.restrictions import ASK, END, RECIPIENT, Ask, parsed_ask

_OPTIONS = "timeout=5s, default_action=DUNNO"


def at_the_end(asking: Asking) -> str:
    """Return the line that has policyd asked at the end of a message."""
    return _asked_in(asking, END, "policyd_end_of_data_restrictions")


def at_rcpt(asking: Asking) -> str:
    """Return the line that has policyd asked about each recipient."""
    return _asked_in(asking, RECIPIENT, "policyd_recipient_restrictions")


def better_ask(listener: Listener, ask: Ask) -> Cure:
    """Return how policyd is to be asked instead."""
    written = well_asked(listener, ask)
    if ask.service == listener.value("policyd_service"):
        written = written.replace(ask.service, "$policyd_service", 1)
    if parsed_ask(listener.value("policyd_ask")) == (ask.service, ask.options):
        return setting(listener, "policyd_ask", written)
    return Place.MAIN, ("# wherever policyd is named:", written)


def other_service(listener: Listener, ask: Ask, listening: Iterable[str], queue: str) -> Cure:
    """Return how to ask where policyd is *listening*, as far as an smtpd can get there."""
    listening = tuple(listening)
    reachable = [
        as_postfix_writes(one, queue)
        for one in listening
        if one.startswith(("tcp:", f"unix:{queue}/")) or not listener.is_chrooted
    ]
    if reachable:
        return service(listener, ask, reachable[0])
    if not listening:
        return Place.SHELL, ("systemctl enable --now policyd.socket policyd.service",)
    return Place.SHELL, (
        f"install -d -g postfix -m 0750 {queue}/policyd  # and owned by policyd's user",
        f"policyd serve ... --listen unix:{queue}/policyd/policy:mode=0666",
        "postconf policyd_service=unix:policyd/policy",
    )


def service(listener: Listener, ask: Ask, address: str) -> Cure:
    """Return how to ask at *address*."""
    if listener.value("policyd_service") == ask.service:
        return setting(listener, "policyd_service", address)
    written = well_asked(listener, replace(ask, service=address))
    return Place.MAIN, ("# wherever policyd is named:", written)


def well_asked(listener: Listener, ask: Ask) -> str:
    """Return how to ask where *ask* does, with options that do no harm.

    Whoever takes our line over should not find the next fault in it.
    """
    return ask.written(**better_options(listener, ask))


def _asked_in(asking: Asking, where: str, name: str) -> str:
    """Return the line with policyd in the list *where*, for which the snippet has a *name*."""
    listener = asking.listener
    if ASK in listener.value(name) and not listener.takes_mail_from_the_world:
        return option(where, f"${name}")
    return option(where, Relisted(listener, where, asking.asks).first(_ask(asking)))


def _ask(asking: Asking) -> str:
    """Return how to ask: as this listener, or the snippet, does it already."""
    if asking.listener.value("policyd_ask"):
        return "$policyd_ask"
    for ask in asking.asks:
        return well_asked(asking.listener, ask)
    return f"{ASK} {{ {USUAL_SERVICE}, {_OPTIONS} }}"
