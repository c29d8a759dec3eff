"""Hooks: programs and web addresses that are told, and such as hang."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .ladder import A_FRIEND, AT_ONCE, is_suspended, ladder_rules, offend, send
from .mail_system import MailSystem
from .rules import ALICE, BOB
from .waiting import PATIENCE

HOOKS = """\
hooks:
  - {on: [incident-opened, suspended, lifted], run: [%(program)s, "a word; and $more"]}
  - {on: [incident-opened, suspended, lifted], url: "http://127.0.0.1:%(web)d/policyd?a=b"}
  - {on: [incident-opened, suspended, lifted], run: [/bin/sleep, "600"], timeout: 1s}
  - {on: suspended, url: "http://127.0.0.1:%(web)d/hangs", timeout: 1s}
"""
WAY = ["incident-opened", "suspended", "lifted"]


class Web(http.server.ThreadingHTTPServer):
    """A web server that remembers what was posted, and of /hangs is never heard again."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Posted)
        self.posted: list[tuple[str, Any]] = []
        self.over = threading.Event()


class _Posted(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, data))
        if self.path == "/hangs":
            self.server.over.wait(PATIENCE)
            return
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_hooks_are_told_in_order_and_those_that_hang_hold_up_nobody(
    mail: MailSystem, web: Web, tmp_path: Path
) -> None:
    told, program = tmp_path / "told", tmp_path / "lock-login"
    program.write_text(f'#!/bin/sh\n{{ echo "$*"; cat; }} >> {told}\n', encoding="ascii")
    program.chmod(0o755)
    hooks = HOOKS % {"program": program, "web": web.server_port}
    port = mail.ports["reinjection"]
    daemon = mail.policyd(ladder_rules(port, steps=AT_ONCE, more=hooks))

    incident = offend(mail)

    daemon.wait_for("suspended", name=ALICE)
    assert is_suspended(mail, ALICE)
    assert send(mail, BOB, [A_FRIEND], 500).passed
    hanging = "/bin/sleep 600", f"http://127.0.0.1:{web.server_port}/hangs"
    for hook in hanging:
        line = daemon.wait_for("hook-failed", hook=hook, on="suspended")
        assert "took longer than 1s" in line["why"] or "timed out" in line["why"]
    assert send(mail, BOB, [A_FRIEND], 500).passed
    daemon.administer("unsuspend", ALICE, "--reason", "a 'new' password")
    for hook in (f"{program} a word; and $more", f"http://127.0.0.1:{web.server_port}/policyd"):
        daemon.wait_for("hook-done", hook=hook, on="lifted")

    lines = told.read_text(encoding="ascii").splitlines()
    assert lines[::2] == ["a word; and $more"] * 3
    by_program = [json.loads(line) for line in lines[1::2]]
    by_web = [data for path, data in web.posted if path == "/policyd?a=b"]
    assert by_program == by_web
    opened, suspended, lifted = by_web
    assert [data["event"] for data in by_web] == WAY
    assert opened["incident"]["id"] == suspended["incident"]["id"] == incident
    assert opened["incident"]["account"] == ALICE
    assert opened["incident"]["recipients"] == 3
    assert opened["incident"]["clients"] == ["127.0.0.1"]
    assert opened["suspension"] is lifted["incident"] is None
    assert suspended["suspension"]["name"] == ALICE
    assert suspended["suspension"]["kind"] == "mailbox"
    assert lifted["suspension"]["incident"] == incident
    assert lifted["suspension"]["lifted_why"] == "a 'new' password"
    assert "/hangs" in [path for path, _ in web.posted]

    # a stop waits for none of them
    assert daemon.stop() == 0
