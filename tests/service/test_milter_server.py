"""The milter on the wire."""

import socket
from typing import Any

import pytest
from protocol.packets import (
    ABORT,
    QUIT,
    connect,
    content,
    envelope,
    macros,
    offer,
    packet,
    replies,
    texts,
)
from protocol.streams import chunked
from service.log_lines import Lines
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from policyd.protocol.milter_reply import CONTINUE, Answer
from policyd.protocol.milter_session import MilterMessage
from policyd.protocol.reply import Verdict
from policyd.service import milter_server
from policyd.service.maillog import MailLog
from policyd.service.milter_server import MilterServer, MilterService

TCP = IPv4Address("TCP", "192.0.2.25", 40123)
UNIX = UNIXAddress("/run/x")
REFUSED = b"y", b"554 5.7.1 no\0"


class Wire(StringTransport):
    """A transport that remembers what its socket was asked for."""

    def __init__(self, peer: object) -> None:
        super().__init__(peerAddress=peer)
        self.options: list[object] = []

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.options.append(("keepalive", enabled))

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.options.append(("nodelay", enabled))

    def getHandle(self) -> "Wire":  # noqa: N802 - Twisted's name
        return self

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)


class Kept:
    """A sink that keeps the body, and fails when it is told to."""

    def __init__(self) -> None:
        self.bytes = b""

    def header(self, name: bytes, value: bytes) -> None:
        if name == b"X-Sink":
            raise RuntimeError(value)

    def body(self, data: bytes) -> None:
        self.bytes += data


class House:
    """A service that refuses the body "no" and has a fault with "fault", and its log."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.messages: list[MilterMessage[Kept]] = []
        log = MailLog(self.lines)  # type: ignore[arg-type]
        self.service = MilterService(Kept, self._decide, log)

    def _decide(self, message: MilterMessage[Kept]) -> Answer:
        self.messages.append(message)
        if message.content.bytes == b"fault":
            raise RuntimeError("a fault")
        return Answer(Verdict("REJECT", "", "no")) if message.content.bytes == b"no" else Answer()

    def connect(self, peer: Any = UNIX) -> tuple[MilterServer, Wire]:
        server = self.service.buildProtocol(peer)
        assert server is not None
        wire = Wire(peer)
        server.makeConnection(wire)  # type: ignore[arg-type]
        return server, wire


def test_a_session() -> None:
    server, wire = House().connect()
    data = offer() + connect() + envelope() + content(b"no") + ABORT + envelope() + content() + QUIT
    for chunk in chunked(data, 5):
        server.dataReceived(chunk)
    negotiated, *others = replies(wire.value())
    assert negotiated[0] == b"O"
    assert others == [REFUSED, (b"c", b"")]
    assert wire.disconnecting


def test_nothing_is_sent_until_there_is_something_to_say() -> None:
    server, wire = House().connect()
    server.dataReceived(offer())
    wire.clear()
    server.dataReceived(connect() + envelope())
    assert wire.value() == b""
    server.dataReceived(content())
    assert wire.value() == CONTINUE


def test_a_broken_peer_is_closed_and_no_other() -> None:
    house = House()
    (server, wire), (other, other_wire) = house.connect(TCP), house.connect()
    server.dataReceived(b"GET / HTTP/1.0\r\n\r\n")
    assert wire.disconnecting
    assert house.lines.fields == [
        {
            "event": "bad-request",
            "peer": "192.0.2.25:40123",
            "problem": "a packet of 1195725856 bytes",
        }
    ]
    other.dataReceived(offer() + envelope() + content(b"no"))
    assert replies(other_wire.value())[-1] == REFUSED


def test_what_was_answered_before_the_break_is_sent() -> None:
    server, wire = House().connect()
    server.dataReceived(offer() + envelope() + content() + packet(b"Z"))
    assert wire.value().endswith(CONTINUE)
    assert wire.disconnecting


def test_a_fault_in_deciding_passes_the_message_and_names_it() -> None:
    house = House()
    server, wire = house.connect()
    server.dataReceived(offer() + envelope(b"4E88") + content(b"fault"))
    server.dataReceived(ABORT + envelope(b"4E89") + content(b"no"))
    assert replies(wire.value())[1:] == [(b"c", b""), REFUSED]
    assert not wire.disconnecting
    (line,) = house.lines.fields
    assert (line["event"], line["task"]) == ("task-failed", "milter 4E88")
    assert "a fault" in line["error"]


def test_a_fault_in_the_sink_passes_the_message_and_is_told_once() -> None:
    house = House()
    server, wire = house.connect()
    broken = b"".join(texts(b"L", b"X-Sink", b"") for _ in range(3)) + content(b"no")
    server.dataReceived(offer() + envelope(b"4E88") + broken)
    assert replies(wire.value())[1:] == [(b"c", b"")]
    assert house.messages == []
    assert [line["task"] for line in house.lines.fields] == ["milter 4E88"]


def test_a_fault_where_a_reply_is_awaited_at_each_step() -> None:
    server, wire = House().connect()
    server.dataReceived(offer(2, 0, 0) + envelope() + texts(b"L", b"X-Sink", b""))
    # MAIL, RCPT, and the header
    assert [command for command, _ in replies(wire.value())] == [b"O", b"c", b"c", b"c"]


def test_an_answer_that_there_is_not_passes() -> None:
    house = House()
    house.service = MilterService(
        Kept,
        lambda _: Answer(Verdict("OK")),
        MailLog(house.lines),  # type: ignore[arg-type]
    )
    server, wire = house.connect()
    server.dataReceived(offer() + envelope() + content())
    assert wire.value().endswith(CONTINUE)
    assert house.lines.events == ["task-failed"]


def test_tcp_is_acknowledged_at_once() -> None:
    server, wire = House().connect(TCP)
    assert wire.options == [("keepalive", True), ("nodelay", True)]
    for _ in range(2):
        server.dataReceived(macros(b"C"))
        assert wire.options.pop() == (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def test_a_unix_socket_is_left_as_it_is() -> None:
    server, wire = House().connect(UNIX)
    server.dataReceived(macros(b"C"))
    assert wire.options == []


def test_too_many_connections_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milter_server, "MOST_CONNECTIONS", 2)
    house = House()
    server, _ = house.connect()
    house.connect()
    assert house.service.buildProtocol(UNIX) is None
    assert house.lines.fields == [
        {"event": "bad-request", "peer": "unix", "problem": "more than 2 milter connections"}
    ]
    server.connectionLost(Failure(ConnectionLost()))
    assert house.service.buildProtocol(UNIX) is not None


def test_a_lost_connection_leaves_nothing() -> None:
    house = House()
    server, _ = house.connect()
    server.dataReceived(offer() + envelope())
    server.connectionLost(Failure(ConnectionLost()))
    assert house.service.servers == set()
    assert house.messages == []


def test_nothing_is_read_while_nobody_reads_the_replies() -> None:
    server, wire = House().connect()
    assert wire.producer is server
    server.pauseProducing()
    assert wire.producerState == "paused"
    server.resumeProducing()
    assert wire.producerState == "producing"


def test_closing_closes_all() -> None:
    house = House()
    wires = [house.connect()[1] for _ in range(3)]
    house.service.close()
    assert all(wire.disconnecting for wire in wires)
