"""The policy service on the wire."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aup.building import START, limit, policy
from protocol.streams import chunked
from service.log_lines import Lines
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from policyd.aup.decision import Decision
from policyd.aup.engine import Engine
from policyd.aup.event import Event
from policyd.aup.policy import Count
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.counting.distinct import Hasher
from policyd.protocol.reply import PASS, Verdict
from policyd.protocol.request import Request
from policyd.service.dialogue import Answering
from policyd.service.log_writer import Priority
from policyd.service.maillog import MailLog
from policyd.service.policy_server import _TOGETHER, PolicyServer, PolicyService

DUNNO = b"action=DUNNO\n\n"
TCP = IPv4Address("TCP", "192.0.2.25", 40123)


class Wire(StringTransport):
    """A transport that remembers each write, and what a TCP socket was asked for."""

    def __init__(self, peer: object) -> None:
        super().__init__(peerAddress=peer)
        self.writes: list[bytes] = []
        self.options: dict[str, bool] = {}

    def getHandle(self) -> "Wire":  # noqa: N802 - Twisted's name
        return self

    def send(self, data: bytes) -> int:
        self.write(data)
        return len(data)

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)


class TcpWire(Wire):
    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.options["keepalive"] = enabled

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.options["nodelay"] = enabled


class TurnEnds:
    """A reactor's clock on which every turn has one event."""

    def callLater(self, _seconds: float, call: Callable[[], None]) -> None:  # noqa: N802
        call()


class House:
    """A service, the engine behind it, its log, and a clock; a *turn* ends when that is advanced.

    Without it every event ends one.
    """

    def __init__(self, engine: Any = None, turn: Any = None) -> None:
        self.lines = Lines(Priority.INFO)
        self.seconds = 0.0
        rules = policy(limit("two", "account", count=Count.RECIPIENTS, max=2))
        self.engine = engine or Engine(rules, Hasher(b"x"))
        log = MailLog(self.lines)  # type: ignore[arg-type]

        def happened(events: Sequence[Event]) -> None:
            for event in events:
                log.happened(event)

        answering = Answering(self.engine, log, self.now, happened)
        self.service = PolicyService(answering, turn or TurnEnds())

    def now(self) -> Instant:
        return Instant(WallTime(START + self.seconds), MonotonicTime(1000 + self.seconds))

    def connect(self, peer: object = TCP) -> tuple[PolicyServer, Wire]:
        server = self.service.buildProtocol(peer)  # type: ignore[arg-type]
        assert isinstance(server, PolicyServer)
        wire = Wire(peer) if isinstance(peer, UNIXAddress) else TcpWire(peer)
        server.makeConnection(wire)  # type: ignore[arg-type]
        return server, wire


def asked(stage: str = "RCPT", recipient: str = "r@away.example", **said: object) -> bytes:
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": stage,
        "recipient": recipient,
        "instance": "1.1.1.0",
        "sasl_username": "alice",
        "recipient_count": int(stage != "RCPT"),
        "queue_id": "Q1" if stage != "RCPT" else "",
    } | said
    return "".join(f"{n}={v}\n" for n, v in attributes.items()).encode() + b"\n"


class Scripted:
    """An engine that gives each request a number and answers as it is told to."""

    def __init__(self, answer: Callable[[Request], Verdict]) -> None:
        self.seen: list[Request] = []
        self.lost: list[object] = []
        self._answer = answer

    def decide(self, request: Request, _connection: object, _now: Instant) -> Decision:
        self.seen.append(request)
        return Decision(self._answer(request))

    def disconnect(self, connection: object, _now: Instant) -> None:
        self.lost.append(connection)


def numbered(request: Request) -> Verdict:
    return Verdict("REJECT", "5.7.1", f"number {request['recipient']}")


def answers(numbers: Sequence[int]) -> list[bytes]:
    return [b"action=REJECT 5.7.1 number %d\n\n" % number for number in numbers]


# replies


def test_every_request_gets_one_reply() -> None:
    server, wire = House().connect()
    for count, request in enumerate((asked(), asked("END-OF-MESSAGE"), asked("VRFY")), start=1):
        server.dataReceived(request)
        assert wire.value() == DUNNO * count
    assert wire.writes == [DUNNO] * 3
    assert not wire.disconnecting


def test_replies_are_in_the_order_of_the_requests_and_one_write() -> None:
    server, wire = House(Scripted(numbered)).connect()
    server.dataReceived(b"".join(asked(recipient=str(number)) for number in range(50)))
    assert wire.writes == [b"".join(answers(range(50)))]


