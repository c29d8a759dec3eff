"""The policy service on the wire: dialogues, joined to transports."""

from socket import socket
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure

from policyd.service.dialogue import Answering, Dialogue
from policyd.service.postfix_connection import PostfixConnection

_TOGETHER: Final = 32
"""Replies that are sent together, at most: none waits for more than so many to be decided."""


class PolicyServer(PostfixConnection):
    """One connection on which Postfix asks."""

    factory: "PolicyService"
    _socket: socket | None = None  # as long as nothing waits to be sent

    def connectionMade(self) -> None:
        """Get to know who asks."""
        super().connectionMade()
        self._socket = self.transport.getHandle()
        peer = self.transport.getPeer()
        host, port = (peer.host, str(peer.port)) if self.is_tcp else ("unix", "")
        self._dialogue = Dialogue(self.factory.answering, host, port)
        self.factory.servers.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Answer the requests that *data* completes."""
        replies = self._dialogue.received(data)
        if replies:
            self.factory.send(self, replies)
        if self._dialogue.is_over:
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Let go of the transaction."""
        self._socket = None
        self.factory.servers.discard(self)
        self._dialogue.lost()

    def close(self) -> None:
        """Answer nothing further; what was answered is still sent."""
        self.factory.send_all()
        super().close()

    @property
    def host(self) -> str:
        """The host that asks."""
        return self._dialogue.host

    def send(self, replies: bytes) -> None:
        """Send now, which spares the reactor three system calls a reply.

        A peer that does not take all of it gets the rest, and what comes later, when it can.
        """
        if self._socket is not None:
            try:
                sent = self._socket.send(replies)
            except OSError:
                sent = 0  # the transport will meet it again, if it is more than no room
            if sent == len(replies):
                return
            self._socket = None
            replies = replies[sent:]
        self.transport.write(replies)


class PolicyService(ServerFactory):
    """All policy connections; what they ask is answered by *answering*.

    Replies are sent at the end of the turn of the reactor, whose timers are *clock*'s: who is told
    right after another has been is woken in less time than one who is told for himself.
    """

    protocol = PolicyServer  # type: ignore[assignment]
    noisy = False

    def __init__(self, answering: Answering, clock: IReactorTime) -> None:
        self.answering = answering
        self.servers: set[PolicyServer] = set()
        self._clock = clock
        self._unsent: list[tuple[PolicyServer, bytes]] = []

    def send(self, server: PolicyServer, replies: bytes) -> None:
        """Send *replies* on the connection of *server*, in this turn of the reactor."""
        self._unsent.append((server, replies))
        if len(self._unsent) == 1:
            self._clock.callLater(0, self.send_all)
        elif len(self._unsent) == _TOGETHER:
            self.send_all()

    def send_all(self) -> None:
        """Send what there is to be sent."""
        unsent, self._unsent = self._unsent, []
        for server, replies in unsent:
            server.send(replies)

    def hosts(self) -> list[str]:
        """Return the hosts that ask at present, each perhaps several times."""
        return [server.host for server in self.servers]

    def close(self) -> None:
        """Close all connections, so that nothing more is counted."""
        for server in tuple(self.servers):
            server.close()
