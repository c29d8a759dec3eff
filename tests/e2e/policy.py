"""Ask the daemon as Postfix does, without Postfix."""

import itertools
import socket

PROBES = "probe.example"  # the domain of recipients that only the tests themselves ask about
PROBE = "probe."  # how the instance of such a request begins
_SERIAL = itertools.count()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60.0)


def ask(connection: socket.socket, request: dict[str, str]) -> str:
    """Return the action that the daemon answers."""
    attributes = {"request": "smtpd_access_policy", **request}
    lines = "".join(f"{name}={value}\n" for name, value in attributes.items())
    connection.sendall(lines.encode() + b"\n")
    received = b""
    while not received.endswith(b"\n\n"):
        data = connection.recv(4096)
        if not data:
            raise ConnectionResetError
        received += data
    return received.removesuffix(b"\n\n").removeprefix(b"action=").decode("ascii")


def one_mail(account: str, recipient: str, size: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return the two requests that Postfix makes for a mail to one recipient."""
    both = {
        "protocol_name": "ESMTP",
        "client_address": "127.0.0.1",
        "sender": account,
        "recipient": recipient,
        "instance": f"{PROBE}{next(_SERIAL)}",
        "sasl_method": "PLAIN" if account else "",
        "sasl_username": account,
    }
    at_rcpt = {"protocol_state": "RCPT", "recipient_count": "0", "queue_id": "", "size": "0"}
    at_end = {
        "protocol_state": "END-OF-MESSAGE",
        "recipient_count": "1",
        "queue_id": "PROBE",
        "size": str(size),
    }
    return both | at_rcpt, both | at_end
