"""Mail over the wire, to SMTP servers of every kind; each test has a reactor of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from service.test_notices import ADMIN, World, parsed, what
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.protocols.basic import LineReceiver

from policyd.service import smtp_client
from policyd.service.notice_queue import FIRST_RETRY
from policyd.service.notices import HOLD
from policyd.service.smtp_reply import NoReplyError, Refused, RefusedError
from policyd.service.smtp_sending import SmtpSending


class Sink(LineReceiver):
    """An SMTP server that says what its factory has it say."""

    def connectionMade(self) -> None:  # noqa: N802
        self.in_data = False
        self.say("banner", "220 sink")

    def say(self, stage: str, usual: str) -> None:
        reply = self.factory.replies.get(stage, usual)
        self.factory.stages.append(stage)
        if reply == "hang":
            return
        if reply == "close":
            self.transport.abortConnection()
            return
        self.sendLine(reply.encode())

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        if self.in_data:
            if line == b".":
                self.in_data = False
                self.say("message", "250 kept")
            else:
                self.factory.data.append(line.removeprefix(b"."))
            return
        self.factory.commands.append(line)
        verb = line[:4].upper().decode()
        if verb == "DATA":
            self.in_data = True
            self.say("data", "354 go on")
        elif verb == "RCPT":
            self.say(line.decode(), "250 ok")
        else:
            self.say(verb, "250 ok")
            if verb == "QUIT" and "QUIT" not in self.factory.replies:
                self.transport.loseConnection()


class SinkFactory(Factory):
    protocol = Sink  # type: ignore[assignment]
    noisy = False

    def __init__(self, **replies: str) -> None:
        self.replies = {stage.replace("_", " "): reply for stage, reply in replies.items()}
        self.commands: list[bytes] = []
        self.stages: list[str] = []
        self.data: list[bytes] = []


class Wire:
    """A reactor that is not the global one, and runs until what is waited for has come."""

    def __init__(self) -> None:
        self.reactor = SelectReactor()
        self.reactor.callWhenRunning(lambda: None)

    def until(self, done: Deferred[Any], at_most: float = 20.0) -> Any:
        results: list[Any] = []
        done.addBoth(results.append)
        over = self.reactor.callLater(at_most, results.append, "too late")
        if not self.reactor.running:
            self.reactor.startRunning(installSignalHandlers=False)
        while not results:
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(self.reactor.timeout() if not results else 0)
        if over.active():
            over.cancel()
        assert results[0] != "too late"
        return results[0]

    def close(self) -> None:
        self.reactor.disconnectAll()
        for _ in range(10):  # what was closing already
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0)
        self.reactor.threadpool.stop()
        for end in (self.reactor.waker.i, self.reactor.waker.o):
            os.close(end)


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def send(wire: Wire, factory: SinkFactory, message: bytes = b"A: b\r\n\r\nc\r\n") -> Any:
    port = wire.reactor.listenTCP(0, factory, interface="127.0.0.1")
    sending = SmtpSending(wire.reactor, "policyd.local.example")
    done = sending(ADMIN, message, ("127.0.0.1", port.getHost().port))
    return wire.until(done)


def test_a_mail_goes_over_the_wire_as_it_is(wire: Wire) -> None:
    factory = SinkFactory()
    # dots at the beginning of lines, wherever Twisted cuts what it sends
    message = b"Subject: x\r\n\r\n" + b".\r\n..a\r\n." * 20_000 + b"\r\nend\r\n"
    assert send(wire, factory, message) == []
    assert factory.commands[:5] == [
        b"HELO policyd.local.example",
        b"MAIL FROM:<>",
        b"RCPT TO:<postmaster@local.example>",
        b"RCPT TO:<abuse@local.example>",
        b"DATA",
    ]
    assert b"\r\n".join(factory.data) + b"\r\n" == message


@pytest.mark.parametrize(
    ("replies", "error", "words"),
    [
        ({"banner": "554 go away"}, NoReplyError, "554 go away"),
        ({"banner": "421 later"}, NoReplyError, "421 later"),
        ({"banner": "nonsense"}, NoReplyError, "Invalid response"),
        ({"banner": "close"}, NoReplyError, "lost"),
        ({"HELO": "501 who?"}, NoReplyError, "501 who?"),
        ({"MAIL": "451 disk"}, RefusedError, "451 disk"),
        ({"MAIL": "close"}, NoReplyError, "lost"),
        (
            {
                "RCPT TO:<postmaster@local.example>": "550 a",
                "RCPT TO:<abuse@local.example>": "450 b",
            },
            RefusedError,
            "450 b",
        ),
        ({"data": "451 no"}, RefusedError, "451 no"),
        ({"message": "554 spam"}, RefusedError, "554 spam"),
        ({"message": "close"}, NoReplyError, "lost"),
    ],
)
def test_what_a_server_may_answer(
    wire: Wire, replies: dict[str, str], error: type[Exception], words: str
) -> None:
    factory = SinkFactory(**replies)
    result = send(wire, factory)
    assert isinstance(result.value, error), result
    assert words in str(result.value)


def test_one_recipient_is_refused_and_the_others_get_it(wire: Wire) -> None:
    factory = SinkFactory(**{"RCPT TO:<postmaster@local.example>": "550 5.1.1 unknown"})
    assert send(wire, factory) == [Refused("postmaster@local.example", 550, "5.1.1 unknown")]
    assert factory.data == [b"A: b", b"", b"c"]


def test_nobody_is_there(wire: Wire) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sending = SmtpSending(wire.reactor)
        result = wire.until(sending(ADMIN, b"x", taken.getsockname()))
    assert isinstance(result.value, NoReplyError)
    assert "no connection" in str(result.value)


@pytest.mark.parametrize("stage", ["banner", "HELO", "MAIL", "data", "message"])
def test_a_server_that_hangs_is_left(
    wire: Wire, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_client, "ALTOGETHER", 0.05)
    gone: Deferred[None] = Deferred()
    monkeypatch.setattr(Sink, "connectionLost", lambda *_: gone.callback(None))
    result = send(wire, SinkFactory(**{stage: "hang"}))
    assert isinstance(result.value, NoReplyError)
    assert "nothing was decided within" in str(result.value)
    wire.until(gone)


def test_a_server_that_does_not_say_goodbye_is_left(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_client, "_GOODBYE", 0.05)
    gone: Deferred[None] = Deferred()
    factory = SinkFactory(QUIT="hang")
    monkeypatch.setattr(Sink, "connectionLost", lambda *_: gone.callback(None))
    assert send(wire, factory) == []
    wire.until(gone)


def test_who_cancels_closes_the_connection(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: Deferred[None] = Deferred()
    monkeypatch.setattr(Sink, "connectionLost", lambda *_: gone.callback(None))
    factory = SinkFactory(message="hang")
    port = wire.reactor.listenTCP(0, factory, interface="127.0.0.1")
    sending = SmtpSending(wire.reactor)
    done = sending(ADMIN, b"x", ("127.0.0.1", port.getHost().port))

    def cancel_when_there() -> None:
        if "message" in factory.stages:
            done.cancel()
        else:
            wire.reactor.callLater(0.005, cancel_when_there)

    cancel_when_there()
    assert isinstance(wire.until(done).value, NoReplyError)
    wire.until(gone)


def test_a_notice_over_the_wire_from_down_to_up(wire: Wire) -> None:
    # the whole way: an incident, a server that is down, one that is up, the mail parsed back
    world = World()
    factory = SinkFactory()
    sending = SmtpSending(wire.reactor)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = taken.getsockname()
    on_its_way: list[Deferred[Any]] = []

    def answer(_: Sequence[str]) -> Deferred[Any]:
        on_its_way.append(Deferred())
        return on_its_way[-1]

    world.server.answer = answer
    incident = world.opened()
    incident.messages, incident.recipients = 2, 1652
    world.later(HOLD)
    for up in (False, True):
        if up:
            wire.reactor.listenTCP(where[1], factory, interface="127.0.0.1")
        (mail,) = world.notices.queue
        result = wire.until(sending(mail.recipients, mail.message, where))
        done = on_its_way[-1]
        if up:
            done.callback(result)
        else:
            done.errback(result)
        world.later(FIRST_RETRY)
    (sent,) = world.mails
    received = parsed(b"\r\n".join(factory.data) + b"\r\n")
    assert received.items() == sent.items()
    assert received.get_content() == sent.get_content()
    assert what(received) == "2 message(s) sent to 1652 recipient(s)"
    assert received["X-Policyd-Incident"] == "7KX3PQ2"
    assert world.ledger == {}


def test_the_mail_client_is_imported_when_it_is_needed_and_not_before() -> None:
    # twisted.mail.smtp asks the name service while it is imported
    code = (
        "import sys; import policyd.service.notices, policyd.service.smtp_sending; "
        "sys.exit('twisted.mail.smtp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
