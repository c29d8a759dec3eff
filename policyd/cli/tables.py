"""Text for people: tables that are aligned whatever stands in them, and safe on a terminal."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table; columns of numbers are aligned to the right."""
    cells = [[shown(str(cell)) for cell in row] for row in (headers, *rows)]
    if len(cells) == 1:
        return
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    numeric = [all(cell.isdecimal() for cell in column[1:]) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        padded = [
            f"{' ' * (wide - width(cell))}{cell}"
            if right
            else f"{cell}{' ' * (wide - width(cell))}"
            for cell, wide, right in zip(row, widths, numeric, strict=True)
        ]
        line = "  ".join(padded).rstrip()
        yield bold(line) if number == 0 else line


def listing(
    headers: Sequence[str], rows: Iterable[Sequence[object]], nothing: str, older: int
) -> Iterator[str]:
    """Yield the lines of a table, or *nothing*; and how many *older* ones are not in it."""
    lines = list(table(headers, rows))
    yield from lines or [nothing]
    if older:
        yield f"and {older} older ones"


def facts(pairs: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Yield a line for each fact: its name, and what it is; the empty ones are left out."""
    known = [(name, shown(str(value))) for name, value in pairs if value]
    widest = max((len(name) for name, _ in known), default=0)
    last = ""
    for name, value in known:
        yield f"  {'' if name == last else name:<{widest}}  {value}"
        last = name


def moment(iso: str | None, otherwise: str = "") -> str:
    """Return a time as people read it, to the minute; *otherwise* where there is none."""
    return f"{iso[:10]} {iso[11:16]} {iso[19:]}" if iso else otherwise


def exact(iso: str | None) -> str:
    """Return a time as people read it, to the second; nothing where there is none."""
    return f"{iso[:10]} {iso[11:19]} {iso[19:]}" if iso else ""


def number_of(number: int, one: str, several: str = "") -> str:
    """Return how many there are, in words: *one*, or *several* (by default with an s)."""
    return f"{number} {one}" if number == 1 else f"{number} {several or f'{one}s'}"


def bold(text: str) -> str:
    """Return *text*, in bold type where that is wanted and possible."""
    if "NO_COLOR" in os.environ or not sys.stdout.isatty():
        return text
    return f"{_BOLD}{text}{_PLAIN}"


def shown(text: str) -> str:
    """Return *text* with escapes for what does not print: it may be the work of strangers."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def width(text: str) -> int:
    """Return how many columns of a terminal *text* takes."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width  # noqa: PLC0415 - seldom needed, and large

    return sum(
        0 if category(char) in ("Mn", "Me") else 2 if east_asian_width(char) in "WF" else 1
        for char in text
    )
