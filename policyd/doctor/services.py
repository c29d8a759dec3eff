"""How policyd is asked, and whether it can be reached so: faults of check_policy_service."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from policyd.doctor.cures import better_ask, other_service, service
from policyd.doctor.endpoint import Reach, Target, serves, target
from policyd.doctor.fault import Fault, Place
from policyd.doctor.postfix import Listener, is_loopback
from policyd.doctor.restrictions import Ask

MOST_PATIENCE: Final = 10.0
"""Seconds: of two tries one client waits for twice as much, and one second more."""

_POSTFIX_OWN_ACTION: Final = "451 4.3.5 Server configuration problem"
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def option_faults(listener: Listener, ask: Ask) -> Iterator[Fault]:
    """Yield what is wrong with the options that *ask* has."""
    who = (listener.label,)
    action = _option(listener, ask, "default_action")
    timeout = _option(listener, ask, "timeout")
    once = _option(listener, ask, "try_limit") in {"0", "1"}
    bad_action = _bad_action(action)
    is_slow = seconds(timeout) > MOST_PATIENCE
    changes = {
        **({"timeout": "5s"} if is_slow else {}),
        **({"default_action": "DUNNO"} if bad_action else {}),
        **({"try_limit": "2" if "try_limit" not in ask.options else ""} if once else {}),
    }
    place, cure = better_ask(listener, ask, **changes)
    if bad_action:
        code, what, why = bad_action
        yield Fault(code, who, what, why, place, cure)
    if is_slow:
        what = f"the timeout for policyd is {timeout}"
        why = (
            "A policyd that hangs is waited for twice, for every recipient: mail programs give up."
        )
        yield Fault("long-timeout", who, what, why, place, cure)
    if once:
        why = (
            "After a restart of policyd an smtpd in the middle of a session would ask nobody any "
            "more: only a second try opens a new connection."
        )
        yield Fault("try-limit", who, "try_limit is 1", why, place, cure)


def address_faults(
    listener: Listener,
    ask: Ask,
    queue: str,
    listening: tuple[str, ...] | None,
    reached: Mapping[Target, Reach],
) -> Iterator[Fault]:
    """Yield what is wrong with the address that *ask* has.

    *listening* is None if policyd could not be asked, *reached* says what a try has come to.
    """
    wanted = target(ask.service, queue, chrooted=listener.is_chrooted)
    if wanted is None:
        return
    who, reach = (listener.label,), reached.get(wanted, Reach.UNKNOWN)
    outside = ask.service.startswith("unix:/") and listener.is_chrooted
    if outside and reach is not Reach.OK:
        yield _outside(listener, ask, queue, listening)
        return
    instead = other_service(listener, ask, listening or (), queue)
    if reach in {Reach.MISSING, Reach.NO_SOCKET}:
        what = f"there is no socket {wanted}"
        yield Fault("no-socket", who, what, _unseen(listener, ask), *instead)
    elif reach is Reach.FORBIDDEN:
        what = f"Postfix's user may not use {wanted}"
        directory = wanted.path.rpartition("/")[0]
        cure = (
            f"chgrp postfix {directory} && chmod 0750 {directory}",
            f"policyd serve ... --listen unix:{wanted}:mode=0666  # or SocketMode=0666",
        )
        why = _unseen(listener, ask)
        yield Fault("socket-permissions", who, what, why, Place.SHELL, cure)
    elif listening is not None and _is_here(wanted) and not serves(listening, wanted):
        what = f"policyd is asked at {wanted}, but listens on {' and '.join(listening)}"
        yield Fault("other-port", who, what, _unseen(listener, ask), *instead)
    elif reach is Reach.REFUSED:
        what = f"nobody listens on {wanted}"
        yield Fault("nothing-listens", who, what, _unseen(listener, ask), *instead)


def _outside(listener: Listener, ask: Ask, queue: str, listening: tuple[str, ...] | None) -> Fault:
    path = ask.service.removeprefix("unix:")
    what = f"{path} is outside the chroot {queue}, in which this smtpd runs"
    if path.startswith(f"{queue}/"):
        what = f"{path} is looked for below the chroot {queue}, in which this smtpd runs"
        place, cure = service(listener, ask, f"unix:{path.removeprefix(f'{queue}/')}")
    else:
        here = listening or (f"unix:{path}",)
        place, cure = other_service(listener, ask, here, queue)
    return Fault("chroot", (listener.label,), what, _unseen(listener, ask), place, cure)


def _unseen(listener: Listener, ask: Ask) -> str:
    if _option(listener, ask, "default_action").upper().startswith(("DUNNO", "OK", "PERMIT")):
        return "policyd is not reached, and all mail passes uncounted."
    return "policyd is not reached, and no mail is taken."


def _is_here(wanted: Target) -> bool:
    return bool(wanted.path) or is_loopback(wanted.host)


def _bad_action(action: str) -> tuple[str, str, str] | None:
    """Return the code of what is wrong with a default *action*, what, and why."""
    if action == _POSTFIX_OWN_ACTION:
        return (
            "no-default-action",
            "there is no default_action for when policyd is away",
            "Nobody can send then: Postfix's own is a 451. DUNNO lets mail flow, uncounted.",
        )
    word = action.partition(" ")[0].upper()
    if not word or (word.isdigit() and word == action) or word in {"OK", "PERMIT", "RELAY"}:
        return (
            "default-permits",
            f'the default_action "{action}" permits instead of going on with the list',
            "While policyd is away the checks after it are skipped: mail is relayed for anybody.",
        )
    if word == "REJECT" or re.fullmatch(r"5\d\d", word):
        return (
            "default-rejects",
            f'the default_action "{action}" refuses for good',
            "While policyd is away mail comes back to its senders instead of being tried again.",
        )
    return None


def _option(listener: Listener, ask: Ask, name: str) -> str:
    """Return the option *name* of *ask*, which has its default in a parameter."""
    given = ask.options.get(name)
    return listener.value(f"smtpd_policy_service_{name}") if given is None else given


def seconds(time: str) -> float:
    """Return a span of *time* as Postfix writes it; 0 for what is none."""
    found = re.fullmatch(r"(\d+)([smhdw]?)", time.strip().lower())
    return int(found[1]) * _UNITS[found[2]] if found else 0.0


def policy_context(listener: Listener, ask: Ask) -> str:
    """Return the policy_context that *ask* sends."""
    return _option(listener, ask, "policy_context")
