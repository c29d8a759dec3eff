"""Administrators' commands, mutated: each is answered, and none is a fault."""

import json
import random
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from service.metered import Metered
from service.test_admin_socket import Wire
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from policyd.service.admin_socket import AdminServer, AdminService
from policyd.service.administration import Administration
from policyd.service.audit import Audit
from policyd.service.controlling import Controlling
from policyd.service.explaining import Explaining
from policyd.service.overview import Overview
from policyd.service.reporting import Reporting
from policyd.service.showing import Showing
from policyd.service.walking import Walks
from policyd.service.wiring_counts import Listening, WiringCommand

from .form import SEED, seeds, times
from .house import SHIPPED, rules
from .mutation import Mutator

pytestmark = pytest.mark.usefixtures("without_threads")

COMMANDS: Final = times(4000, 100_000)
SEED_LINES: Final = [line for seed in seeds("admin") for line in seed.split(b"\n") if line]
_FINAL: Final = {"tail", "snapshot", "reload"}
"""Commands of which the answer comes much later, or never; they are only refused here."""


class Office:
    """All commands, as the daemon has them, on an engine that has counted something."""

    def __init__(self, directory: Path, handle: socket.socket) -> None:
        policy = rules(SHIPPED.read_text(encoding="utf-8"), directory / "policy.yaml")
        self.daemon = daemon = Metered(directory, policy)
        daemon.persistence.load(policy)  # there has to be a disk; this engine has not been on it
        for number in range(20):
            daemon.mail(number, sasl_username=f"u{number % 3}@mail.example")
        sources, now = daemon.metrics._sources, daemon.now
        walks = Walks(daemon.clock)
        audit = Audit(
            *(daemon.persistence, self._flush, daemon.log, now), login=lambda _: succeed("root")
        )
        commands = {
            **Administration(daemon.engine, audit, now, lambda _: False).commands,
            **Explaining(daemon.engine, lambda: ["mx"], now).commands,
            **Overview(sources, ["tcp:127.0.0.1:10040"], walks, now).commands,
            **Showing(daemon.engine, walks, now).commands,
            **Controlling(sources, audit, walks, now).commands,
            **Reporting(daemon.engine, walks, now).commands,
            **WiringCommand(
                daemon.service.answering.figures,
                Listening([], []),
                lambda: policy,
                now,
            ).commands,
        }
        self.names = sorted(set(commands) - _FINAL)
        given = {name: commands[name] for name in self.names}
        self._service = AdminService(given, daemon.log, daemon.clock)
        self._handle = handle

    def ask(self, line: bytes) -> list[dict[str, Any]]:
        """Return what is answered to *line*, on a connection of its own."""
        server = self._service.buildProtocol(None)  # type: ignore[arg-type]
        assert isinstance(server, AdminServer)
        wire = Wire(self._handle)
        server.makeConnection(wire)  # type: ignore[arg-type]
        server.dataReceived(line)
        answers = wire.read()
        clock = self.daemon.clock
        while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
            clock.advance(0)
            answers += wire.read()
        server.connectionLost(Failure(ConnectionDone()))
        return answers[1:]

    def _flush(self) -> Deferred[None]:
        ladder = self.daemon.engine.ladder
        ladder.take_effect(ladder.suspensions.waiting)
        return succeed(None)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    here, there = socket.socketpair()
    with here, there:
        office = Office(tmp_path, here)
        yield office
        office.daemon.persistence._store.close()


def test_there_is_a_seed_for_every_command(office: Office) -> None:
    assert {json.loads(line)["command"] for line in SEED_LINES} == set(office.names)


def test_every_seed_is_answered(office: Office) -> None:
    codes = set()
    for line in SEED_LINES:
        (answer,) = office.ask(line + b"\n")
        codes.add(answer["error"]["code"] if "error" in answer else "ok")
    assert codes == {"ok", "no-such"}  # there is no such incident


def explained(office: Office, row: str) -> str:
    """Return "ok", or the code of the error, where one request with that *row* is explained."""
    (answer,) = office.ask(f'{{"command": "explain", "requests": [{row}]}}\n'.encode())
    return "ok" if answer["ok"] else answer["error"]["code"]


@pytest.mark.parametrize("row", ['{"sender": "\\ud800"}', '{"\\ud800": "x"}', '{"sender": 1}', "7"])
def test_a_request_that_no_wire_could_have_is_not_explained(office: Office, row: str) -> None:
    assert explained(office, row) == "usage"


def test_a_request_that_is_not_utf8_is_explained(office: Office) -> None:
    assert explained(office, '{"sender": "\\udcff", "protocol_state": "RCPT"}') == "ok"


def test_mutated_commands_are_answered_and_none_is_a_fault(office: Office) -> None:
    chance = random.Random(SEED)
    mutator = Mutator(chance, SEED_LINES)
    told: Counter[str] = Counter()
    for _ in range(COMMANDS):
        line = chance.choice(SEED_LINES)
        if chance.random() < 0.6:
            line = json.dumps(mutator.json(json.loads(line))).encode("ascii")
        else:
            line = mutator.raw(line)
        for answer in office.ask(line + b"\n"):
            assert answer["ok"] is True or answer["error"]["code"] != "fault", line
            told["ok" if answer["ok"] else answer["error"]["code"]] += 1
        if chance.random() < 0.01:
            office.daemon.clock.advance(chance.choice([1, 60, 3600, 86400]))
            office.daemon.engine.tidy(office.daemon.now(), 10_000)
    print(f"{COMMANDS} commands, seed {SEED}: {dict(told)}")
    assert told["ok"] > COMMANDS / 50
    assert told["usage"] > COMMANDS / 20
    assert "task-failed" not in office.daemon.lines.events
    office.daemon.engine._check()
