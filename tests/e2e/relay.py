"""A wire between Postfix and the daemon that can lose a reply."""

import socket
import socketserver

from .loopback import LoopbackServer


class Relay:
    """Passes requests on to *target* and replies back, until told to lose some.

    A lost reply reaches the relay, so the daemon has answered; Postfix sees the connection close.
    """

    def __init__(self, port: int, target: int) -> None:
        self.lost: list[bytes] = []
        self.target = target
        self._lose = b""
        self._server = LoopbackServer(port, _Wire, self)

    def lose_next(self, stage: str) -> None:
        """Lose the reply to the next request of this stage."""
        self._lose = f"protocol_state={stage}\n".encode()

    def is_to_be_lost(self, request: bytes) -> bool:
        if not self._lose or self._lose not in request:
            return False
        self._lose = b""
        self.lost.append(request)
        return True

    def close(self) -> None:
        self._server.stop()


class _Wire(socketserver.BaseRequestHandler):
    server: LoopbackServer

    def handle(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.server.owner.target)) as daemon:
                while request := _until_blank_line(self.request):
                    daemon.sendall(request)
                    reply = _until_blank_line(daemon)
                    if not reply or self.server.owner.is_to_be_lost(request):
                        return
                    self.request.sendall(reply)
        except ConnectionError:
            return


def _until_blank_line(source: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n\n"):
        data = source.recv(65536)
        if not data:
            return b""
        received += data
    return received
