"""One mail over one SMTP connection, with Twisted's client.

To import this asks the name service for the name of this host (twisted.mail.smtp does), which may
take long: see smtp_sending.
"""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory
from twisted.mail.smtp import SMTPClient
from twisted.python.failure import Failure

from policyd.service.smtp_reply import NoReplyError, Refused, RefusedError

CONNECT: Final = 30.0
"""Seconds until there must be a connection."""

ALTOGETHER: Final = 120.0
"""Seconds until the server must have said what becomes of the mail."""

_GOODBYE: Final = 5.0
"""Seconds that the server has to close the connection afterwards."""

_NULL_SENDER: Final = ""
"""The envelope sender: nobody wants to be told that a notice came back."""


class Delivery(ClientFactory):
    """Hands one *message* to an SMTP server, as the host *name*."""

    noisy = False

    def __init__(self, reactor: Any, name: str, recipients: Sequence[str], message: bytes) -> None:
        self.reactor = reactor
        self.name = name
        self.recipients = [recipient.encode("ascii") for recipient in recipients]
        self.message = message
        self._done: Deferred[Sequence[Refused]] = Deferred(lambda _: self._give_up("stopped"))
        self._is_over = False
        self._connector: IConnector | None = None
        self._client: _Client | None = None

    def begin(self, server: tuple[str, int]) -> Deferred[Sequence[Refused]]:
        """Connect to *server*; the Deferred fires with the recipients that were refused.

        It fails with RefusedError when the server took the message for nobody, and with
        NoReplyError when it did not say what becomes of it.
        """
        words = f"nothing was decided within {ALTOGETHER:.0f} s"
        self._timer = self.reactor.callLater(ALTOGETHER, self._give_up, words)
        self._connector = self.reactor.connectTCP(*server, self, timeout=CONNECT)
        return self._done

    def over(self, result: Sequence[Refused] | Exception) -> None:
        """Tell the *result*, the first that there is."""
        if self._is_over:
            return
        self._is_over = True
        if self._timer.active():
            self._timer.cancel()
        if isinstance(result, Exception):
            self._done.errback(result)
        else:
            self._done.callback(result)

    def buildProtocol(self, addr: IAddress | None) -> "_Client":  # noqa: ARG002
        """Return the client of the connection; there is one."""
        self._client = _Client(self)
        return self._client

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002
        """Be told that there is no connection."""
        self.over(NoReplyError(f"no connection: {reason.getErrorMessage()}"))

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002
        """Be told that the connection is gone, maybe too early."""
        self.over(NoReplyError("the connection was lost"))

    def _give_up(self, words: str) -> None:
        self.over(NoReplyError(words))
        if self._client is not None:
            self._client.abort()
        elif self._connector is not None:
            self._connector.disconnect()


class _Client(SMTPClient):
    """Sends what its delivery has. SMTPClient knows neither STARTTLS nor AUTH, nor need it."""

    debug = False  # it would keep the dialogue

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(delivery.name)  # type: ignore[no-untyped-call]
        self._delivery = delivery
        self._is_sent = False

    def abort(self) -> None:
        """Close the connection at once."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def callLater(self, period: float, func: Callable[[], Any]) -> Any:
        """Wait by the clock of the reactor that this was given."""
        return self._delivery.reactor.callLater(period, func)

    def timeoutConnection(self) -> None:
        """Wait for no goodbye."""
        self.abort()

    def getMailFrom(self) -> str | None:
        """Return the envelope sender, once."""
        if self._is_sent:
            return None
        self._is_sent = True
        return _NULL_SENDER

    def getMailTo(self) -> Sequence[bytes]:
        """Return the envelope recipients."""
        return self._delivery.recipients

    def getMailData(self) -> BytesIO:
        """Return the message with bare line feeds, to which Twisted adds the carriage returns."""
        return _Whole(self._delivery.message.replace(b"\r\n", b"\n"))

    def sentMail(
        self,
        code: int,
        resp: bytes,
        numOk: int,  # noqa: N803
        addresses: Sequence[tuple[bytes, int, bytes]],
        log: Any,  # noqa: ARG002
    ) -> None:
        """Be told what became of the message, and of each of its recipients."""
        self.setTimeout(_GOODBYE)  # type: ignore[no-untyped-call]
        refused = [
            Refused(recipient.decode(), reply, _words(words))
            for recipient, reply, words in addresses
            if not 200 <= reply < 300
        ]
        if 200 <= code < 300:
            self._delivery.over(refused)
        elif numOk or not refused:
            self._delivery.over(RefusedError(code, _words(resp)))
        else:
            self._delivery.over(RefusedError(refused[-1].code, refused[-1].words))

    def sendError(self, exc: Any) -> None:
        """Be told that the server is not one that takes mail now."""
        self._delivery.over(NoReplyError(_words(str(exc))))
        self.abort()


class _Whole(BytesIO):
    """A file that is read in one go: Twisted doubles no dot at the beginning of a second part."""

    def read(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002
        """Return all that is left."""
        return super().read()


def _words(reply: bytes | str) -> str:
    """Return what a server said, which may be anything."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return text[:500]
