"""How policyd is asked, and whether it can be reached so: faults of check_policy_service."""

from collections.abc import Iterator, Mapping

from policyd.doctor.cures import better_ask, other_service, service
from policyd.doctor.endpoint import Reach, Target, serves, target
from policyd.doctor.fault import Fault, Place
from policyd.doctor.options import action_flaw, is_slow, is_tried_once, value_of
from policyd.doctor.postfix import Listener, is_loopback
from policyd.doctor.restrictions import Ask


def option_faults(listener: Listener, ask: Ask) -> Iterator[Fault]:
    """Yield what is wrong with the options that *ask* has."""
    who = (listener.label,)
    timeout = value_of(listener, ask, "timeout")
    place, cure = better_ask(listener, ask)
    if flaw := action_flaw(value_of(listener, ask, "default_action")):
        code, what, why = flaw
        yield Fault(code, who, what, why, place, cure)
    if is_slow(timeout):
        what = f"the timeout for policyd is {timeout}"
        why = (
            "A policyd that hangs is waited for twice, for every recipient: mail programs give up."
        )
        yield Fault("long-timeout", who, what, why, place, cure)
    if is_tried_once(value_of(listener, ask, "try_limit")):
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
    if value_of(listener, ask, "default_action").upper().startswith(("DUNNO", "OK", "PERMIT")):
        return "policyd is not reached, and all mail passes uncounted."
    return "policyd is not reached, and no mail is taken."


def _is_here(wanted: Target) -> bool:
    return bool(wanted.path) or is_loopback(wanted.host)


def policy_context(listener: Listener, ask: Ask) -> str:
    """Return the policy_context that *ask* sends."""
    return value_of(listener, ask, "policy_context")
