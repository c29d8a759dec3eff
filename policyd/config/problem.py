"""What is wrong in a rule file, where, and the likely fix.

Every mistake is told the same way: ``file:line:column: what is wrong; the likely fix``, then the
line of the file and a caret below the place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

_WIDTH: Final = 100
"""Columns of a source line that are shown; of a longer one the part around the place."""
_LONGEST_QUOTE: Final = 50
_LONGEST_TEXT: Final = 300
_MOST_ERRORS: Final = 500
"""More than that are not the work of a person, and nobody reads them."""


class Severity(Enum):
    """Whether the rules can be used in spite of a problem."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one file, under the *name* that the administrator gave it."""

    name: str
    lines: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, text: str) -> "Source":
        """Return the source with this *text*, which may have DOS line ends."""
        return cls(name, tuple(line.removesuffix("\r") for line in text.split("\n")))


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file.

    *line* and *column* count from 1; a line of 0 means the file as a whole.
    """

    source: Source
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}" if self.line else self.source.name

    @property
    def text(self) -> str:
        """The line of the file that the place is in."""
        lines = self.source.lines
        return lines[self.line - 1] if 0 < self.line <= len(lines) else ""

    def of(self, fragment: str) -> "Place":
        """Return the place of *fragment* on the same line from here on, or else this place."""
        index = self.text.find(fragment, max(0, self.column - 1))
        return self if index < 0 else Place(self.source, self.line, index + 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, or something unwise, with its place and the likely fix.

    *source* is the line of the file. A *line* of 0 means the file as a whole.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    source: str = ""

    def __str__(self) -> str:
        position = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        warning = "warning: " if self.severity is Severity.WARNING else ""
        told = f"{self.message}; {self.hint}" if self.hint else self.message
        return "\n".join((f"{position}: {warning}{told}", *self._excerpt()))

    def _excerpt(self) -> Iterator[str]:
        if not self.source.strip():
            return
        caret = max(0, self.column - 1)
        start = 0 if len(self.source) <= _WIDTH else max(0, caret - _WIDTH // 2)
        line = self.source[start : start + _WIDTH]
        # what does not print must not reach a terminal; a tab keeps the caret in its column
        yield "    " + "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)
        before = line[: caret - start]
        yield "    " + "".join("\t" if c == "\t" else " " for c in before) + "^"


class RuleError(Exception):
    """A mistake that makes the value at its place useless.

    What else is wrong in the file is still told.
    """

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.message = message
        self.hint = hint


class TooManyError(Exception):
    """There is no end of mistakes."""


class Problems:
    """All that was found wrong so far; the same problem is told once."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self.errors = 0

    def add(self, error: RuleError) -> None:
        """Record a mistake that was raised."""
        self.error(error.place, error.message, error.hint)

    def error(self, place: Place, message: str, hint: str = "") -> None:
        """Record a mistake: the rules cannot be used.

        Raise TooManyError when it is one too many.
        """
        self.errors += 1
        self._record(place, message, hint, Severity.ERROR)
        if self.errors == _MOST_ERRORS:
            whole = Place(Source(place.source.name))
            self._record(
                whole, "there are too many mistakes", "correct these first", Severity.ERROR
            )
            raise TooManyError

    def warning(self, place: Place, message: str, hint: str = "") -> None:
        """Record something unwise: the rules can be used."""
        self._record(place, message, hint, Severity.WARNING)

    def in_order(self) -> tuple[Problem, ...]:
        """Return the problems sorted by file and position."""
        return tuple(sorted(self._found, key=lambda p: (p.file, p.line, p.column)))

    def _record(self, place: Place, message: str, hint: str, severity: Severity) -> None:
        message, hint = (_one_line(text, _LONGEST_TEXT) for text in (message, hint))
        problem = Problem(
            place.source.name, place.line, place.column, message, hint, severity, place.text
        )
        self._found[problem] = None


def quoted(text: str) -> str:
    """Return *text* between quotes, shortened, with escapes for what does not print."""
    return f"'{_one_line(text, _LONGEST_QUOTE)}'"


def _one_line(text: str, longest: int) -> str:
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
