"""What a policy service on Twisted costs at least: takes requests apart and answers DUNNO.

python bench/noop.py PORT
"""

import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory, Protocol

reactor: Any = _reactor
TIME_LIMIT = 3600.0


class Noop(Protocol):
    transport: Any

    def __init__(self) -> None:
        self._waiting = b""
        self.attributes: dict[bytes, bytes] = {}

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        data = self._waiting + data
        while (end := data.find(b"\n\n")) >= 0:
            self.attributes = dict(line.split(b"=", 1) for line in data[:end].split(b"\n"))
            self.transport.write(b"action=DUNNO\n\n")
            data = data[end + 2 :]
        self._waiting = data


def main() -> None:
    factory = Factory.forProtocol(Noop)
    factory.noisy = False
    reactor.listenTCP(int(sys.argv[1]), factory, backlog=4096, interface="127.0.0.1")
    reactor.callLater(TIME_LIMIT, reactor.stop)
    reactor.run()


if __name__ == "__main__":
    main()
