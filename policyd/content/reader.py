"""A message in, as it comes; what it is like out."""

from collections.abc import Iterable
from typing import NamedTuple

from policyd.content.fingerprint import SHORTEST, Fingerprint, Kind
from policyd.content.lines import Left, own
from policyd.content.mime import CAP, Content, take_apart
from policyd.content.sketch import Sketcher
from policyd.content.words import words


class Boilerplate:
    """Texts that say nothing of a message, such as a disclaimer, by examples of them."""

    __slots__ = ("shingles",)

    def __init__(self, sketcher: Sketcher, examples: Iterable[str] = ()) -> None:
        self.shingles: frozenset[int] = frozenset().union(
            *(sketcher.shingles(words(example)) for example in examples)
        )


class Reading(NamedTuple):
    """How a fingerprint came about.

    *words* is how many words count, *boilerplate* how many runs of three of them do not.
    """

    fingerprint: Fingerprint
    content: Content
    left: Left
    words: int
    boilerplate: int


class Reader:
    """Reads one message."""

    __slots__ = ("_boilerplate", "_data", "_sketcher")

    def __init__(self, sketcher: Sketcher, boilerplate: Boilerplate) -> None:
        self._sketcher = sketcher
        self._boilerplate = boilerplate
        self._data = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the message, header and all; those beyond the cap are let go."""
        room = CAP - len(self._data)
        if room > 0:
            self._data += chunk[:room]

    def done(self) -> Fingerprint:
        """Return what the message is like."""
        return self.reading().fingerprint

    def reading(self) -> Reading:
        """Return what the message is like, and how that was found."""
        content = take_apart(bytes(self._data))
        text = "\n".join(content.texts)
        left = own(text)
        found = words(left.text)
        shingles = self._sketcher.shingles(found)
        count = len(shingles)
        shingles -= self._boilerplate.shingles
        hashes: tuple[int, ...] = ()
        if len(shingles) >= SHORTEST - 2:
            kind, hashes = Kind.SKETCH, self._sketcher.sketch(shingles)
        elif content.is_encrypted:
            kind = Kind.UNKNOWN
        else:
            kind, hashes = Kind.EXACT, self._exact(content, text)
        fingerprint = Fingerprint(kind, hashes, content.subject, content.is_calendar_reply)
        return Reading(fingerprint, content, left, len(found), count - len(shingles))

    def _exact(self, content: Content, text: str) -> tuple[int, ...]:
        """Return the hash of all that *content* holds, its *text* included."""
        return self._sketcher.exact(
            (
                _folded(content.subject),
                _folded(text),
                _folded(" ".join(content.addresses())),
                *content.attachments,
            )
        )


def _folded(text: str) -> bytes:
    return " ".join(words(text)).encode("utf-8", "surrogatepass")
