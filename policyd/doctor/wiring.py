"""What is wired wrongly: the listeners of a Postfix, each with what it asks policyd, and where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from policyd.doctor.asking import FILTERS, Asking, everyone_asking
from policyd.doctor.cures import at_rcpt, at_the_end, well_asked
from policyd.doctor.endpoint import Reach, Target, target
from policyd.doctor.fault import Fault, Place, Weight, merged
from policyd.doctor.lists import Relisted, option, setting
from policyd.doctor.postfix import Postfix, is_loopback
from policyd.doctor.restrictions import (
    CLIENT,
    DATA,
    END,
    ETRN,
    HELO,
    LISTS,
    RECIPIENT,
    RELAY,
    SENDER,
    Ask,
    names_in,
)
from policyd.doctor.services import address_faults, option_faults, policy_context

_LOGIN: Final = "smtpd_sasl_auth_enable"
_EARLY: Final = {CLIENT: "CONNECT", HELO: "HELO", SENDER: "MAIL"}
"""The lists that are looked at before the first recipient, unless that is put off."""

_FOR_SOME_ON_PURPOSE: Final = ("permit_mynetworks", "permit_inet", "permit_tls")


@dataclass(frozen=True)
class Wiring:
    """How *postfix* asks policyd.

    *queue* is its queue directory. policyd is *listening* there, and sends its *notices* by that
    host and port; these are None if it could not be asked.
    """

    postfix: Postfix
    queue: str
    listening: tuple[str, ...] | None = None
    notices: tuple[str, int] | None = None

    @property
    def everyone(self) -> list[Asking]:
        """What each listener asks."""
        return everyone_asking(self.postfix, self.queue, self.listening or (), self.notices)

    def targets(self) -> set[Target]:
        """Return what must be reached for policyd to be asked."""
        found = (
            target(ask.service, self.queue, chrooted=asking.listener.is_chrooted)
            for asking in self.everyone
            for ask in asking.asks
        )
        return {one for one in found if one}

    def faults(self, reached: Mapping[Target, Reach]) -> list[Fault]:
        """Return all faults; *reached* says what a try to reach each target has come to."""
        return merged(self._faults(reached))

    def checked(self) -> Iterator[str]:
        """Yield what each listener does, in a line each."""
        for asking in self.everyone:
            stages = [name for name, some in _stages(asking).items() if some]
            services = dict.fromkeys(ask.service for ask in asking.asks)
            if asking.asks:
                said = f"asks {' and '.join(services)} at {' and '.join(stages)}"
            else:
                said = "does not ask"
            if asking.takes_back:
                said += "; filtered mail comes back here"
            if asking.sends_notices:
                said += "; notices go by it"
            yield f"{asking.listener.label}: {said}"

    def _faults(self, reached: Mapping[Target, Reach]) -> Iterator[Fault]:
        everyone = self.everyone
        for asking in everyone:
            yield from self._of_listener(asking, reached)
        logins = [one for one in everyone if one.listener.says_yes(_LOGIN) and not one.takes_back]
        if not logins and not any(asking.asks for asking in everyone):
            yield Fault(
                "not-asked",
                (),
                "no listener asks policyd",
                "Nothing is limited.",
                Place.MASTER,
                ("# take submission over from etc/postfix/master.cf.snippet",),
            )
        if self.notices and not any(asking.sends_notices for asking in everyone):
            yield from self._no_notices(*self.notices)

    def _no_notices(self, host: str, port: int) -> Iterator[Fault]:
        if not is_loopback(host):
            return
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = (
            "mynetworks=127.0.0.0/8",
            "smtpd_tls_security_level=none",
            *(f"{one}=" for one in (*FILTERS, END)),
        )
        passes = (f"{one}=permit_mynetworks,reject" for one in (RELAY, RECIPIENT))
        yield Fault(
            "no-notices-listener",
            (),
            f"no listener takes the notices, which policyd sends to {host}:{port}",
            "Administrators are not told of incidents.",
            Place.MASTER,
            (f"{name} inet n - n - - smtpd", *(f"    -o {one}" for one in (*lines, *passes))),
        )

    def _of_listener(self, asking: Asking, reached: Mapping[Target, Reach]) -> Iterator[Fault]:
        listener = asking.listener
        if not asking.asks:
            if listener.says_yes(_LOGIN) and not asking.takes_back and not asking.sends_notices:
                yield _not_asked(asking)
            return
        if asking.takes_back:
            yield _asked_again(asking)
            return
        if asking.sends_notices:
            yield _notices_asked(asking)
        if not (asking.sends_notices and listener.is_loopback):
            yield from self._of_asking(asking, reached)

    def _of_asking(self, asking: Asking, reached: Mapping[Target, Reach]) -> Iterator[Fault]:
        """Yield what is wrong where it is right that policyd is asked."""
        listener = asking.listener
        if listener.takes_mail_from_the_world:
            yield _world_asked(asking)
            if not listener.says_yes(_LOGIN):
                return
        elif not listener.says_yes(_LOGIN) and not _knows_otherwise(asking):
            yield _no_login(asking)
        yield from _stage_faults(asking)
        if listener.says_yes("soft_bounce"):
            why = "What policyd refuses for good is tried again, for days."
            cure = setting(listener, "soft_bounce", "no")
            yield Fault("soft-bounce", (listener.label,), "soft_bounce is yes", why, *cure)
        for ask in asking.asks:
            yield from _order_faults(asking, ask)
            yield from option_faults(listener, ask)
            yield from address_faults(listener, ask, self.queue, self.listening, reached)


def _stages(asking: Asking) -> dict[str, list[Ask]]:
    """Return what is asked at each stage."""
    delays = asking.listener.says_yes("smtpd_delay_reject")
    found: dict[str, list[Ask]] = {}
    for where in LISTS:
        stage = {DATA: "DATA", END: "END-OF-MESSAGE", ETRN: "ETRN"}.get(where, "RCPT")
        if not delays:
            stage = _EARLY.get(where, stage)
        found.setdefault(stage, []).extend(asking.at(where))
    return found


def _stage_faults(asking: Asking) -> Iterator[Fault]:
    listener, who = asking.listener, (asking.listener.label,)
    stages = _stages(asking)
    delays = listener.says_yes("smtpd_delay_reject")
    early = asking.at(*_EARLY)
    for where in dict.fromkeys(ask.where for ask in asking.asks):
        if where in _EARLY and not delays:
            yield Fault(
                "delay-reject",
                who,
                f"policyd is in {where}, and smtpd_delay_reject is no",
                f"It is asked at {_EARLY[where]}, before there is any recipient, and counts "
                "nothing.",
                Place.MASTER,
                (at_rcpt(asking), option(where, _relisted(asking, where).without())),
            )
        elif where not in {RELAY, RECIPIENT, END}:
            yield _wrong_list(asking, where)
    if not stages["RCPT"] and not early:
        yield Fault(
            "no-rcpt",
            who,
            f"{RECIPIENT} does not name policyd",
            "Who the recipients are is learnt there only: the same ones count again and again, "
            "and your own users as external.",
            Place.MASTER,
            (at_rcpt(asking),),
        )
    if not stages["END-OF-MESSAGE"] and not asking.at(DATA):
        yield Fault(
            "no-end-of-message",
            who,
            f"{END} does not name policyd",
            "A message is decided and counted at its end: so nothing is ever counted.",
            Place.MASTER,
            (at_the_end(asking),),
        )
    yield from _repeated(asking)


def _wrong_list(asking: Asking, where: str) -> Fault:
    cure: tuple[str, ...] = (option(where, _relisted(asking, where).without()),)
    if where == DATA:
        why = "At DATA nothing is counted; it is the end of the message that counts."
        cure = (*cure, at_the_end(asking))
    elif where == ETRN:
        why = "ETRN sends no mail; policyd has nothing to say about it."
    else:
        why = "policyd is asked about recipients that are refused afterwards."
        cure = (*cure, at_rcpt(asking))
    what = f"policyd is in {where}"
    return Fault("wrong-list", (asking.listener.label,), what, why, Place.MASTER, cure)


def _relisted(asking: Asking, where: str) -> Relisted:
    return Relisted(asking.listener, where, asking.asks)


def _repeated(asking: Asking) -> Iterator[Fault]:
    listener, who = asking.listener, (asking.listener.label,)
    contexts = dict.fromkeys(policy_context(listener, ask) for ask in asking.asks)
    if len(contexts) > 1:
        what = " and ".join(f'"{context}"' for context in contexts)
        why = "policyd goes by the first in a message: limits that ask for another one miss it."
        cure = ("# the same wherever policyd is named:", well_asked(listener, asking.asks[0]))
        yield Fault("contexts-differ", who, f"policy_context is {what}", why, Place.MAIN, cure)
        return
    for lists in ((RELAY, RECIPIENT), (END,)):
        named = [ask.where for ask in asking.at(*lists)]
        if len(named) > 1:
            where = " and ".join(dict.fromkeys(named))
            what = f"policyd is named {len(named)} times in {where}"
            why = "It counts once, but every recipient waits for the answer as many times."
            first = _relisted(asking, named[0])
            # in two lists: the last, which comes after the checks about relaying
            text = first.once() if named[0] == named[-1] else first.without()
            yield Fault("listed-twice", who, what, why, *first.cure(text))


def _order_faults(asking: Asking, ask: Ask) -> Iterator[Fault]:
    who, listed = (asking.listener.label,), _relisted(asking, ask.where)
    if ask.behind:
        some = ask.behind.startswith(_FOR_SOME_ON_PURPOSE)
        what = f"policyd stands behind {ask.behind} in {ask.where}"
        whose = "clients to whom that applies" if ask.behind.startswith("permit_") else "anybody"
        why = f"That ends the list: policyd is never asked about mail of {whose}."
        weight = Weight.HINT if some else Weight.FAULT
        yield Fault("after-permit", who, what, why, *listed.cure(listed.first()), weight)
    elif ask.before and ask.where in {RELAY, RECIPIENT} and not _relay_is_settled(asking, ask):
        what = f"policyd stands before {ask.before} in {ask.where}"
        why = "Harmless, but policyd is asked about recipients that are refused afterwards."
        cure = listed.cure(listed.behind(ask.before))
        yield Fault("before-relay-check", who, what, why, *cure, Weight.HINT)
    if ask.only_warns:
        what = f"warn_if_reject stands before policyd in {ask.where}"
        why = "What policyd refuses passes; to observe only, write mode: observe into the rules."
        yield Fault("warn-if-reject", who, what, why, *listed.cure(listed.first()))


def _relay_is_settled(asking: Asking, ask: Ask) -> bool:
    """Tell whether another list has refused what must not be relayed before this one is asked."""
    if ask.where != RECIPIENT:
        return False
    ends = {"reject", "defer", "reject_unauth_destination", "defer_unauth_destination"}
    names = names_in(asking.listener.value(RELAY))
    return bool(names & ends) and asking.listener.says_yes(
        "smtpd_relay_before_recipient_restrictions"
    )


def _world_asked(asking: Asking) -> Fault:
    listener = asking.listener
    return Fault(
        "port-25",
        (listener.label,),
        "policyd is asked about mail from the world",
        "It has no account, and is for your own users; limits are for what these send out.",
        Place.MASTER,
        tuple(
            option(where, _relisted(asking, where).without())
            for where in dict.fromkeys(ask.where for ask in asking.asks)
        ),
        Weight.HINT if listener.says_yes(_LOGIN) else Weight.FAULT,
    )


def _no_login(asking: Asking) -> Fault:
    listener = asking.listener
    named = {name for where in LISTS for name in names_in(listener.value(where))}
    meant = listener.port in {465, 587} or "permit_sasl_authenticated" in named
    return Fault(
        "no-login",
        (listener.label,),
        f"{_LOGIN} is no",
        "Without a login there is no account: limits per account, domain or likeness hold to "
        "nobody. Limits per client_address do hold.",
        Place.MASTER,
        (option(_LOGIN, "yes"),),
        Weight.FAULT if meant else Weight.HINT,
    )


def _knows_otherwise(asking: Asking) -> bool:
    """Tell whether clients say who they are by a certificate, or a proxy says it for them."""
    listener = asking.listener
    certificates = ("smtpd_tls_ask_ccert", "smtpd_tls_req_ccert")
    return any(map(listener.says_yes, certificates)) or bool(
        listener.value("smtpd_authorized_xclient_hosts")
    )


def _not_asked(asking: Asking) -> Fault:
    cure: tuple[str, ...] = (at_rcpt(asking), at_the_end(asking))
    if asking.listener.takes_mail_from_the_world:
        cure = (option(_LOGIN, "no"),)
    return Fault(
        "not-asked",
        (asking.listener.label,),
        "one can log in here, and policyd is not asked",
        "Who sends by this listener is not limited.",
        Place.MASTER,
        cure,
    )


def _without(asking: Asking) -> tuple[str, ...]:
    """Return the lines by which a listener asks no more, and still takes what it has to."""
    where = dict.fromkeys(ask.where for ask in asking.asks)
    passes = "permit_mynetworks,reject"
    return tuple(option(one, passes if one in {RELAY, RECIPIENT} else "") for one in where)


def _asked_again(asking: Asking) -> Fault:
    return Fault(
        "reinjection-asks",
        (asking.listener.label,),
        "a content filter hands mail back here, and policyd is asked again",
        "The same mail counts twice, the second time without its login.",
        Place.MASTER,
        _without(asking),
    )


def _notices_asked(asking: Asking) -> Fault:
    return Fault(
        "notices-ask",
        (asking.listener.label,),
        "policyd's notices go by this listener, which asks policyd about them",
        "They count as mail, and may be refused themselves.",
        Place.MASTER,
        _without(asking),
    )
