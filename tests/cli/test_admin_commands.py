"""Administrators' commands: exit codes, what is printed, and all of them against a daemon."""

import json
import os
import pwd
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli.commanding import Run, run_at
from service.test_daemon import PATIENCE, RULES, Running

from policyd.cli import admin_client

GREETING = b'{"policyd": "0.1.0", "protocol": 1}\n'
ALICE = "alice@local.example"
ME = pwd.getpwuid(os.getuid()).pw_name
COMMANDS = [
    *("incidents", "incident X", "suspend x --reason y", "unsuspend x --reason y", "suspensions"),
    *("exempt account x --for 1h --reason y", "unexempt account x", "exemptions"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin"


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return run_at(path, capsys, monkeypatch)


@contextmanager
def daemon(path: Path, *replies: bytes, greeting: bytes = GREETING) -> Iterator[list[Any]]:
    """Answer one connection each with one of the *replies*; the list has what was asked."""
    asked: list[Any] = []

    def serve() -> None:
        for reply in replies:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(greeting)
                if greeting == GREETING:
                    asked.append(json.loads(lines.readline()))
                    connection.sendall(reply)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield asked
        thread.join(PATIENCE)
    path.unlink()


def answer(**fields: Any) -> bytes:
    return json.dumps({"ok": True, **fields}).encode() + b"\n"


def failure(code: str, message: str = "so it is") -> bytes:
    error = {"code": code, "message": message}
    return json.dumps({"ok": False, "error": error}).encode() + b"\n"


# exit codes


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        *(("usage", 2), ("no-such", 4), ("not-allowed", 5), ("busy", 3)),
        *(("fault", 1), ("unknown-command", 1), ("something-new", 1)),
    ],
)
def test_an_error_has_its_exit_code(path: Path, run: Run, code: str, exit_code: int) -> None:
    with daemon(path, failure(code, "so\x1b[5m it is")):
        assert run("incident X") == (exit_code, "", "policyd: so\\x1b[5m it is\n")
    with daemon(path, failure(code)):
        assert run("incident X --json") == (
            *(exit_code, failure(code).decode(), "policyd: so it is\n"),
        )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_daemon_that_is_not_there(path: Path, run: Run, command: str) -> None:
    why = f"policyd cannot be reached on {path}: No such file or directory; is it running?"
    assert run(command) == (3, "", f"policyd: {why}\n")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    code, out, err = run(command)
    assert (code, out) == (3, "")
    assert "Connection refused" in err


def test_a_socket_that_cannot_be_one(run: Run) -> None:
    code, _, err = run(f"incidents --socket /{'x' * 200}")
    assert code == 3
    assert "AF_UNIX path too long" in err


def test_who_may_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refused)
    code, out, err = run("incidents")
    assert (code, out) == (5, "")
    assert "join the group policyd-admin, or be root" in err


@pytest.mark.parametrize(
    ("greeting", "reply", "message"),
    [
        (GREETING, b"", "ended the connection without an answer"),
        (GREETING, b"{", "ended the connection without an answer"),
        (GREETING, b"[]\n", "ended the connection without an answer"),
        (b"", b"", "ended the connection without an answer"),
        (b"\xff\n", b"", "ended the connection without an answer"),
        (b'{"policyd": "9.0", "protocol": 2}\n', b"", "another version of policyd"),
        (failure("busy", "there are 50 already"), b"", "there are 50 already"),
    ],
)
def test_what_is_no_answer(
    path: Path, run: Run, greeting: bytes, reply: bytes, message: str
) -> None:
    with daemon(path, reply, greeting=greeting):
        code, out, err = run("incidents")
    assert (code, out) == (3, "")
    assert message in err


