"""Words that look alike are the same."""

import pytest

from policyd.content.words import MOST, is_unspaced, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("don't don\u2019t", ["dont", "dont"]),
        ("caf\u00e9 cafe\u0301 CAF\u00c9", ["cafe"] * 3),
        ("Stra\u00dfe STRASSE", ["strasse"] * 2),
        ("p\u0430yp\u0430l pay\u200bpal \uff50aypal", ["paypal"] * 3),
        # in a Cyrillic word those letters become Latin that look so, always
        ("\u041f\u0440\u0438\u0432\u0435\u0442", ["np\u0438bet"]),
        ("No. 123 of 2026-11-25, a1b2", ["no", "0", "of", "0", "0", "0", "0"]),
        ("\u0661\u0662 \u00b2", ["0", "0"]),
        ("\u4f60\u597d\u3001world", ["\u4f60", "\u597d", "world"]),
        ("\ud55c\uad6d\uc5b4 \uba54\uc77c", ["\ud55c\uad6d\uc5b4", "\uba54\uc77c"]),
        ("a" * 50, ["a" * 40]),
        ("\ud800 x", ["x"]),
        (" \n\t", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_there_is_an_end() -> None:
    assert len(words("a " * (MOST + 10))) == MOST


def test_more_letters_than_are_remembered() -> None:
    text = " ".join(map(chr, range(0x100, 0xD800)))
    assert words(text) == words(text)


def test_languages_without_spaces() -> None:
    assert is_unspaced("\u4f60\u597d, world\u4f60\u597d\u4f60\u597d\u4f60\u597d")
    assert not is_unspaced("world, \u4f60\u597d")
    assert not is_unspaced("world")
