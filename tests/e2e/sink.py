"""The rest of the world: an SMTP server that takes every mail and remembers its envelope."""

import socketserver
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import NamedTuple

from .loopback import LoopbackServer

CAPABILITIES = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE\r\n"


class Delivery(NamedTuple):
    """One mail as it arrived."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def mail(self) -> EmailMessage:
        """The content as a mail program takes it apart."""
        return message_from_bytes(self.content.replace(b"\r\n", b"\n"), policy=policy.default)


class Sink:
    """Listens on a loopback port until closed; *deliveries* is what came, in order.

    *refused* are recipients that are answered otherwise. While it is not *awake* it greets nobody.
    """

    def __init__(self, port: int) -> None:
        self.deliveries: list[Delivery] = []
        self.refused: dict[str, bytes] = {}
        self.awake = threading.Event()
        self.awake.set()
        self._server = LoopbackServer(port, _Conversation, self)

    def clear(self) -> None:
        self.deliveries.clear()

    def mailbox(self, address: str) -> list[Delivery]:
        """Return what *address* has got."""
        return [delivery for delivery in self.deliveries if address in delivery.recipients]

    def close(self) -> None:
        self.awake.set()
        self._server.stop()


class _Conversation(socketserver.StreamRequestHandler):
    server: LoopbackServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            self._converse()
        except ConnectionError:
            return

    def _converse(self) -> None:
        self.server.owner.awake.wait()
        self.wfile.write(b"220 sink.test ESMTP\r\n")
        sender, recipients = "", []
        while line := self.rfile.readline():
            verb = line[:4].upper()
            reply = b"250 2.0.0 Ok\r\n"
            if verb == b"EHLO":
                reply = CAPABILITIES
            elif verb == b"MAIL":
                sender, recipients = _address(line), []
            elif verb == b"RCPT":
                address = _address(line)
                if address in self.server.owner.refused:
                    reply = self.server.owner.refused[address] + b"\r\n"
                else:
                    recipients.append(address)
            elif verb == b"DATA" and not recipients:
                reply = b"503 5.5.1 No recipients\r\n"
            elif verb == b"DATA":
                self.wfile.write(b"354 Go on\r\n")
                content = self._content()
                self.server.owner.deliveries.append(Delivery(sender, tuple(recipients), content))
            elif verb == b"QUIT":
                self.wfile.write(b"221 2.0.0 Bye\r\n")
                return
            self.wfile.write(reply)

    def _content(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                raise ConnectionResetError
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)


def _address(line: bytes) -> str:
    return line[line.index(b"<") + 1 : line.rindex(b">")].decode("utf-8", "surrogateescape")
