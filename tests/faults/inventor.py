"""A program that sends mail in the name of as many senders, to as many recipients, as it is told.

None of them comes twice. It tells how many it has sent, and at the end what was answered.
"""

import itertools
import json
import socket
import sys
import time
from collections import Counter
from typing import Final

_AT_ONCE: Final = 100  # requests on their way
_TELLS_EVERY: Final = 1.0  # seconds

_REQUEST: Final = """\
request=smtpd_access_policy
protocol_state=END-OF-MESSAGE
client_address=127.0.0.1
sender=s{0}@sender.example
recipient=r{0}@ext.example
recipient_count=1
instance=inv.{0}
queue_id=Q{0}
size=1000
sasl_username=u{0}@sender.example

"""


def main() -> None:
    """Send to the port so many messages, beginning with that of a number."""
    port, first, number = map(int, sys.argv[1:])
    numbers = iter(range(first, first + number))
    answers: Counter[str] = Counter()
    told = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60.0) as connection:
        while some := list(itertools.islice(numbers, _AT_ONCE)):
            connection.sendall("".join(map(_REQUEST.format, some)).encode("ascii"))
            received = b""
            while received.count(b"\n\n") < len(some):
                if not (data := connection.recv(65536)):
                    raise ConnectionResetError
                received += data
            answers.update(received.decode("ascii").split("\n\n")[:-1])
            if time.monotonic() > told + _TELLS_EVERY:
                told = time.monotonic()
                print(answers.total(), flush=True)
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
