"""Record what a real Postfix asks, one file a session: python tests/data/sessions/record.py

The files hold the bytes of the requests as they came, one after the other. They were recorded with
Postfix 3.7 (Debian 12); test_recorded_sessions.py says what is in them. Needs what the tests in
e2e/ need: root, postfix, dovecot and openssl.
"""

import socket
import socketserver
import sys
import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from e2e.dovecot import PASSWORD  # noqa: E402
from e2e.loopback import LoopbackServer  # noqa: E402
from e2e.postfix import PrivatePostfix  # noqa: E402
from e2e.rules import ALICE  # noqa: E402
from e2e.servers import serving  # noqa: E402
from e2e.smtp import Session, message  # noqa: E402

A, B, C, D = (f"{name}@ext.example" for name in "abcd")
OURS = "user1@local.test"


class Recorder:
    """A policy service that keeps each request, and refuses those whose number it is told."""

    def __init__(self, port: int) -> None:
        self.requests: list[bytes] = []
        self.refused: Collection[int] = ()
        self._server = LoopbackServer(port, _Conversation, self)

    def answer(self, request: bytes) -> bytes:
        self.requests.append(request)
        if len(self.requests) in self.refused:
            return b"action=REJECT 5.7.1 Too much mail\n\n"
        return b"action=DUNNO\n\n"

    def close(self) -> None:
        self._server.stop()


class _Conversation(socketserver.BaseRequestHandler):
    server: LoopbackServer
    request: socket.socket

    def handle(self) -> None:
        received = b""
        while data := self.request.recv(65536):
            received += data
            while b"\n\n" in received:
                request, received = received.split(b"\n\n", 1)
                self.request.sendall(self.server.owner.answer(request + b"\n\n"))


# the sessions


def single_recipient(session: Session) -> None:
    assert session.send(ALICE, [A], message(300), options=" SIZE=4711").passed


def three_recipients(session: Session) -> None:
    assert session.send(ALICE, [A, B, OURS], message(300)).passed


def reset(session: Session) -> None:
    session.envelope(ALICE, [A, B])
    session.expect(250, session.command("RSET"))
    assert session.send(ALICE, [C], message(300)).passed


def two_messages(session: Session) -> None:
    assert session.send(ALICE, [A, B], message(300)).passed
    assert session.send(ALICE, [A], message(400)).passed


def duplicates(session: Session) -> None:
    assert session.send(ALICE, [A, A, "A@EXT.example", "a@Ext.Example.", B], message(300)).passed


def bdat(session: Session) -> None:
    content = message(300)
    session.envelope(ALICE, [A, B])
    session.write(b"BDAT 100\r\n" + content[:100] + b"BDAT 200 LAST\r\n" + content[100:])
    session.expect(250, session.read())
    session.expect(250, session.read())


def smtputf8(session: Session) -> None:
    names = ["用户@例え.example", "info@bücher.example", "info@xn--bcher-kva.example"]
    assert session.send("josé@sender.example", names, message(300), options=" SMTPUTF8").passed


def null_sender(session: Session) -> None:
    assert session.send("", [A], message(300)).passed


def postmaster(session: Session) -> None:
    assert session.send(ALICE, ["postmaster", A, "double-bounce@mail.test"], message(300)).passed


def refused_and_going_on(session: Session) -> None:
    session.expect(554, session.send(ALICE, [A, B, C], message(300)).end)
    session.expect(503, session.command(f"MAIL FROM:<{ALICE}>"))
    session.expect(250, session.command(f"RCPT TO:<{D}>"))
    session.expect(250, session.data(message(450)))


def refused_and_reset(session: Session) -> None:
    session.expect(554, session.send(ALICE, [A, B, C], message(300)).end)
    session.expect(250, session.command("RSET"))
    assert session.send(ALICE, [A, D], message(300)).passed


def refused_recipient(session: Session) -> None:
    mailing = session.send(ALICE, [A, B, C], message(300))
    assert mailing.passed
    assert mailing.accepted == 2


def vrfy(session: Session) -> None:
    session.expect(252, session.command(f"VRFY {A}"))
    assert session.send(ALICE, [A], message(300)).passed
    session.expect(252, session.command(f"VRFY {B}"))


def dropped(session: Session) -> None:
    session.envelope(ALICE, [A, B])
    session.expect(354, session.command("DATA"))
    session.write(b"Subject: half\r\n\r\nhalf a mes")


def listed_everywhere(session: Session) -> None:
    assert session.send(ALICE, [A, OURS], message(300)).passed


def refused_by_a_later_check(session: Session) -> None:
    names = [A, B, "refused@later.example", "nobody@local.test"]
    assert session.send(ALICE, names, message(300)).accepted == 2


def forged_attributes(session: Session) -> None:
    for separator in ("\x0b", "\x1c", "\x85", "\u2028"):
        sender = f'"x{separator}sasl_username=victim{separator}recipient_count=0"@sender.example'
        name = f'"y{separator}protocol_state=VRFY"@ext.example'
        assert session.send(sender, [name], message(300), options=" SMTPUTF8").passed


class Recording(NamedTuple):
    """A session: what the client does, at which listener, and which requests are refused."""

    client: Callable[[Session], None]
    listener: str = "plain"
    refused: Collection[int] = ()


SESSIONS = {
    "single-recipient": Recording(single_recipient),
    "three-recipients": Recording(three_recipients),
    "submission": Recording(three_recipients, "submission"),
    "reset": Recording(reset),
    "two-messages": Recording(two_messages),
    "duplicates": Recording(duplicates),
    "bdat": Recording(bdat),
    "smtputf8": Recording(smtputf8),
    "null-sender": Recording(null_sender),
    "postmaster": Recording(postmaster),
    "refused-and-going-on": Recording(refused_and_going_on, refused=(4,)),
    "refused-and-reset": Recording(refused_and_reset, refused=(4,)),
    "refused-recipient": Recording(refused_recipient, refused=(3,)),
    "vrfy": Recording(vrfy),
    "dropped": Recording(dropped),
    "listed-everywhere": Recording(listed_everywhere, "everywhere"),
    "listed-several-times": Recording(listed_everywhere, "listed"),
    "refused-by-a-later-check": Recording(refused_by_a_later_check, "later"),
    "proxy": Recording(two_messages, "proxy"),
    "forged-attributes": Recording(forged_attributes),
}


def record(postfix: PrivatePostfix, recorder: Recorder, recording: Recording) -> bytes:
    """Return the requests of one session."""
    recorder.requests = []
    recorder.refused = recording.refused
    port = postfix.ports[recording.listener]
    if recording.listener == "submission":
        session = Session(port, tls="starttls", user=ALICE, password=PASSWORD)
    else:
        session = Session(port, login=ALICE)
    with session:
        recording.client(session)
    postfix.drain()
    time.sleep(0.2)  # of a session that broke off nothing more may come
    return b"".join(recorder.requests)


def main() -> None:
    with (
        serving() as (postfix, _),
        closing(Recorder(postfix.ports["policy"])) as recorder,
    ):
        for name, recording in SESSIONS.items():
            data = record(postfix, recorder, recording)
            (HERE / f"{name}.txt").write_bytes(data)
            print(f"{name}: {len(recorder.requests)} requests")


if __name__ == "__main__":
    main()
