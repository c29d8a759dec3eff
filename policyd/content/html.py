"""HTML to the text that a reader sees, in a time that grows with its length and no faster.

This is no parser: tags are cut out, blocks become lines, entities become characters. A regular
expression that looks for the end of what has none would look through all the rest again and again,
so each search here is known beforehand to succeed, or is tried once.
"""

import re
from html.entities import html5
from typing import Final

_TAG: Final = re.compile(r"<([a-zA-Z/!?][^>]*)>")
_NAME: Final = re.compile(r"/?[a-zA-Z][a-zA-Z0-9]*")
_ENTITY: Final = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});?")
_ADDRESS: Final = re.compile(
    r"""(?:href|src)\s{0,9}=\s{0,9}["']?([^\s"'>?#]{1,200})""", re.IGNORECASE
)

_UNSEEN: Final = ("style", "script", "title")
"""Elements whose text nobody sees."""

_LINES: Final = frozenset(
    """
    address article blockquote br center dd div dl dt fieldset footer form h1 h2 h3 h4 h5 h6 header
    hr li main nav ol option p pre section table tbody td th tr ul
    """.split()
)
_SIGNATURES: Final = ("moz-signature", "gmail_signature")
"""Classes in which mail programs put a signature."""


def to_text(markup: str) -> str:
    """Return the text of *markup*.

    What stands in a *blockquote* gets a ``>`` before each line, and a signature that a mail program
    has marked is set off by ``--``, as in plain text.
    """
    if "<!--" in markup:
        markup = _without(markup, "<!--", "-->")
    for name in _UNSEEN:
        if f"<{name}" in markup or f"<{name.upper()}" in markup or f"<{name.title()}" in markup:
            markup = _without_element(markup, name)
    # up to the last > every tag that begins has an end
    end = markup.rfind(">") + 1
    pieces = _TAG.split(markup[:end])
    pieces[-1] += markup[end:]
    if len(pieces) > 1:
        _become_lines(pieces)
    text = "".join(pieces)
    return _ENTITY.sub(_character, text) if "&" in text else text


def addresses(markup: str) -> list[str]:
    """Return what *markup* links to and shows, without what may differ from mail to mail."""
    return _ADDRESS.findall(markup)


def _become_lines(pieces: list[str]) -> None:
    """Put line ends and marks into *pieces*, texts and tags by turns, in the place of the tags."""
    depth = 0
    for at in range(1, len(pieces), 2):
        tag = pieces[at]
        found = _NAME.match(tag)
        name = found[0].lower() if found else ""
        if name == "blockquote":
            depth += 1
        elif name == "/blockquote":
            depth = max(depth - 1, 0)
        if name.lstrip("/") in _LINES:
            mark = "\n-- \n" if name == "div" and _is_signature(tag) else "\n"
        else:
            mark = ""
        pieces[at] = mark
        # in HTML a line end is a space
        text = pieces[at + 1]
        if "\n" in text:
            text = text.replace("\n", " ")
        if depth and (mark or name in ("blockquote", "/blockquote")):
            text = f"> {text}"
        pieces[at + 1] = text
    if "\n" in pieces[0]:
        pieces[0] = pieces[0].replace("\n", " ")


def _is_signature(tag: str) -> bool:
    return any(name in tag for name in _SIGNATURES)


def _without(text: str, begin: str, end: str) -> str:
    """Return *text* without all from *begin* to *end*; one that does not end hides the rest."""
    kept, at = [], 0
    while (start := text.find(begin, at)) >= 0:
        kept.append(text[at:start])
        stop = text.find(end, start + len(begin))
        if stop < 0:
            return "".join(kept)
        at = stop + len(end)
    kept.append(text[at:])
    return "".join(kept)


def _without_element(markup: str, name: str) -> str:
    """Return *markup* without the elements of that *name*."""
    folded = markup.lower()
    if len(folded) != len(markup):  # some letters are longer in lower case
        markup = folded
    kept, at = [], 0
    while (start := folded.find(f"<{name}", at)) >= 0:
        kept.append(markup[at:start])
        stop = folded.find(f"</{name}", start)
        if stop < 0:
            return "".join(kept)
        at = stop
    kept.append(markup[at:])
    return "".join(kept)


def _character(match: re.Match[str]) -> str:
    name = match[1]
    if name[0] != "#":
        return html5.get(f"{name};") or str(match[0])
    code = int(f"0{name[1:]}", 16) if name[1] in "xX" else int(name[1:])
    return chr(code) if 0 < code < 0xD800 or 0xDFFF < code < 0x110000 else " "
