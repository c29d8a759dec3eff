"""The words of an answer: templates checked when the rules are loaded, expanded at a refusal.

What a mail user reads is one line of printable ASCII, cut to what fits into an SMTP reply. What
comes from a request is the work of strangers: control characters are stripped, and no value takes
the room of the words around it.
"""

import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Final

from policyd.protocol.reply import to_ascii

PLACEHOLDERS: Final = frozenset(
    """account domain sender recipient client_address used asked max window retry_after aup_url
    contact organization limit title incident""".split()
)
SUSPENDED_PLACEHOLDERS: Final = frozenset(
    """suspended reason since until incident account domain sender recipient client_address aup_url
    contact organization""".split()
)
"""What the text for suspended senders may have."""

RETRY: Final = "; retry in {retry_after}"
"""What a 4xx reply says at its end when its text does not say when to come back."""

_LONGEST_VALUES: Final = (100, 50, 25)
"""Bytes of a value that are shown: fewer when the words around it would not fit otherwise."""

_INCIDENT: Final = "incident"
_BANNED_START: Final = re.compile(
    r"service unavailable|(?:client host|command|data command) rejected|relay access denied"
    r"|(?:host|domain) not found|need fully-qualified hostname|match\b|user unknown"
    r"|undeliverable address",
    re.IGNORECASE,
)
"""What fail2ban's own filter for Postfix bans a client for, where a reply begins with it."""
_RETRY_WORDS: Final = re.compile(
    r"\{retry_after\}|\b(?:try|retry|come back)\b|\blater\b", re.IGNORECASE
)
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Wording:
    """A template, split into literals and placeholders; *tail* is kept when the rest is cut."""

    template: str
    tail: str = ""

    def expand(self, values: Mapping[str, str], room: int) -> str:
        """Return the text for *values*, at most *room* bytes of it; never empty."""
        tail = _fill(self.tail, values, max(_LONGEST_VALUES))
        room -= len(tail)
        template = self.template if values.get(_INCIDENT) else _without_incident(self.template)
        for longest in _LONGEST_VALUES:
            text = _fill(template, values, longest).strip()
            if _BANNED_START.match(text):
                # only a value can bring it here; fail2ban would ban the client for it
                text = f"Refused, {text}"
            if len(text) <= room:
                break
        return _cut(text or "Refused by policy", room) + tail

    @property
    def placeholders(self) -> frozenset[str]:
        """The names between braces."""
        return frozenset(name for _, name in _parts(self.template + self.tail) if name)


def for_deferral(template: str) -> Wording:
    """Return the wording of a 4xx reply: it says when to come back."""
    return Wording(template, "" if "{retry_after}" in template else RETRY)


def for_rejection(template: str) -> Wording:
    """Return the wording of a 5xx reply: without the clauses that ask to come back."""
    clauses = [clause for clause in template.split(";") if not _RETRY_WORDS.search(clause)]
    return Wording(";".join(clauses).strip() or DEFAULT)


DEFAULT: Final = "{title}; {used} of {max} in {window}"
"""The text of a limit that has none."""


def mistakes(
    template: str, room: int, *, permanent: bool, placeholders: Container[str] = PLACEHOLDERS
) -> Iterable[str]:
    """Yield what is wrong with *template* as the text of a reply with *room* bytes.

    With *permanent* it is the text of a 5xx reply.
    """
    try:
        parts = list(_parts(template))
    except ValueError as error:
        yield f"{error}; write {{{{ or }}}} for a brace that is meant"
        return
    for _, name in parts:
        if name is not None and name not in placeholders:
            yield f"unknown placeholder {{{name}}}"
    literal = "".join(text for text, _ in parts)
    if not template.strip():
        yield "the text is empty; say why the mail is refused"
    if found := _UNPRINTABLE.search(literal):
        yield f"{found.group()!a} is not printable ASCII; a reply is one line of ASCII"
    if found := _BANNED_START.match(template.strip()):
        yield f'"{found.group()}" at the start makes fail2ban ban the client; begin differently'
    if len(literal) > room:
        yield f"{len(literal)} bytes and only {room} fit into the reply; shorten it"
    if permanent and (asks := _RETRY_WORDS.search(template)):
        yield f"{asks.group()!r} in a reply that refuses for good; leave it out (DEFER may say so)"


def warnings(template: str, values: Mapping[str, str]) -> Iterable[str]:
    """Yield what is unwise in *template*; *values* are those known at load time."""
    if ":" in _fill(template.partition(";")[0], values, max(_LONGEST_VALUES)):
        yield "a colon before the first ; cuts the reason in the mail log's reports"


def duration(seconds: float) -> str:
    """Return *seconds* as people say it, rounded up: 90 seconds, 24 hours, 7 days."""
    whole = max(1, math.ceil(seconds))
    for length, unit, least in (
        (86400, "days", 172800),
        (3600, "hours", 3600),
        (60, "minutes", 60),
    ):
        if whole >= 2 * least or (whole >= least and whole % length == 0):
            number = math.ceil(whole / length)
            return f"{number} {unit}" if number > 1 else f"1 {unit[:-1]}"
    return f"{whole} seconds" if whole > 1 else "1 second"


def _parts(template: str) -> Iterable[tuple[str, str | None]]:
    """Yield literals, each with the name of the placeholder after it; ValueError for bad braces."""
    for literal, name, spec, conversion in Formatter().parse(template):
        if spec or conversion or (name is not None and not name.isidentifier()):
            raise ValueError(f"{{{name}…}} is no placeholder")
        yield literal, name


def _fill(template: str, values: Mapping[str, str], longest: int) -> str:
    return "".join(
        literal + ("" if name is None else _cut(to_ascii(values.get(name, "")), longest))
        for literal, name in _parts(template)
    )


def _without_incident(template: str) -> str:
    """Return *template* without the clauses that name an incident: there is none to ask about."""
    if _INCIDENT not in template:
        return template
    clauses = template.split(";")
    return ";".join(
        clause for clause in clauses if all(name != _INCIDENT for _, name in _parts(clause))
    )


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(0, room - 3)].rstrip() + "..."
