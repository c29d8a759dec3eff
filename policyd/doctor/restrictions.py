"""Postfix's lists of restrictions: their grammar, and where in them a policy service is asked.

Words are separated by blanks and commas; what stands in braces is one word. A word may be the name
of a restriction class, a list of its own, which is looked at in its place. A class that is named
only in a table (``check_recipient_access`` and the like) is taken for named wherever a list about
recipients or the end of a message looks into a table.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from policyd.doctor.postfix import Listener

ASK: Final = "check_policy_service"

CLIENT, HELO, SENDER, RELAY, RECIPIENT, DATA, END, ETRN = (
    f"smtpd_{name}_restrictions"
    for name in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn")
)
LISTS: Final = (CLIENT, HELO, SENDER, RELAY, RECIPIENT, DATA, END, ETRN)

_HAS_ARGUMENT: Final = re.compile(
    r"check_(?:\w+_access|policy_service)|reject_(?:rbl|rhsbl)_\w+"
    r"|permit_(?:dnswl|rhswl)_client|sleep"
)
_LED_TO_BY_TABLES: Final = (RELAY, RECIPIENT, END)
_LOOKS_INTO_A_TABLE: Final = re.compile(r"check_\w+_access")
_ENDS_FOR_ALL: Final = frozenset({"permit", "reject", "defer"})
_ENDS_FOR_USERS: Final = frozenset({"permit_sasl_authenticated"})
_ENDS_FOR_SOME: Final = frozenset(
    {
        "permit_mynetworks",
        "permit_inet_interfaces",
        "permit_tls_clientcerts",
        "permit_tls_all_clientcerts",
    }
)
_UNAUTH: Final = frozenset({"reject_unauth_destination", "defer_unauth_destination"})


class Step(NamedTuple):
    """One restriction, its *argument*, and whether it only warns (warn_if_reject)."""

    name: str
    argument: str = ""
    only_warns: bool = False


@dataclass(frozen=True)
class Ask:
    """A policy *service* that is asked in the list *where*, with *options*.

    *behind* is the restriction before it because of which it may never be asked, *before* the one
    about relaying that comes only after it; they may be empty.
    """

    where: str
    service: str
    options: Mapping[str, str]
    only_warns: bool = False
    behind: str = ""
    before: str = ""

    def written(self, **changes: str) -> str:
        """Return how to ask, with *changes* to the options; one that is empty is left out."""
        options = {**self.options, **changes}
        parts = [_option(name, value) for name, value in options.items() if value]
        return f"{ASK} {{ {', '.join((self.service, *parts))} }}"


def asks(listener: Listener) -> list[Ask]:
    """Return all that *listener* asks, in all lists."""
    classes = [name.lower() for name in words(listener.value("smtpd_restriction_classes"))]
    lists = {name: listener.value(name) for name in (*classes, *LISTS)}
    named = {word.lower() for text in lists.values() for word in words(text)}
    tabled = [name for name in classes if name not in named]
    found: list[Ask] = []
    for where in LISTS:
        looked_up = tabled if where in _LED_TO_BY_TABLES else ()
        steps = list(_steps(lists[where], {name: lists[name] for name in classes}, looked_up))
        found.extend(_asks_in(where, steps))
    return found


def names_in(text: str) -> set[str]:
    """Return the restrictions of the list *text*, not those in classes."""
    return {step.name for step in _steps(text, {}, ())}


def ends_the_list(word: str) -> bool:
    """Tell whether nothing behind *word* is looked at, for all clients or for some."""
    return word.lower() in _ENDS_FOR_ALL | _ENDS_FOR_USERS | _ENDS_FOR_SOME


def takes_argument(word: str) -> bool:
    """Tell whether the word behind *word* belongs to it."""
    return _HAS_ARGUMENT.fullmatch(word.lower()) is not None


def parsed_ask(text: str) -> tuple[str, dict[str, str]]:
    """Return the service that *text* asks, and how; empty ones if that is not all it does."""
    parts = list(words(text))
    if len(parts) != 2 or parts[0].lower() != ASK:
        return "", {}
    return _argument(parts[1])


def words(text: str) -> Iterator[str]:
    """Yield the words of *text*; blanks and commas in braces end none."""
    word, depth = "", 0
    for char in text:
        if not depth and (char == "," or char.isspace()):
            if word:
                yield word
            word = ""
            continue
        word += char
        depth = max(depth + {"{": 1, "}": -1}.get(char, 0), 0)
    if word:
        yield word


def _steps(
    text: str, classes: Mapping[str, str], tabled: Iterable[str], depth: int = 0
) -> Iterator[Step]:
    """Yield the restrictions of a list, with those of *classes* in their places."""
    left = words(text)
    only_warns = False
    for word in left:
        name = word.lower()
        if name == "warn_if_reject":
            only_warns = True
            continue
        if name in classes and depth < len(classes):
            yield from _steps(classes[name], classes, tabled, depth + 1)
        elif takes_argument(name):
            yield Step(name, next(left, ""), only_warns)
            if _LOOKS_INTO_A_TABLE.fullmatch(name) and not depth:
                for one in tabled:
                    # what a table leads to for some ends nothing for the others
                    inner = _steps(classes[one], classes, (), 1)
                    yield from (step for step in inner if step.name == ASK)
        else:
            yield Step(name, "", only_warns)
        only_warns = False


def _asks_in(where: str, steps: list[Step]) -> Iterator[Ask]:
    for place, step in enumerate(steps):
        if step.name != ASK:
            continue
        earlier = {one.name: None for one in steps[:place]}
        service, options = _argument(step.argument)
        yield Ask(
            where,
            service,
            options,
            step.only_warns,
            behind=_first(earlier, _ENDS_FOR_ALL)
            or _first(earlier, _ENDS_FOR_USERS)
            or _first(earlier, _ENDS_FOR_SOME),
            before=_first([one.name for one in steps[place:]], _UNAUTH),
        )


def _first(names: Iterable[str], wanted: frozenset[str]) -> str:
    return next((name for name in names if name in wanted), "")


def _argument(text: str) -> tuple[str, dict[str, str]]:
    """Return the service and the options of an argument, which may be in braces."""
    if not text.startswith("{"):
        return text, {}
    parts = list(words(text.removeprefix("{").removesuffix("}")))
    options = {}
    for part in parts[1:]:
        name, _, value = part.removeprefix("{").removesuffix("}").partition("=")
        options[name.strip()] = value.strip()
    return (parts or [""])[0], options


def _option(name: str, value: str) -> str:
    return f"{{ {name} = {value} }}" if re.search(r"[\s,]", value) else f"{name}={value}"
