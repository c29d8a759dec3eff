"""What Postfix shows a milter, put together: from the events of a connection to messages.

One connection is one SMTP session: a client, and any number of messages after one another. Of each
the content goes to a *sink* as it comes, up to a cap, and is kept nowhere else. Postfix waits for a
reply at DATA and at the end of a message only, as far as it lets us choose: by DATA a message has
its name, and others are to know that it comes before they are asked about it.

The recipients are those that Postfix, and the milters before this one, have accepted. A milter
behind this one may yet refuse some.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from policyd.protocol.milter import (
    Body,
    Changes,
    Connect,
    EndOfMessage,
    Event,
    Header,
    Helo,
    Macros,
    Mail,
    Negotiate,
    Rcpt,
    Signal,
    Steps,
    Unknown,
)
from policyd.protocol.milter_reply import CONTINUE, Answer, answered, negotiated

MOST_CONTENT: Final = 256 * 1024
"""Bytes of a message, headers and body, that its sink is given."""

MOST_RECIPIENTS: Final = 10_000
"""Names that are kept of a message."""

_VERSION: Final = 6
_QUEUE_ID: Final = b"i"
_LOGIN, _METHOD = b"{auth_authen}", b"{auth_type}"

_SILENT: Final[Mapping[object, Steps]] = {
    Connect: Steps.SILENT_CONNECT,
    Helo: Steps.SILENT_HELO,
    Mail: Steps.SILENT_MAIL,
    Rcpt: Steps.SILENT_RCPT,
    Signal.DATA: Steps.SILENT_DATA,
    Unknown: Steps.SILENT_UNKNOWN,
    Header: Steps.SILENT_HEADER,
    Signal.END_OF_HEADERS: Steps.SILENT_END_OF_HEADERS,
    Body: Steps.SILENT_BODY,
}
"""The events that Postfix wants a reply to, each unless this was agreed upon."""

_NOT_WANTED: Final = Steps.NO_HELO | Steps.NO_END_OF_HEADERS | Steps.NO_UNKNOWN
_STEPS: Final = int(_NOT_WANTED) | sum(_SILENT.values()) & ~int(Steps.SILENT_DATA)
_CHANGES: Final = int(Changes.ADD_HEADERS | Changes.QUARANTINE)


class Sink(Protocol):
    """What takes the content of one message."""

    def header(self, name: bytes, value: bytes) -> None:
        """Take a header; the lines of its *value* are separated by newlines."""

    def body(self, data: bytes) -> None:
        """Take the next piece of the body."""


SinkT = TypeVar("SinkT", bound=Sink)


@dataclass(slots=True)
class MilterMessage(Generic[SinkT]):
    """A message, by the names that a policy request has for them.

    *content* was given the first MOST_CONTENT bytes of *size*; there are the first MOST_RECIPIENTS
    of *recipient_count* among the *recipients*. Bytes that are not UTF-8 survive (surrogateescape).
    """

    content: SinkT
    client_address: str
    sasl_username: str
    sasl_method: str
    sender: str
    recipients: list[str] = field(default_factory=list)
    recipient_count: int = 0
    queue_id: str = ""
    size: int = 0


def ignore(queue_id: str) -> None:
    """Take no notice of a message."""


class MilterSession(Generic[SinkT]):
    """One connection of Postfix's; *decide* answers each message, whose content *sink* takes.

    *expect* is told the queue id of a message whose content comes next, *drop* that of one that
    comes to nothing.
    """

    def __init__(
        self,
        sink: Callable[[], SinkT],
        decide: Callable[[MilterMessage[SinkT]], Answer],
        expect: Callable[[str], None] = ignore,
        drop: Callable[[str], None] = ignore,
    ) -> None:
        self.is_over = False
        self._sink = sink
        self._decide = decide
        self._expect = expect
        self._drop = drop
        self._may = 0
        self._awaited = frozenset(_SILENT)
        self._client_address = ""
        self._at_mail: Mapping[bytes, bytes] = {}
        self._message: MilterMessage[SinkT] | None = None

    @property
    def queue_id(self) -> str:
        """The name of the message that is under way, as far as it has one."""
        return self._message.queue_id if self._message is not None else ""

    def take(self, event: Event) -> bytes:
        """Take in *event* and return the reply, which is empty where none is wanted.

        What *sink* and *decide* raise comes out here; give_up() is then the way on.
        """
        match event:
            case Macros():
                self._name(event)
            case Header():
                self._header(event)
            case Body():
                self._body(event.data)
            case EndOfMessage():
                return self._end(event.data)
            case Negotiate():
                return self._negotiated(event)
            case _:
                self._learn(event)
        return self._due(event)

    def give_up(self, event: Event) -> bytes:
        """Look no more at the message that *event* belongs to: it passes. Return the reply."""
        self.let_go()
        return CONTINUE if isinstance(event, EndOfMessage) else self._due(event)

    def let_go(self) -> None:
        """Forget the message that is under way: it comes to nothing, or passes unseen."""
        message, self._message = self._message, None
        if message is not None and message.queue_id:
            self._drop(message.queue_id)

    def _due(self, event: Event) -> bytes:
        if not self._awaited:
            return b""
        kind: Any = event if isinstance(event, Signal) else type(event)
        return CONTINUE if kind in self._awaited else b""

    def _negotiated(self, offer: Negotiate) -> bytes:
        steps = offer.steps & _STEPS
        self._may = offer.changes & _CHANGES
        self._awaited = frozenset(kind for kind, silent in _SILENT.items() if not steps & silent)
        return negotiated(min(offer.version, _VERSION), self._may, steps)

    def _name(self, macros: Macros) -> None:
        """Keep who sends the message that comes, or the name of the one that is under way."""
        if macros.command == b"M":
            self._at_mail = macros.values
        elif (message := self._message) is not None and not message.queue_id:
            message.queue_id = _decoded(macros.values.get(_QUEUE_ID, b""))

    def _learn(self, event: Event) -> None:
        """Take in an event that comes before the content, or ends it early."""
        message = self._message
        match event:
            case Rcpt(address) if message is not None:
                message.recipient_count += 1
                if message.recipient_count <= MOST_RECIPIENTS:
                    message.recipients.append(_address(address))
            case Mail(address):
                self._begin(address)
            case Connect(address=address):
                self._client_address = _decoded(address)
            case Signal():
                self._signalled(event)

    def _begin(self, sender: bytes) -> None:
        self.let_go()
        macros, self._at_mail = self._at_mail, {}
        self._message = MilterMessage(
            self._sink(),
            self._client_address,
            _decoded(macros.get(_LOGIN, b"")),
            _decoded(macros.get(_METHOD, b"")),
            _address(sender),
        )

    def _header(self, header: Header) -> None:
        if (message := self._message) is None:
            return
        name, value = header
        room = MOST_CONTENT - message.size
        message.size += len(name) + len(value) + len(b": \r\n")
        if room > 0:
            message.content.header(name[:room], value[: max(0, room - len(name))])

    def _body(self, data: bytes) -> None:
        if (message := self._message) is None or not data:
            return
        room = MOST_CONTENT - message.size
        message.size += len(data)
        if room > 0:
            message.content.body(data[:room])

    def _end(self, data: bytes) -> bytes:
        self._body(data)
        if self._message is None:
            return CONTINUE
        reply = answered(self._decide(self._message), self._may)
        self._message = None
        return reply

    def _signalled(self, signal: Signal) -> None:
        if signal is Signal.DATA:
            if self.queue_id:
                self._expect(self.queue_id)
        elif signal in {Signal.ABORT, Signal.QUIT, Signal.QUIT_NEW_CONNECTION}:
            self.let_go()
        if signal is Signal.QUIT_NEW_CONNECTION:
            self._client_address = ""
        self.is_over = signal is Signal.QUIT


def _address(typed: bytes) -> str:
    """Return an address without its angle brackets."""
    return _decoded(typed.removeprefix(b"<").removesuffix(b">"))


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
