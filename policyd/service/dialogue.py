"""What Postfix asks on one connection, and what it is answered: bytes in, bytes out.

The pure parser and the engine, joined; of transports it knows nothing. Compiled with the core
(setup.py), as it is on the way of every answer.
"""

from collections.abc import Callable, Sequence
from time import perf_counter

from policyd.aup.engine import Engine
from policyd.aup.event import Event
from policyd.aup.transaction import Connection
from policyd.clock import Instant
from policyd.protocol.parser import RequestParser
from policyd.protocol.reply import PASS, reply
from policyd.protocol.request import Request, Stage
from policyd.service.maillog import MailLog
from policyd.service.request_figures import RequestFigures


class Answering:
    """Answers requests: what they ask is decided by *engine*, at the time *now* gives.

    What happens is told to *happened*, which must not raise.
    """

    def __init__(
        self,
        engine: Engine,
        log: MailLog,
        now: Callable[[], Instant],
        happened: Callable[[Sequence[Event]], None],
    ) -> None:
        self.log = log
        self.figures = RequestFigures()
        self._happened = happened
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
        return answer

    def lost(self, connection: Connection) -> None:
        """Note that *connection* was closed."""
        self._engine.disconnect(connection, self._now())


class Dialogue:
    """The requests of one connection from *host*, answered by *answering*.

    *port* is that of the peer, empty if it has none. *is_over* tells that the peer has broken the
    protocol: nothing further is answered, and the connection is to be closed.
    """

    def __init__(self, answering: Answering, host: str, port: str) -> None:
        self.host = host
        self._answering = answering
        self._connection = Connection(host)
        self._parser = RequestParser()
        self._peer = f"{host}:{port}" if port else host
        self._said_bad = False
        answering.figures.connections += 1

    @property
    def is_over(self) -> bool:
        """Whether the peer has broken the protocol."""
        return self._parser.error is not None

    def received(self, data: bytes) -> bytes:
        """Return the replies to the requests that *data* completes."""
        requests = self._parser.feed(data)
        if len(requests) == 1:
            replies = self._answer(requests[0])
        else:
            replies = b"".join([self._answer(request) for request in requests])
        if self._parser.error is not None:
            self._say_bad(self._parser.error)
        return replies

    def lost(self) -> None:
        """Note that the connection was closed."""
        self._answering.lost(self._connection)

    def _answer(self, request: Request) -> bytes:
        if request.is_access_policy:
            return self._answering.answer(request, self._connection)
        if not self._said_bad:
            self._said_bad = True
            self._say_bad("not request=smtpd_access_policy")
        return reply(PASS)

    def _say_bad(self, problem: str) -> None:
        self._answering.figures.bad += 1
        self._answering.log.bad_request(self._peer, problem)
