"""The admin socket's protocol: what goes over it, bad requests, bounds, and slow readers."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
from service.log_lines import Lines
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from policyd import __version__
from policyd.service.admin_request import Answer, Code, Command, CommandError, Request
from policyd.service.admin_socket import (
    IDLE,
    LONGEST_REQUEST,
    MOST_CONNECTIONS,
    AdminServer,
    AdminService,
    peer_uid,
)
from policyd.service.maillog import MailLog

GREETING = {"policyd": __version__, "protocol": 1}


class Wire(StringTransport):
    """A transport with a real socket at its end, and a peer who reads when the test says so."""

    def __init__(self, handle: socket.socket) -> None:
        super().__init__()
        self._handle = handle

    def getHandle(self) -> socket.socket:  # noqa: N802 - Twisted's name
        return self._handle

    def read(self) -> list[dict[str, Any]]:
        """Take in what there is, and what comes of that; return the lines."""
        while self.producer is not None:
            self.producer.resumeProducing()
        lines = [json.loads(line) for line in self.value().splitlines()]
        self.clear()
        return lines


class House:
    """A service with commands that show what it does with them."""

    def __init__(self, handle: socket.socket) -> None:
        self.lines = Lines()
        self.clock = Clock()
        self.asked: list[Request] = []
        self.waiting: Deferred[Answer] = Deferred()
        self._handle = handle
        commands = {
            "echo": Command(self._echo, needs=("text",), takes=("more",), flags=("loud",)),
            "list": Command(self._list, needs=("number",)),
            "wait": Command(self._wait),
            "refuse": Command(self._refuse),
            "fail": Command(lambda _: 1 / 0),  # type: ignore[arg-type,return-value]
            "break": Command(lambda _: Answer({}, "parts", self._broken())),
        }
        self.service = AdminService(commands, MailLog(self.lines), self.clock)  # type: ignore[arg-type]

    def connect(self) -> tuple[AdminServer, Wire]:
        server = self.service.buildProtocol(None)  # type: ignore[arg-type]
        assert isinstance(server, AdminServer)
        wire = Wire(self._handle)
        server.makeConnection(wire)  # type: ignore[arg-type]
        return server, wire

    def ask(self, line: bytes) -> list[dict[str, Any]]:
        """Return what one connection answers to *line*; the clock goes on as long as needed."""
        server, wire = self.connect()
        server.dataReceived(line)
        answers = wire.read()
        while self.clock.getDelayedCalls() and self.clock.getDelayedCalls()[0].getTime() == 0:
            self.clock.advance(0)
            answers += wire.read()
        assert answers.pop(0) == GREETING
        return answers

    def _echo(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer({"text": request["text"], "more": request["more"]})

    async def _wait(self, _: Request) -> Answer:
        return await self.waiting

    def _list(self, request: Request) -> Answer:
        return Answer({"more": 0}, "numbers", ({"n": n} for n in range(int(request["number"]))))

    def _refuse(self, _: Request) -> Answer:
        raise CommandError(Code.NOT_ALLOWED, "no")

    def _broken(self) -> Iterator[dict[str, int]]:
        yield from ({"n": n} for n in range(100))
        raise ZeroDivisionError


@pytest.fixture
def house() -> Iterator[House]:
    here, there = socket.socketpair()
    with here, there:
        yield House(here)


def line(command: str, **fields: object) -> bytes:
    return json.dumps({"command": command, **fields}).encode() + b"\n"


def error(answers: Iterable[dict[str, Any]]) -> tuple[str, str]:
    (answer,) = answers
    assert answer["ok"] is False
    assert set(answer) == {"ok", "error"}
    return answer["error"]["code"], answer["error"]["message"]


# requests and answers


def test_a_request_has_its_answer(house: House) -> None:
    answers = house.ask(line("echo", text="hällo", more=None))
    assert answers == [{"ok": True, "text": "hällo", "more": ""}]


def test_byte_by_byte_it_is_the_same(house: House) -> None:
    server, wire = house.connect()
    for byte in line("echo", text="slow"):
        server.dataReceived(bytes([byte]))
    assert wire.read()[1:] == [{"ok": True, "text": "slow", "more": ""}]


def test_several_requests_are_answered_in_turn(house: House) -> None:
    answers = house.ask(b"".join(line("echo", text=str(n)) for n in range(1, 500)))
    assert [answer["text"] for answer in answers] == [str(n) for n in range(1, 500)]


def test_a_list_is_sent_in_parts(house: House) -> None:
    for number in (0, 1, 49, 50, 51, 10_000):
        (answer,) = house.ask(line("list", number=str(number)))
        assert answer == {"ok": True, "more": 0, "numbers": [{"n": n} for n in range(number)]}
    server, wire = house.connect()
    server.dataReceived(line("list", number="10000"))
    assert len(wire.value()) < 1000  # nothing is made before there is room for it
    server.resumeProducing()
    server.resumeProducing()
    assert len(wire.value()) < 2000


def test_while_a_request_waits_nothing_more_is_read(house: House) -> None:
    server, wire = house.connect()
    server.dataReceived(line("wait") + line("echo", text="after"))
    assert wire.producerState == "paused"
    house.clock.advance(10 * IDLE)  # the disk may be slow
    assert wire.read() == [GREETING]
    house.waiting.callback(Answer({"n": 1}))
    assert wire.read() == [{"ok": True, "n": 1}]
    assert wire.producerState == "producing"
    house.clock.advance(0)
    assert wire.read() == [{"ok": True, "text": "after", "more": ""}]


def test_who_is_gone_gets_no_answer(house: House) -> None:
    server, wire = house.connect()
    server.dataReceived(line("wait"))
    server.connectionLost()
    house.waiting.callback(Answer())
    assert wire.read() == [GREETING]
    assert house.clock.getDelayedCalls() == []
    assert house.service.servers == set()


def test_errors_are_answers(house: House) -> None:
    assert error(house.ask(line("refuse"))) == ("not-allowed", "no")
    assert error(house.ask(line("nothing"))) == ("unknown-command", "there is no command 'nothing'")


def test_a_fault_of_ours_is_logged_and_the_connection_goes_on(house: House) -> None:
    first, second = house.ask(line("fail") + line("echo", text="next"))
    assert error([first]) == ("fault", "policyd has a fault; its log says more")
    assert second["ok"]
    (logged,) = house.lines.fields
    assert (logged["event"], logged["task"]) == ("task-failed", "admin")
    assert "ZeroDivisionError" in logged["traceback"]


def test_a_fault_in_the_middle_of_an_answer_ends_the_connection(house: House) -> None:
    server, wire = house.connect()
    server.dataReceived(line("break"))
    for _ in range(4):  # the beginning, twice fifty entries, and the fault
        assert not wire.disconnected
        server.resumeProducing()
    assert wire.disconnected
    assert house.lines.events == ["task-failed"]


def test_who_asks_is_known(house: House) -> None:
    house.ask(line("echo", text="x", **{"as": "bob"}))
    asker = house.asked[0].asker
    assert asker.uid == os.getuid()
    assert asker.on_behalf == ("bob" if os.getuid() == 0 else "")


def test_only_root_speaks_for_others() -> None:
    asked: list[Request] = []
    command = Command(lambda request: asked.append(request) or Answer())  # type: ignore[func-returns-value]
    assert command.request({"command": "x", "as": "bob"}, 0).asker == (0, "bob")
    assert command.request({"command": "x", "as": "bob"}, 1000).asker == (1000, "")
    assert command.request({"command": "x"}, 0).asker == (0, "")


def test_the_user_at_the_other_end() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert peer_uid(here) == os.getuid()


# fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "text is missing"),
        ({"text": ""}, "text is missing"),
        ({"text": None}, "text is missing"),
        ({"text": " \t\n"}, "text is missing"),
        ({"text": 1}, "text is no text"),
        ({"text": ["x"]}, "text is no text"),
        ({"text": {"x": "y"}}, "text is no text"),
        ({"text": True}, "text is no text"),
        ({"text": "a\0b"}, "text has characters that do not print"),
        ({"text": "a\x1b[31mb"}, "text has characters that do not print"),
        ({"text": "a\u202eb"}, "text has characters that do not print"),
        ({"text": "\udc80"}, "text has characters that do not print"),
        ({"text": "x" * 501}, "text is longer than 500 characters"),
        ({"text": "x", "loud": "yes"}, "loud is neither true nor false"),
        ({"text": "x", "loud": 1}, "loud is neither true nor false"),
        ({"text": "x", "laud": True}, "there is no field 'laud' here"),
        ({"text": "x", "y" * 100: True}, f"there is no field '{'y' * 50}' here"),
    ],
)
def test_bad_fields_are_told(house: House, fields: dict[str, object], message: str) -> None:
    first, second = house.ask(line("echo", **fields) + line("echo", text="x", loud=False))
    assert error([first]) == ("usage", message)
    assert second["ok"]  # a mistake in a request is no reason to end the connection
    assert len(house.asked) == 1


def test_white_space_is_made_spaces(house: House) -> None:
    (answer,) = house.ask(line("echo", text=" a\n b\u00a0c\t"))
    assert answer["text"] == "a b c"


# what is no request

BAD = [
    *(b"\n", b" \n", b"hello\n", b"{\n", b"[]\n", b"1\n", b"null\n", b'"incidents"\n'),
    *(b"{}\n", b'{"command": null}\n', b'{"command": ["echo"]}\n', b'{"commands": "echo"}\n'),
    *(b'{"command": "echo", "text": NaN}\n', b'{"command": "echo"} {}\n', b"\0\0\0\n"),
    *(b"\xff\xfe{\0}\0\n", b'{"command": "\xff"}\n', b"GET / HTTP/1.1\r\n\r\n"),
    *(b"[" * 60_000 + b"\n", b'{"a":' * 10_000 + b"\n", b'{"command": ' + b"9" * 60_000 + b"}\n"),
    *(b"x" * (LONGEST_REQUEST + 1), b"x" * (LONGEST_REQUEST + 1) + b"\n", b"\0" * 200_000),
]


@pytest.mark.parametrize("data", BAD, ids=lambda data: f"{data[:12]!r}-{len(data)}")
def test_what_is_no_request_is_told_and_ends_the_connection(house: House, data: bytes) -> None:
    server, wire = house.connect()
    server.dataReceived(data)
    greeting, *answers = wire.read()
    assert greeting == GREETING
    code, message = error(answers)
    assert code == "usage"
    assert "request" in message
    assert wire.disconnecting
    server.dataReceived(line("echo", text="too late"))
    assert wire.read() == []
    assert house.asked == []
    assert house.lines.events == []  # nothing that a stranger says fills the log


def test_the_longest_request_is_taken(house: House) -> None:
    request = line("echo", text="x")[:-1]
    padded = request + b" " * (LONGEST_REQUEST - len(request)) + b"\n"
    (answer,) = house.ask(padded)
    assert answer["ok"]
    assert error(house.ask(b" " + padded))[0] == "usage"


# bounds


def test_there_are_so_many_connections_and_no_more(house: House) -> None:
    connected = [house.connect() for _ in range(MOST_CONNECTIONS)]
    server, wire = house.connect()
    assert error(wire.read()) == ("busy", "there are 50 connections already; try again")
    assert wire.disconnecting
    server.connectionLost()
    connected[0][0].connectionLost()
    _, wire = house.connect()
    assert wire.read() == [GREETING]


def test_who_asks_nothing_is_let_go(house: House) -> None:
    server, wire = house.connect()
    house.clock.advance(IDLE - 1)
    server.dataReceived(line("echo", text="x"))
    wire.read()
    house.clock.advance(IDLE - 1)
    assert not wire.disconnected
    server.dataReceived(b"half a request")  # is none
    house.clock.advance(2)
    assert wire.disconnected


def test_who_does_not_read_is_let_go(house: House) -> None:
    server, wire = house.connect()
    server.dataReceived(line("list", number="10000"))
    for _ in range(5):
        house.clock.advance(IDLE - 1)
        server.resumeProducing()
    assert not wire.disconnected
    house.clock.advance(IDLE + 1)
    assert wire.disconnected


def test_at_the_end_what_is_under_way_is_answered(house: House) -> None:
    idle, busy = house.connect(), house.connect()
    busy[0].dataReceived(line("wait") + line("echo", text="too late"))
    house.service.close()
    assert idle[1].disconnecting
    assert not busy[1].disconnecting
    house.waiting.callback(Answer())
    assert busy[1].read() == [GREETING, {"ok": True}]
    house.clock.advance(0)
    assert busy[1].disconnecting
    assert house.asked == []


def test_who_says_no_more_gets_the_answer_all_the_same(house: House) -> None:
    server, wire = house.connect()
    server.dataReceived(line("wait"))
    server.readConnectionLost()
    server.writeConnectionLost()
    house.waiting.callback(Answer())
    assert wire.read() == [GREETING, {"ok": True}]
    assert wire.disconnecting


# a real socket and a real reactor

SERVER = """
import sys
from pathlib import Path
from twisted.internet import reactor
from policyd.service.addresses import UnixAddress
from policyd.service.admin_request import Answer, Command
from policyd.service.admin_socket import AdminService
from policyd.service.listeners import listen

