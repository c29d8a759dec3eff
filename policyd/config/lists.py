"""Files with one domain or account a line; postmap source files are such files too."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from policyd.config.kinds import Placed
from policyd.config.names import Flaw
from policyd.config.problem import Place, Problems, Source

_MOST_ERRORS: Final = 20


class NamedFiles(Protocol):
    """Reads the files that a rule file names."""

    def entries(self, file: Placed[str], flaw: Callable[[str], Flaw | None]) -> tuple[str, ...]:
        """Return the entries of the list *file*, each free of what *flaw* finds."""

    def source(self, file: Placed[str]) -> Source | None:
        """Return the text of *file*, or None when it cannot be read."""


def entries(
    source: Source, flaw: Callable[[str], Flaw | None], problems: Problems
) -> tuple[str, ...]:
    """Return the first word of each line of *source*; what *flaw* finds goes to *problems*."""
    words: list[str] = []

    def flaws() -> Iterator[tuple[Place, Flaw]]:
        for place, word in _first_words(source, problems):
            if found := flaw(word):
                yield place, found
            else:
                words.append(word)

    tell(flaws(), problems)
    return tuple(words)


def tell(flaws: Iterable[tuple[Place, Flaw]], problems: Problems) -> None:
    """Tell *problems* the *flaws* of a file, until it is clear that it is the wrong file."""
    for errors, (place, flaw) in enumerate(flaws):
        if errors == _MOST_ERRORS:
            problems.error(place, "more lines like the ones above", "is this the right file?")
            return
        problems.error(place, *flaw)


def _first_words(source: Source, problems: Problems) -> Iterator[tuple[Place, str]]:
    """Yield the entries.

    As in postmap source files an indented line continues the one above. Below a word that stands
    alone that makes no sense: there the space is a mistake, and the entry would be lost.
    """
    alone = True
    for number, line in enumerate(source.lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        column = line.index(words[0]) + 1
        if column > 1:
            if alone:
                message = "an entry that begins with a space"
                problems.error(Place(source, number, column), message, "delete the space")
            continue
        alone = len(words) == 1 or words[1].startswith("#")
        yield Place(source, number, column), words[0]
