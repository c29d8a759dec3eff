"""A milter and a policy service in one process, which tell in what order they are asked.

    python tests/e2e/milter_program.py HEADER POLICY_PORT MILTER...

A message is answered as its HEADER says, in JSON: a verb, a status, a text, headers to be added;
or "crash". The end of a message from ``refused@...`` is refused by the policy service. Each step is
a line of JSON on standard output. A MILTER is a port on loopback, or the path of a socket.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from policyd.protocol.milter import Body, EndOfMessage, Event
from policyd.protocol.milter_reply import Answer
from policyd.protocol.milter_session import MilterMessage, MilterSession
from policyd.protocol.parser import RequestParser
from policyd.protocol.reply import PASS, Verdict, reply
from policyd.service.addresses import TcpAddress, UnixAddress
from policyd.service.listeners import listen
from policyd.service.log_writer import Priority
from policyd.service.maillog import MailLog
from policyd.service.milter_server import MilterService


def tell(**said: Any) -> None:
    sys.stdout.write(f"{json.dumps(said)}\n")
    sys.stdout.flush()


def text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


class Content:
    """A sink that keeps all it gets."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.bytes = bytearray()

    def header(self, name: bytes, value: bytes) -> None:
        self.headers.append((text(name), text(value)))

    def body(self, data: bytes) -> None:
        self.bytes += data


class Watched(MilterService[Content]):
    """The service as it is; each event is told before it is taken in."""

    def __init__(self, header: str) -> None:
        super().__init__(Content, self._answered, MailLog(ToldLog()))  # type: ignore[arg-type]
        self._header = header

    def answer(self, session: MilterSession[Content], event: Event) -> bytes:
        # the bytes of a large body would only make the transcript long
        said = len(event.data) if isinstance(event, (Body, EndOfMessage)) else str(event)
        name = type(event).__name__
        said_by = event.name if name == "Signal" else name
        tell(milter=said_by, session=id(session), said=said)
        return super().answer(session, event)

    def _answered(self, message: MilterMessage[Content]) -> Answer:
        content = message.content
        tell(
            message=message.queue_id,
            sender=message.sender,
            recipients=message.recipients,
            recipient_count=message.recipient_count,
            sasl_username=message.sasl_username,
            sasl_method=message.sasl_method,
            client_address=message.client_address,
            size=message.size,
            headers=content.headers,
            body=text(content.bytes[:2000]),
            body_size=len(content.bytes),
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        )
        asked = dict(content.headers).get(self._header)
        if asked is None:
            return Answer()
        if asked == "crash":
            raise RuntimeError("as it was told")
        wanted = json.loads(asked)
        verdict = Verdict(*wanted.get("verdict", PASS))
        return Answer(verdict, tuple(map(tuple, wanted.get("headers", ()))))


class Policy(Protocol):
    """A policy service that refuses one sender."""

    def __init__(self) -> None:
        self._parser = RequestParser()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        for request in self._parser.feed(data):
            state, queue_id = request["protocol_state"], request["queue_id"]
            tell(policy=state, queue_id=queue_id, login=request["sasl_username"])
            refused = state == "END-OF-MESSAGE" and request["sender"].startswith("refused@")
            self.transport.write(reply(Verdict("REJECT", "5.7.1", "No") if refused else PASS))


class ToldLog:
    """Takes the place of a LogWriter."""

    least = Priority.DEBUG
    lost = 0

    def write(self, _: Priority, line: str) -> None:
        tell(log=line)


def main(header: str, policy_port: str, *milters: str) -> None:
    service = Watched(header)
    if int(policy_port):
        listen(reactor, TcpAddress("127.0.0.1", int(policy_port)), Factory.forProtocol(Policy))
    for where in milters:
        port = where.isdecimal()
        address = TcpAddress("127.0.0.1", int(where)) if port else UnixAddress(Path(where), 0o666)
        listen(reactor, address, service)
    reactor.callWhenRunning(tell, started=True)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
