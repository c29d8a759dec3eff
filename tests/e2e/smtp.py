"""A mail client that shows every reply.

Python's smtplib hides what these tests are about: it resets after a refusal, retries logins, and
does neither pipelining nor BDAT nor XCLIENT.
"""

import base64
import socket
import ssl
from typing import NamedTuple, Self

PATIENCE = 120.0  # longer than anything here may take; mail clients wait 5 minutes
SHOWN = 300


class Reply(NamedTuple):
    """What the server said to one command."""

    code: int
    text: str

    @property
    def passed(self) -> bool:
        return 200 <= self.code < 400

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Mailing(NamedTuple):
    """What became of one message: *end* is the reply that decides, None when DATA never began."""

    sender: Reply
    recipients: list[Reply]
    end: Reply | None

    @property
    def passed(self) -> bool:
        return self.end is not None and self.end.passed

    @property
    def accepted(self) -> int:
        """How many recipients were accepted."""
        return sum(reply.passed for reply in self.recipients)


class Session:
    """One connection to a listener, greeted and ready to send.

    *tls*: "", "starttls" or "wrapper". *user* and *password*: AUTH PLAIN. *login* (and *address*):
    what XCLIENT says of us, for listeners that are not about real logins.
    """

    def __init__(
        self,
        port: int,
        *,
        tls: str = "",
        user: str = "",
        password: str = "",
        login: str = "",
        address: str = "",
    ) -> None:
        self.transcript: list[str] = []
        self.over = False  # the server has said goodbye
        self._received = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        # the final dot goes out at once, not 40 ms later
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._greet(tls, user, password, login, address)
        except BaseException:
            self.close()
            raise

    def _greet(self, tls: str, user: str, password: str, login: str, address: str) -> None:
        if tls == "wrapper":
            self._encrypt()
        self.expect(220, self.read())
        self.expect(250, self.command("EHLO client.example"))
        if tls == "starttls":
            self.expect(220, self.command("STARTTLS"))
            self._encrypt()
            self.expect(250, self.command("EHLO client.example"))
        if login or address:
            named = {"LOGIN": login, "ADDR": address}
            words = " ".join(f"{name}={value}" for name, value in named.items() if value)
            self.expect(220, self.command(f"XCLIENT {words}"))
            self.expect(250, self.command("EHLO client.example"))
        if user:
            secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
            self.expect(235, self.command(f"AUTH PLAIN {secret}"))
        self.transcript[:] = [f"-- session as {user or login or 'nobody'}"]

    def _encrypt(self) -> None:
        # not create_default_context(): reading the system's authorities takes longer than the rest
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the certificate is made for this run
        self._socket = context.wrap_socket(self._socket)
        self.transcript.append("-- TLS")

    @staticmethod
    def expect(code: int, reply: Reply) -> None:
        if reply.code != code:
            message = f"expected {code}, got {reply}"
            raise AssertionError(message)

    def read(self) -> Reply:
        """Return the next reply; ConnectionResetError when there will be none."""
        lines: list[str] = []
        while True:
            while b"\r\n" not in self._received:
                data = self._socket.recv(65536)
                if not data:
                    self.transcript.append("S: (connection closed)")
                    raise ConnectionResetError
                self._received += data
            line, self._received = self._received.split(b"\r\n", 1)
            text = line.decode("utf-8", "backslashreplace")
            self.transcript.append(f"S: {text}")
            lines.append(text[4:])
            if text[3:4] != "-":
                self.over = text[:3] in {"221", "421", "521"}
                return Reply(int(text[:3]), "\n".join(lines))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        shown = data if len(data) < SHOWN else data[:SHOWN] + b"..."
        self.transcript.append(f"C: {shown!r}")
        self._socket.sendall(data)

    def command(self, line: str) -> Reply:
        self.write(line.encode() + b"\r\n")
        return self.read()

    def pipeline(self, lines: list[str]) -> list[Reply]:
        """Send all commands before reading; stop reading where the server ends the session."""
        self.write("".join(line + "\r\n" for line in lines).encode())
        replies: list[Reply] = []
        while len(replies) < len(lines) and not self.over:
            replies.append(self.read())
        return replies

    def envelope(self, sender: str, recipients: list[str], options: str = "") -> Mailing:
        """Send MAIL and all RCPT at once and leave the transaction open."""
        lines = [f"MAIL FROM:<{sender}>{options}", *(f"RCPT TO:<{name}>" for name in recipients)]
        first, *others = self.pipeline(lines)
        return Mailing(first, others, None)

    def data(self, content: bytes) -> Reply:
        """Send DATA and, if the server wants it, the content; return the reply that decides."""
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        self.write(content + b".\r\n")
        return self.read()

    def send(
        self, sender: str, recipients: list[str], content: bytes, options: str = ""
    ) -> Mailing:
        """Send one message the quick way: everything up to DATA in one go."""
        lines = [
            f"MAIL FROM:<{sender}>{options}",
            *(f"RCPT TO:<{name}>" for name in recipients),
            "DATA",
        ]
        replies = self.pipeline(lines)
        if len(replies) < len(lines) or replies[-1].code != 354:
            return Mailing(replies[0], replies[1:-1], None)
        self.write(content + b".\r\n")
        return Mailing(replies[0], replies[1:-1], self.read())

    def quit(self) -> None:
        self.expect(221, self.command("QUIT"))
        self.close()

    def close(self) -> None:
        """Close without a word, as a client that breaks down does."""
        self._socket.close()
        self.over = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def message(size: int, subject: str = "News") -> bytes:
    """Make a message that Postfix measures as exactly *size* bytes."""
    head = f"Subject: {subject}\r\n\r\n".encode()
    left = size - len(head)
    if left < 2:
        message = f"{size} bytes are not enough for a message"
        raise ValueError(message)
    lines = []
    while left > 80:
        lines.append(b"x" * 70 + b"\r\n")
        left -= 72
    lines.append(b"y" * (left - 2) + b"\r\n")
    return head + b"".join(lines)
