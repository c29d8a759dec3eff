"""What a message says itself: its lines without those that it repeats from others.

Quoted lines, what stands below a signature's ``--``, and a message that is answered in full are
left out: they make strangers alike. All of it is guessed from the looks of lines, so whoever has
next to nothing else to say is taken at all that he says.
"""

from typing import Final, NamedTuple

_SIGNATURE_LINES: Final = 20
_SIGNATURE_LENGTH: Final = 1_000
"""Lines and characters that a signature has at most; what is longer is none."""

_RULE: Final = 10
"""Underscores that set off what stands below, such as a mailing list's footer."""

_DASHES: Final = ("-----", "_____")
_HEADER_WITHIN: Final = 4
"""Lines below such a title that show whether it stands above a message answered."""


_MARKS: Final = (">", "--", "_____")


class Left(NamedTuple):
    """Lines that are left, and those that were left out, by what they are."""

    text: str
    quoted: str
    signature: str


def own(text: str) -> Left:
    """Return what *text* says itself."""
    # nothing of all this is in most messages
    if not any(mark in text for mark in _MARKS):
        return Left(text, "", "")
    lines = text.split("\n")
    last = _first_of_the_last(lines)
    kept: list[str] = []
    quoted: list[str] = []
    signature: list[str] = []
    in_quote = False
    for at, line in enumerate(lines):
        if line[:1] in ("-", "_"):
            if at >= last and _sets_off(line.rstrip()):
                signature = lines[at:]
                break
            if line.startswith(_DASHES) and _is_answered(lines, at):
                quoted.extend(lines[at:])
                break
        elif line.lstrip()[:1] == ">":
            if not in_quote:
                _take_attribution(kept, quoted)
            in_quote = True
            quoted.append(line)
            continue
        in_quote = False
        kept.append(line)
    return Left("\n".join(kept), "\n".join(quoted), "\n".join(signature))


def _first_of_the_last(lines: list[str]) -> int:
    """Return where in *lines* a signature may begin, as there is not much below."""
    at, room = len(lines), _SIGNATURE_LENGTH
    earliest = max(0, at - _SIGNATURE_LINES - 1)
    while at > earliest and room >= 0:
        at -= 1
        room -= len(lines[at])
    return at + 1 if room < 0 else at


def _sets_off(line: str) -> bool:
    """Tell whether a signature, or the like, stands below *line*."""
    return line == "--" or (len(line) >= _RULE and not line.strip("_"))


def _take_attribution(kept: list[str], quoted: list[str]) -> None:
    """Move the line that says who is quoted, such as "On Monday Bob wrote:"."""
    while kept and not kept[-1].strip():
        kept.pop()
    if kept and kept[-1].rstrip().endswith(":"):
        quoted.append(kept.pop())


def _is_answered(lines: list[str], at: int) -> bool:
    """Tell whether a whole message begins below the line *at*: with two fields of a header."""
    below = [line.strip() for line in lines[at + 1 : at + 1 + _HEADER_WITHIN]]
    first, second = ([line for line in below if line] + ["", ""])[:2]
    return _is_field(first) and _is_field(second)


def _is_field(line: str) -> bool:
    name, colon, _ = line.partition(": ")
    return bool(colon) and 0 < len(name) < 20 and " " not in name
