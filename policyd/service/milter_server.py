"""The milter on the wire: the pure parser and session, joined to a transport."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure

from policyd.protocol.milter import Event, MilterParser
from policyd.protocol.milter_reply import Answer
from policyd.protocol.milter_session import MilterMessage, MilterSession, SinkT, ignore
from policyd.service.maillog import MailLog
from policyd.service.postfix_connection import PostfixConnection

MOST_CONNECTIONS: Final = 1000
"""One for each SMTP session; Postfix has 100 at a time, unless it is told otherwise."""


class MilterServer(PostfixConnection):
    """One connection on which Postfix shows what is sent in one SMTP session."""

    factory: "MilterService[Any]"

    def __init__(self, session: MilterSession[Any]) -> None:
        self._parser = MilterParser()
        self._session = session

    def connectionMade(self) -> None:
        """Be one of those that are served."""
        super().connectionMade()
        self.factory.servers.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Answer the events that *data* completes."""
        replies = [self._answer(event) for event in self._parser.feed(data)]
        if reply := b"".join(replies):
            self.transport.write(reply)
        if self._parser.error is not None:
            self.factory.log.bad_request(_name(self.transport.getPeer()), self._parser.error)
            self.close()
        elif self._session.is_over:
            self.close()
        elif self.is_tcp:
            # Postfix sends a small packet only when the last one is acknowledged, which the kernel
            # would put off by 40 ms as there is no reply to send it with; it forgets this soon
            self.transport.getHandle().setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Let go of the message."""
        self.factory.servers.discard(self)
        self._session.let_go()

    def _answer(self, event: Event) -> bytes:
        return self.factory.answer(self._session, event)


class MilterService(ServerFactory, Generic[SinkT]):
    """All milter connections: *sink* makes what takes a message's content, *decide* answers it.

    *expect* and *drop* are told the queue ids of messages that come, and of those that come to
    nothing.
    """

    noisy = False

    def __init__(
        self,
        sink: Callable[[], SinkT],
        decide: Callable[[MilterMessage[SinkT]], Answer],
        log: MailLog,
        expect: Callable[[str], None] = ignore,
        drop: Callable[[str], None] = ignore,
    ) -> None:
        self.log = log
        self.servers: set[MilterServer] = set()
        self.faults = 0
        self._session = partial(MilterSession[SinkT], sink, decide, expect, drop)

    def buildProtocol(self, addr: IAddress | None) -> MilterServer | None:  # type: ignore[override]
        """Return what serves the connection from *addr*; with None it is closed."""
        if len(self.servers) >= MOST_CONNECTIONS:
            self.log.bad_request(_name(addr), f"more than {MOST_CONNECTIONS} milter connections")
            return None
        server = MilterServer(self._session())
        server.factory = self
        return server

    def answer(self, session: MilterSession[SinkT], event: Event) -> bytes:
        """Return the reply to *event*; our own faults end here, and mail flows."""
        try:
            return session.take(event)
        except Exception:  # noqa: BLE001 - the one place
            self.faults += 1
            name = f"milter {session.queue_id}".rstrip()
            self.log.task_failed(name, Failure())  # type: ignore[no-untyped-call]
            return session.give_up(event)

    def close(self) -> None:
        """Close all connections, so that nothing more is decided."""
        for server in tuple(self.servers):
            server.close()


def _name(peer: object) -> str:
    return "unix" if isinstance(peer, UNIXAddress) else f"{peer.host}:{peer.port}"  # type: ignore[attr-defined]
