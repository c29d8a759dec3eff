r"""Events out of bytes: the receiving half of the milter protocol, by which Postfix shows content.

The rules:

- A packet is a length of four bytes, one byte that says what it is, and its data. The length, in
  network order, counts the latter two.
- Texts are ended by a NUL. They are bytes: a login, an address or a header may be in any charset.
- Macros precede the event that they belong to, and name its command.
- A packet has a cap: beyond it, or when it is not made as its command wants it, the peer is not
  Postfix and the connection is closed.

The plan: a pure object is fed chunks of any size and gives the events that they complete. What
begins a packet waits, and is looked at again only when its length, and then its last byte, is
there; so the time is linear in the bytes, however they arrive.
"""

import struct
from collections.abc import Callable, Mapping
from enum import Enum, IntFlag
from typing import Final, NamedTuple

MAX_PACKET: Final = 1024 * 1024
"""Bytes of a packet without its length: Postfix sends a header (header_size_limit, 100 KiB) or
64 KiB of a body in one."""

_LENGTH: Final = struct.Struct("!I")
_NEGOTIATE: Final = struct.Struct("!III")
_PORT: Final = struct.Struct("!H")
_HAS_ADDRESS: Final = frozenset(b"46L")


class Steps(IntFlag):
    """What Postfix need not tell (NO), and what it waits for no reply to (SILENT)."""

    NO_HELO = 0x2
    NO_END_OF_HEADERS = 0x40
    SILENT_HEADER = 0x80
    NO_UNKNOWN = 0x100
    SILENT_CONNECT = 0x1000
    SILENT_HELO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RCPT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_END_OF_HEADERS = 0x40000
    SILENT_BODY = 0x80000


class Changes(IntFlag):
    """What a milter may do to a message."""

    ADD_HEADERS = 0x1
    QUARANTINE = 0x20


class Negotiate(NamedTuple):
    """What Postfix offers: its *version* of the protocol, *changes* and *steps* as bits."""

    version: int
    changes: int
    steps: int


class Macros(NamedTuple):
    """What Postfix knows at the event of that *command*; long names stand in braces."""

    command: bytes
    values: Mapping[bytes, bytes]


class Connect(NamedTuple):
    """A client; without an *address* when that is not known."""

    name: bytes
    port: int
    address: bytes


class Helo(NamedTuple):
    """The *name* that the client gives itself."""

    name: bytes


class Mail(NamedTuple):
    """The sender as it was typed, in angle brackets, and what stood behind it."""

    address: bytes
    options: tuple[bytes, ...]


class Rcpt(NamedTuple):
    """A recipient as it was typed, in angle brackets, and what stood behind it."""

    address: bytes
    options: tuple[bytes, ...]


class Header(NamedTuple):
    """A header; its *value* may be of several lines, with newlines between them."""

    name: bytes
    value: bytes


class Body(NamedTuple):
    """A piece of the body."""

    data: bytes


class EndOfMessage(NamedTuple):
    """The end, perhaps with the last piece of the body."""

    data: bytes


class Unknown(NamedTuple):
    """A *command* of the client's that Postfix does not know."""

    command: bytes


class Signal(Enum):
    """The events that say no more than that they happen."""

    DATA = "T"
    END_OF_HEADERS = "N"
    ABORT = "A"
    QUIT = "Q"
    QUIT_NEW_CONNECTION = "K"


Event = (
    Negotiate
    | Macros
    | Connect
    | Helo
    | Mail
    | Rcpt
    | Header
    | Body
    | EndOfMessage
    | Unknown
    | Signal
)


class MilterParser:
    """Turn the bytes of one connection into events.

    *error* is None until the peer breaks the protocol; then it says how, nothing further is
    parsed, and the connection is to be closed.
    """

    __slots__ = ("_buffer", "_wanted", "error")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = _LENGTH.size  # bytes in the buffer, to get on
        self.error: str | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take the next *data* and return the events that it completes, in order."""
        events: list[Event] = []
        if self.error is not None:
            return events
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return events
            data = bytes(self._buffer)
            self._buffer.clear()
        start = 0
        try:
            while len(data) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(data, start)
                if not 0 < length <= MAX_PACKET:
                    raise ValueError(f"a packet of {length} bytes")  # noqa: TRY301
                first = start + _LENGTH.size
                if first + length > len(data):
                    self._wanted = _LENGTH.size + length
                    break
                start = first + length
                events.append(_event(data[first], data[first + 1 : start]))
            else:
                self._wanted = _LENGTH.size
        except ValueError as error:
            self.error = str(error)
        else:
            self._buffer += data[start:]
        return events


def _event(command: int, data: bytes) -> Event:
    """Return the event of a packet; raise ValueError if it is none."""
    try:
        return _DECODERS[command](data)
    except KeyError:
        raise ValueError(f"a packet {chr(command)!a}, which there is not") from None
    except (ValueError, struct.error) as error:
        raise ValueError(f"a packet {chr(command)!a} that is wrong: {error}") from None


def _negotiate(data: bytes) -> Negotiate:
    return Negotiate(*_NEGOTIATE.unpack_from(data))


def _macros(data: bytes) -> Macros:
    texts = _texts(data[1:])
    if not data or len(texts) % 2:
        raise ValueError("macros without a value")
    each = iter(texts)
    return Macros(data[:1], dict(zip(each, each, strict=True)))


def _connect(data: bytes) -> Connect:
    name, rest = _text(data)
    if not rest or rest[0] not in _HAS_ADDRESS:
        return Connect(name, 0, b"")
    (port,) = _PORT.unpack_from(rest, 1)
    address, _ = _text(rest[1 + _PORT.size :])
    return Connect(name, port, address)


def _helo(data: bytes) -> Helo:
    return Helo(_text(data)[0])


def _mail(data: bytes) -> Mail:
    address, rest = _text(data)
    return Mail(address, tuple(_texts(rest)))


def _rcpt(data: bytes) -> Rcpt:
    address, rest = _text(data)
    return Rcpt(address, tuple(_texts(rest)))


def _header(data: bytes) -> Header:
    name, value = _text(data)
    return Header(name, value.removesuffix(b"\0"))


def _unknown(data: bytes) -> Unknown:
    return Unknown(_text(data)[0])


def _signal(signal: Signal) -> Callable[[bytes], Signal]:
    return lambda _: signal


def _text(data: bytes) -> tuple[bytes, bytes]:
    """Return the text that *data* begins with, and the rest."""
    text, end, rest = data.partition(b"\0")
    if not end:
        raise ValueError("a text without an end")
    return text, rest


def _texts(data: bytes) -> list[bytes]:
    """Return the texts that *data* consists of."""
    *texts, rest = data.split(b"\0")
    if rest:
        raise ValueError("a text without an end")
    return texts


_DECODERS: Final[Mapping[int, Callable[[bytes], Event]]] = {
    ord("O"): _negotiate,
    ord("D"): _macros,
    ord("C"): _connect,
    ord("H"): _helo,
    ord("M"): _mail,
    ord("R"): _rcpt,
    ord("L"): _header,
    ord("B"): Body,
    ord("E"): EndOfMessage,
    ord("U"): _unknown,
    **{ord(signal.value): _signal(signal) for signal in Signal},
}
