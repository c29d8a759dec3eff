"""The policy service on the wire: the pure parser and the engine, joined to a transport."""

from collections.abc import Callable, Sequence
from time import perf_counter

from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure

from policyd.aup.engine import Engine
from policyd.aup.event import Event
from policyd.aup.transaction import Connection
from policyd.clock import Instant
from policyd.protocol.parser import RequestParser
from policyd.protocol.reply import PASS, reply
from policyd.protocol.request import Request, Stage
from policyd.service.maillog import MailLog
from policyd.service.postfix_connection import PostfixConnection
from policyd.service.request_figures import RequestFigures
from policyd.service.wiring_counts import WiringCounts


class PolicyServer(PostfixConnection):
    """One connection on which Postfix asks."""

    factory: "PolicyService"

    def __init__(self) -> None:
        self._parser = RequestParser()
        self._said_bad = False
        self._send_some: Callable[[bytes], object] | None = None

    def connectionMade(self) -> None:
        """Get to know who asks."""
        super().connectionMade()
        self._send_some = getattr(self.transport, "writeSomeData", None)
        self._connection = Connection(self.transport.getPeer().host if self.is_tcp else "unix")
        self.factory.servers.add(self)
        self.factory.wiring.connections += 1

    def dataReceived(self, data: bytes) -> None:
        """Answer the requests that *data* completes."""
        requests = self._parser.feed(data)
        if len(requests) == 1:
            self._send(self._answer(requests[0]))
        elif requests:
            self._send(b"".join(map(self._answer, requests)))
        if self._parser.error is not None:
            self._say_bad(self._parser.error)
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Let go of the transaction."""
        self.factory.servers.discard(self)
        self.factory.lost(self._connection)

    @property
    def host(self) -> str:
        """The host that asks."""
        return self._connection.host

    def _send(self, replies: bytes) -> None:
        """Send at once, which spares the reactor three system calls a reply.

        A peer that does not take all of it gets the rest, and what comes later, when it can.
        """
        if self._send_some is not None:
            sent = self._send_some(replies)
            if sent == len(replies):
                return
            self._send_some = None
            if isinstance(sent, int):  # and not an error, which the transport will meet again
                replies = replies[sent:]
        self.transport.write(replies)

    def _answer(self, request: Request) -> bytes:
        if request.is_access_policy:
            return self.factory.answer(request, self._connection)
        if not self._said_bad:
            self._said_bad = True
            self._say_bad("not request=smtpd_access_policy")
        return reply(PASS)

    def _say_bad(self, problem: str) -> None:
        port = f":{self.transport.getPeer().port}" if self.is_tcp else ""
        self.factory.figures.bad += 1
        self.factory.log.bad_request(f"{self._connection.host}{port}", problem)


class PolicyService(ServerFactory):
    """All policy connections: what they ask is decided by *engine*, at the time *now* gives.

    What happens is told to *happened*, which must not raise.
    """

    protocol = PolicyServer  # type: ignore[assignment]
    noisy = False

    def __init__(
        self,
        engine: Engine,
        log: MailLog,
        now: Callable[[], Instant],
        happened: Callable[[Sequence[Event]], None],
    ) -> None:
        self.log = log
        self._happened = happened
        self.servers: set[PolicyServer] = set()
        self.figures = RequestFigures()
        self.wiring = WiringCounts()
        self._engine = engine
        self._now = now

    def answer(self, request: Request, connection: Connection) -> bytes:
        """Return the reply to *request*; our own faults end here, and mail flows."""
        begun = perf_counter()
        try:
            verdict, events = self._engine.decide(request, connection, self._now())
            if events:
                self._happened(events)
            answer = reply(verdict, request.stage or Stage.END_OF_MESSAGE)
        except Exception as error:  # noqa: BLE001 - the one place
            self.log.deciding_failed(request, error)
            self.figures.faults += 1
            verdict, answer = PASS, reply(PASS)
        self.figures.answered(request, verdict.verb, perf_counter() - begun)
        self.wiring.asked(request)
        return answer

    def lost(self, connection: Connection) -> None:
        """Note that *connection* was closed."""
        self._engine.disconnect(connection, self._now())

    def hosts(self) -> list[str]:
        """Return the hosts that ask at present, each perhaps several times."""
        return [server.host for server in self.servers]

    def close(self) -> None:
        """Close all connections, so that nothing more is counted."""
        for server in tuple(self.servers):
            server.close()