many = Answer({}, "numbers", [{"n": n, "text": "x" * 1000} for n in range(10_000)])
commands = {"many": Command(lambda _: many), "one": Command(lambda _: Answer({"n": 1}))}
listen(reactor, UnixAddress(Path(sys.argv[1])), AdminService(commands, None, reactor))
print("ready", flush=True)
reactor.run()
"""


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "admin"
        command = [sys.executable, "-c", SERVER, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield path
            process.terminate()


class Client:
    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")
        assert json.loads(self.lines.readline()) == GREETING

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.socket.close()

    def ask(self, command: str) -> dict[str, Any]:
        self.socket.sendall(line(command))
        answer = json.loads(self.lines.readline())
        assert isinstance(answer, dict)
        return answer


def test_two_clients_at_once(path: Path) -> None:
    with Client(path) as first, Client(path) as second:
        for _ in range(20):
            assert first.ask("one") == second.ask("one") == {"ok": True, "n": 1}


def test_who_reads_slowly_holds_up_nobody(path: Path) -> None:
    with Client(path) as slow, Client(path) as other:
        slow.socket.sendall(line("many") * 3)
        for _ in range(50):
            assert other.ask("one")["n"] == 1
        for _ in range(3):
            answer = json.loads(slow.lines.readline())
            assert [entry["n"] for entry in answer["numbers"]] == list(range(10_000))


def test_bad_clients_do_no_harm_to_others(path: Path) -> None:
    with Client(path) as good:
        for data in BAD:
            with Client(path) as bad:
                bad.socket.sendall(data)
                assert error([json.loads(bad.lines.readline())])[0] == "usage"
            assert good.ask("one")["ok"]


def test_a_client_that_says_all_at_once_and_no_more(path: Path) -> None:
    with Client(path) as client:
        client.socket.sendall(line("one") + line("many") + line("one"))
        client.socket.shutdown(socket.SHUT_WR)
        answers = [json.loads(told) for told in client.lines]
        assert [len(answer) for answer in answers] == [2, 2, 2]


def test_clients_that_vanish(path: Path) -> None:
    for command in (line("many"), line("many")[:5], b""):
        with Client(path) as client:
            client.socket.sendall(command)
    with Client(path) as client:
        assert client.ask("one")["ok"]


def test_a_crowd_is_told_that_there_is_no_room(path: Path) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(path)) for _ in range(MOST_CONNECTIONS)]
        with socket.socket(socket.AF_UNIX) as one_more:
            one_more.settimeout(30)
            one_more.connect(str(path))
            assert error([json.loads(one_more.makefile().readline())])[0] == "busy"
        assert all(client.ask("one")["ok"] for client in clients)
