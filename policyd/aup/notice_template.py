"""The templates of notices: checked when the rules are loaded, filled in when a mail is written.

A template is a line ``Subject: ...``, an empty line, and the text. How it is filled in:

- ``{name}`` stands for a value; ``{{`` and ``}}`` are braces.
- A line with a placeholder that stands for nothing is left out, so that what is not known, or not
  configured, leaves no gap: each sentence has a line of its own.
- The lines of a paragraph are joined and broken anew. An indented line stays as it is.

What comes from a request is the work of strangers. Every value is made one line without control
characters, and cut; it brings no line, and no header, of its own.
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import groupby
from typing import Final

from policyd.aup.ladder_rules import Template

_OF_ALL: Final = frozenset(
    """who account domain domain_alone limit title used max window window_hours rule zone
    organization aup_url contact""".split()
)
_OF_INCIDENTS: Final = _OF_ALL | frozenset(
    """incident strike strikes_expire messages recipients attempts first last sample_subject
    sample_sender sample_recipients sample_size clients done mailbox_until mailbox_held domain_held
    steps extremes""".split()
)
PLACEHOLDERS: Final[Mapping[str, frozenset[str]]] = {
    "incident": _OF_INCIDENTS,
    "summary": _OF_INCIDENTS,
    "warning": _OF_ALL | {"time", "percent"},
}
"""What a template may name, by the kind of notice."""

LONGEST_LINE: Final = 998
"""Bytes (RFC 5322)."""

_LONGEST_TEMPLATE: Final = 32_768
_LONGEST_SUBJECT: Final = 200
_COLUMNS: Final = 72

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{(\w+)\}|[{}]")
_SUBJECT: Final = "subject:"


class TemplateError(ValueError):
    """A mistake in a template, at *line* and *column* (from 1), and how to cure it."""

    def __init__(self, message: str, hint: str, line: int, column: int = 1) -> None:
        super().__init__(f"{line}:{column}: {message}; {hint}")
        self.message = message
        self.hint = hint
        self.line = line
        self.column = column


def parse_template(text: str, kind: str) -> Template:
    """Return the template that *text* is, for notices of this *kind* (see PLACEHOLDERS).

    Raise TemplateError for the first mistake in it.
    """
    known = PLACEHOLDERS[kind]
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        _check_line(line, number, known)
    first = lines[0]
    subject = first[len(_SUBJECT) :].strip()
    if not first.lower().startswith(_SUBJECT) or not subject:
        message = "a template begins with the mail's subject"
        raise TemplateError(message, "let the first line be Subject: and some words", 1)
    if len(lines) < 2 or lines[1].strip():
        hint = "put an empty line after the subject"
        raise TemplateError("the text begins in the third line", hint, 2)
    body = "\n".join(lines[2:]).strip("\n")
    if not body.strip():
        raise TemplateError("there is no text", "say below the subject what has happened", 3)
    if len(text.encode()) > _LONGEST_TEMPLATE:
        message = f"the template is longer than {_LONGEST_TEMPLATE} bytes"
        raise TemplateError(message, "shorten it", len(lines))
    return Template(subject, body)


def filled_in(template: Template, values: Mapping[str, str]) -> tuple[str, str]:
    """Return the subject and the text for *values*, each of which is *one_line*.

    What *values* do not have stands for nothing.
    """
    subject = one_line(_expanded(template.subject, values), _LONGEST_SUBJECT)
    return subject, "\n\n".join(_paragraphs(template.body, values)) + "\n"


def one_line(text: str, longest: int) -> str:
    """Return *text* as one line of at most *longest* characters, with nothing invisible in it."""
    shown = "".join(map(_shown, text[: longest * 4]))
    return cut(" ".join(shown.split()), longest)


def cut(text: str, longest: int) -> str:
    """Return *text*, or its beginning and three dots, in at most *longest* characters."""
    return text if len(text) <= longest else text[: longest - 3].rstrip() + "..."


def _shown(character: str) -> str:
    if " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category in ("Cc", "Cf"):
        return ""
    if category in ("Cs", "Co", "Cn"):
        return "?"
    return " " if category[0] == "Z" else character


def _check_line(line: str, number: int, known: frozenset[str]) -> None:
    for column, character in enumerate(line, start=1):
        category = unicodedata.category(character)
        if category in ("Cc", "Cs", "Zl", "Zp") and character != "\t":
            message = f"the control character U+{ord(character):04X} cannot stand in a mail"
            hint = "delete it"
            if character == "\r":
                hint = "save the file with Unix line ends"
            raise TemplateError(message, hint, number, column)
    if len(line.encode()) > LONGEST_LINE:
        message = f"the line has more than {LONGEST_LINE} bytes"
        raise TemplateError(message, "break it up", number)
    for found in _TOKEN.finditer(line):
        name, column = found[1], found.start() + 1
        if name is None and len(found[0]) == 1:
            message = f"{found[0]} alone begins or ends no placeholder"
            raise TemplateError(message, f"write {found[0] * 2} for a brace", number, column)
        if name is not None and name not in known:
            near = get_close_matches(name, sorted(known), 1)
            names = ", ".join(f"{{{one}}}" for one in near or sorted(known))
            hint = f"did you mean {names}?" if near else f"there are {names}"
            raise TemplateError(f"unknown placeholder {{{name}}}", hint, number, column)


def _paragraphs(body: str, values: Mapping[str, str]) -> Iterator[str]:
    for is_text, lines in groupby(body.split("\n"), key=lambda line: bool(line.strip())):
        if is_text and (paragraph := "\n".join(_broken_anew(lines, values))):
            yield paragraph


def _broken_anew(lines: Iterator[str], values: Mapping[str, str]) -> Iterator[str]:
    told = [line for line in lines if _has_all(line, values)]
    for stays, some in groupby(told, key=lambda line: line[0].isspace()):
        expanded = [_expanded(line, values).rstrip() for line in some]
        if stays:
            yield from expanded
        else:
            yield textwrap.fill(
                " ".join(expanded), _COLUMNS, break_long_words=False, break_on_hyphens=False
            )


def _has_all(line: str, values: Mapping[str, str]) -> bool:
    return all(values.get(found[1]) for found in _TOKEN.finditer(line) if found[1])


def _expanded(line: str, values: Mapping[str, str]) -> str:
    return _TOKEN.sub(lambda found: values.get(found[1], "") if found[1] else found[0][0], line)