def test_a_reply_is_written_when_its_request_is_complete_and_not_before() -> None:
    server, wire = House(Scripted(numbered)).connect()
    data = b"".join(asked(recipient=str(number)) for number in range(3))
    lengths = []
    for byte in chunked(data, 1):
        server.dataReceived(byte)
        lengths.append(len(wire.writes))
    assert wire.writes == answers(range(3))
    ends = [length for length, before in zip(lengths[1:], lengths, strict=False) if length > before]
    assert ends == [1, 2, 3]
    assert lengths[len(data) // 3 - 2] == 0
    assert lengths[len(data) // 3 - 1] == 1


def test_nothing_is_written_where_nothing_is_complete() -> None:
    server, wire = House().connect()
    server.dataReceived(asked()[:-1])
    assert wire.writes == []


def test_an_idle_connection_stays_and_is_answered_later() -> None:
    house = House()
    server, wire = house.connect()
    server.dataReceived(asked())
    house.seconds += 5 * 3600
    house.engine.tidy(house.now(), 10_000)
    assert not wire.disconnecting
    server.dataReceived(asked("END-OF-MESSAGE"))
    assert wire.writes == [DUNNO, DUNNO]


def test_connections_do_not_disturb_each_other() -> None:
    house = House(Scripted(numbered))
    first, second = house.connect(), house.connect()
    for number, byte in enumerate(chunked(asked(recipient="1"), 1)):
        first[0].dataReceived(byte)
        second[0].dataReceived(asked(recipient="2") if number == 10 else b"")
    second[0].dataReceived(b"\n")
    assert first[1].writes == answers([1])
    assert second[1].writes == answers([2])
    assert second[1].disconnecting
    assert not first[1].disconnecting


def test_refusals_have_the_room_of_their_stage() -> None:
    server, wire = House(Scripted(lambda _: Verdict("REJECT", "5.7.1", "x" * 600))).connect()
    for stage in ("RCPT", "END-OF-MESSAGE", "VRFY"):
        server.dataReceived(asked(stage))
    lengths = [reply.count(b"x") for reply in wire.writes]
    assert lengths == [200, 450, 450]


# bad input


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"GET / HTTP/1.1\n\n", "a line that is no attribute"),
        (b"\n", "a request without attributes"),
        (b"a=" + b"x" * 20_000 + b"\n\n", "a line of more than 16384 bytes"),
        (b"a=b\n" * 101 + b"\n", "a request of more than 100 attributes"),
        (b"x" * 70_000, "a request of more than 65536 bytes"),
    ],
    ids=["http", "nothing", "long-line", "many-attributes", "endless"],
)
@pytest.mark.parametrize("size", [1, 10**6])
def test_a_bad_request_ends_the_connection_after_the_complete_ones_are_answered(
    bad: bytes, problem: str, size: int
) -> None:
    house = House(Scripted(numbered))
    server, wire = house.connect()
    data = asked(recipient="1") + asked(recipient="2") + bad
    for chunk in chunked(data, size):
        assert not wire.disconnecting
        server.dataReceived(chunk)
        if wire.disconnecting:
            break
    assert wire.value() == b"".join(answers([1, 2]))
    assert wire.disconnecting
    # no producer is left that would keep the connection open
    assert wire.producer is None
    assert len(house.engine.seen) == 2
    (fields,) = house.lines.fields
    assert fields["event"] == "bad-request"
    assert fields["peer"] == "192.0.2.25:40123"
    # an endless line is noticed at the first cap that it breaks
    assert fields["problem"] == problem or (bad.startswith(b"xx") and size == 1)


@pytest.mark.parametrize("attributes", [{"request": "junk"}, {"request": ""}])
def test_what_is_no_policy_request_is_passed_counts_nothing_and_is_logged_once(
    attributes: dict[str, str],
) -> None:
    house = House()
    server, wire = house.connect()
    for number in range(3):
        said = attributes | {"instance": f"{number}.1.1.0"}
        for stage in ("RCPT", "END-OF-MESSAGE"):
            server.dataReceived(asked(stage, recipient=f"r{number}@away.example", **said))
    assert wire.writes == [DUNNO] * 6
    assert not wire.disconnecting
    assert house.lines.events == ["bad-request"]
    assert house.lines.fields[0]["problem"] == "not request=smtpd_access_policy"
    # on another connection it is said again
    house.connect()[0].dataReceived(asked(**attributes))
    assert house.lines.events == ["bad-request", "bad-request"]
    # and there is still room for all that is allowed
    server, wire = house.connect()
    server.dataReceived(asked(instance="9.1.1.0"))
    server.dataReceived(asked(instance="9.1.1.0", recipient="s@away.example"))
    server.dataReceived(asked("END-OF-MESSAGE", instance="9.1.1.0", recipient_count=2))
    assert wire.writes == [DUNNO] * 3


