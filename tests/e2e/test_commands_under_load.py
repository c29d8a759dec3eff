"""Administrators ask and change what they like while people send mail; nobody is held up by it."""

import json
import subprocess
from functools import partial
from typing import Any

from .crowd import Crowd
from .daemon import REPOSITORY, Daemon, command
from .dovecot import PASSWORD
from .ladder import offend
from .mail_system import MailSystem
from .rules import ALICE, BOB, LEDGER, rule_file
from .smtp import Session

PEOPLE = 10
RULES = rule_file(
    f"""\
{LEDGER.replace("10000", "1000000")}\
  - id: few
    title: Few recipients
    match: {{account: {BOB}}}
    per: [account, likeness]
    count: distinct-recipients
    recipients: external
    max: 2
    window: 24h
    text: "Too many here; {{used}} of {{max}}; incident {{incident}}"
    strike: true
""",
    more="ladder:\n  steps:\n    - {strikes: 3, do: suspend-mailbox, for: 24h}\n",
)


class Desk:
    """Gives commands as administrators do."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def run(self, *words: str, code: int = 0) -> str:
        socket = ("--socket", str(self._daemon.admin))
        done = subprocess.run(
            [*command(), *words, *socket],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def told(self, *words: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(*words, "--json"))
        return answer


def test_every_command_while_mail_flows(mail: MailSystem) -> None:
    daemon = mail.policyd(RULES)
    desk = Desk(daemon)
    login = partial(Session, tls="starttls", user=ALICE, password=PASSWORD)
    with Crowd(partial(login, mail.ports["submission"]), PEOPLE, local=True) as people:
        people.wait_until_all_have_sent()
        incident = offend(mail, BOB)
        see(desk, incident)
        change(desk, daemon)
        people.wait_until_all_have_sent()
    assert people.refused() == []
    # what the commands show is what people sent
    used = {one["limit"]: one["used"] for one in desk.told("show", ALICE)["usage"]}
    assert used["messages"] == len(people.accepted())


def see(desk: Desk, incident: str) -> None:
    status = desk.told("status")
    assert status["incidents_open"] == 1
    assert status["requests"]["END-OF-MESSAGE"]["DUNNO"] >= PEOPLE
    assert {one["id"] for one in desk.told("limits")["limits"]} >= {"few", "messages"}
    assert desk.told("top", "--limit", "messages", "-n", "1")["top"][0]["key"] == [ALICE]
    assert desk.told("show", BOB)["incidents"][0]["id"] == incident
    assert [one["id"] for one in desk.told("incidents")["incidents"]] == [incident]
    assert desk.told("incident", incident)["incident"]["account"] == BOB
    asked = ("explain", "--account", BOB, "--recipients", "3", "--size", "3000")
    assert desk.told(*asked)["answer"].endswith(f"incident {incident}")
    assert "few" in desk.run(*asked, "--buckets")
    assert f"incident={incident}" in desk.run("tail", "--account", BOB)
    assert desk.told("report", "--since", "1h")["refused"]["messages"] == 1
    desk.run("incident", "2222222", code=4)
    desk.run("show", "nobody@nowhere.example", code=4)


def change(desk: Desk, daemon: Daemon) -> None:
    since = daemon.mark()
    desk.run("suspend", BOB, "--for", "1h", "--reason", "a test")
    assert [one["name"] for one in desk.told("suspensions")["suspensions"]] == [BOB]
    desk.run("unsuspend", BOB, "--reason", "a test")
    desk.run("exempt", "account", BOB, "--for", "1h", "--reason", "a test")
    assert desk.told("explain", "--account", BOB, "--recipients", "3")["answer"] == "DUNNO"
    desk.run("unexempt", "account", BOB)
    desk.run("reset", BOB, "--limit", "few", "--reason", "a test")
    desk.run("reload")
    desk.run("snapshot")
    done = [line["action"] for line in daemon.events("administered", since)]
    assert done == ["suspend", "unsuspend", "exempt", "unexempt", "reset", "reload"]
