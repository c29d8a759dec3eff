"""What a test has in its hands: policyd, Postfix before it, clients, and what was delivered."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from .daemon import Daemon
from .dovecot import PASSWORD
from .postfix import PrivatePostfix
from .rules import ALICE
from .sink import Delivery, Sink
from .smtp import Session
from .supervisor import Service

SHOWN = 20  # lines at either end of a transcript

Running = TypeVar("Running", bound=Daemon)


class MailSystem:
    """The mail system for one test; Postfix is the same for all, everything else is new."""

    def __init__(self, postfix: PrivatePostfix, sink: Sink, directory: Path) -> None:
        self.postfix = postfix
        self.ports = postfix.ports
        self._transcripts: list[list[str]] = []
        self._sink = sink
        self._directory = directory
        self._leave = ExitStack()
        postfix.drain()
        sink.clear()

    def policyd(self, rules: str, *, sees_content: bool = False) -> Daemon:
        """Start the daemon, with this rule file and nothing counted."""
        port, socket = self.ports["policy"], self.postfix.policy_socket
        milter = socket.with_name("milter") if sees_content else None
        return self._started(Daemon(self._directory / "policyd", port, socket, milter), rules)

    def service(self, rules: str) -> Service:
        """Start the daemon as systemd does, with this rule file and nothing counted."""
        return self._started(Service(self._directory / "policyd", self.ports["policy"]), rules)

    def _started(self, daemon: Running, rules: str) -> Running:
        self._transcripts.append(daemon.raw)
        self._leave.callback(daemon.close)
        daemon.write_rules(rules)
        daemon.start()
        return daemon

    def connect(self, listener: str = "plain", login: str = ALICE, address: str = "") -> Session:
        """Open a session with a listener that takes our word (XCLIENT) for who we are."""
        return self._opened(Session(self.ports[listener], login=login, address=address))

    def submit(self, user: str = ALICE, listener: str = "submission") -> Session:
        """Open a session as people do: over TLS, with a password."""
        tls = "wrapper" if listener == "submissions" else "starttls"
        return self._opened(Session(self.ports[listener], tls=tls, user=user, password=PASSWORD))

    def _opened(self, session: Session) -> Session:
        self._transcripts.append(session.transcript)
        self._leave.callback(session.close)
        return session

    def delivered(self) -> Counter[str]:
        """Return who has got mail, and how many, once all that was accepted is delivered."""
        self.postfix.drain()
        return Counter(name for mail in self._sink.deliveries for name in mail.recipients)

    def mailbox(self, address: str) -> list[Delivery]:
        """Return the mail that *address* has got, once all that was accepted is delivered."""
        self.postfix.drain()
        return self._sink.mailbox(address)

    def listener(self) -> Sink:
        """Start what notices can be handed to in the place of Postfix, on a port of its own."""
        listener = Sink(self.ports["notices"])
        self._leave.callback(listener.close)
        return listener

    def transcript(self) -> list[str]:
        """Return what daemon and clients have said, the beginning and the end of each."""
        return [line.rstrip() for lines in self._transcripts for line in _in_short(lines)]

    def close(self) -> None:
        """Close the sessions, stop the daemon, leave no mail behind."""
        try:
            self._leave.close()
            self.postfix.drain()
        finally:
            self.postfix.empty()


def _in_short(lines: list[str]) -> list[str]:
    if len(lines) <= 2 * SHOWN:
        return lines
    return [*lines[:SHOWN], f"... {len(lines) - 2 * SHOWN} more lines ...", *lines[-SHOWN:]]
