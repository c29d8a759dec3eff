"""The policy service on the wire: dialogues, joined to transports."""

from collections.abc import Callable

from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure

from policyd.service.dialogue import Answering, Dialogue
from policyd.service.postfix_connection import PostfixConnection


class PolicyServer(PostfixConnection):
    """One connection on which Postfix asks."""

    factory: "PolicyService"
    _send_some: Callable[[bytes], object] | None = None

    def connectionMade(self) -> None:
        """Get to know who asks."""
        super().connectionMade()
        self._send_some = getattr(self.transport, "writeSomeData", None)
        peer = self.transport.getPeer()
        host, port = (peer.host, str(peer.port)) if self.is_tcp else ("unix", "")
        self._dialogue = Dialogue(self.factory.answering, host, port)
        self.factory.servers.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Answer the requests that *data* completes."""
        replies = self._dialogue.received(data)
        if replies:
            self._send(replies)
        if self._dialogue.is_over:
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Let go of the transaction."""
        self.factory.servers.discard(self)
        self._dialogue.lost()

    @property
    def host(self) -> str:
        """The host that asks."""
        return self._dialogue.host

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


class PolicyService(ServerFactory):
    """All policy connections; what they ask is answered by *answering*."""

    protocol = PolicyServer  # type: ignore[assignment]
    noisy = False

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.servers: set[PolicyServer] = set()

    def hosts(self) -> list[str]:
        """Return the hosts that ask at present, each perhaps several times."""
        return [server.host for server in self.servers]

    def close(self) -> None:
        """Close all connections, so that nothing more is counted."""
        for server in tuple(self.servers):
            server.close()
