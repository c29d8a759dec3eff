"""What the command "wiring" tells of the requests."""

import json
from typing import Any

from aup.building import START, policy

from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.protocol.request import Request
from policyd.service.request_figures import RequestFigures
from policyd.service.wiring_counts import Listening, WiringCommand


class Asked:
    def __init__(self) -> None:
        self.figures = RequestFigures()
        self.now = Instant(WallTime(START), MonotonicTime(100.0))
        listening = Listening(["tcp:127.0.0.1:1"], ["unix:/run/milter"])
        self._command = WiringCommand(self.figures, listening, policy, lambda: self.now)

    def ask(self, **attributes: str) -> None:
        request = Request(attributes)
        self.figures.answered(request, "DUNNO", 1e-5)

    def told(self) -> dict[str, Any]:
        command = self._command.commands["wiring"]
        answer = command.run(command.request({"command": "wiring"}, 0))
        return json.loads(b"".join(answer.encoded()))


def test_nothing_was_asked() -> None:
    assert Asked().told() == {
        "ok": True,
        "up": 0.0,
        "connections": 0,
        "rcpt": 0,
        "end": 0,
        "other": 0,
        "nameless": 0,
        "only_loopback": True,
        "listening": ["tcp:127.0.0.1:1"],
        "milters": ["unix:/run/milter"],
        "notices": None,
    }


def test_requests_by_stage_and_login() -> None:
    asked = Asked()
    asked.ask(protocol_state="RCPT", sasl_username="alice", client_address="127.0.0.1")
    asked.ask(protocol_state="RCPT", client_address="::1")
    asked.ask(protocol_state="END-OF-MESSAGE", client_address="127.9.9.9")
    asked.ask(protocol_state="DATA", client_address="127.0.0.1")
    asked.now = Instant(WallTime(START), MonotonicTime(102.5))
    told = asked.told()
    assert (told["rcpt"], told["end"], told["other"], told["nameless"]) == (2, 1, 1, 3)
    assert told["only_loopback"] is True
    assert told["up"] == 2.5


def test_one_client_from_elsewhere_is_enough() -> None:
    asked = Asked()
    asked.ask(protocol_state="RCPT", client_address="192.0.2.7")
    asked.ask(protocol_state="RCPT", client_address="127.0.0.1")
    assert asked.told()["only_loopback"] is False
