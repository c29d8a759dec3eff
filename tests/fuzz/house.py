"""The whole of the daemon that answers, without a socket, and its state on a disk."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from faults.life import at_once
from service.test_policy_server import TcpWire, TurnEnds
from twisted.internet.address import IPv4Address

from policyd.aup.engine import Engine
from policyd.aup.event import Event
from policyd.aup.policy import Policy
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.config.load import load
from policyd.service.dialogue import Answering
from policyd.service.log_writer import Priority
from policyd.service.maillog import MailLog
from policyd.service.persistence import Persistence
from policyd.service.policy_server import PolicyServer, PolicyService

SESSIONS: Final = Path(__file__).parents[1] / "data/sessions"
SHIPPED: Final = Path(__file__).parents[2] / "etc/policyd/policy.yaml"
DUNNO: Final = b"action=DUNNO\n\n"
GRAMMAR: Final = re.compile(
    rb"(?:action=(?:DUNNO|(?:REJECT|DEFER|HOLD|WARN|[45]\d\d) [!-~](?:[ -~]*[!-~])?)\n\n)*"
)
"""Postfix's access actions, as far as they are used (access(5)), and how they are sent."""

_BEGINNING: Final = 1_800_000_000.0
_PEER: Final = IPv4Address("TCP", "192.0.2.25", 40123)


def recorded() -> list[list[bytes]]:
    """Return the requests of each recorded session."""
    return [
        [f"{one}\n\n".encode("latin-1") for one in text.split("\n\n")[:-1]]
        for text in (path.read_bytes().decode("latin-1") for path in sorted(SESSIONS.glob("*.txt")))
    ]


def rules(text: str, place: Path) -> Policy:
    """Return the rules that the file at *place* has with this *text*."""
    place.write_text(text, encoding="utf-8")
    policy = load(place).policy
    assert policy is not None, load(place).problems
    return policy


class Log:
    """Takes the place of a LogWriter: sees that a line is one, and keeps what is bad news."""

    def __init__(self) -> None:
        self.least = Priority.INFO
        self.lost = 0
        self.bad: list[str] = []

    def write(self, priority: Priority, line: str) -> None:
        assert re.fullmatch("[ -~]+", line), ascii(line)
        if priority <= Priority.ERROR or "event=state-problem" in line:
            self.bad.append(line)


class House:
    """A service under the *policy*, with its state in *directory*, and a clock."""

    def __init__(self, directory: Path, policy: Policy) -> None:
        self.written = Log()
        self.seconds = 0.0
        self._policy = policy
        self._directory = directory
        self._log = MailLog(self.written)  # type: ignore[arg-type]
        self._begin()

    def now(self) -> Instant:
        return Instant(WallTime(_BEGINNING + self.seconds), MonotonicTime(1000 + self.seconds))

    def connect(self) -> tuple[PolicyServer, TcpWire]:
        server = self.service.buildProtocol(_PEER)  # type: ignore[arg-type]
        assert isinstance(server, PolicyServer)
        wire = TcpWire(_PEER)
        server.makeConnection(wire)  # type: ignore[arg-type]
        return server, wire

    def let_pass(self, seconds: float) -> None:
        """Let time pass; what is done from time to time is done, too."""
        self.seconds += seconds
        self.engine.tidy(self.now(), 10_000)
        self._happened(self.engine.ladder.events())
        at_once(self._persistence.flush(self.engine))

    def restart(self) -> None:
        """Stop as the daemon does, and go on from what is on the disk."""
        self.service.close()
        at_once(self._persistence.stop(self.engine))
        self._begin()

    def end(self) -> None:
        self._persistence._store.close()

    def check(self) -> None:
        """See that all that is held is as it has to be, and that nothing went wrong so far."""
        self.engine._check()
        assert self.written.bad[:1] == []
        assert self.service.answering.figures.faults == 0

    def _begin(self) -> None:
        self._persistence = Persistence(self._directory, self._log, self.now)
        self.engine: Engine = self._persistence.load(self._policy)
        answering = Answering(self.engine, self._log, self.now, self._happened)
        self.service = PolicyService(answering, TurnEnds())  # type: ignore[arg-type]

    def _happened(self, events: Sequence[Event]) -> None:
        for event in events:
            self._log.happened(event)
