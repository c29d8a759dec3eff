"""Messages that are made to take long: each a function of about how many bytes it is to have."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from random import Random

_HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n"
_PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"


def _filled(head: bytes, piece: bytes, size: int, end: bytes = b"") -> bytes:
    return head + piece * max(1, size // len(piece)) + end


def _nested(size: int) -> bytes:
    """Multiparts within multiparts, each with a boundary of its own."""
    opened = []
    length = 0
    while length < size:
        number = len(opened)
        opened.append(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number)
        )
        length += len(opened[-1])
    return b"".join(opened)


def _mails_in_mails(size: int) -> bytes:
    return _filled(b"", b"Content-Type: message/rfc822\r\n\r\n", size)


def _same_boundary(size: int) -> bytes:
    """Multiparts within multiparts, all with one boundary."""
    part = b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return _filled(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", part, size)


def _many_parts(size: int) -> bytes:
    return _filled(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"--b\r\n\r\nsome text\r\n", size
    )


def _many_html_parts(size: int) -> bytes:
    part = b"--b\r\nContent-Type: text/html\r\n\r\n" + b"<p>&lt;" * 100 + b"\r\n"
    return _filled(b"Content-Type: multipart/alternative; boundary=b\r\n\r\n", part, size)


def _boundary_of_hyphens(size: int) -> bytes:
    return _filled(
        b"Content-Type: multipart/mixed; boundary=" + b"-" * 70 + b"\r\n\r\n", b"-", size
    )


def _folded_parameters(size: int) -> bytes:
    head = b"Content-Type: multipart/mixed"
    return head + b"".join(b";\r\n boundary*%d=b" % number for number in range(size // 16))


def _noise(size: int) -> bytes:
    return Random(1).randbytes(size)


def _many_words(size: int) -> bytes:
    random = Random(2)
    words = b" ".join(b"%x" % random.getrandbits(32) for _ in range(size // 9))
    return _PLAIN + words.translate(bytes.maketrans(b"0123456789", b"ghijklmnop"))


def _strange_letters(size: int) -> bytes:
    text = "".join(map(chr, range(0x0250, 0xD800)))
    return _PLAIN + (text * (1 + size // len(text) // 2)).encode()[:size]


HOSTILE: Mapping[str, Callable[[int], bytes]] = {
    "only <": lambda size: _filled(_HTML, b"<", size),
    "< a": lambda size: _filled(_HTML, b"<a ", size),
    "< a, with an end": lambda size: _filled(_HTML, b"<a ", size, b">"),
    "tags": lambda size: _filled(_HTML, b"<p>", size),
    "open comments": lambda size: _filled(_HTML, b"<!--", size),
    "comments": lambda size: _filled(_HTML, b"<!---->", size),
    "open styles": lambda size: _filled(_HTML, b"<style>", size),
    "styles": lambda size: _filled(_HTML, b"<style></style>", size),
    "quotes in tags": lambda size: _filled(_HTML, b"<a b=\"'", size),
    "attributes": lambda size: _filled(_HTML + b"<a ", b'href="x" ', size, b">"),
    "links": lambda size: _filled(_HTML, b"<a href=x>", size),
    "href and spaces": lambda size: _filled(_HTML, b"href          ", size),
    "blockquotes": lambda size: _filled(_HTML, b"<blockquote>x", size),
    "entities": lambda size: _filled(_HTML, b"&lt;", size),
    "figures of entities": lambda size: _filled(_HTML + b"&#", b"9", size),
    "no entities": lambda size: _filled(_HTML, b"&" + b"a" * 32, size),
    "ampersands": lambda size: _filled(_HTML, b"&", size),
    "lines of a byte": lambda size: _filled(_PLAIN, b"a\r\n", size),
    "words of a byte": lambda size: _filled(_PLAIN, b"a ", size),
    "one word": lambda size: _filled(_PLAIN, b"a", size),
    "many words": _many_words,
    "quotes": lambda size: _filled(_PLAIN, b">\r\n", size),
    "lines that quote": lambda size: _filled(_PLAIN, b"a:\r\n> b\r\n", size),
    "hyphens": lambda size: _filled(_PLAIN, b"-----\r\n", size),
    "underscores": lambda size: _filled(_PLAIN, b"_" * 30 + b"\r\n", size),
    "empty lines, then a quote": lambda size: _filled(_PLAIN, b"\r\n", size, b"> b\r\n"),
    "spaces": lambda size: _filled(_PLAIN, b" ", size),
    "combining accents": lambda size: _filled(_PLAIN + b"a", "\u0327\u0301\u0323".encode(), size),
    "strange letters": _strange_letters,
    "unspaced letters": lambda size: _filled(_PLAIN, "\u4f60\u597d".encode(), size),
    "one letter that becomes eighteen": lambda size: _filled(_PLAIN, "\ufdfa".encode(), size),
    "nested": _nested,
    "mails in mails": _mails_in_mails,
    "one boundary for all": _same_boundary,
    "many parts": _many_parts,
    "many HTML parts": _many_html_parts,
    "a boundary of hyphens": _boundary_of_hyphens,
    "parameters in pieces": _folded_parameters,
    "semicolons": lambda size: _filled(b"Content-Type: text/plain", b"; ", size),
    "quotes in parameters": lambda size: _filled(b"Content-Type: text/plain", b'; a="\\"', size),
    "header without end": lambda size: _filled(b"", b"a: b\r\n", size),
    "one field": lambda size: _filled(b"Subject: ", b"a", size),
    "folded field": lambda size: _filled(b"Subject: a\r\n", b" a\r\n", size),
    "encoded words": lambda size: _filled(b"Subject: ", b"=?utf-8?q?=41?= ", size),
    "open encoded words": lambda size: _filled(b"Subject: ", b"=?", size),
    "soft line ends": lambda size: _filled(
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"=\r\n", size
    ),
    "equals signs": lambda size: _filled(
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"=", size
    ),
    "base64 of <": lambda size: (
        b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + b64encode(b"<" * (size * 3 // 4))
    ),
    "broken base64": lambda size: _filled(
        b"Content-Transfer-Encoding: base64\r\n\r\n", b"QUJ=D*", size
    ),
    "noise in UTF-7": lambda size: (
        b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + _noise(size)
    ),
    "noise in ISO-2022-JP": lambda size: (
        b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + _noise(size)
    ),
    "punycode": lambda size: _filled(
        b"Content-Type: text/plain; charset=punycode\r\n\r\n", b"a-9", size
    ),
    "noise": _noise,
    "nothing but line ends": lambda size: b"\n" * size,
    "zeros": lambda size: b"\0" * size,
}
