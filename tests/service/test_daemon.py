"""The daemon as a process: how it starts and stops, what it tells systemd, and what survives."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 30.0
RULES = """\
version: 1
mode: enforce
local: {domain_files: [local-domains]}
accounts: {default_domain: local.example}
limits:
  - {id: few, per: [account], count: recipients, recipients: external, max: 3, window: 1h}
state: {directory: /nowhere, snapshot_every: %s}
"""
# takes the place of the shell that systemd is: passes on descriptors and says whose they are
ADOPT = """\
import os, sys
given = [int(fd) for fd in sys.argv[1].split(",")]
moved = [os.dup2(os.dup(fd), 50 + at) for at, fd in enumerate(given)]
for at, fd in enumerate(moved):
    os.dup2(fd, 3 + at)
os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = str(len(given)), str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "policyd", *sys.argv[2:]])
"""


class Running:
    """One daemon, its log, and what systemd hears of it."""

    def __init__(self, directory: Path, undo: ExitStack) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.log = directory / "log"
        self.socket = directory / "policy"
        self.admin = directory / "admin"
        self._undo = undo
        self.manager = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.manager.bind(str(directory / "notify"))
        self.manager.settimeout(PATIENCE)
        (directory / "local-domains").write_text("local.example\n", encoding="utf-8")
        self.rules = directory / "policy.yaml"
        self.rules.write_text(RULES % "60s", encoding="utf-8")

    def start(
        self,
        *listen: str,
        environ: Mapping[str, str] | None = None,
        inherited: tuple[socket.socket, ...] = (),
        ready: bool = True,
    ) -> subprocess.Popen[bytes]:
        where = [word for address in listen for word in ("--listen", address)]
        command = [sys.executable, "-m", "policyd"]
        if inherited:
            fds = ",".join(str(one.fileno()) for one in inherited)
            command = [sys.executable, "-c", ADOPT, fds]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [
                    *(*command, "serve", "--config", self.rules, "--state", self.state),
                    *("--admin", self.admin, *where),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=[one.fileno() for one in inherited],
                env=os.environ
                | {"NOTIFY_SOCKET": str(self.directory / "notify")}
                | (dict(environ) if environ else {}),
            )
        self._undo.callback(process.wait)
        self._undo.callback(process.kill)
        if ready:
            assert "READY=1" in self.heard()
        return process

    def heard(self) -> str:
        return self.manager.recv(4096).decode()

    def logged(self, event: str) -> list[str]:
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if re.search(rf"\bevent={event}\b", line)]

    def waits_for(self, done: Callable[[], object]) -> None:
        until = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < until, self.log.read_text(encoding="utf-8")
            time.sleep(0.02)

    def stop(self, process: subprocess.Popen[bytes], with_signal: int = signal.SIGTERM) -> int:
        process.send_signal(with_signal)
        return process.wait(PATIENCE)

    def kept(self, series: str) -> int:
        """Return the sum of what is on the disk of a *series*."""
        command = [sys.executable, "-m", "policyd", "state", "dump", "--state", self.state]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        lines = map(json.loads, done.stdout.splitlines())
        return sum(line.get("sum", 0) for line in lines if line.get("series") == series)

    def ask(self, name: str, stage: str, **attributes: str) -> str:
        """Ask one question about the message *name*; return the verb of the answer."""
        given = {
            "request": "smtpd_access_policy",
            "protocol_state": stage,
            "sasl_username": "alice",
            "instance": name,
            **attributes,
        }
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.socket))
            client.sendall("".join(f"{n}={v}\n" for n, v in given.items()).encode() + b"\n")
            return client.recv(1000).decode("ascii").removeprefix("action=").split()[0]

    def mail(self, name: str, where: Path | tuple[str, int] | None = None) -> str:
        """Send one message to one external recipient; return the verb at the end."""
        where = where or self.socket
        family = socket.AF_UNIX if isinstance(where, Path) else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(str(where) if isinstance(where, Path) else where)
            common = f"request=smtpd_access_policy\nsasl_username=alice\ninstance={name}\n"
            to = f"recipient={name}@away.example\n"
            client.sendall(f"{common}{to}protocol_state=RCPT\n\n".encode())
            replies = client.makefile("r", encoding="ascii")
            verb = replies.readline()
            if verb == "action=DUNNO\n":
                replies.readline()
                end = f"protocol_state=END-OF-MESSAGE\nrecipient_count=1\nqueue_id={name}\n\n"
                client.sendall(f"{common}{to}{end}".encode())
                verb = replies.readline()
            replies.close()
        return verb.removeprefix("action=").split()[0]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with ExitStack() as undo:
        yield Running(tmp_path, undo)


def unix(running: Running) -> str:
    return f"unix:{running.socket}"


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_keeps_every_count(running: Running, with_signal: int) -> None:
    for round_ in range(3):
        process = running.start(unix(running))
        assert running.mail(f"m{round_}") == "DUNNO"
        assert running.stop(process, with_signal) == 0
        assert "STOPPING=1" in running.heard()
        assert not running.socket.exists()
    running.start(unix(running))
    running.waits_for(
        lambda: len(running.logged("state-loaded")) == 3
    )  # at the first start there was nothing
    assert running.mail("m3") == "REJECT"
    running.waits_for(lambda: len(running.logged("refused")) == 1)


@pytest.mark.parametrize("snapshot_every", ["1s", "60s"])
def test_what_is_on_the_disk_survives_a_kill(running: Running, snapshot_every: str) -> None:
    running.rules.write_text(RULES % snapshot_every, encoding="utf-8")
    process = running.start(unix(running))
    for name in "abc":
        assert running.mail(name) == "DUNNO"
    running.waits_for(lambda: running.kept("limit few") == 3)
    running.stop(process, signal.SIGKILL)
    running.start(unix(running))
    assert running.mail("d") == "REJECT"


def test_a_message_that_has_begun_goes_on_after_a_restart(running: Running) -> None:
    process = running.start(unix(running))
    running.ask("a", "RCPT", recipient="one@away.example")
    running.ask("a", "RCPT", recipient="two@local.example")
    running.stop(process)
    running.heard()  # STOPPING
    running.start(unix(running))
    assert running.ask("a", "END-OF-MESSAGE", recipient_count="2") == "DUNNO"
    assert [running.mail(name) for name in "bcd"] == ["DUNNO", "DUNNO", "REJECT"]


STRIKES = """\
version: 1
mode: enforce
organization: {contact: abuse@local.example}
local: {domains: [local.example]}
accounts: {default_domain: local.example}
limits:
  - {id: few, per: [account], count: recipients, recipients: external, max: 1, window: 1h,
     strike: true, text: "Too many; incident {incident}"}
