"""Seeing what a daemon does, asking it why, and telling it what to do: all against a live one."""

import json
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from cli.commanding import Run, run_at
from service.test_daemon import PATIENCE, Running

ALICE = "alice@local.example"
RULES = """\
version: 1
mode: enforce
local: {domain_files: [local-domains]}
accounts: {default_domain: local.example, strip_extension: "+"}
limits:
  - {id: few, per: [account], count: recipients, recipients: external, max: 3, window: 1h,
     strike: true, text: "Enough; {used} of {max}; incident {incident}"}
  - {id: distinct, per: [account, likeness], count: distinct-recipients, max: 50, window: 24h}
  - {id: strangers, per: [account], count: first-time-recipients, max: 50, window: 1h}
  - {id: hosts, per: [client/24], count: messages, max: 5, window: 1h, mode: observe}
  - {id: whole, per: [domain], count: messages, max: 100, window: 1h}
  - {id: web, per: [account], count: messages, max: 1, window: 1h, match: {policy_context: web}}
overrides:
  - {match: {account: boss}, limits: {few: unlimited, distinct: 90}, reason: she may}
exempt:
  - {account: lists, reason: list host}
state: {directory: /nowhere, snapshot_every: 1h}
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with ExitStack() as undo:
        running = Running(tmp_path, undo)
        running.rules.write_text(RULES, encoding="utf-8")
        yield running


@pytest.fixture
def run(
    running: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    return run_at(running.admin, capsys, monkeypatch)


def start(running: Running) -> "subprocess.Popen[bytes]":
    return running.start(f"unix:{running.socket}")


def told(run: Run, command: str) -> Any:
    said = run(f"{command} --json")
    assert (said.code, said.err) == (0, "")
    return json.loads(said.out)


def rows(text: str) -> list[list[str]]:
    return [re.split("  +", line.strip()) for line in text.splitlines()]


def test_status(running: Running, run: Run) -> None:
    process = start(running)
    running.mail("a")
    running.ask("b", "RCPT", recipient="x@away.example")
    status = told(run, "status")
    assert status["mode"] == "enforce"
    assert (status["limits"], status["enforcing"]) == (6, 5)
    assert status["listening"] == [f"unix:{running.socket}"]
    assert status["requests"] == {
        "RCPT": {"DUNNO": 2},
        "END-OF-MESSAGE": {"DUNNO": 1},
        "other": {},
    }
    assert status["open_transactions"] == 1
    assert status["keys"] == 5
    assert status["state"]["trouble"] is False
    assert status["reload"] is None
    code, out, err = run("status")
    assert (code, err) == (0, "")
    lines = dict(row for row in rows(out) if len(row) == 2)
    assert lines["mode"] == "enforce; 5 of 6 limits refuse"
    assert lines["requests"] == "RCPT 2 (DUNNO 2)"
    assert lines["incidents"] == "0 open"
    assert lines["reload"] == "none since the start"
    before = time.time()
    process.send_signal(signal.SIGHUP)
    running.waits_for(lambda: running.logged("reloaded"))
    running.waits_for(lambda: told(run, "status")["reload"])
    reload = told(run, "status")["reload"]
    assert before <= reload.pop("when_epoch") <= time.time()
    when = reload.pop("when")
    assert reload == {"why": "SIGHUP", "good": True, "problems": []}
    said = f"{when[:10]} {when[11:16]} +00:00, SIGHUP: obeyed"
    assert ["reload", said] in rows(run("status").out)


def test_limits_and_top(running: Running, run: Run) -> None:
    start(running)
    for number in range(3):
        running.mail(f"m{number}")
    running.ask("x", "RCPT", recipient="x@away.example", sasl_username="bob")
    end = {"recipient": "x@away.example", "recipient_count": "1", "queue_id": "x"}
    running.ask("x", "END-OF-MESSAGE", sasl_username="bob", **end)
    limits = {one["id"]: one for one in told(run, "limits")["limits"]}
    assert (limits["few"]["keys"], limits["few"]["near"], limits["few"]["full"]) == (2, 0, 1)
    assert (limits["hosts"]["keys"], limits["hosts"]["near"]) == (1, 1)
    assert limits["web"]["keys"] == 0
    assert limits["few"]["sentence"].startswith("few: REJECT the message when one account sends")
    out = run("limits").out
    assert ["few", "enforce", "3", "2", "0", "1"] in rows(out)
    top = told(run, "top -n 3")
    assert top["keys"] == 8
    assert [(one["limit"], one["key"], one["used"]) for one in top["top"]] == [
        ("few", [ALICE], 3),
        ("hosts", [""], 4),
        ("few", ["bob@local.example"], 1),
    ]
    only = told(run, "top --limit few --domain local.example -n 1")["top"]
    assert only == [{"limit": "few", "key": [ALICE], "used": 3, "max": 3, "share": 1.0}]
    assert told(run, "top --domain other.example")["top"] == []
    assert run("top --domain other.example").out == "nothing is counted\n"
    assert rows(run("top -n 1").out)[1] == ["100", "3", "3", "few", ALICE]
    assert run("top --limit none").code == 4
    assert run("top -n 0").code == 2


def test_top_minds_overrides(running: Running, run: Run) -> None:
    start(running)
    end = {"recipient": "x@away.example", "recipient_count": "1"}
    for number in range(3):
        running.ask(f"{number}", "END-OF-MESSAGE", sasl_username="boss", **end)
    top = told(run, "top")["top"]
    assert [(one["limit"], one["max"]) for one in top if one["key"][0].startswith("boss")] == [
        ("strangers", 50),
        ("distinct", 90),
    ]


def test_show(running: Running, run: Run) -> None:
    start(running)
    for number in range(4):
        running.mail(f"m{number}")
    run(f"suspend {ALICE} --reason stolen --for 1h")
    run("exempt account alice --for 1h --reason trial")
    shown = told(run, "show alice")
    assert (shown["kind"], shown["name"], shown["strikes"]) == ("account", ALICE, 1)
    usage = {one["limit"]: (one["key"], one["used"], one["max"]) for one in shown["usage"]}
    assert usage == {
        "few": ([ALICE], 3, 3),
        "distinct": ([ALICE, "1"], 3, 50),
        "strangers": ([ALICE], 3, 50),
    }
    assert [one["limit"] for one in shown["incidents"]] == ["few"]
    assert [one["reason"] for one in shown["suspensions"]] == ["stolen"]
    assert [one["reason"] for one in shown["exemptions"]] == ["trial"]
    out = run("show alice").out
    assert out.startswith(f"account {ALICE}\n")
    assert ["few", "3", "3", ALICE] in rows(out)
    domain = told(run, "show local.example")
    assert (domain["kind"], [one["limit"] for one in domain["usage"]]) == ("domain", ["whole"])
    assert domain["strikes"] is None
    assert told(run, "show lists")["exempt_by_rule"] == ["account lists (list host)"]
    given = {"client_address": "192.0.2.7", "recipient": "x@away.example"}
    running.ask("c", "END-OF-MESSAGE", sasl_username="carl", recipient_count="1", **given)
    client = told(run, "show 192.0.2.9")
    assert [(one["limit"], one["key"]) for one in client["usage"]] == [("hosts", ["192.0.2.0/24"])]
    assert told(run, "show 192.0.0.0/16")["usage"] == client["usage"]
    for number in range(7):
        given = {"client_address": f"203.0.{number}.1", "recipient": "x@away.example"}
        end = {"sasl_username": f"carl{number}", "recipient_count": "1"}
        running.ask(f"d{number}", "END-OF-MESSAGE", **end, **given)
    shown = rows(run("show 203.0.0.0/16").out)
    assert [row[0] for row in shown[2:]] == [*["hosts"] * 5, "and 2 more of hosts"]
    assert len(told(run, "show 203.0.0.0/16")["usage"]) == 7
    for name in ("198.51.100.1", "nobody", "other.example"):
        code, out, err = run(f"show {name}")
        assert (code, out) == (4, "")
        assert "nothing is known of" in err
    assert run("show 192.0.2.9/24").code == 2
    assert run("show 'a b@x'").code == 2


def test_explain_a_message(running: Running, run: Run) -> None:
    start(running)
    for number in range(2):
        running.mail(f"m{number}")
    before = told(run, "show alice")["usage"]
    found = told(run, "explain --account alice --recipients 2 --size 20kB")
    assert (found["account"], found["logged_in"]) == (ALICE, True)
    rcpt, end = found["steps"]
    assert (rcpt["stage"], rcpt["requests"], rcpt["answer"]) == ("RCPT", 2, "DUNNO")
    assert (end["recipients"], end["size"], end["limit"]) == (2, 20_000, "few")
    assert end["answer"] == "521 5.7.1 Enough; 4 of 3; incident NEW-ONE" == found["answer"]
    limits = {one["id"]: one for one in end["limits"]}
    (few,) = limits["few"]["keys"]
    assert (few["used"], few["reserved"], few["added"], few["exceeded"]) == (2, 0, 2, True)
    assert few["room_epoch"] > 0
    assert limits["web"]["why"] == "match: policy_context is empty, not web"
    assert limits["distinct"]["keys"][0]["key"] == [ALICE, "2"]  # the group that it would open
    assert told(run, "show alice")["usage"] == before
    assert told(run, "status")["open_transactions"] == 0
    assert told(run, "incidents")["incidents"] == []
    out = run("explain --account alice --recipients a@away.example,b@away.example --buckets").out
    assert "answer  521 5.7.1 Enough; 4 of 3" in out
    assert re.search(r"over +few +2 +0 +2 +3 +2\d{3}-", out)
    assert "\n  few, alice@local.example\nUntil" in out
    assert told(run, "explain --account alice --recipients 1")["answer"] == "DUNNO"
    assert running.mail("m2") == "DUNNO"
    out = run("explain sasl_username=alice recipient=x@away.example mail_version=3.11.6").out
    assert "RCPT: x@away.example\n  answer  REJECT 5.7.1 Enough; 4 of 3; incident NEW-ONE" in out


def test_explain_says_what_is_in_the_way(running: Running, run: Run) -> None:
    start(running)
    boss = told(run, "explain --account boss --recipients 9")
    limits = {one["id"]: one for one in boss["steps"][-1]["limits"]}
    assert limits["few"]["why"] == "unlimited by the override for account boss (she may)"
    assert (limits["distinct"]["max"], limits["distinct"]["override"]) == (90, "account boss")
    lists = run("explain --account lists --recipients 9").out
    assert "because exempt: account lists (list host)" in lists
    nobody = run("explain recipient=x@away.example").out
    assert "nobody: there is no login" in nobody
    assert "no account: nobody has logged in" in nobody
    run("suspend alice --reason stolen")
    out = run("explain --account alice --recipients 1").out
    assert re.search("suspended +mailbox alice@local.example, by .*: stolen\n", out)
    assert "because mailbox alice@local.example is suspended" in out
    for to, stages in (("2", ["RCPT"]), ("postmaster@local.example", ["RCPT", "END-OF-MESSAGE"])):
        alice = told(run, f"explain --account alice --recipients {to}")
        assert [one["stage"] for one in alice["steps"]] == stages
        assert alice["suspension"]["refuses"] is (to == "2")
        assert alice["answer"].startswith("REJECT" if to == "2" else "DUNNO")
    half = told(run, "explain --account alice --recipients postmaster@local.example,x@y.example")
    assert half["suspension"]["refuses"] is True
    assert half["answer"] == "DUNNO"


def test_explain_what_was_recorded(running: Running, run: Run, tmp_path: Path) -> None:
    start(running)
    record = tmp_path / "record"
    record.write_text(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nsasl_username=alice\ninstance=1.2\n"
        "recipient=a@away.example\n\nrequest=smtpd_access_policy\nprotocol_state=END-OF-MESSAGE\n"
        "sasl_username=alice\nrecipient=\ninstance=1.2\nrecipient_count=9\nsize=77\nqueue_id=Q\n\n"
    )
    found = told(run, f"explain --request {record}")
    assert [one["stage"] for one in found["steps"]] == ["RCPT", "END-OF-MESSAGE"]
    assert found["steps"][1]["recipients"] == 1  # its own set, not what Postfix says
    other = told(run, f"explain --request {record} sasl_username=bob")
    assert other["account"] == "bob@local.example"
    done = subprocess.run(
        [sys.executable, "-m", "policyd", "explain", "--request", "-"],
        input=record.read_text(),
        env=os.environ | {"POLICYD_ADMIN": str(running.admin)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert "END-OF-MESSAGE: 1 recipients, 77 bytes" in done.stdout


def test_explain_an_open_transaction(running: Running, run: Run) -> None:
    start(running)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(running.socket))
        common = "request=smtpd_access_policy\nsasl_username=alice\ninstance=7.7\n"
        for number in range(4):
            client.sendall(
                f"{common}protocol_state=RCPT\nrecipient=r{number}@away.example\n\n".encode()
            )
            assert client.recv(100) == b"action=DUNNO\n\n"
        end = "protocol_state=END-OF-MESSAGE\nrecipient_count=4\nqueue_id=Q\nsize=9\n"
        asked = " ".join(f"{common}{end}".splitlines())
        assert told(run, f"explain {asked}")["steps"][0]["recipients"] == 4
        assert told(run, f"explain {asked}")["answer"].startswith("521 5.7.1 Enough; 4 of 3")
        client.sendall(f"{common}{end}\n".encode())
        assert client.recv(100).startswith(b"action=521 5.7.1 Enough; 4 of 3; incident ")
        assert "answered already" in run(f"explain {asked}").out


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("explain --account alice", "say to whom"),
        ("explain nonsense", "'nonsense' is no attribute; write name=value"),
        ("explain --request /nowhere", "No such file"),
        ("explain --request - --recipients 3", "has the recipients already"),
        ("explain --account alice --recipients 2 --size 3x", "3x"),
        ("explain --account alice --recipients 2000", "at most 1000 recipients"),
    ],
)
def test_explain_what_makes_no_sense(
    running: Running, run: Run, command: str, complaint: str
) -> None:
    start(running)
    code, out, err = run(command)
    assert (code, out) == (2, "")
    assert complaint in err


def test_reload(running: Running, run: Run) -> None:
    start(running)
    running.rules.write_text(RULES.replace("max: 3,", "max: 1,"), encoding="utf-8")
    assert run("reload") == (0, "the rules are obeyed: enforce, 6 limits\n", "")
    assert [running.mail(name) for name in "ab"] == ["DUNNO", "REJECT"]
    running.rules.write_text(RULES.replace("max: 3,", "max: few,"), encoding="utf-8")
    code, out, err = run("reload")
    assert (code, out) == (1, "")
    assert "'few' is no number" in err
    assert err.endswith("policyd: the old rules stay\n")
    assert told(run, "status")["reload"]["good"] is False
    assert "command: FAILED, the old rules stay" in run("status").out
    running.waits_for(lambda: len(running.logged("administered")) == 1)


def test_snapshot(running: Running, run: Run) -> None:
    start(running)
    running.mail("a")
    code, out, _ = run("snapshot")
    assert code == 0
    assert out.startswith("written in 0.")
    with closing(sqlite3.connect(running.state / "state.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        ((buckets,),) = database.execute("SELECT count(*) FROM buckets").fetchall()
        assert buckets > 3
        database.execute("BEGIN EXCLUSIVE")
        code, out, err = run("snapshot")
        assert (code, out) == (1, "")
        assert "the disk takes nothing" in err
        database.execute("ROLLBACK")
    assert run("snapshot").code == 0


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_what_is_reset_does_not_come_back(
    running: Running, run: Run, with_signal: int, in_order: bool
) -> None:
    process = start(running)
    for number in range(3):
        assert running.mail(f"m{number}") == "DUNNO"
    given = {"recipient": "x@away.example", "recipient_count": "1"}
    running.ask("bob", "END-OF-MESSAGE", sasl_username="bob", **given)
    running.waits_for(lambda: running.kept("limit few") == 4)
    if in_order:
        assert run("snapshot").code == 0
    assert running.mail("m3") == "REJECT"
    code, out, err = run(f"reset {ALICE} --reason 'was approved'")
    assert (code, err) == (0, "")
    assert f"{ALICE} starts anew under few; there were 3\n" in out
    assert running.kept("limit few") == 1
    assert running.kept("limit whole") == 4
    running.stop(process, with_signal)
    if with_signal == signal.SIGTERM:
        running.heard()
    start(running)
    usage = {one["limit"] for one in told(run, "show alice")["usage"]}
    assert "few" not in usage
    assert [one["used"] for one in told(run, "show bob")["usage"]] == [1, 1, 1]
    assert [running.mail(f"n{number}") for number in range(4)] == ["DUNNO"] * 3 + ["REJECT"]
    command = [sys.executable, "-m", "policyd", "state", "dump", "--state", running.state]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    audited = [line for line in dump.stdout.splitlines() if '"reset"' in line]
    assert len(audited) == 1
    assert "was approved" in audited[0]
    verify = [sys.executable, "-m", "policyd", "state", "verify", "--state", running.state]
    assert (
        subprocess.run(verify, capture_output=True, timeout=PATIENCE, check=False).returncode == 0
    )


def test_one_limit_is_reset(running: Running, run: Run) -> None:
    start(running)
    for number in range(3):
        assert running.mail(f"m{number}") == "DUNNO"
    assert told(run, "reset alice --limit few --reason x")["forgot"] == {"few": 3}
    usage = {one["limit"]: one["used"] for one in told(run, "show alice")["usage"]}
    assert usage == {"distinct": 3, "strangers": 3}
    again = run("reset alice --limit few --reason x")
    assert again.code == 0
    assert "nothing was counted" in again.err
    assert run("reset alice --limit none --reason x").code == 4
    assert run("reset alice --limit hosts --reason x").code == 2
    assert run("reset local.example@ --reason x").code == 2
    running.waits_for(lambda: len(running.logged("administered")) == 2)


def test_a_reset_while_the_disk_takes_nothing(running: Running, run: Run) -> None:
    process = start(running)
    for number in range(3):
        running.mail(f"m{number}")
    running.waits_for(lambda: running.kept("limit few") == 3)
    with closing(sqlite3.connect(running.state / "state.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, _, err = run("reset alice --limit few --reason x")
        assert code == 0
        assert "the disk takes nothing at present" in err
        assert running.mail("n0") == "DUNNO"
        other.execute("ROLLBACK")
    running.waits_for(lambda: running.logged("state-saved-again"))
    running.waits_for(lambda: running.kept("limit few") == 1)
    running.stop(process, signal.SIGKILL)
    start(running)
    assert [running.mail(f"o{n}") for n in range(3)] == ["DUNNO", "DUNNO", "REJECT"]


def test_tail(running: Running, run: Run) -> None:
    start(running)
    for number in range(4):
        running.mail(f"m{number}")
    lines = run("tail").out.splitlines()
    assert "event=started" in lines[0]
    assert " notice event=refused limit=few" in lines[1]
    assert run("tail -n 1").out.splitlines() == lines[-1:]
    about = run(f"tail --account {ALICE}").out.splitlines()
    assert about == [line for line in lines if ALICE in line and "account=" in line]
    assert about
    # a login is whose it is for the rules
    for name in ("alice", "Alice", "alice+list@LOCAL.example."):
        assert run(f"tail --account {name}").out.splitlines() == about
    assert run("tail --account bob").out == ""
    assert run("tail -n x").code == 2
    assert [one["level"] for one in told(run, "tail -n 2")["events"]] == ["notice", "notice"]


def test_following(running: Running) -> None:
    process = start(running)
    command = [sys.executable, "-m", "policyd", "tail", "-f", "--account", "alice", "--json"]
    with subprocess.Popen(
        command,
        env=os.environ | {"POLICYD_ADMIN": str(running.admin)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        for number in range(3):
            running.mail(f"m{number}")
        running.waits_for(lambda: _asks(running.mail("again"), following))
        line = json.loads(following.stdout.readline())
        assert "event=refused limit=few" in line["line"]
        running.stop(process)
        assert following.wait(PATIENCE) == 3
        assert "the daemon has ended the connection" in following.stderr.read()


def _asks(_: str, following: "subprocess.Popen[str]") -> bool:
    return bool(select.select([following.stdout], [], [], 0.1)[0])


def test_who_follows_and_does_not_read_is_given_up(running: Running) -> None:
    start(running)
    with socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(PATIENCE)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        slow.connect(str(running.admin))
        slow.sendall(b'{"command": "tail", "follow": true}\n')
        slow.recv(20)
        for number in range(3):
            running.mail(f"m{number}")
        common = "request=smtpd_access_policy\nsasl_username=alice\ninstance=9.9\n"
        asked = f"{common}protocol_state=RCPT\nrecipient=x@away.example\n\n".encode()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(running.socket))
            for _ in range(3000):
                client.sendall(asked)
                client.recv(1000)
        received = 0
        while True:
            try:
                data = slow.recv(65536)
            except ConnectionResetError:
                break
            if not data:
                break
            received += len(data)
        assert received < 3000 * 400
    assert running.mail("still") == "REJECT"
