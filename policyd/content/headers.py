"""The header of a message or of a part, as far as its content is concerned.

Everything here is bounded: of a header, of a field and of a subject no more is looked at than
honest mail has.
"""

import re
from binascii import Error, a2b_base64, a2b_qp
from collections.abc import Iterator
from typing import Final

from policyd.content.charset import decode

_MOST: Final = 65_536
"""Bytes of a header that are looked at."""

_FIELD: Final = 2_048
"""Bytes of a field that are looked at."""

_SUBJECT: Final = 200
"""Characters of a subject that are kept."""

_WANTED: Final = frozenset(
    (b"content-type", b"content-transfer-encoding", b"content-disposition", b"subject")
)
_ENCODED_WORD: Final = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?\s]*)\?=")
_BETWEEN_WORDS: Final = re.compile(r"(?<=\?=)\s+(?==\?)")
_PARAMETER: Final = re.compile(r';\s*([^\s=;"]{1,60})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')


def split(data: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """Return of *data*, with lines that end in LF, the fields wanted and what follows them.

    A field has its name in lower case, and is unfolded; of several the first one counts.
    """
    if data.startswith(b"\n"):
        return {}, data[1:]
    end = data.find(b"\n\n")
    head, body = (data, b"") if end < 0 else (data[:end], data[end + 2 :])
    return _fields(head[:_MOST]), body


def _fields(head: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    current: list[bytes] = []
    name = b""
    for line in head.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            if name:
                current.append(line)
            continue
        if name:
            found.setdefault(name, b"".join(current)[:_FIELD])
        name, colon, value = line.partition(b":")
        name = name.strip().lower() if len(name) < 40 else b""
        if colon and name in _WANTED:
            current = [value]
        else:
            name = b""
    if name:
        found.setdefault(name, b"".join(current)[:_FIELD])
    return found


def content_type(fields: dict[bytes, bytes]) -> tuple[str, dict[str, str]]:
    """Return the type of the content, in lower case, and its parameters."""
    value = fields.get(b"content-type", b"").decode("ascii", "replace")
    kind = value.partition(";")[0].partition("(")[0].strip().lower()
    return kind or "text/plain", dict(_parameters(value))


def transfer_encoding(fields: dict[bytes, bytes]) -> str:
    """Return how the content is encoded, in lower case."""
    value = fields.get(b"content-transfer-encoding", b"").decode("ascii", "replace")
    return value.partition("(")[0].strip().lower()


def is_attachment(fields: dict[bytes, bytes]) -> bool:
    """Tell whether the content is an attachment by its own word."""
    return fields.get(b"content-disposition", b"").strip().lower().startswith(b"attachment")


def subject(fields: dict[bytes, bytes]) -> str:
    """Return the subject: decoded, one line, not too long."""
    raw = fields.get(b"subject", b"")
    text = decode(raw, "utf-8")
    text = _ENCODED_WORD.sub(_decoded, _BETWEEN_WORDS.sub("", text))
    return "".join(char if char.isprintable() else " " for char in text).strip()[:_SUBJECT]


def _decoded(match: re.Match[str]) -> str:
    charset, encoding, text = match.groups()
    data = text.encode("ascii", "replace")
    if encoding in "bB":
        try:
            data = a2b_base64(data)
        except Error:
            return str(match[0])
    else:
        data = a2b_qp(data, header=True)
    return decode(data, charset.partition("*")[0])


def _parameters(value: str) -> Iterator[tuple[str, str]]:
    """Yield the parameters in *value*; one that is written in pieces (RFC 2231) is put together."""
    pieces: dict[str, dict[int, str]] = {}
    for match in _PARAMETER.finditer(value):
        name, quoted, plain = match.groups()
        text = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        name, star, number = name.lower().partition("*")
        if not star:
            yield name, text
            continue
        number = number.rstrip("*")
        if not number and "'" in text:
            text = text.rpartition("'")[2]
        if len(number) < 4 and (not number or (number.isascii() and number.isdecimal())):
            pieces.setdefault(name, {})[int(number or 0)] = text
    for name, texts in pieces.items():
        yield name, "".join(texts[number] for number in sorted(texts))
