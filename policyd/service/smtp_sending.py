"""Mail on its way out: to a Postfix listener that does not ask us, with nothing but plain SMTP."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from policyd.service.smtp_reply import Refused


class SmtpSending:
    """Sends mail as the host *name*; *reactor* is what connects."""

    def __init__(self, reactor: Any, name: str = "[127.0.0.1]") -> None:
        self._reactor = reactor
        self._name = name
        self._client: Any = None

    def __call__(
        self, recipients: Sequence[str], message: bytes, server: tuple[str, int]
    ) -> Deferred[Sequence[Refused]]:
        """Send *message*; fires with the recipients that were refused while others were not.

        Fails with RefusedError when the server took it for nobody, with NoReplyError when it did
        not say. Who cancels this closes the connection.
        """
        return self._imported().addCallback(
            lambda client: client.Delivery(self._reactor, self._name, recipients, message).begin(
                server
            )
        )

    def _imported(self) -> Deferred[Any]:
        """Import in a thread what asks the name service while it is imported."""
        if self._client is not None:
            return succeed(self._client)
        pool = self._reactor.getThreadPool()
        name = "policyd.service.smtp_client"
        return deferToThreadPool(self._reactor, pool, import_module, name).addCallback(self._keep)

    def _keep(self, client: Any) -> Any:
        self._client = client
        return client
