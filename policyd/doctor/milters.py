"""What is wrong with how Postfix shows policyd the content of mail, where it does so at all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from policyd.doctor.asking import Asking
from policyd.doctor.endpoint import Reach, Target, serves, target
from policyd.doctor.fault import Fault, Place, Weight, merged
from policyd.doctor.lists import option
from policyd.doctor.milter import (
    NAME,
    Milter,
    macro_faults,
    milters_in,
    option_faults,
    value_of,
)
from policyd.doctor.postfix import Listener

SMTPD, LOCAL = "smtpd_milters", "non_smtpd_milters"

_USUAL: Final = (
    "{ unix:policyd/milter, connect_timeout=5s, command_timeout=5s, content_timeout=10s,"
    " default_action=accept }"
)
_ANYBODY: Final = frozenset({"", "static:anyone"})


class Milters:
    """Which of *everyone* shows policyd content, as far as anybody is meant to.

    policyd is *listening* there for it, as far as that is known; *main* is main.cf, *queue* the
    queue directory. Where nobody names policyd's milter there is nothing to find.
    """

    def __init__(
        self, everyone: Sequence[Asking], main: Listener, queue: str, listening: Iterable[str] = ()
    ) -> None:
        self._main = main
        self._queue = queue
        self._listening = tuple(listening)
        self._ours = [(one, self._ours_of(one.listener, SMTPD)) for one in everyone]
        self._is_meant = bool(self._listening) or any(ours for _, ours in self._ours)

    def targets(self) -> set[Target]:
        """Return what must be reached for content to be shown."""
        found = (
            target(ours.service, self._queue, chrooted=one.listener.is_chrooted)
            for one, ours in self._ours
            if ours
        )
        return {one for one in found if one}

    def checked(self) -> Iterator[str]:
        """Yield who shows content, in a line each."""
        for one, ours in self._ours:
            if ours:
                yield f"{one.listener.label}: shows content to {ours.service}"

    def faults(self, reached: Mapping[Target, Reach]) -> list[Fault]:
        """Return all faults; *reached* says what a try to reach each target has come to."""
        return merged(self._faults(reached)) if self._is_meant else []

    def _faults(self, reached: Mapping[Target, Reach]) -> Iterator[Fault]:
        for one, ours in self._ours:
            is_once = one.asks and not one.takes_back and not one.sends_notices
            if ours is None:
                if is_once:
                    yield self._not_shown(one.listener)
            elif is_once:
                yield from option_faults(one.listener, ours)
                yield from macro_faults(one.listener)
                yield from self._address_faults(one.listener, ours, reached)
            else:
                yield self._unasked(one)
        submits = self._main.value("authorized_submit_users")
        if submits in _ANYBODY and self._ours_of(self._main, LOCAL) is None:
            yield self._no_sendmail()

    def _ours_of(self, listener: Listener, name: str) -> Milter | None:
        return next(
            filter(lambda one: self._is_ours(one, listener), milters_in(listener, name)), None
        )

    def _is_ours(self, milter: Milter, listener: Listener) -> bool:
        named = {one.service for one in milters_in(listener, NAME)}
        either = [target(milter.service, self._queue, chrooted=some) for some in (True, False)]
        return milter.service in named or any(
            one and ("policyd" in one.path or serves(self._listening, one)) for one in either
        )

    def _not_shown(self, listener: Listener) -> Fault:
        others = [one.written() for one in milters_in(listener, SMTPD)]
        ours = f"${NAME}" if self._main.value(NAME) else _USUAL
        return Fault(
            "milter-missing",
            (listener.label,),
            f"policyd is asked, but {SMTPD} does not name it",
            "It is not shown the content of this mail: rules about content hold to nobody here.",
            Place.MASTER,
            (option(SMTPD, ", ".join([*others, ours])),),
        )

    def _unasked(self, one: Asking) -> Fault:
        listener = one.listener
        others = [
            some.written()
            for some in milters_in(listener, SMTPD)
            if not self._is_ours(some, listener)
        ]
        what = f"{SMTPD} names policyd"
        if one.takes_back:
            why = "The content filter hands mail back here: policyd is shown it a second time."
        elif one.sends_notices:
            why = "policyd's notices go by this listener: they are no mail to look at."
        else:
            why = "policyd is not asked about this mail, and so has nothing to join the content to."
        return Fault(
            "milter-not-here",
            (listener.label,),
            what,
            why,
            Place.MASTER,
            (option(SMTPD, ", ".join(others)),),
            Weight.FAULT if one.takes_back or one.sends_notices else Weight.HINT,
        )

    def _no_sendmail(self) -> Fault:
        ours = f"${NAME}" if self._main.value(NAME) else _USUAL
        others = [one.written() for one in milters_in(self._main, LOCAL)]
        return Fault(
            "milter-sendmail",
            (),
            f"{LOCAL} does not name policyd, and anybody on this machine may use sendmail(1)",
            "That mail passes no smtpd: policyd is neither asked about it nor shown its content.",
            Place.MAIN,
            (
                "# either only some may use it; they send by SMTP then, with a login",
                "authorized_submit_users = root",
                "# or its content is shown, without a login",
                f"{LOCAL} = {', '.join([*others, ours])}",
            ),
            Weight.HINT,
        )

    def _address_faults(
        self, listener: Listener, ours: Milter, reached: Mapping[Target, Reach]
    ) -> Iterator[Fault]:
        wanted = target(ours.service, self._queue, chrooted=listener.is_chrooted)
        reach = reached.get(wanted, Reach.UNKNOWN) if wanted else Reach.OK
        found = {
            Reach.MISSING: ("milter-no-socket", f"there is no socket {wanted}"),
            Reach.NO_SOCKET: ("milter-no-socket", f"{wanted} is no socket"),
            Reach.FORBIDDEN: ("milter-permissions", f"Postfix's user may not use {wanted}"),
            Reach.REFUSED: ("milter-nothing-listens", f"nobody listens on {wanted}"),
        }.get(reach)
        if found is None:
            return
        code, what = found
        path = ours.service.removeprefix("unix:")
        cure: tuple[str, ...] = ("policyd serve ... --milter unix:PATH:mode=0666",)
        if path.startswith("/") and listener.is_chrooted:
            code, what = "milter-chroot", f"{path} is outside the chroot {self._queue}"
            if path.startswith(f"{self._queue}/"):
                what = f"{path} is looked for below the chroot {self._queue}"
            cure = (
                f"policyd serve ... --milter unix:{self._queue}/policyd/milter:mode=0666",
                "# and in main.cf unix:policyd/milter",
            )
        elif wanted and wanted.path:
            directory = wanted.path.rpartition("/")[0]
            cure = (
                f"chgrp postfix {directory} && chmod 0750 {directory}",
                f"policyd serve ... --milter unix:{wanted}:mode=0666",
            )
        accepts = value_of(listener, ours, "default_action") == "accept"
        then = "all mail passes, its content unseen" if accepts else "no mail is taken"
        why = f"policyd is not shown content, and {then}."
        yield Fault(code, (listener.label,), what, why, Place.SHELL, cure)
