"""The file that says where the notices about a domain go: ``domain: address, address`` a line."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from policyd.aup.address import fold_domain
from policyd.config.lists import tell
from policyd.config.names import Flaw, mailable_flaw, plain_domain_flaw
from policyd.config.problem import Place, Problems, Source, quoted


class _Word(NamedTuple):
    text: str
    place: Place


class _Entry(NamedTuple):
    """A domain and its addresses."""

    domain: _Word
    addresses: list[_Word]


def addresses(source: Source, problems: Problems) -> Mapping[str, tuple[str, ...]]:
    """Return the addresses of each folded domain; what is wrong goes to *problems*."""
    found: dict[str, tuple[str, ...]] = {}

    def flaws() -> Iterator[tuple[Place, Flaw]]:
        places: dict[str, Place] = {}
        for entry in _entries(source):
            domain, place = entry.domain
            name = fold_domain(domain)
            if flaw := plain_domain_flaw(domain):
                yield place, flaw
            elif first := places.get(name):
                yield place, Flaw(f"{domain} is already in line {first.line}", "join the two lines")
            elif not entry.addresses:
                yield place, Flaw(f"{domain} has no address", "write it after the domain")
            for word in entry.addresses:
                if flaw := _address_flaw(word.text):
                    yield word.place, flaw
            places.setdefault(name, place)
            found[name] = tuple(word.text for word in entry.addresses)

    tell(flaws(), problems)
    return found


def _entries(source: Source) -> Iterator[_Entry]:
    """Yield the entries; an indented line goes on with the addresses of the one above."""
    entry: _Entry | None = None
    for number, line in enumerate(source.lines, start=1):
        words = list(_words(source, number, line))
        if words and entry and line[0].isspace():
            entry.addresses.extend(words)
        elif words:
            if entry:
                yield entry
            first, *rest = words
            entry = _Entry(first._replace(text=first.text.removesuffix(":")), rest)
    if entry:
        yield entry


def _words(source: Source, number: int, line: str) -> Iterator[_Word]:
    """Yield the words of a line, up to a comment; commas and the colon after a domain part them."""
    for found in re.finditer(r"[^\s,:]*:|[^\s,]+", line):
        if found[0].startswith("#"):
            return
        if found[0] != ":":
            yield _Word(found[0], Place(source, number, found.start() + 1))


def _address_flaw(text: str) -> Flaw | None:
    if text.endswith(":"):
        return Flaw(f"{quoted(text)} stands where an address belongs", "begin a line with a domain")
    return mailable_flaw(text)
