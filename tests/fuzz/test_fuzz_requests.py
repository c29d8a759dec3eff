"""Real requests, mutated by the thousand, through all that answers: an answer for each, or none.

The rules are those that are shipped, as they are and so strict that much is refused. Never an
exception, never an answer that Postfix might take for another one; and what was counted of it all
can be kept and read again.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from service.test_policy_server import TcpWire
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from policyd.service.policy_server import PolicyServer

from .form import SEED, seeds, times
from .house import DUNNO, GRAMMAR, SHIPPED, House, recorded, rules
from .mutation import TEXTS, Mutator

pytestmark = pytest.mark.usefixtures("without_threads")

REQUESTS: Final = times(12_000, 1_000_000)
A_HOUSE: Final = times(4000, 25_000)
"""Requests after which everything begins anew, under other rules."""

CONNECTIONS: Final = 6
_VALUES: Final = [text.encode("utf-8", "surrogatepass").replace(b"\n", b" ") for text in TEXTS]
_GONE: Final = Failure(ConnectionDone())


def variants(chance: random.Random) -> str:
    """Return the rules that are shipped: in force, and perhaps much stricter or otherwise kept."""
    text = SHIPPED.read_text(encoding="utf-8").replace("mode: observe", "mode: enforce", 1)
    if chance.random() < 0.7:
        for most in ("249", "250", "500", "1000"):
            text = text.replace(f"max: {most}\n", f"max: {chance.randint(1, 30)}\n")
    if chance.random() < 0.5:
        text = text.replace("likeness: {by: size, tolerance: 64}", "likeness: {by: any}")
    for action in ("HOLD", "WARN", "452", "521"):
        if chance.random() < 0.2:
            text = text.replace("action: DEFER", f"action: {action}", 1)
    text = text.replace("end_session: auto", f"end_session: {chance.choice(['auto', 'yes', 'no'])}")
    return text.replace("max_keys: 5000000", f"max_keys: {chance.choice([1000, 5000000])}")


class Peers:
    """All who ask in one *house*; the *sessions* are what is asked, before it is mutated."""

    def __init__(self, house: House, chance: random.Random, sessions: list[list[bytes]]) -> None:
        self.answers: Counter[bytes] = Counter()
        self._house = house
        self._chance = chance
        self._sessions = sessions
        lines = {line for one in sessions for request in one for line in request.split(b"\n")}
        self._lines = sorted(lines - {b""})
        self._mutator = Mutator(chance, [*self._lines, *(b"%s\n" % one for one in self._lines)])
        self._open: list[tuple[PolicyServer, TcpWire]] = []

    def ask(self) -> int:
        """Ask what belongs to one session; return how many requests that were."""
        chance = self._chance
        session = chance.choice(self._sessions)
        server, wire = self._connection()
        for request in session:
            how = chance.random()
            if how < 0.15:
                self._feed(server, self._mutator.raw(request))
                self._said(wire)
                parser = server._dialogue._parser
                if parser.error or parser._buffer:
                    # nobody knows where the next request begins
                    self._leave(server)
                    return len(session)
                continue
            if how < 0.8:
                request = self._changed(request)  # noqa: PLW2901
            self._feed(server, request)
            assert self._said(wire) == 1, request
        if chance.random() < 0.3:
            self._leave(server)
        return len(session)

    def leave(self) -> None:
        """Close all connections."""
        for server, _ in list(self._open):
            self._leave(server)

    def _connection(self) -> tuple[PolicyServer, TcpWire]:
        if len(self._open) < CONNECTIONS:
            self._open.append(self._house.connect())
        return self._chance.choice(self._open)

    def _leave(self, server: PolicyServer) -> None:
        self._open = [one for one in self._open if one[0] is not server]
        server.connectionLost(_GONE)

    def _changed(self, request: bytes) -> bytes:
        """Return *request*, still one, with some of its attributes changed, doubled or left out."""
        chance = self._chance
        lines = request.split(b"\n")[:-2]
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(1, len(lines))
            name, _, value = lines[at].partition(b"=")
            how = chance.random()
            if how < 0.5:
                value = chance.choice(_VALUES)
            elif how < 0.8:
                name, _, value = chance.choice(self._lines).partition(b"=")
            elif how < 0.9:
                value += chance.choice(_VALUES)
            lines[at] = b"%s=%s" % (name, value)
        if chance.random() < 0.1:
            chance.shuffle(lines)
        return b"\n".join(lines) + b"\n\n"

    def _feed(self, server: PolicyServer, data: bytes) -> None:
        at = self._chance.randint(0, 2 * len(data))
        server.dataReceived(data[:at])
        if at < len(data) and not server.transport.disconnecting:
            server.dataReceived(data[at:])

    def _said(self, wire: TcpWire) -> int:
        """Look at what was answered; return how many answers that were."""
        said = wire.value()
        wire.clear()
        if said == DUNNO:
            self.answers[b"action=DUNNO"] += 1
            return 1
        assert GRAMMAR.fullmatch(said), said
        answers = said.split(b"\n\n")[:-1]
        self.answers.update(answer[:13] for answer in answers)
        return len(answers)


def houses(place: Path) -> Iterator[tuple[House, random.Random]]:
    for number in range(REQUESTS // A_HOUSE):
        chance = random.Random(f"{SEED} {number}")
        directory = place / str(number)
        directory.mkdir()
        policy = rules(variants(chance), directory / "policy.yaml")
        house = House(directory / "state", policy)
        yield house, chance
        house.end()


def test_mutated_requests_are_answered_by_the_grammar(tmp_path: Path) -> None:
    sessions = recorded() + [[one] for one in seeds("requests")]
    answers: Counter[bytes] = Counter()
    asked = 0
    begun = time.monotonic()
    for house, chance in houses(tmp_path):
        peers = Peers(house, chance, sessions)
        left = A_HOUSE
        while left > 0:
            for _ in range(50):
                left -= peers.ask()
            house.let_pass(chance.choice([0.1, 1, 1, 30, 400]))
        asked += A_HOUSE - left
        house.check()
        peers.leave()
        house.restart()
        house.check()
        answers += peers.answers
    rate = asked / (time.monotonic() - begun)
    print(f"{asked} requests at {rate:.0f}/s, seed {SEED}: {dict(answers)}")
    assert asked >= REQUESTS
    assert answers[b"action=DUNNO"] > REQUESTS / 10
    # most of what is not mutated away is refused sooner or later
    assert sum(answers.values()) - answers[b"action=DUNNO"] > REQUESTS / 1000
