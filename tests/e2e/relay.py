"""A wire between Postfix and the daemon that can lose a reply."""

import socket
import socketserver
import threading


class Relay:
    """Passes requests on to *target* and replies back, until told to lose some.

    A lost reply reaches the relay, so the daemon has answered; Postfix sees the connection close.
    """

    def __init__(self, port: int, target: int) -> None:
        self.lost: list[bytes] = []
        self._lose = b""
        self._server = _Server(("127.0.0.1", port), _Wire)
        self._server.target = target
        self._server.relay = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

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
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    target: int
    relay: Relay


class _Wire(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.server.target)) as daemon:
                while request := _until_blank_line(self.request):
                    daemon.sendall(request)
                    reply = _until_blank_line(daemon)
                    if not reply or self.server.relay.is_to_be_lost(request):
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