ladder: {steps: [{strikes: 1, do: suspend-mailbox}]}
hooks:
  - {on: [incident-opened, suspended, lifted], run: [%s]}
"""


def test_hooks_are_told_by_the_daemon_and_a_suspension_is_on_the_disk_first(
    running: Running,
) -> None:
    told = running.directory / "told"
    script = running.directory / "hook"
    script.write_text(f"#!/bin/sh\ncat >>{told}\n", encoding="utf-8")
    script.chmod(0o755)
    running.rules.write_text(STRIKES % script, encoding="utf-8")

    def news() -> list[dict[str, Any]]:
        lines = told.read_text(encoding="ascii").splitlines() if told.exists() else []
        return [json.loads(line) for line in lines]

    process = running.start(unix(running))
    assert [running.mail(name) for name in "ab"] == ["DUNNO", "REJECT"]
    running.waits_for(lambda: len(news()) == 2)
    running.stop(process, signal.SIGKILL)
    opened, suspended = sorted(news(), key=lambda one: one["event"])
    assert (opened["event"], suspended["event"]) == ("incident-opened", "suspended")
    assert opened["incident"]["account"] == "alice@local.example"
    assert suspended["suspension"]["incident"] == opened["incident"]["id"]
    running.start(unix(running))
    assert running.mail("c") == "REJECT"
    running.waits_for(lambda: running.logged("refused")[1:])
    running.waits_for(lambda: running.logged("refused"))
    assert 'suspended="mailbox alice@local.example"' in running.logged("refused")[-1]


def test_an_idle_daemon_writes_nothing(running: Running) -> None:
    running.start(unix(running))
    assert running.mail("a") == "DUNNO"
    running.waits_for(lambda: running.kept("limit few") == 1)
    log = running.state / "state.sqlite3-wal"
    written = log.stat().st_mtime_ns
    time.sleep(2.5)  # three times a journal was due
    assert log.stat().st_mtime_ns == written


def test_systemd_hears_of_a_reload_and_of_its_end_also_of_a_bad_one(running: Running) -> None:
    process = running.start(unix(running))
    for rules, event in ((RULES % "2m", "reloaded"), ("limits: [", "reload-failed")):
        running.rules.write_text(rules, encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        assert "RELOADING=1" in running.heard()
        assert "READY=1\nSTATUS=enforce: 1 limits" in running.heard()
        running.waits_for(lambda event=event: running.logged(event))
    running.waits_for(lambda: running.logged("rule-problem"))
    assert running.mail("after") == "DUNNO"


def test_the_watchdog_is_told_at_half_time(running: Running) -> None:
    running.start(unix(running), environ={"WATCHDOG_USEC": "200000"})
    assert [running.heard() for _ in range(3)] == ["WATCHDOG=1"] * 3


def test_inherited_sockets_are_served_instead_of_the_default(running: Running) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local:
        tcp.bind(("127.0.0.1", 0))
        local.bind(str(running.socket))
        for one in (tcp, local):
            one.listen(100)
        process = running.start(inherited=(tcp, local))
        port = tcp.getsockname()
        assert running.mail("a", port) == "DUNNO"
        assert running.mail("b", running.socket) == "DUNNO"
        running.waits_for(lambda: running.logged("started"))
        (started,) = running.logged("started")
        assert f"listen=tcp:127.0.0.1:{port[1]},unix:{running.socket}" in started
        running.stop(process)
        assert running.socket.exists()
        # what connects while nobody serves waits for the next one
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(running.socket))
            waiting.sendall(b"request=smtpd_access_policy\nprotocol_state=VRFY\n\n")
            running.heard()  # STOPPING
            running.start(inherited=(tcp, local))
            waiting.settimeout(PATIENCE)
            assert waiting.recv(100) == b"action=DUNNO\n\n"


def test_a_changed_list_file_is_obeyed_and_a_bad_one_is_not(running: Running) -> None:
    running.start(unix(running))
    domains = running.directory / "local-domains"
    domains.write_text("local.example\naway.example\n", encoding="utf-8")
    running.waits_for(lambda: running.logged("reloaded"))
    for name in "abcde":
        assert running.mail(name) == "DUNNO"
    domains.write_text("@away.example\n", encoding="utf-8")
    running.waits_for(lambda: running.logged("reload-failed"))
    running.waits_for(lambda: running.logged("rule-problem"))
    assert "local-domains:1" in running.logged("rule-problem")[0]
    assert running.mail("f") == "DUNNO"
    running.waits_for(lambda: len(running.logged("reload-failed")) == 1)


def test_bad_rules_never_start(running: Running) -> None:
    running.rules.write_text("version: 1\nlimits: []\nmodus: enforce\n", encoding="utf-8")
    process = running.start(unix(running), ready=False)
    assert process.wait(PATIENCE) == 1
    assert f"{running.rules}:3:1: " in running.log.read_text(encoding="utf-8")
    assert not running.socket.exists()


def test_a_port_that_is_taken_is_said(running: Running) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp:127.0.0.1:{other.getsockname()[1]}"
        process = running.start(address, ready=False)
        assert process.wait(PATIENCE) == 71
    log = running.log.read_text(encoding="utf-8")
    assert f"policyd: cannot listen on {address}: Address already in use" in log


def test_a_second_daemon_on_the_same_state_says_so_and_ends(running: Running) -> None:
    running.start(unix(running))
    second = running.start(f"{unix(running)}-2", ready=False)
    assert second.wait(PATIENCE) == 71
    log = running.log.read_text(encoding="utf-8")
    assert f"policyd: another policyd uses {running.state}" in log
    assert running.mail("first") == "DUNNO"


def test_a_state_directory_that_cannot_be_used_stops_no_mail(running: Running) -> None:
    running.state.write_text("a file", encoding="utf-8")
    process = running.start(unix(running))
    running.waits_for(lambda: len(running.logged("state-problem")) == 1)
    assert [running.mail(name) for name in "abcd"] == ["DUNNO"] * 3 + ["REJECT"]
    assert running.stop(process) == 0
    assert running.state.read_text(encoding="utf-8") == "a file"


def test_a_broken_database_is_set_aside_and_mail_flows(running: Running) -> None:
    running.state.mkdir()
    (running.state / "state.sqlite3").write_bytes(b"not a database" * 1000)
    running.start(unix(running))
    running.waits_for(lambda: len(running.logged("state-problem")) == 1)
    assert len(list(running.state.glob("state.sqlite3.corrupt-*"))) == 1
    assert running.logged("state-loaded") == []
    assert running.mail("a") == "DUNNO"


def test_a_disk_that_fails_is_said_once_and_when_it_is_over(running: Running) -> None:
    running.rules.write_text(RULES % "1s", encoding="utf-8")
    running.state.mkdir()
    database = running.state / "state.sqlite3"
    process = running.start(unix(running))
    running.waits_for(database.exists)
    # as root no permission stops a write, another program's lock does
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert running.mail("a") == "DUNNO"
        running.waits_for(lambda: running.logged("state-trouble"))
        assert running.mail("b") == "DUNNO"
        other.execute("ROLLBACK")
    running.waits_for(lambda: running.logged("state-saved-again"))
    running.waits_for(lambda: len(running.logged("state-trouble")) == 1)
    assert running.kept("limit few") == 2
    assert running.stop(process) == 0


def test_a_listener_that_others_reach_is_warned_of(tmp_path: Path) -> None:
    # in memory: nothing of a test is to be reached by others
    script = """
import sys
from pathlib import Path
from twisted.internet.testing import MemoryReactorClock
from policyd.service import application
from policyd.service.addresses import parse_listen
from policyd.service.log_writer import Priority
from policyd.config.load import load
memory = application.reactor = MemoryReactorClock()
memory.run = lambda: None
rules = Path(sys.argv[1])
loaded = load(rules)
listen = tuple(map(parse_listen, ["tcp:127.0.0.1:1", "tcp:0.0.0.0:2", "tcp:[::]:3", "tcp:[::1]:4"]))
options = application.Options(rules, listen, listen[0], Path(sys.argv[2]), Priority.INFO)
application.serve(options, loaded, loaded.policy, lambda *_: None)
"""
    rules = Path(__file__).parents[2] / "etc/policyd/policy.yaml"
    done = subprocess.run(
        [sys.executable, "-c", script, rules, tmp_path],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    warned = re.findall(r"warning event=listens-beyond-loopback listen=(\S+)", done.stderr)
    assert warned == ["tcp:0.0.0.0:2", '"tcp:[::]:3"']
