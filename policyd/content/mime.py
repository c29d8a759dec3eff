"""A message taken apart: its text as the reader sees it, and what else is in it.

The walk is bounded in depth, in parts and in bytes, and looks at each byte a few times at most.
What is beyond a bound is left out. Where a message has its text in several forms, the last that
says something stands for all, as with a mail program that shows HTML.
"""

from binascii import Error, a2b_base64, a2b_qp
from hashlib import blake2b
from typing import Final

from policyd.content import headers, html
from policyd.content.charset import decode

CAP: Final = 262_144
"""Bytes of a message that are looked at."""

_DEEPEST: Final = 8
"""Levels of parts within parts."""

_MOST_PARTS: Final = 100

_PGP: Final = "-----BEGIN PGP MESSAGE-----"
_SPACES_IN_ARMOUR: Final = 40
"""There are few in what is encrypted, and many in what just claims to be."""


class Content:
    """What was found in a message.

    *texts* are those of its parts, *markups* such of them as they were in HTML, *attachments* a
    hash of each other part. *is_encrypted* tells that it has a part that is, *is_calendar_reply*
    that it answers an invitation.
    """

    __slots__ = ("attachments", "is_calendar_reply", "is_encrypted", "markups", "subject", "texts")

    def __init__(self) -> None:
        self.subject = ""
        self.texts: list[str] = []
        self.markups: list[str] = []
        self.attachments: list[bytes] = []
        self.is_encrypted = False
        self.is_calendar_reply = False

    def addresses(self) -> list[str]:
        """Return what the HTML links to and shows."""
        return [one for markup in self.markups for one in html.addresses(markup)]


def take_apart(data: bytes) -> Content:
    """Return what the message *data* holds."""
    found = Content()
    fields, body = headers.split(data[:CAP].replace(b"\r\n", b"\n"))
    found.subject = headers.subject(fields)
    _Walk(found).part(fields, body, 0)
    return found


class _Walk:
    """One walk through the parts of a message, which puts what it meets into *found*."""

    def __init__(self, found: Content) -> None:
        self._found = found
        self._parts = 0

    def part(self, fields: dict[bytes, bytes], body: bytes, depth: int) -> bool:
        """Look into one part; return whether it has text."""
        self._parts += 1
        if self._parts > _MOST_PARTS or depth > _DEEPEST:
            return False
        kind, parameters = headers.content_type(fields)
        if kind.startswith("multipart/"):
            return self._parts_of(kind, parameters, body, depth)
        if kind == "message/rfc822":
            return self.part(*headers.split(body.lstrip(b"\n")), depth + 1)
        if kind.startswith("text/") and not headers.is_attachment(fields):
            return self._text(kind, parameters, _decoded(fields, body))
        if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
            self._found.is_encrypted = True
        elif depth == 0 or not kind.startswith("application/pgp"):
            self._found.attachments.append(_digest(body))
        return False

    def _parts_of(self, kind: str, parameters: dict[str, str], body: bytes, depth: int) -> bool:
        if kind == "multipart/encrypted":
            self._found.is_encrypted = True
            return False
        boundary = parameters.get("boundary", "").encode("ascii", "replace")
        if not 0 < len(boundary) <= 200:
            return self._text("text/plain", {}, body)
        parts = _separated(body, boundary)
        if kind == "multipart/signed":
            parts = parts[:1]
        if kind != "multipart/alternative":
            has_text = [self.part(*headers.split(part), depth + 1) for part in parts]
            return any(has_text)
        return any(self.part(*headers.split(part), depth + 1) for part in reversed(parts))

    def _text(self, kind: str, parameters: dict[str, str], data: bytes) -> bool:
        if kind == "text/calendar":
            # an invitation has its text in another form beside it
            method = parameters.get("method", "").lower()
            self._found.is_calendar_reply |= method == "reply"
            return False
        text = decode(data, parameters.get("charset", ""))
        if kind == "text/html":
            self._found.markups.append(text)
            text = html.to_text(text)
        elif text.lstrip().startswith(_PGP) and text.count(" ") < _SPACES_IN_ARMOUR:
            self._found.is_encrypted = True
            return False
        if not text or text.isspace():
            return False
        self._found.texts.append(text)
        return True


def _separated(body: bytes, boundary: bytes) -> list[bytes]:
    """Return the parts of a multipart *body*."""
    pieces = (b"\n" + body).split(b"\n--" + boundary, _MOST_PARTS + 1)
    parts = []
    for piece in pieces[1 : _MOST_PARTS + 1]:
        if piece.startswith(b"--"):
            break
        # what follows a delimiter in its line is padding
        parts.append(piece.partition(b"\n")[2])
    return parts


def _decoded(fields: dict[bytes, bytes], body: bytes) -> bytes:
    """Return the *body* of a part as it was before it was encoded."""
    encoding = headers.transfer_encoding(fields)
    if encoding == "quoted-printable":
        return a2b_qp(body)
    if encoding == "base64":
        return _from_base64(body)
    return body


def _from_base64(body: bytes) -> bytes:
    try:
        return a2b_base64(body)
    except Error:
        pass
    # cut short, at our cap or by its sender: four characters at a time are whole
    letters = body.translate(None, _NO_BASE64)
    try:
        return a2b_base64(letters[: len(letters) // 4 * 4])
    except Error:
        return b""


_NO_BASE64: Final = bytes(
    byte for byte in range(256) if not (bytes((byte,)).isalnum() or byte in b"+/")
)


def _digest(body: bytes) -> bytes:
    return blake2b(b"".join(body.split()), digest_size=16).digest()