# our own faults


def test_a_fault_while_deciding_lets_mail_flow_and_is_logged_with_its_traceback() -> None:
    def broken(request: Request) -> Verdict:
        if request["recipient"] == "2":
            raise KeyError("an unexpected\nfault")
        return numbered(request)

    house = House(Scripted(broken))
    server, wire = house.connect()
    server.dataReceived(b"".join(asked(recipient=str(number)) for number in (1, 2, 3)))
    assert wire.value() == answers([1])[0] + DUNNO + answers([3])[0]
    assert not wire.disconnecting
    ((priority, text),) = house.lines.written
    assert priority is Priority.ERROR
    assert "\n" not in text
    (fields,) = house.lines.fields
    assert fields["event"] == "deciding-failed"
    assert "KeyError" in fields["error"]
    assert "Traceback (most recent call last)" in fields["traceback"]
    assert ", in broken\n" in fields["traceback"]
    assert "'recipient': '2'" in fields["request"]


@pytest.mark.parametrize(
    "verdict",
    [Verdict("OK"), Verdict(""), Verdict("REJECT", "2.0.0", "x"), Verdict("250", "", "x")],
)
def test_an_answer_that_must_not_be_given_is_a_pass_and_a_fault(verdict: Verdict) -> None:
    house = House(Scripted(lambda _: verdict))
    server, wire = house.connect()
    server.dataReceived(asked())
    assert wire.writes == [DUNNO]
    assert house.lines.events == ["deciding-failed"]


def test_a_fault_of_the_log_lets_mail_flow_too() -> None:
    house = House()
    server, wire = house.connect()

    def broken(event: object) -> None:
        raise ValueError(event)

    house.service.answering.log.happened = broken  # type: ignore[method-assign]
    for number in range(4):
        server.dataReceived(asked(recipient=f"r{number}@away.example"))
    server.dataReceived(asked("END-OF-MESSAGE", recipient_count=4))
    assert wire.writes == [DUNNO] * 5
    assert house.lines.events == ["deciding-failed"]


# refusals, end to end


def test_a_refusal_is_sent_and_logged() -> None:
    house = House()
    server, wire = house.connect()
    for number in range(3):
        server.dataReceived(asked(recipient=f"r{number}@away.example"))
    server.dataReceived(asked("END-OF-MESSAGE", recipient_count=3, recipient=""))
    assert wire.writes[:3] == [DUNNO] * 3
    assert wire.writes[3] == b"action=521 5.7.1 Too much mail; 3 of 2\n\n"
    (fields,) = house.lines.fields
    assert (fields["event"], fields["limit"], fields["queue_id"]) == ("refused", "two", "Q1")


# connections


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        (TCP, "192.0.2.25:40123"),
        (IPv6Address("TCP", "2001:db8::25", 40123), "2001:db8::25:40123"),
        (UNIXAddress(None), "unix"),
        (UNIXAddress(b"/run/x"), "unix"),
    ],
)
def test_a_peer_is_known_by_its_host(peer: Any, shown: str) -> None:
    house = House()
    server, _ = house.connect(peer)
    assert server.host == getattr(peer, "host", "unix")
    server.dataReceived(b"\n")
    assert house.lines.fields[0]["peer"] == shown


def test_a_tcp_connection_notices_a_peer_that_is_gone_and_does_not_wait_to_send() -> None:
    assert House().connect()[1].options == {"keepalive": True, "nodelay": True}
    assert House().connect(UNIXAddress(None))[1].options == {}


def test_a_peer_that_does_not_read_is_not_read_from() -> None:
    server, wire = House().connect()
    assert wire.producer is server
    assert wire.streaming is True
    assert wire.producerState == "producing"
    wire.producer.pauseProducing()
    assert wire.producerState == "paused"
    wire.producer.resumeProducing()
    assert wire.producerState == "producing"
    # when the connection is lost the transport says so, and that is no reason to do anything
    wire.producer.stopProducing()
    assert wire.producerState == "producing"
    assert not wire.disconnecting


