"""A program that sends mail now and then, as everybody else does during a flood, and times it.

It sends one message after the other until its input ends, and then prints what it saw. An answer
that is not there is asked for again, as Postfix does; what that takes is part of the time.
"""

import itertools
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from typing import Final

_PAUSE: Final = 0.02
_FRESH_EVERY: Final = 5  # messages that are sent on a connection of their own
ACCOUNT: Final = "bystander@sender.example"


def main() -> None:
    """Send to the port, on fresh connections too if the second argument is not empty."""
    port, fresh = int(sys.argv[1]), bool(sys.argv[2])
    times: list[float] = []
    actions: set[str] = set()
    with closing(Connection(port)) as kept:
        for number in itertools.count():
            its_own = fresh and number % _FRESH_EVERY == 0
            with closing(Connection(port)) if its_own else nullcontext(kept) as connection:
                for request in message(number):
                    begun = time.monotonic()
                    actions.add(connection.ask(request))
                    times.append(time.monotonic() - begun)
            if not number:
                print("sends", flush=True)
            if select.select([sys.stdin], [], [], _PAUSE)[0]:
                break
    times.sort()
    seen = {
        "answered": len(times),
        "median": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
        "worst": times[-1],
        "actions": sorted(actions),
    }
    print(json.dumps(seen))


def message(number: int) -> Iterator[bytes]:
    """Yield the two requests for a message."""
    to = f"r{number}@ext.example"
    common = {
        "request": "smtpd_access_policy",
        "client_address": "127.0.0.1",
        "sender": ACCOUNT,
        "recipient": to,
        "instance": f"{os.getpid()}.{number}",
        "sasl_username": ACCOUNT,
    }
    yield written(common | {"protocol_state": "RCPT"})
    end = {"protocol_state": "END-OF-MESSAGE", "recipient_count": "1", "size": "1000"}
    yield written(common | end | {"queue_id": f"Q{number}"})


def written(request: dict[str, str]) -> bytes:
    """Return *request* as it goes over the wire."""
    return "".join(f"{name}={value}\n" for name, value in request.items()).encode() + b"\n"


class Connection:
    """A connection that is made again whenever it is gone."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> str:
        """Return the action that is answered, however long it takes."""
        while True:
            with suppress(OSError):
                return self._asked(request)
            self.close()
            time.sleep(_PAUSE)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _asked(self, request: bytes) -> str:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60.0)
        self._socket.sendall(request)
        received = b""
        while not received.endswith(b"\n\n"):
            if not (data := self._socket.recv(4096)):
                raise ConnectionResetError
            received += data
        return received.removesuffix(b"\n\n").removeprefix(b"action=").decode("ascii")


if __name__ == "__main__":
    main()
