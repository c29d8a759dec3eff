"""Packets as Postfix sends them to a milter, and what comes back."""

import struct
from collections.abc import Iterable, Iterator

from policyd.protocol.milter import Event, MilterParser

ALL_STEPS = 0x1FFFFF
"""What Postfix 3.7 offers, as bits; likewise ALL_CHANGES."""

ALL_CHANGES = 0x1FF


def packet(command: bytes, data: bytes = b"") -> bytes:
    return struct.pack("!I", 1 + len(data)) + command + data


def offer(version: int = 6, changes: int = ALL_CHANGES, steps: int = ALL_STEPS) -> bytes:
    return packet(b"O", struct.pack("!III", version, changes, steps))


def texts(command: bytes, *some: bytes) -> bytes:
    return packet(command, b"".join(text + b"\0" for text in some))


def macros(command: bytes, *some: bytes) -> bytes:
    return packet(b"D", command + b"".join(text + b"\0" for text in some))


def connect(address: bytes = b"192.0.2.7") -> bytes:
    return packet(b"C", b"client.example\x004" + struct.pack("!H", 4711) + address + b"\0")


def envelope(
    queue_id: bytes = b"Q1",
    login: bytes = b"alice",
    sender: bytes = b"<alice@mail.example>",
    recipients: Iterable[bytes] = (b"<a@ext.example>",),
) -> bytes:
    """Return what comes of a message before its content."""
    return b"".join(
        [
            macros(b"M", b"{auth_type}", b"PLAIN", b"{auth_authen}", login),
            texts(b"M", sender),
            *(texts(b"R", recipient) for recipient in recipients),
            macros(b"T", b"i", queue_id),
        ]
    )


def content(body: bytes = b"hello\r\n", **headers: bytes) -> bytes:
    """Return what comes of a message afterwards."""
    told = [texts(b"L", name.encode(), value) for name, value in headers.items()]
    return b"".join([*told, packet(b"B", body), packet(b"E")])


ABORT, QUIT = packet(b"A"), packet(b"Q")


def events(chunks: Iterable[bytes]) -> tuple[list[Event], str | None]:
    """Return what a new parser makes of *chunks*: the events, and the error."""
    parser = MilterParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    return found, parser.error


def replies(data: bytes) -> list[tuple[bytes, bytes]]:
    """Take what a milter has sent apart: commands, and their data."""
    return list(_packets(data))


def _packets(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        (length,) = struct.unpack_from("!I", data)
        assert len(data) >= 4 + length
        yield data[4:5], data[5 : 4 + length]
        data = data[4 + length :]