# turns of the reactor


def test_what_is_answered_in_one_turn_is_sent_at_its_end() -> None:
    turn = Clock()
    house = House(turn=turn)
    (first, told), (second, also_told) = house.connect(), house.connect()
    first.dataReceived(asked())
    second.dataReceived(asked())
    assert told.writes == also_told.writes == []
    turn.advance(0)
    assert told.writes == also_told.writes == [DUNNO]
    assert not turn.getDelayedCalls()
    second.dataReceived(asked())
    turn.advance(0)
    assert also_told.writes == [DUNNO] * 2


@pytest.mark.parametrize(("taken", "rest"), [(0, DUNNO), (5, DUNNO[5:]), (None, DUNNO)])
def test_what_a_socket_does_not_take_is_the_transports(taken: int | None, rest: bytes) -> None:
    sent: list[bytes] = []

    def send(data: bytes) -> int:
        sent.append(data)
        if taken is None:
            raise BlockingIOError
        return taken

    server, wire = House().connect()
    wire.send = send  # type: ignore[method-assign]
    server.dataReceived(asked())
    assert (sent, wire.writes) == ([DUNNO], [rest])
    server.dataReceived(asked())  # after the rest, and not before it
    assert (sent, wire.writes) == ([DUNNO], [rest, DUNNO])


def test_none_waits_for_more_than_some_others() -> None:
    turn = Clock()
    house = House(turn=turn)
    connections = [house.connect() for _ in range(_TOGETHER + 1)]
    for server, _ in connections:
        server.dataReceived(asked())
    assert [len(wire.writes) for _, wire in connections] == [1] * _TOGETHER + [0]
    turn.advance(0)
    assert [len(wire.writes) for _, wire in connections] == [1] * (_TOGETHER + 1)


def test_what_was_answered_is_sent_before_the_connection_ends() -> None:
    turn = Clock()
    house = House(turn=turn)
    server, wire = house.connect()
    server.dataReceived(asked() + b"no attribute\n\n")
    assert (wire.writes, wire.disconnecting) == ([DUNNO], True)
    house = House(turn=turn)
    server, wire = house.connect()
    server.dataReceived(asked())
    house.service.close()
    assert (wire.writes, wire.disconnecting) == ([DUNNO], True)
    turn.advance(0)
    assert wire.writes == [DUNNO]


def test_a_connection_that_is_lost_in_the_turn_holds_up_no_other() -> None:
    turn = Clock()
    house = House(turn=turn)
    (gone, lost), (server, wire) = house.connect(), house.connect()
    lost.send = lambda _: pytest.fail("there is no socket any more")  # type: ignore[method-assign]
    gone.dataReceived(asked())
    server.dataReceived(asked())
    lost.connected = False
    gone.connectionLost()
    turn.advance(0)
    assert wire.writes == [DUNNO]


def test_the_engine_is_told_of_a_lost_connection() -> None:
    engine = Scripted(lambda _: PASS)
    house = House(engine)
    server, _ = house.connect()
    other, _ = house.connect()
    assert house.service.servers == {server, other}
    server.connectionLost(Failure(ConnectionLost()))
    assert engine.lost == [server._dialogue._connection]
    assert house.service.servers == {other}


def test_a_transaction_comes_back_on_another_connection_within_its_time() -> None:
    house = House()
    for wait, count in ((4, 1), (6, 0)):
        server, _ = house.connect()
        server.dataReceived(asked(instance=f"{wait}.1.1.0"))
        server.connectionLost()
        house.seconds += wait
        house.engine.tidy(house.now(), 100)
        assert len(house.engine.transactions) == count
        if count:
            again, wire = house.connect()
            again.dataReceived(asked("END-OF-MESSAGE", instance=f"{wait}.1.1.0"))
            assert wire.writes == [DUNNO]


def test_hosts_have_transactions_of_their_own_also_under_one_name() -> None:
    house = House()
    peers = (TCP, IPv4Address("TCP", "192.0.2.26", 1), UNIXAddress(None), UNIXAddress(None))
    for peer in peers:
        house.connect(peer)[0].dataReceived(asked())
    assert len(house.engine.transactions) == 3


def test_closing_the_service_closes_every_connection() -> None:
    house = House()
    wires = [house.connect()[1] for _ in range(3)]
    house.service.close()
    assert all(wire.disconnecting for wire in wires)
    assert all(wire.producer is None for wire in wires)
