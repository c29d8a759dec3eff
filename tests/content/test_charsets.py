"""Charsets, of which the sender writes the names."""

import codecs

import pytest

from policyd.content.charset import _NAMES, decode, prepare


def test_every_codec_is_there_and_is_one_of_text() -> None:
    prepare()
    for codec in set(_NAMES.values()):
        assert codecs.lookup(codec)._is_text_encoding


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("utf-8", "Grüße".encode(), "Grüße"),
        ("UTF8", "Grüße".encode(), "Grüße"),
        ("iso-8859-1", "Grüße".encode("latin-1"), "Grüße"),
        ("ISO_8859-15", "5 €".encode("iso8859-15"), "5 €"),
        ("Windows-1252", "5 €".encode("cp1252"), "5 €"),
        ("koi8-r", "Привет".encode("koi8-r"), "Привет"),
        ("gb2312", "你好".encode("gb2312"), "你好"),
        ("Shift_JIS", "日本".encode("shift_jis"), "日本"),
        ("iso-2022-jp", "日本".encode("iso2022_jp"), "日本"),
        ("us-ascii", "Grüße".encode("latin-1"), "Grüße"),
        ("", "Grüße".encode(), "Grüße"),
        ("", "Grüße".encode("latin-1"), "Grüße"),
        ("utf-8", b"a\xffb", "a\ufffdb"),
        ("no-such", b"abc", "abc"),
        ("punycode", b"abc-", "abc-"),
        ("rot13", b"abc", "abc"),
        ("zlib", b"abc", "abc"),
        ("idna", b"abc", "abc"),
        ("unicode_escape", rb"\u0041", r"\u0041"),
        ("../../etc", b"abc", "abc"),
        ("é" * 9, b"abc", "abc"),
        ("x" * 5000, b"abc", "abc"),
    ],
)
def test_decoding(charset: str, data: bytes, text: str) -> None:
    assert decode(data, charset) == text
