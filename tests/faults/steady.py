"""A program that sends mail steadily for a while, in the name of people who come and go.

It counts for itself what the daemon has to have counted in the end, and prints that.
"""

import json
import random
import socket
import sys
import time
from collections import Counter
from typing import Any, Final

from .bystander import written

PEOPLE: Final = 500
"""Senders with a login; whom they are seen as changes all the time."""

_CONNECTIONS: Final = 20
_NEW_EVERY: Final = 200  # messages that a connection is kept for
_DOMAIN: Final = "sender.example"


class Connection:
    """A connection to the *port*, which is another one now and then, as smtpd processes are."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._left = 0

    def ask(self, requests: list[dict[str, str]]) -> list[str]:
        """Ask one after the other, and return what was answered."""
        if not self._left:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60.0)
            self._left = _NEW_EVERY
        self._left -= 1
        actions = []
        for request in requests:
            self._socket.sendall(written(request))
            actions.append(self._socket.recv(4096).decode("ascii").strip())
        if not self._left:
            self._socket.close()
        return actions


class Recount:
    """What was sent, by account and by the name of the limit that counts it."""

    def __init__(self) -> None:
        self.requests = 0
        self.actions: Counter[str] = Counter()
        self.sums: dict[str, Counter[str]] = {
            name: Counter() for name in ("messages", "recipients", "bytes")
        }
        self.recipients: dict[str, set[str]] = {}
        self.ends: list[tuple[float, str]] = []

    def told(self) -> dict[str, Any]:
        """Return it as plain values."""
        distinct = {account: len(known) for account, known in self.recipients.items()}
        return {
            "requests": self.requests,
            "actions": self.actions,
            "sums": {**self.sums, "distinct": distinct},
            "ends": self.ends,
        }


def main() -> None:
    """Send to the port so many requests a second, for so many seconds, by a seed."""
    port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    chance = random.Random(sys.argv[4])
    count = Recount()
    connections = [Connection(port) for _ in range(_CONNECTIONS)]
    begun = time.monotonic()
    serial = 0
    while (gone := time.monotonic() - begun) < seconds:
        if count.requests >= rate * gone:
            time.sleep(0.001)
            continue
        serial += 1
        send(connections[serial % _CONNECTIONS], serial, chance, count)
    print(json.dumps(count.told()))


def send(connection: Connection, serial: int, chance: random.Random, count: Recount) -> None:
    """Send one message, and count it."""
    account = f"u{chance.randrange(PEOPLE)}@{_DOMAIN}"
    # most recipients are new, some get mail again
    to = [f"r{chance.randrange(serial * 20)}@ext.example" for _ in range(chance.randint(1, 3))]
    to = list(dict.fromkeys(to))
    size = chance.randint(500, 50_000)
    common = {
        "request": "smtpd_access_policy",
        "client_address": f"192.0.2.{chance.randrange(256)}",
        "sender": f"s{serial}@{_DOMAIN}",
        "instance": f"steady.{serial}",
        "sasl_username": account,
    }
    requests = [common | {"protocol_state": "RCPT", "recipient": one} for one in to]
    end = {"protocol_state": "END-OF-MESSAGE", "recipient_count": str(len(to)), "size": str(size)}
    end |= {"queue_id": f"Q{serial}", "recipient": to[0] if len(to) == 1 else ""}
    count.actions.update(connection.ask([*requests, common | end]))
    count.requests += len(requests) + 1
    count.sums["messages"][account] += 1
    count.sums["recipients"][account] += len(to)
    count.sums["bytes"][account] += size
    count.recipients.setdefault(account, set()).update(to)
    count.ends.append((time.time(), f"s{serial}@{_DOMAIN}"))


if __name__ == "__main__":
    main()
