"""What every connection of Postfix's has in common, whatever is spoken on it."""

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer


@implementer(IPushProducer)
class PostfixConnection(Protocol):
    """A connection of Postfix's; *is_tcp* tells it from one on a UNIX socket.

    It is never closed for being idle: Postfix says nothing while its client says nothing, and an
    smtpd in the middle of a long session would find it gone. As a producer it stops reading while
    the peer does not read its replies.
    """

    transport: Any  # TCP's or UNIX's; Twisted has no one interface for what both can do
    is_tcp = False

    def connectionMade(self) -> None:
        """Prepare for a peer that may vanish without a word."""
        if not isinstance(self.transport.getPeer(), UNIXAddress):
            self.is_tcp = True
            self.transport.setTcpKeepAlive(True)
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    def close(self) -> None:
        """Answer nothing further; what was answered is still sent."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def pauseProducing(self) -> None:
        """Read no more."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Do nothing: the connection is gone."""
