"""Files with one domain or account a line; postmap source files are such files too."""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from policyd.config.kinds import Placed
from policyd.config.names import Flaw
from policyd.config.problem import Place, Problems, Source

_MOST_ERRORS: Final = 20


class ListReader(Protocol):
    """Reads the list file that a rule file names."""

    def __call__(self, file: Placed[str], flaw: Callable[[str], Flaw | None]) -> tuple[str, ...]:
        """Return the entries of *file*, each free of what *flaw* finds."""


def entries(
    source: Source, flaw: Callable[[str], Flaw | None], problems: Problems
) -> tuple[str, ...]:
    """Return the first word of each line of *source*; what *flaw* finds goes to *problems*."""
    words = []
    errors = 0
    for place, word in _first_words(source, problems):
        found = flaw(word)
        if not found:
            words.append(word)
            continue
        errors += 1
        if errors > _MOST_ERRORS:
            message = "more lines like the ones above"
            problems.error(place, message, "is this the right file?")
            break
        problems.error(place, *found)
    return tuple(words)


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
