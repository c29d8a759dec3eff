"""One milter as Postfix names it, and what is wrong with how it is asked."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from policyd.doctor.fault import Fault, Place
from policyd.doctor.lists import Cure, setting
from policyd.doctor.options import seconds
from policyd.doctor.postfix import Listener
from policyd.doctor.restrictions import ASK, parsed_ask, words

NAME: Final = "policyd_milters"
"""The parameter of the snippet."""

_MOST: Final = {"connect_timeout": 10, "command_timeout": 10, "content_timeout": 30}
"""Seconds that a milter may be waited for."""

_BETTER: Final = {"connect_timeout": "5s", "command_timeout": "5s", "content_timeout": "10s"}
_PROTOCOL: Final = 6
_TELL_THE_QUEUE_ID: Final = ("data", "end_of_header", "end_of_data")


class Milter(NamedTuple):
    """A milter as a list has it: where it is, and the *options* in its braces."""

    service: str
    options: Mapping[str, str]

    def written(self, **changes: str) -> str:
        """Return it for a list, with *changes* to its options."""
        options = {**self.options, **changes}
        if not options:
            return self.service
        return f"{{ {', '.join((self.service, *(f'{k}={v}' for k, v in options.items())))} }}"


def milters_in(listener: Listener, name: str) -> list[Milter]:
    """Return the milters in the list that *listener* has under *name*."""
    # the grammar is that of a policy service
    return [Milter(*parsed_ask(f"{ASK} {word}")) for word in words(listener.value(name))]


def value_of(listener: Listener, milter: Milter, name: str) -> str:
    """Return the option *name* of *milter*, which has its default in a parameter."""
    given = milter.options.get(name)
    return listener.value(f"milter_{name}") if given is None else given


def option_faults(listener: Listener, milter: Milter) -> Iterator[Fault]:
    """Yield what is wrong with the options that *milter* has."""
    who = (listener.label,)
    action = value_of(listener, milter, "default_action")
    # what stands in the braces was chosen; the parameter's default is tempfail
    if action == "reject" or (action != "accept" and "default_action" not in milter.options):
        what = f"the milter's default_action is {action or 'tempfail'}"
        why = "Nobody can send while policyd is away. With accept mail flows, its content unseen."
        if action == "reject":
            why = "While policyd is away mail is refused for good, instead of being tried again."
        cure = _better(listener, milter, default_action="accept")
        yield Fault("milter-default-action", who, what, why, *cure)
    slow = {
        name: time
        for name, most in _MOST.items()
        if seconds(time := value_of(listener, milter, name)) > most
    }
    if slow:
        what = f"policyd is waited for: {', '.join(f'{k} {v}' for k, v in slow.items())}"
        why = "While policyd hangs each session waits as long: mail programs give up."
        cure = _better(listener, milter, **{name: _BETTER[name] for name in slow})
        yield Fault("milter-timeout", who, what, why, *cure)
    protocol = value_of(listener, milter, "protocol")
    if not protocol.isdecimal() or int(protocol) < _PROTOCOL:
        what = f"the milter protocol is {protocol}"
        why = "Below 6 Postfix waits for a reply at each step and each header of a message."
        cure = _better(listener, milter, protocol=str(_PROTOCOL))
        yield Fault("milter-protocol", who, what, why, *cure)


def _better(listener: Listener, milter: Milter, **changes: str) -> Cure:
    """Return how the milter is to be named instead."""
    written = milter.written(**changes)
    if milters_in(listener, NAME) == [milter]:
        return setting(listener, NAME, written)
    return Place.MAIN, ("# wherever policyd's milter is named:", written)


def macro_faults(listener: Listener) -> Iterator[Fault]:
    """Yield what is wrong with what *listener* tells milters besides the content."""
    who = (listener.label,)
    told = {name: _macros(listener, name) for name in (*_TELL_THE_QUEUE_ID, "mail")}
    if not any("i" in told[name] for name in _TELL_THE_QUEUE_ID):
        last = f"milter_{_TELL_THE_QUEUE_ID[-1]}_macros"
        yield Fault(
            "milter-queue-id",
            who,
            f"{last} does not have i",
            "Without the queue id policyd does not know which message the content belongs to.",
            *setting(listener, last, " ".join(["i", *told["end_of_data"]])),
        )
    if "{auth_authen}" not in told["mail"]:
        wanted = ["i", "{auth_type}", "{auth_authen}"]
        others = [name for name in told["mail"] if name not in wanted]
        yield Fault(
            "milter-login",
            who,
            "milter_mail_macros does not have {auth_authen}",
            "policyd is not told whose content it is.",
            *setting(listener, "milter_mail_macros", " ".join([*wanted, *others])),
        )


def _macros(listener: Listener, event: str) -> list[str]:
    names = re.split(r"[\s,]+", listener.value(f"milter_{event}_macros"))
    return [name if len(name) == 1 else f"{{{name.strip('{}')}}}" for name in names if name]