def test_a_daemon_that_is_stuck(path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_client, "_PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        code, _, err = run("incidents")
    assert code == 3
    assert f"policyd does not answer on {path}" in err


@pytest.mark.parametrize(
    "command",
    [
        *("incident", "suspend", "suspend a@b", "unsuspend a@b", "suspend --reason x"),
        *("exempt", "exempt account a", "exempt account a --for 1h", "exempt domain a --for 1h"),
        *("exempt account a --reason x", "incidents x", "suspensions x", "exemptions x"),
        *("suspend a --domain --account --reason x", "incidents --since", "unexempt a"),
    ],
)
def test_what_cannot_be_understood(run: Run, command: str) -> None:
    code, out, err = run(command)
    assert (code, out) == (2, "")
    assert err.startswith("usage: policyd ")


@pytest.mark.parametrize("command", [command.split()[0] for command in COMMANDS])
def test_each_has_an_example_in_its_help(run: Run, command: str) -> None:
    code, out, _ = run(f"{command} --help")
    assert code == 0
    assert re.search(rf"\nExample: policyd {command}\b.*\n\Z", out)
    assert re.search(rf"(?m)^    {command}( |$)", run("--help").out)


# what is sent


@pytest.mark.parametrize(
    ("command", "request_"),
    [
        ("incidents", {"open": False}),
        (
            f"incidents --open --account {ALICE} --domain d.example --since 7d",
            {"open": True, "account": ALICE, "domain": "d.example", "since": "7d"},
        ),
        ("incident b7d-fg h2", {"id": "b7d-fg h2"}),
        (
            f"suspend {ALICE} --for 24h --reason 'a b'",
            {"subject": ALICE, "reason": "a b", "for": "24h", "force": False},
        ),
        (
            "suspend big --domain --force --reason x",
            {"subject": "big", "reason": "x", "kind": "domain", "force": True},
        ),
        ("unsuspend al --account --reason x", {"subject": "al", "kind": "account", "reason": "x"}),
        ("suspensions", {"all": False}),
        ("suspensions --all", {"all": True}),
        (
            "exempt client 192.0.2.0/28 --for ever --reason x",
            {"kind": "client", "name": "192.0.2.0/28", "for": "ever", "reason": "x"},
        ),
        ("unexempt recipient a@b", {"kind": "recipient", "name": "a@b"}),
        ("exemptions", {}),
    ],
)
def test_what_is_asked(path: Path, run: Run, command: str, request_: dict[str, Any]) -> None:
    with daemon(path, failure("fault")) as asked:
        run(command)
    assert asked == [{"command": command.split(maxsplit=1)[0], **request_}]


@pytest.mark.parametrize(("uid", "sent"), [(0, "bob"), (1000, None)])
def test_only_root_says_on_whose_behalf(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, uid: int, sent: str | None
) -> None:
    monkeypatch.setenv("SUDO_USER", "bob")
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with daemon(path, failure("fault")) as asked:
        run("exemptions")
    assert asked[0].get("as") == sent


def test_the_socket_is_an_option_or_in_the_environment(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICYD_ADMIN", "/nowhere")
    with daemon(path, answer(exemptions=[], more=0)):
        assert run(f"exemptions --socket {path}").code == 0
    assert "/nowhere" in run("exemptions").err
    monkeypatch.delenv("POLICYD_ADMIN")
    assert "[--socket PATH]" in run("exemptions --help").out
    assert "/run/policyd/admin.sock" in " ".join(run("exemptions --help").out.split())


# what is printed


def test_json_is_the_answer_as_it_came(path: Path, run: Run) -> None:
    reply = b'{"ok": true,   "exemptions": [], "new": 1, "notes": ["n\\u00fc"]}\n'
    with daemon(path, reply):
        assert run("exemptions --json") == (0, reply.decode(), "policyd: note: nü\n")


def test_lists_that_are_cut_say_so(path: Path, run: Run) -> None:
    for command in ("incidents", "suspensions", "exemptions"):
        with daemon(path, answer(**{command: [], "more": 5})):
            assert run(command).out.splitlines()[-1] == "and 5 older ones"


def test_a_reader_who_has_seen_enough(path: Path) -> None:
    one = {"kind": "k", "name": "n", "since": None, "until": None, "by": "b", "reason": "r" * 99}
    with daemon(path, answer(exemptions=[one] * 10_000, more=0)):
        done = subprocess.run(
            f"{shlex.quote(sys.executable)} -m policyd exemptions --socket {path} | head -1",
            shell=True,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    assert done.stderr == b""
    assert done.stdout.startswith(b"Kind ")


def test_no_twisted_and_no_rules_are_imported(path: Path) -> None:
    program = (
        "import sys; from policyd.cli.main import main; "
        f"main(['incidents', '--socket', {str(path)!r}]); "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    ours = {name for name in done.stdout.split() if name.startswith(("policyd", "twisted", "yaml"))}
    assert ours == {
        *("policyd", "policyd.cli", "policyd.cli.main", "policyd.cli.admin_client"),
        *("policyd.cli.incidents", "policyd.cli.suspensions", "policyd.cli.subject"),
        *("policyd.cli.tables", "policyd.compiled"),
    }


# all of it


@pytest.fixture
def running(path: Path, tmp_path: Path) -> Iterator[Running]:
    with ExitStack() as undo:
        running = Running(tmp_path, undo)
        running.admin = path
        rules = (RULES % "60s").replace("max: 3,", "max: 3, strike: true,")
        ladder = "ladder: {steps: [{strikes: 1, do: notice}, {strikes: 2, do: suspend-mailbox}]}\n"
        notices = "notices: {to: [pm@local.example], smtp: 127.0.0.1:1, sender: pm@local.example}\n"
        running.rules.write_text(f"{rules}time_zone: Europe/Berlin\n{ladder}{notices}")
        yield running


def test_a_mailbox_is_suspended_and_freed(running: Running, run: Run) -> None:
    process = running.start(f"unix:{running.socket}")
    assert run("suspensions") == (0, "nobody is suspended\n", "")
    said = run(f"suspend {ALICE} --for 24h --reason 'password stolen'")
    assert re.fullmatch(rf"mailbox {ALICE} suspended until \d{{4}}-.* \+0[12]:00\n", said.out)
    assert running.mail("a") == "REJECT"
    header, row = run("suspensions").out.splitlines()
    assert re.split("  +", header) == "Kind Who Since Until By Incident Reason".split()
    kind, name, _, _, by, incident, reason = re.split("  +", row)
    assert (kind, name, by, incident, reason) == ("mailbox", ALICE, ME, "-", "password stolen")
    running.stop(process, signal.SIGKILL)
    running.start(f"unix:{running.socket}")
    assert running.mail("b") == "REJECT"
    assert run(f"unsuspend {ALICE} --reason changed") == (
        *(0, f"mailbox {ALICE} may send again; it was: password stolen\n", ""),
    )
    assert running.mail("c") == "DUNNO"
    assert "lifted 2" in run("suspensions --all").out
    assert run(f"unsuspend {ALICE} --reason changed").code == 4
    assert run("suspend local.example --reason x").code == 5
    assert run("suspend a@b..c --reason x").code == 2
    said = run("suspend other.example --reason x")
    assert said.out == "domain other.example suspended until it is lifted\n"
    assert said.err == "policyd: note: other.example is none of the local domains\n"


def test_an_account_is_exempt_for_a_time(running: Running, run: Run) -> None:
    running.start(f"unix:{running.socket}")
    assert run("exemptions") == (0, "nothing is exempt by command\n", "")
    said = run("exempt account alice --for 24h --reason 'annual report'")
    assert said.out.startswith(f"account {ALICE} exempt until 2")
    assert [running.mail(f"m{n}") for n in range(5)] == ["DUNNO"] * 5
    assert "annual report" in run("exemptions").out
    assert run("unexempt account alice") == (
        *(0, f"account {ALICE} exempt no more; it was: annual report\n", ""),
    )
    assert [running.mail(f"n{n}") for n in range(4)] == ["DUNNO"] * 3 + ["REJECT"]
    assert run("unexempt account alice").code == 4


def test_an_incident_is_shown_on_one_screen(running: Running, run: Run) -> None:
    running.start(f"unix:{running.socket}")
    assert run("incidents") == (0, "no incidents\n", "")
    for number in range(3):
        assert running.mail(f"m{number}") == "DUNNO"
    for _ in range(2):
        assert running.mail("mine") == "REJECT"
    header, row = run("incidents").out.splitlines()
    assert re.split("  +", header)[:3] == ["ID", "Who", "Limit"]
    name, who, limit, first, last, messages, recipients, strike, state = re.split("  +", row)
    assert (who, limit, messages, recipients, strike, state) == (
        *(ALICE, "few", "1", "1", "1", "open"),
    )
    assert run(f"incident {name[:4].lower()} {name[4:]}").out == run(f"incident {name}").out
    code, out, err = run(f"incident {name}")
    assert (code, err) == (0, "")
    lines = [re.split("  +", line.strip(), maxsplit=1) for line in out.splitlines()]
    assert lines[0] == [f"Incident {name}, open"]
    told = {line[0]: line[1] for line in lines[1:] if len(line) == 2}
    for key, short in (("first", first), ("last", last)):
        assert (told[key][:16], told[key][20:]) == (short[:16], short[17:])
    del told["first"], told["last"]
    assert told == {
        "account": ALICE,
        "domain": "local.example",
        "limit": "few, few",
        "reached": "4 of at most 3 in 1h",
        "attempted": "1 message to 1 external recipient, 2 refusals",
        "sample": "from <>",
        "to": "mine@away.example",
        "strike": "1",
        "notice": "owed: to be written, or sent",
    }
    assert len(out.splitlines()) < 24


def test_what_incidents_led_to_is_shown(running: Running, run: Run) -> None:
    running.start(f"unix:{running.socket}")
    for number in range(4):
        running.mail(f"m{number}")
    run(f"suspend {ALICE} --reason 'to begin anew'")
    assert run(f"unsuspend {ALICE} --reason forgiven").code == 0
    running.mail("second")
    listed = json.loads(run("incidents --json").out)["incidents"]
    assert [one["strike"] for one in listed] == [1, 1]
    assert [one["open"] for one in listed] == [True, False]
