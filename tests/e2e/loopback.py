"""A server on a loopback port, in threads of its own."""

import socketserver
import threading
from typing import Any


class LoopbackServer(socketserver.ThreadingTCPServer):
    """Serves each connection by a *conversation*, for its *owner*, until stopped."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, port: int, conversation: type[socketserver.BaseRequestHandler], owner: Any
    ) -> None:
        super().__init__(("127.0.0.1", port), conversation)
        self.owner = owner
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
