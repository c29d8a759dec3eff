"""Text to words that look alike where a reader sees them alike.

Case, accents, letters of other alphabets that look the same, and characters of no width make no
difference; neither do figures, of which a mailing has others in each of its messages.
"""

import re
from typing import Final
from unicodedata import category, normalize

MOST: Final = 16_384
"""Words of a message that are looked at."""

_KNOWN: Final = 20_000
"""Characters whose fold is remembered."""

_LONGEST: Final = 40
"""Characters that make a difference in a word."""

_FIGURE: Final = "0"

_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
"""Letters of languages that are written without spaces."""

_IDEOGRAPHS: Final = range(0x3400, 0xA000)
_SYLLABLES: Final = range(0xAC00, 0xD7A4)
"""Those of Chinese and of Korean, of which there are many, and which need no fold."""

_LOOKALIKES: Final = dict(
    zip(
        "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d"
        "\u03b1\u03bf\u03c1\u03bd\u03b9\u03ba\u03c5\u03c7\u0131\u0261\u0251\u043a\u043c\u0442\u043d\u0432\u043f",
        "aeopcyxijshdqwaopvikuxigakmthbn",
        strict=True,
    )
)
"""Letters that look like Latin ones, in lower case."""


def words(text: str) -> list[str]:
    """Return the words of *text*, folded; a letter of an unspaced language is a word by itself."""
    folded = text.translate(_FOLD)
    found = folded.split(None, MOST)[:MOST]
    if _FIGURE in folded:
        return [_FIGURE if _FIGURE in word else word[:_LONGEST] for word in found]
    return [word[:_LONGEST] for word in found]


def is_unspaced(text: str) -> bool:
    """Tell whether *text* is mostly of a language that is written without spaces."""
    return not text.isascii() and 2 * len(_UNSPACED.findall(text)) > len(text)


class _Fold(dict[int, str]):
    """What each character is folded to, by its number; it is worked out when first met."""

    def __missing__(self, code: int) -> str:
        if len(self) > _KNOWN:
            self.clear()
        char = chr(code)
        if code in _IDEOGRAPHS:
            folded = f" {char} "
        elif code in _SYLLABLES:
            folded = char
        elif _UNSPACED.match(char):
            folded = f" {char} " if char.isalpha() else " "
        else:
            folded = _folded(char)
        self[code] = folded
        return folded


def _folded(char: str) -> str:
    if char in _WITHIN_WORDS:
        return ""
    bases = (base for base in normalize("NFKD", char.casefold()) if category(base) not in _NO_WIDTH)
    return "".join(map(_folded_base, bases))


_WITHIN_WORDS: Final = "'\u2019"
"""Apostrophes, which part no words."""

_NO_WIDTH: Final = frozenset(("Mn", "Me", "Cf"))


def _folded_base(char: str) -> str:
    char = _LOOKALIKES.get(char, char)
    kind = category(char)
    if kind[0] == "L" or kind == "Mc":
        return char
    if kind[0] == "N":
        return _FIGURE
    return " "


_FOLD: Final = _Fold()
