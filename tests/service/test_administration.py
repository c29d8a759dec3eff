"""Administrators' commands: on an engine, and on a daemon that is killed and started again."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from aup.building import DAY, HOUR, START, Desk, external, limit, policy
from service.happenings import incident
from service.log_lines import Lines
from service.test_daemon import PATIENCE, Running
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from policyd.aup.address import LocalDomains
from policyd.aup.incident import Entry, Row
from policyd.aup.ladder_rules import Aftermath, Do, LadderRules, Step
from policyd.aup.policy import EndSession
from policyd.clock import WallTime
from policyd.service import audit as audits
from policyd.service.admin_request import MOST_ENTRIES, CommandError
from policyd.service.admin_socket import AdminService
from policyd.service.administration import Administration
from policyd.service.audit import Audit
from policyd.service.maillog import MailLog

ALICE, BOB = "alice@local.example", "bob@local.example"


class Disk:
    """Takes the place of the Persistence."""

    def __init__(self, rows: Mapping[str, list[Row]]) -> None:
        self.rows = rows
        self.noted: list[Entry] = []
        self.is_behind = False
        self.others: list[Any] = []

    def keeps(self, rows: Any) -> None:
        self.others.append(rows)

    def note(self, entries: Iterable[Entry]) -> None:
        self.noted += entries


class Office:
    """A desk with administrators: commands, their record, and a disk that is done when told."""

    def __init__(self, rows: Mapping[str, list[Row]] | None = None, **changes: Any) -> None:
        ladder = LadderRules(
            steps=(Step(1, Do.NOTICE), Step(2, Do.SUSPEND_MAILBOX, DAY)),
            never_suspend=frozenset(["local.example"]),
        )
        rules = policy(
            limit("few", "account", max=3, strike=True),
            aftermath=Aftermath(ladder),
            local=LocalDomains(["local.example", "other.example"]),
            end_session=EndSession.NO,
        )
        self.desk = Desk(replace(rules, **changes))
        self.disk = Disk(rows or {})
        self.lines = Lines()
        self.owed: set[str] = set()
        self.flushed: Deferred[None] | None = None
        log = MailLog(self.lines)  # type: ignore[arg-type]
        self.audit = Audit(
            *(self.disk, self._flush, log, lambda: self.desk.now),  # type: ignore[arg-type]
            login=lambda uid: succeed({0: "root", 7: "anna"}[uid]),
        )
        administration = Administration(
            self.desk.engine, self.audit, lambda: self.desk.now, self.owed.__contains__
        )
        self.service = AdminService(administration.commands, log, Clock())

    def start(self, command: str, uid: int = 7, **fields: object) -> Deferred[dict[str, Any]]:
        """Give a command; the answer comes when it comes."""
        request = {name: value for name, value in fields.items() if value is not None}
        done = maybeDeferred(self.service.run, {"command": command, **request}, uid)
        return done.addCallback(lambda answer: json.loads(b"".join(answer.encoded())))

    def do(self, command: str, **fields: Any) -> dict[str, Any]:
        """Give a command; return the answer, or raise what is wrong."""
        results: list[Any] = []
        self.start(command, **fields).addBoth(results.append)
        (result,) = results
        if isinstance(result, dict):
            return result
        raise result.value

    def refuses(self, command: str, **fields: Any) -> tuple[str, str]:
        """Give a command that cannot be carried out; return why, and see that nothing was done."""
        noted, said = len(self.disk.noted), len(self.lines.written)
        with pytest.raises(CommandError) as caught:
            self.do(command, **fields)
        assert (len(self.disk.noted), len(self.lines.written)) == (noted, said)
        return caught.value.code.value, str(caught.value)

    def suspended(self) -> list[str]:
        return [one["name"] for one in self.do("suspensions")["suspensions"]]

    def _flush(self) -> Deferred[None]:
        if self.flushed is not None:
            return self.flushed.addCallback(lambda _: self._take_effect())
        self._take_effect()
        return succeed(None)

    def _take_effect(self) -> None:
        ladder = self.desk.engine.ladder
        ladder.take_effect(ladder.suspensions.waiting)


@pytest.fixture
def office() -> Office:
    return Office()


def suspend(office: Office, subject: str = ALICE, **fields: Any) -> dict[str, Any]:
    return office.do("suspend", subject=subject, reason="password stolen", **fields)


# suspensions


def test_who_is_suspended_sends_nothing_until_it_is_lifted(office: Office) -> None:
    answer = suspend(office)
    assert answer["ok"]
    assert answer["durable"]
    assert answer["notes"] == []
    assert answer["suspension"] == {
        "kind": "mailbox",
        "name": ALICE,
        "holds": True,
        "since": "2027-01-15T00:00:00+00:00",
        "since_epoch": START,
        "until": None,
        "until_epoch": None,
        "by": "anna",
        "reason": "password stolen",
        "incident": "",
        "lifted": None,
        "lifted_epoch": None,
        "lifted_by": "",
        "lifted_why": "",
    }
    assert office.desk.mail("r@away.example") == "REJECT"
    assert office.desk.mail("r@away.example", sasl_username="bob") == "DUNNO"
    office.desk.later(HOUR)
    answer = office.do("unsuspend", subject=ALICE, reason="changed")
    (lifted,) = answer["lifted"]
    assert (lifted["holds"], lifted["lifted_epoch"]) == (False, START + HOUR)
    assert (lifted["lifted_by"], lifted["lifted_why"]) == ("anna", "changed")
    assert office.desk.mail("r@away.example") == "DUNNO"
    assert office.suspended() == []


def test_a_suspension_ends_at_its_time(office: Office) -> None:
    assert suspend(office, **{"for": "24h"})["suspension"]["until_epoch"] == START + DAY
    office.desk.later(DAY - 1)
    assert office.desk.mail("r@away.example") == "REJECT"
    office.desk.later(1)
    assert office.desk.mail("r@away.example") == "DUNNO"
    assert office.suspended() == []
    (one,) = office.do("suspensions", all=True)["suspensions"]
    assert (one["holds"], one["lifted_by"]) == (False, "time")


def test_a_domain_is_suspended_where_there_is_no_at(office: Office) -> None:
    for subject in ("other.example", "@Other.Example", "OTHER.example."):
        answer = suspend(office, subject)
        assert answer["suspension"]["kind"] == "domain"
        assert answer["suspension"]["name"] == "other.example"
        assert office.desk.mail("r@away.example", sasl_username="x@other.example") == "REJECT"
        office.do("unsuspend", subject=subject, reason="over")
        assert office.desk.mail("r@away.example", sasl_username="x@other.example") == "DUNNO"
    answer = suspend(office, "alice", kind="account")
    assert (answer["suspension"]["kind"], answer["suspension"]["name"]) == ("mailbox", ALICE)


def test_names_are_folded(office: Office) -> None:
    assert suspend(office, "ALICE@Local.Example")["suspension"]["name"] == ALICE
    assert suspend(office, "müller.example")["suspension"]["name"] == "xn--mller-kva.example"
    assert office.refuses("unsuspend", subject="bob", kind="account", reason="x")[0] == "no-such"
    office.do("unsuspend", subject="Alice", kind="account", reason="x")


def test_a_login_without_its_domain_is_no_domain(office: Office) -> None:
    told = office.do("suspend", subject="alice", reason="x")
    assert told["suspension"]["kind"] == "mailbox"
    assert told["suspension"]["name"] == ALICE
    assert office.do("unsuspend", subject="alice", reason="x")["lifted"]


def test_a_domain_that_all_share_is_suspended_by_force_alone(office: Office) -> None:
    asked = {"subject": "LOCAL.example", "reason": "x"}
    code, message = office.refuses("suspend", **asked)
    assert code == "not-allowed"
    assert message == "local.example is in never_suspend: all of it would stop; force is needed"
    assert office.do("suspend", **asked, force=True)["suspension"]["name"] == "local.example"
    assert office.desk.mail("r@away.example") == "REJECT"


def test_what_may_be_a_typing_error_is_said(office: Office) -> None:
    for subject in ("alice@locale.example", "locale.example"):
        notes = suspend(office, subject)["notes"]
        assert notes == ["locale.example is none of the local domains"]


def test_a_suspension_that_holds_longer_is_said_and_stays(office: Office) -> None:
    for lasts in ("24h", "48h", None):
        assert suspend(office, **{"for": lasts})["notes"] == []
        office.desk.later(1)
        notes = suspend(office, **{"for": "1h"})["notes"]
        assert notes == ["it is suspended for longer already, and stays so; unsuspend it first"]
        office.desk.later(1)
    office.desk.later(2 * DAY)
    assert office.desk.mail("r@away.example") == "REJECT"
    assert len(office.do("unsuspend", subject=ALICE, reason="x")["lifted"]) == 1
    assert office.desk.mail("r@away.example") == "DUNNO"


def test_who_is_not_suspended_is_not_to_be_found(office: Office) -> None:
    for subject in (BOB, "other.example"):
        assert office.refuses("unsuspend", subject=subject, reason="x") == (
            "no-such",
            f"{subject} is not suspended",
        )
    office.do("suspend", subject="local.example", reason="x", force=True)
    assert office.refuses("unsuspend", subject=BOB, reason="x") == (
        "no-such",
        f"{BOB} is not suspended; the whole domain local.example is suspended",
    )
    suspend(office, BOB)
    notes = office.do("unsuspend", subject=BOB, reason="x")["notes"]
    assert notes == ["the whole domain local.example is suspended"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "subject is missing"),
        ({"subject": ALICE}, "reason is missing"),
        ({"subject": ALICE, "reason": " "}, "reason is missing"),
        ({"subject": "a@b..c", "reason": "x"}, "'a@b..c' is no account; write a login such as "),
        ({"subject": "a b@c.example", "reason": "x"}, "'a b@c.example' has a space in it"),
        ({"subject": "a b", "kind": "account", "reason": "x"}, "'a b' has a space in it"),
        ({"subject": "@", "reason": "x"}, "'' is no domain; write a name such as mail.example"),
        ({"subject": ".x.example", "reason": "x"}, "'.x.example' begins with a dot, and subdoma"),
        ({"subject": "https://x.example/", "reason": "x"}, "'https://x.example/' is a web addre"),
        ({"subject": ALICE, "kind": "domain", "reason": "x"}, f"'{ALICE}' is a mail address; wri"),
        ({"subject": ALICE, "kind": "user", "reason": "x"}, "kind is account or domain"),
        ({"subject": ALICE, "reason": "x", "for": "7 days"}, "'7 days' is no duration; write 7d"),
        ({"subject": ALICE, "reason": "x", "for": "0h"}, "'0h' is too short; write at least 1s"),
        ({"subject": ALICE, "reason": "x", "for": "401d"}, "'401d' is too long; write at most 40"),
        ({"subject": ALICE, "reason": "x", "for": "ever"}, "'ever' is no duration; write a numbe"),
        ({"subject": "x" * 501, "reason": "x"}, "subject is longer than 500 characters"),
    ],
)
def test_what_cannot_be_suspended(office: Office, fields: dict[str, str], message: str) -> None:
    code, told = office.refuses("suspend", **fields)
    assert code == "usage"
    assert told.startswith(message)
    assert office.suspended() == []


def test_the_newest_suspension_is_first(office: Office) -> None:
    for name in ("a@local.example", "b@local.example", "c@local.example"):
        suspend(office, name)
        office.desk.later(1)
    assert [name[0] for name in office.suspended()] == ["c", "b", "a"]


# exemptions


def exempt(office: Office, kind: str, name: str, lasts: str = "1h") -> dict[str, Any]:
    return office.do("exempt", kind=kind, name=name, reason="report", **{"for": lasts})


@pytest.mark.parametrize(
    ("kind", "name", "folded"),
    [
        ("account", "Alice", ALICE),
        ("client", "192.0.2.7", "192.0.2.7"),
        ("client", "192.0.2.0/28", "192.0.2.0/28"),
        ("client", "192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("client", "192.0.2.7/32", "192.0.2.7/32"),
        ("client", "::ffff:192.0.2.7", "::ffff:c000:207"),
    ],
)
def test_who_is_exempt_is_free_until_it_is_over(
    office: Office, kind: str, name: str, folded: str
) -> None:
    assert office.desk.mail(*external(4)) == "REJECT"
    answer = exempt(office, kind, name)
    told = answer["exemption"]
    assert (told["kind"], told["name"], told["by"], told["reason"]) == (
        *(kind, folded, "anna", "report"),
    )
    assert (told["since_epoch"], told["until_epoch"]) == (START, START + HOUR)
    assert answer["notes"] == []
    assert office.do("exemptions")["exemptions"] == [told]
    assert office.desk.mail(*external(4)) == "DUNNO"
    office.desk.later(HOUR)
    assert office.desk.mail(*external(4)) == "REJECT"
    assert office.do("exemptions")["exemptions"] == []


def test_a_recipient_is_exempt(office: Office) -> None:
    exempt(office, "recipient", "R0@Away.Example", "ever")
    assert office.desk.mail(*external(4)) == "DUNNO"
    (told,) = office.do("exemptions")["exemptions"]
    assert (told["name"], told["until"]) == ("r0@away.example", None)


def test_an_exemption_is_taken_back(office: Office) -> None:
    exempt(office, "account", ALICE, "ever")
    assert exempt(office, "account", ALICE)["notes"] == ["it takes the place of an earlier one"]
    assert len(office.do("exemptions")["exemptions"]) == 1
    answer = office.do("unexempt", kind="account", name="ALICE")
    assert answer["exemption"]["until_epoch"] == START + HOUR
    assert office.desk.mail(*external(4)) == "REJECT"
    code, message = office.refuses("unexempt", kind="account", name="ALICE")
    assert code == "no-such"
    assert message.startswith(f"no exemption of account {ALICE} was granted by command")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": ""}, "kind is missing"),
        ({"name": ""}, "name is missing"),
        ({"for": ""}, "for is missing"),
        ({"reason": ""}, "reason is missing"),
        ({"kind": "domain", "name": "x.example"}, "kind is account, client or recipient"),
        ({"name": "/a.*/x"}, "name one account, client network or recipient"),
        ({"name": "@x.example"}, "'@x.example' is no account; "),
        ({"kind": "client", "name": "192.0.2.7/28"}, "'192.0.2.7/28' is no network; write 192."),
        ({"kind": "client", "name": "mx.example"}, "'mx.example' is no IP address or network; w"),
        ({"kind": "client", "name": "/24"}, "'/24' is no IP address or network; write 192.0.2.7"),
        ({"kind": "client", "name": "1/8"}, "'1/8' is no IP address or network; write 192.0.2.7"),
        ({"kind": "recipient", "name": "/x@x.example"}, "name one account, client network or rec"),
        ({"kind": "recipient", "name": "x.example"}, "'x.example' is no mail address; write an "),
        ({"for": "7"}, "'7' is no duration; write a unit: 7s, "),
    ],
)
def test_what_cannot_be_exempt(office: Office, fields: dict[str, str], message: str) -> None:
    asked = {"kind": "account", "name": ALICE, "for": "1h", "reason": "x", **fields}
    code, told = office.refuses("exempt", **asked)
    assert code == "usage"
    assert told.startswith(message)
    assert office.do("exemptions")["exemptions"] == []


# incidents


def test_an_incident_is_told(office: Office) -> None:
    assert office.desk.mail(*external(4), client_address="192.0.2.9") == "REJECT"
    (one,) = office.do("incidents")["incidents"]
    assert one == {
        "id": one["id"],
        "account": ALICE,
        "domain": "local.example",
        "limit": "few",
        "title": "few",
        "observed": False,
        "open": True,
        "opened": "2027-01-15T00:00:00+00:00",
        "opened_epoch": START,
        "last": "2027-01-15T00:00:00+00:00",
        "last_epoch": START,
        "closed": None,
        "closed_epoch": None,
        "strike": 1,
        "used": 4,
        "max": 3,
        "window": DAY,
        "attempts": 1,
        "messages": 1,
        "recipients": 4,
        "clients": ["192.0.2.9"],
        "sample": {
            "sender": ALICE,
            "recipients": external(4),
            "size": 1000,
            "subject": "",
        },
        "actions": [],
        "told": 0,
    }
    name = one["id"]
    for spelling in (name, name.lower(), f" {name[:3]} - {name[3:].lower()}.", f"#{name}"):
        told = office.do("incident", id=spelling)
        assert told["incident"] == {**one, "notice": "none"}
        assert told["suspensions"] == []


def test_what_became_of_the_notice(office: Office) -> None:
    office.desk.mail(*external(4))
    (one,) = office.desk.engine.ladder.incidents.values()
    one.told = 4
    assert office.do("incident", id=one.id)["incident"]["notice"] == "told"
    office.owed.add(one.id)
    assert office.do("incident", id=one.id)["incident"]["notice"] == "owed"


def test_what_an_incident_led_to(office: Office) -> None:
    office.desk.mail(*external(4))
    office.desk.later(HOUR)
    office.desk.mail(*external(4, 10))
    office._take_effect()
    newest, _ = office.do("incidents")["incidents"]
    told = office.do("incident", id=newest["id"])
    assert told["incident"]["actions"] == [f"mailbox {ALICE} suspended for 24 hours"]
    (suspension,) = told["suspensions"]
    assert (suspension["by"], suspension["incident"]) == ("ladder", newest["id"])
    assert office.suspended() == [ALICE]
    office.do("unsuspend", subject=ALICE, reason="was a mistake")
    (suspension,) = office.do("incident", id=newest["id"])["suspensions"]
    assert (suspension["lifted_by"], suspension["lifted_why"]) == ("anna", "was a mistake")
    # forgiven: the next one is the first again
    office.desk.later(1)
    office.desk.mail(*external(4, 20))
    assert office.do("incidents")["incidents"][0]["strike"] == 1


def test_incidents_are_chosen(office: Office) -> None:
    for login in ("alice", "bob", "x@other.example"):
        office.desk.mail(*external(4), sasl_username=login)
        office.desk.later(HOUR)

    def found(**fields: object) -> list[str]:
        return [one["account"][0] for one in office.do("incidents", **fields)["incidents"]]

    assert found() == ["x", "b", "a"]
    assert found(account="ALICE") == ["a"]
    assert found(account="nobody") == []
    assert found(domain="Local.example.") == ["b", "a"]
    assert found(domain="other.example", account="alice") == []
    assert found(since="2h") == ["x", "b"]
    assert found(since="1s") == []
    assert found(open=True) == []
    office.desk.mail(*external(4), sasl_username="bob")
    assert found(open=True) == ["b"]
    assert found(open=True, account="alice") == []
    assert office.refuses("incidents", since="yesterday")[0] == "usage"


def test_an_incident_that_is_not_there(office: Office) -> None:
    for name in ("AAAAAAA", "-", "x" * 300):
        code, message = office.refuses("incident", id=name)
        assert code == "no-such"
        assert message.startswith("there is no incident '")
        assert len(message) < 100


def test_a_long_list_ends_with_how_many_there_are_besides(office: Office) -> None:
    incidents = office.desk.engine.ladder.incidents
    incidents.update({str(n): incident(id=str(n)) for n in range(MOST_ENTRIES + 7)})
    answer = office.do("incidents")
    assert answer["more"] == 7
    assert [one["id"] for one in answer["incidents"]] == [
        str(n) for n in range(MOST_ENTRIES + 6, 6, -1)
    ]


def test_names_that_are_no_text_are_told_all_the_same(office: Office) -> None:
    office.desk.mail(*external(4), sasl_username="b\udcfcrgi")
    (one,) = office.do("incidents")["incidents"]
    assert one["account"] == "b\udcfcrgi@local.example"


def test_times_are_those_of_the_rules() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    office = Office(time_zone=zone)
    told = suspend(office)["suspension"]
    assert (told["since"], told["since_epoch"]) == ("2027-01-15T05:30:00+05:30", START)


# the record


def test_every_change_is_on_record_and_in_the_log(office: Office) -> None:
    suspend(office, uid=0, **{"as": "bob"})
    office.do("unsuspend", subject=ALICE, reason="changed")
    exempt(office, "client", "192.0.2.7")
    office.do("unexempt", kind="client", name="192.0.2.7", uid=0)
    rows = [entry.row for entry in office.disk.noted if entry.row]
    assert [
        (row["by"], row["action"], row["subject"], row["reason"], row["time"]) for row in rows
    ] == [
        ("root (for bob)", "suspend", ALICE.encode(), "password stolen", START),
        ("anna", "unsuspend", ALICE.encode(), "changed", START),
        ("anna", "exempt", b"client 192.0.2.7", "report", START),
        ("root", "unexempt", b"client 192.0.2.7", "", START),
    ]
    assert len({entry.id for entry in office.disk.noted}) == 4
    assert {entry.table for entry in office.disk.noted} == {"audit"}
    (everything,) = office.disk.others
    assert list(everything()) == office.disk.noted
    assert office.lines.events == ["administered"] * 4
    assert office.lines.fields[0] == {
        "event": "administered",
        "by": "root (for bob)",
        "action": "suspend",
        "subject": ALICE,
        "reason": "password stolen",
    }


def test_the_record_goes_on_after_a_restart_and_has_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audits, "MOST_KEPT", 3)
    row: Row = {"time": 1.0, "by": "x", "action": "y", "subject": b"z", "reason": ""}
    office = Office({"audit": [{"id": name, **row} for name in ("old", "older")]})
    (everything,) = office.disk.others
    assert list(everything()) == [Entry("audit", name, row) for name in ("old", "older")]
    for _ in range(2):
        suspend(office)
    assert next(entry.id for entry in everything()) == "older"
    assert Entry("audit", "old", None) in office.disk.noted
    assert len(list(everything())) == 3


def test_a_change_is_answered_when_it_is_on_the_disk(office: Office) -> None:
    office.flushed = Deferred()
    answers: list[dict[str, Any]] = []
    office.start("suspend", subject=ALICE, reason="x").addCallback(answers.append)
    assert len(office.disk.noted) == 1
    assert answers == []
    office.flushed.callback(None)
    assert answers[0]["durable"]


def test_a_disk_that_takes_nothing_is_said(office: Office) -> None:
    office.disk.is_behind = True
    for answer in (suspend(office), exempt(office, "account", BOB)):
        assert answer["durable"] is False
        assert "the disk takes nothing" in answer["notes"][-1]
    assert office.desk.mail("r@away.example") == "REJECT"


def test_a_user_without_a_name_is_a_number() -> None:
    assert audits._login_name(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert audits._login_name(3_999_999_999) == "3999999999"


# a daemon


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with ExitStack() as undo:
        yield Running(tmp_path, undo)


def ask(running: Running, command: str, **fields: object) -> dict[str, Any]:
    """Return the answer of the daemon, having read nothing after it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(running.admin))
        with client.makefile("rw", encoding="ascii") as lines:
            assert json.loads(lines.readline())["protocol"] == 1
            lines.write(json.dumps({"command": command, **fields}) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
    assert isinstance(answer, dict)
    return answer


def dumped(running: Running, table: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "policyd", "state", "dump", "--state", running.state]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    lines = map(json.loads, done.stdout.splitlines())
    return [line[table] for line in lines if table in line]


def test_a_daemon_is_told_and_does_it_at_once(running: Running) -> None:
    running.start(f"unix:{running.socket}")
    assert running.admin.stat().st_mode & 0o777 == 0o660
    assert running.mail("a") == "DUNNO"
    suspended = ask(running, "suspend", subject=ALICE, reason="stolen", **{"for": "24h"})
    assert suspended["durable"]
    assert running.mail("b") == "REJECT"
    assert ask(running, "unsuspend", subject=ALICE, reason="fine")["ok"]
    assert running.mail("c") == "DUNNO"
    assert ask(running, "exempt", kind="account", name=ALICE, reason="x", **{"for": "1h"})["ok"]
    assert [running.mail(f"d{n}") for n in range(5)] == ["DUNNO"] * 5
    assert ask(running, "unexempt", kind="account", name=ALICE)["ok"]
    assert [running.mail(f"e{n}") for n in range(2)] == ["DUNNO", "REJECT"]
    running.waits_for(lambda: running.logged("lifted"))
    running.waits_for(lambda: len(running.logged("administered")) == 4)
    running.waits_for(lambda: len(running.logged("suspended")) == 1)
    login = pwd.getpwuid(os.getuid()).pw_name
    assert [(row["by"], row["action"], row["reason"]) for row in dumped(running, "audit")] == [
        (login, "suspend", "stolen"),
        (login, "unsuspend", "fine"),
        (login, "exempt", "x"),
        (login, "unexempt", ""),
    ]


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_answered_is_there_after_a_restart(running: Running, with_signal: int) -> None:
    for round_ in range(3):
        process = running.start(f"unix:{running.socket}")
        assert ask(running, "suspend", subject=ALICE, reason=f"round {round_}")["durable"]
        running.stop(process, with_signal)
        if with_signal == signal.SIGTERM:
            running.heard()  # STOPPING
            assert not running.admin.exists()
        process = running.start(f"unix:{running.socket}")
        assert running.mail(f"a{round_}") == "REJECT"
        asked = {"kind": "recipient", "name": f"r{round_}@away.example", "reason": "x"}
        assert ask(running, "exempt", **asked, **{"for": "ever"})["durable"]
        assert ask(running, "unsuspend", subject=ALICE, reason="x")["durable"]
        running.stop(process, with_signal)
        if with_signal == signal.SIGTERM:
            running.heard()
        process = running.start(f"unix:{running.socket}")
        assert running.mail(f"r{round_}") == "DUNNO"
        assert len(ask(running, "exemptions")["exemptions"]) == round_ + 1
        assert ask(running, "suspensions")["suspensions"] == []
        running.stop(process, with_signal)
        if with_signal == signal.SIGTERM:
            running.heard()
    assert len(dumped(running, "audit")) == 9


def test_a_database_that_is_lost_is_written_anew_with_the_record(running: Running) -> None:
    running.start(f"unix:{running.socket}")
    ask(running, "suspend", subject=ALICE, reason="x")
    for path in running.state.glob("state.sqlite3*"):
        path.unlink()
    assert ask(running, "suspend", subject=BOB, reason="y")["durable"]
    assert [row["reason"] for row in dumped(running, "audit")] == ["x", "y"]
    assert len(dumped(running, "suspensions")) == 2


def test_a_state_that_cannot_be_kept_is_said(running: Running) -> None:
    running.state.write_text("a file", encoding="utf-8")
    running.start(f"unix:{running.socket}")
    answer = ask(running, "suspend", subject=ALICE, reason="x")
    assert answer["ok"]
    assert not answer["durable"]
    assert running.mail("a") == "REJECT"


def test_without_its_socket_a_daemon_serves_on(running: Running) -> None:
    running.admin = running.directory / "no" / "such" / "directory"
    process = running.start(f"unix:{running.socket}")
    assert running.mail("a") == "DUNNO"
    (line,) = running.logged("admin-unavailable")
    assert f"cannot listen on unix:{running.admin}: No such file or directory" in line
    assert running.stop(process) == 0


def test_no_socket_where_none_is_wanted(running: Running) -> None:
    running.admin = Path("none")
    running.start(f"unix:{running.socket}")
    assert running.mail("a") == "DUNNO"
    assert running.logged("admin-unavailable") == []
    assert not Path("none").exists()


def test_mail_does_not_wait_for_administrators(running: Running) -> None:
    running.start(f"unix:{running.socket}")
    with ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(running.admin))
            client.sendall(b'{"command": "suspensions", "all": true}\n' * 1000)
        assert running.mail("a") == "DUNNO"


def test_a_clock_that_is_stepped_keeps_no_answer_back() -> None:
    office = Office()
    office.desk.step(-DAY)
    assert suspend(office)["suspension"]["since_epoch"] == START - DAY
    assert office.do("suspensions")["suspensions"][0]["holds"]
    assert office.desk.now.wall == WallTime(START - DAY)
