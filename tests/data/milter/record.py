"""Record what a real Postfix tells a milter, one file a session: python tests/data/milter/record.py

The files hold the bytes as they came, in hexadecimal, below a comment. They were recorded with
Postfix 3.7 (Debian 12); test_recorded_milters.py says what is in them. Needs what the tests in e2e/
need: root, postfix, dovecot and openssl.
"""

import socket
import socketserver
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from e2e.content import PORTS, add_milters  # noqa: E402
from e2e.loopback import LoopbackServer  # noqa: E402
from e2e.postfix import PrivatePostfix  # noqa: E402
from e2e.rules import ALICE  # noqa: E402
from e2e.servers import serving  # noqa: E402
from e2e.smtp import Session, message  # noqa: E402
from e2e.waiting import wait_until  # noqa: E402

from policyd.protocol.milter import MilterParser  # noqa: E402
from policyd.protocol.milter_reply import Answer  # noqa: E402
from policyd.protocol.milter_session import MilterMessage, MilterSession  # noqa: E402
from policyd.protocol.reply import PASS, Verdict  # noqa: E402

A, B = "a@ext.example", "b@ext.example"
CONTENT = b"Subject: one\r\n two\r\nX-Empty:\r\n\r\ncaf\xe9\r\n..dot\0\r\n"


QUIT = b"\0\0\0\1Q"


class Nothing:
    """A sink that lets everything go."""

    def header(self, name: bytes, value: bytes) -> None:
        pass

    def body(self, data: bytes) -> None:
        pass


def refuse_the_first(message: MilterMessage[Nothing]) -> Answer:
    refused = message.sender == "first@sender.example"
    return Answer(Verdict("REJECT", "5.7.1", "Not this one") if refused else PASS)


class Recorder:
    """A milter on loopback that keeps what it is told, a list of chunks for each connection."""

    def __init__(self, port: int) -> None:
        self.connections: list[list[bytes]] = []
        self._server = LoopbackServer(port, _Conversation, self)

    def ended(self) -> Iterator[bytes]:
        """Yield what came by each connection that is over."""
        whole = (b"".join(received) for received in self.connections)
        return (data for data in whole if data.endswith(QUIT))

    def close(self) -> None:
        self._server.stop()


class _Conversation(socketserver.BaseRequestHandler):
    server: LoopbackServer
    request: socket.socket

    def handle(self) -> None:
        parser, session = MilterParser(), MilterSession(Nothing, refuse_the_first)
        received: list[bytes] = []
        self.server.owner.connections.append(received)
        while data := self.request.recv(65536):
            received.append(data)
            for event in parser.feed(data):
                self.request.sendall(session.take(event))


# the sessions


def two_messages(session: Session) -> None:
    session.expect(554, session.send("first@sender.example", [A, B], CONTENT).end)
    assert session.send(ALICE, [A], message(300)).passed
    session.quit()


def beyond_ascii(session: Session) -> None:
    names = ["用户@例え.example", "info@bücher.example"]
    assert session.send("josé@sender.example", names, message(300), options=" SMTPUTF8").passed
    assert session.send("", [A], message(300)).passed
    session.quit()


def ended_early(session: Session) -> None:
    session.envelope(ALICE, [A, B])
    session.expect(250, session.command("RSET"))
    session.command("NONSENSE")
    assert session.send(ALICE, [B], message(300)).passed
    session.envelope(ALICE, [A])
    session.expect(354, session.command("DATA"))
    session.write(b"Subject: half\r\n\r\nhalf a mes")
    session.close()


class Recording(NamedTuple):
    """A session: what the client does, and at which listener."""

    client: Callable[[Session], None]
    listener: str = "content_tcp"


SESSIONS = {
    "two-messages": Recording(two_messages),
    "beyond-ascii": Recording(beyond_ascii),
    "ended-early": Recording(ended_early),
    "old-protocol": Recording(two_messages, "old"),
}


def ask_nobody_else(postfix: PrivatePostfix, ports: dict[str, int]) -> None:
    """Have *postfix*, which has not started yet, ask nobody but the milter."""
    add_milters(postfix, ports)
    with (postfix.configuration / "main.cf").open("a", encoding="utf-8") as file:
        file.write(
            "smtpd_recipient_restrictions = permit\n"
            "smtpd_end_of_data_restrictions =\n"
            "local_header_rewrite_clients =\n"
            f"smtpd_milters = inet:127.0.0.1:{ports['milter']}\n"
        )


def main() -> None:
    with (
        serving(PORTS, ask_nobody_else) as (postfix, _),
        closing(Recorder(postfix.ports["milter"])) as recorder,
    ):
        for name, recording in SESSIONS.items():
            recorder.connections.clear()
            port = postfix.ports[recording.listener]
            with Session(port, login="m+C3+BCller@sender.example", address="192.0.2.7") as session:
                recording.client(session)
            # there is one before XCLIENT, and one after it
            wait_until(lambda: len(list(recorder.ended())) == 2, "both connections end")
            postfix.drain()
            *_, data = recorder.ended()
            head = f"# {recording.client.__name__}() of record.py, listener {recording.listener}\n"
            text = textwrap.fill(data.hex(), 100)
            (HERE / f"{name}.hex").write_text(f"{head}{text}\n", encoding="ascii")
            print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
