"""policyd doctor before real Postfix configurations, with each fault planted, and a real one."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from policyd.cli.doctor import printed
from policyd.doctor.postfix import read

from .daemon import REPOSITORY, Daemon, command
from .mail_system import MailSystem
from .ports import free_ports
from .postfix import PrivatePostfix
from .programs import program
from .rules import ALICE, LEDGER, rule_file
from .sink import Sink
from .smtp import message
from .snippets import main_snippet, master_snippet

MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
mynetworks = 127.0.0.0/8
"""
WORLD = "smtp inet n - y - - smtpd\n"
NOTICES = 'notices:\n  to: ["postmaster@{domain}"]\n  smtp: 127.0.0.1:10025\n'

RCPT = "smtpd_recipient_restrictions"
END = "smtpd_end_of_data_restrictions"
ASK_IN_MASTER = "    -o smtpd_{}_restrictions=$policyd_ask\n"


class Doctor:
    """A configuration directory and a daemon that policyd doctor looks at."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.queue = directory / "queue"
        self.socket = self.queue / "policyd" / "policy"
        for path in (self.queue, self.socket.parent, directory / "conf"):
            path.mkdir()
            path.chmod(0o755)
        self.port, self.dead_port = free_ports(2)
        self.daemon = Daemon(directory / "policyd", self.port, self.socket)
        self.daemon.write_rules(rule_file(LEDGER, more=NOTICES))
        self.daemon.start()

    def codes(self, main: str, master: str) -> set[str]:
        """Return the codes of what is found, but for what a daemon without mail has to say."""
        return {fault["code"] for fault in self.found(main, master)["faults"]} - {"nothing-asked"}

    def found(self, main: str, master: str) -> dict[str, Any]:
        conf = self.directory / "conf"
        for name, text in (("main.cf", main), ("master.cf", master)):
            (conf / name).write_text(text, encoding="utf-8")
            # postconf waits for a file that was written just now
            os.utime(conf / name, (0, 0))
        return diagnosed(conf, self.daemon.admin).found

    def main(self, *more: str) -> str:
        own = MAIN.format(directory=self.directory) + main_snippet(self.port)
        return own + "".join(f"{line}\n" for line in more)


class Diagnosis(NamedTuple):
    code: int
    text: str

    @property
    def found(self) -> dict[str, Any]:
        found = json.loads(self.text)
        is_faulty = any(fault["weight"] == "fault" for fault in found["faults"])
        assert self.code == int(is_faulty)
        return found


def diagnosed(configuration: Path, admin: Path, *more: str) -> Diagnosis:
    """Return what policyd doctor has to say, as JSON unless *more* is something else."""
    words = ["doctor", "--postfix-config", str(configuration), "--postconf", program("postconf")]
    done = subprocess.run(
        [*command(), *words, "--socket", str(admin), *(more or ("--json",))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Diagnosis(done.returncode, done.stdout)


@pytest.fixture(scope="module")
def doctor(mail_servers: tuple[PrivatePostfix, Sink]) -> Iterator[Doctor]:
    assert mail_servers
    # Postfix's user has to be able to pass through
    directory = Path(tempfile.mkdtemp(prefix="policyd-doctor-"))
    directory.chmod(0o755)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, directory)
        doctor = Doctor(directory)
        undo.callback(doctor.daemon.close)
        yield doctor


def changed(master: str, old: str, new: str, times: int = 2) -> str:
    """Return *master* with *new* for *old*, which is there so many *times*."""
    assert master.count(old) == times
    return master.replace(old, new)


SASL = "    -o smtpd_sasl_auth_enable=yes\n"
RECIPIENTS = f"    -o {RCPT}=$policyd_recipient_restrictions\n"
ENDS = f"    -o {END}=$policyd_end_of_data_restrictions\n"
ASK_HOW = "check_policy_service { $policyd_service, timeout=5s, default_action=DUNNO"
ASK = "policyd_ask = check_policy_service { $policyd_service, "


def test_the_snippets_have_no_fault(doctor: Doctor) -> None:
    found = doctor.found(doctor.main(), WORLD + master_snippet())

    assert {fault["code"] for fault in found["faults"]} <= {"nothing-asked"}
    assert any("asks inet:127.0.0.1" in line for line in found["checked"])


def test_the_snippets_socket_has_no_fault(doctor: Doctor) -> None:
    main = doctor.main("policyd_service = unix:policyd/policy")

    assert doctor.codes(main, WORLD + master_snippet()) == set()


# lines at the end of main.cf take the place of what came before
@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("no-default-action", [f"{ASK}timeout=5s }}"]),
        ("default-permits", [f"{ASK}timeout=5s, default_action=OK }}"]),
        ("default-rejects", [f"{ASK}timeout=5s, {{ default_action = 550 5.7.1 No way }} }}"]),
        ("long-timeout", [f"{ASK}default_action=DUNNO }}"]),
        ("try-limit", [f"{ASK}timeout=5s, default_action=DUNNO, try_limit=1 }}"]),
        (
            "try-limit",
            [f"{ASK}timeout=5s, default_action=DUNNO }}", "smtpd_policy_service_try_limit = 1"],
        ),
        ("soft-bounce", ["soft_bounce = yes"]),
        (
            "after-permit",
            ["policyd_recipient_restrictions = permit_sasl_authenticated, $policyd_ask, reject"],
        ),
        (
            "after-permit",
            [
                "policyd_recipient_restrictions = asking, reject",
                "smtpd_restriction_classes = asking",
                "asking = permit_mynetworks, $policyd_ask, permit_sasl_authenticated",
            ],
        ),
        (
            "warn-if-reject",
            [
                "policyd_recipient_restrictions =",
                "  warn_if_reject $policyd_ask",
                "  permit_sasl_authenticated, reject",
            ],
        ),
        (
            "before-relay-check",
            [
                "policyd_recipient_restrictions = $policyd_ask, reject_unauth_destination, reject",
                "smtpd_relay_before_recipient_restrictions = no",
            ],
        ),
        (
            "listed-twice",
            [
                "policyd_recipient_restrictions = $policyd_ask $policyd_ask, permit",
            ],
        ),
        (
            "contexts-differ",
            [
                f"policyd_end_of_data_restrictions = {ASK_HOW}, policy_context=end }}",
            ],
        ),
        ("no-end-of-message", ["policyd_end_of_data_restrictions ="]),
        ("no-rcpt", ["policyd_recipient_restrictions = permit_sasl_authenticated, reject"]),
        ("chroot", ["policyd_service = unix:/run/policyd/policy"]),
        ("no-socket", ["policyd_service = unix:policyd/nonesuch"]),
        ("port-25", [f"{RCPT} = $policyd_ask", f"{END} = $policyd_ask"]),
        ("not-asked", ["smtpd_sasl_auth_enable = yes"]),
    ],
)
def test_a_fault_in_main_cf(doctor: Doctor, code: str, lines: list[str]) -> None:
    assert doctor.codes(doctor.main(*lines), WORLD + master_snippet()) == {code}


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("no-end-of-message", ENDS, ""),
        ("no-rcpt", RECIPIENTS, f"    -o {RCPT}=permit_sasl_authenticated,reject\n"),
        ("not-asked", f"{RECIPIENTS}{ENDS}", ""),
        ("no-login", SASL, ""),
        ("wrong-list", ENDS, ASK_IN_MASTER.format("data")),
        ("wrong-list", ENDS, ENDS + ASK_IN_MASTER.format("etrn")),
        ("wrong-list", RECIPIENTS, ASK_IN_MASTER.format("sender")),
        (
            "delay-reject",
            RECIPIENTS,
            "    -o { smtpd_delay_reject = no }\n" + ASK_IN_MASTER.format("client"),
        ),
        ("long-timeout", SASL, f"{SASL}    -o {{ {ASK}default_action=DUNNO, timeout=1m }} }}\n"),
        ("soft-bounce", SASL, f"{SASL}    -o soft_bounce=yes\n"),
    ],
)
def test_a_fault_in_master_cf(doctor: Doctor, code: str, old: str, new: str) -> None:
    master = changed(master_snippet(), old, new)

    assert doctor.codes(doctor.main(), WORLD + master) == {code}


def test_the_reinjection_port_asks_too(doctor: Doctor) -> None:
    master = changed(master_snippet(), f"    -o {END}=\n", ASK_IN_MASTER.format("end_of_data"), 1)
    main = doctor.main("content_filter = amavis:[127.0.0.1]:10024")

    found = doctor.found(main, master)

    assert {fault["code"] for fault in found["faults"]} - {"nothing-asked"} == {"reinjection-asks"}


def test_the_notices_listener_asks(doctor: Doctor) -> None:
    asking = f"127.0.0.1:10025 inet n - y - - smtpd\n{SASL}{RECIPIENTS}{ENDS}"
    master = master_snippet().split("\n127.0.0.1:10025 inet", maxsplit=1)[0]

    assert doctor.codes(doctor.main(), f"{master}\n{asking}") == {"notices-ask"}
    assert doctor.codes(doctor.main(), f"{master}\n") == {"no-notices-listener"}


def test_another_port_than_the_daemons(doctor: Doctor) -> None:
    main = doctor.main(f"policyd_service = inet:127.0.0.1:{doctor.dead_port}")

    found = doctor.found(main, master_snippet())

    (fault,) = (one for one in found["faults"] if one["code"] != "nothing-asked")
    assert fault["code"] == "other-port"
    assert fault["cure"] == [f"policyd_service = inet:127.0.0.1:{doctor.port}"]


def test_nothing_listens_and_no_daemon_is_there(doctor: Doctor, tmp_path: Path) -> None:
    main = doctor.main(f"policyd_service = inet:127.0.0.1:{doctor.dead_port}")
    doctor.found(main, master_snippet())

    told = diagnosed(doctor.directory / "conf", tmp_path / "nonesuch").found

    assert {fault["code"] for fault in told["faults"]} == {"no-daemon", "nothing-listens"}


def test_a_socket_that_postfix_may_not_use(doctor: Doctor) -> None:
    main = doctor.main("policyd_service = unix:policyd/policy")
    doctor.socket.chmod(0o660)
    try:
        assert doctor.codes(main, master_snippet()) == {"socket-permissions"}
    finally:
        doctor.socket.chmod(0o666)
    doctor.socket.parent.chmod(0o700)
    try:
        assert doctor.codes(main, master_snippet()) == {"socket-permissions"}
    finally:
        doctor.socket.parent.chmod(0o755)


def test_the_text_has_the_line_to_write(doctor: Doctor) -> None:
    doctor.found(doctor.main("policyd_end_of_data_restrictions ="), WORLD + master_snippet())

    told = diagnosed(
        doctor.directory / "conf", doctor.daemon.admin, "--postconf", program("postconf")
    )

    assert told.code == 1
    assert re.search(
        r"^fault: no-end-of-message, submission \(587\), submissions \(465\)$",
        told.text,
        re.MULTILINE,
    )
    assert re.search(r"^    -o smtpd_end_of_data_restrictions=", told.text, re.MULTILINE)


def test_what_is_written_cures(doctor: Doctor) -> None:
    master = changed(master_snippet(), RECIPIENTS + ENDS, "")
    found = doctor.found(doctor.main(), master)
    (fault,) = (one for one in found["faults"] if one["code"] != "nothing-asked")

    cured = changed(master, SASL, SASL + "".join(f"    {line}\n" for line in fault["cure"]))

    assert doctor.codes(doctor.main(), cured) == set()


def test_names_are_expanded_as_postconf_does(doctor: Doctor) -> None:
    # where no listener has other values, -x and we must come to the same
    doctor.found(doctor.main(), master_snippet())
    text = printed(program("postconf"), str(doctor.directory / "conf"))
    main = read(text).main
    # the others have names that have a meaning only when mail is delivered
    ours = ("smtpd_", "policyd_", "content_", "queue_", "mail_owner", "compatibility")
    lines = [line for line in text.expanded.splitlines() if line.startswith(ours)]
    expected = dict(line.split(" =", maxsplit=1) for line in lines)
    assert len(expected) > 100
    assert {name: main.value(name) for name in expected} == {
        name: value.strip() for name, value in expected.items()
    }


# the content


MILTER = "smtpd_milters = { unix:policyd/milter, content_timeout=10s, default_action=accept }"
QUICK = ("milter_connect_timeout = 5s", "milter_command_timeout = 5s")
CLOSED = "authorized_submit_users = root"
NOT_HERE = "    -o smtpd_milters=\n"


@pytest.fixture
def milter(doctor: Doctor) -> Iterator[None]:
    path = doctor.socket.with_name("milter")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o666)
        yield
    path.unlink()


@pytest.mark.usefixtures("milter")
def test_a_milter_has_no_fault(doctor: Doctor) -> None:
    back = "    -o syslog_name=postfix/reinject\n"
    master = changed(master_snippet(), back, back + NOT_HERE, 1)
    world = WORLD + NOT_HERE

    found = doctor.found(doctor.main(MILTER, *QUICK, CLOSED), world + master)

    assert {fault["code"] for fault in found["faults"]} <= {"nothing-asked"}
    assert any("shows content to unix:policyd/milter" in line for line in found["checked"])


@pytest.mark.usefixtures("milter")
def test_a_milter_by_postfixs_own_defaults(doctor: Doctor) -> None:
    # on all ports, as main.cf has it for all
    main = doctor.main("smtpd_milters = unix:policyd/milter")
    master = changed(master_snippet(), "    -o smtpd_milters=\n", "", 1)
    assert doctor.codes(main, master) == {
        *("milter-default-action", "milter-timeout", "milter-not-here", "milter-sendmail"),
    }


def test_a_milter_that_is_not_there(doctor: Doctor) -> None:
    main = doctor.main(MILTER, *QUICK, CLOSED, "milter_data_macros =")

    assert doctor.codes(main, master_snippet()) == {"milter-no-socket"}


def test_a_milter_that_nobody_names(doctor: Doctor) -> None:
    doctor.found(doctor.main(CLOSED), master_snippet())
    told = diagnosed(
        *(doctor.directory / "conf", doctor.daemon.admin),
        *("--milter", "unix:/run/policyd/milter", "--json"),
    ).found
    assert "milter-missing" in {fault["code"] for fault in told["faults"]}


def test_a_milter_that_the_daemon_is_and_nobody_names(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER), sees_content=True)
    told = diagnosed(mail.postfix.configuration, daemon.admin).found
    assert "milter-missing" in {fault["code"] for fault in told["faults"]}


# the daemon's own counts, with mail through a real Postfix


def counts_told(mail: MailSystem, daemon: Daemon) -> set[str]:
    told = diagnosed(mail.postfix.configuration, daemon.admin).found
    return {fault["code"] for fault in told["faults"]} & {
        *("rcpt-without-end", "end-without-rcpt", "never-a-login", "loopback-only"),
        "nothing-asked",
    }


def test_recipients_without_the_end_of_the_message(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    assert counts_told(mail, daemon) == {"nothing-asked"}
    recipients = [f"someone{number}@ext.example" for number in range(6)]

    session = mail.connect("rcpt_only", address="192.0.2.7")
    assert session.send(ALICE, recipients, message(300)).passed

    assert counts_told(mail, daemon) == {"rcpt-without-end"}
    session = mail.connect("plain", address="192.0.2.7")
    assert session.send(ALICE, recipients, message(300)).passed
    assert counts_told(mail, daemon) == set()


def test_ends_without_recipients_or_a_login_by_loopback_alone(mail: MailSystem) -> None:
    daemon = mail.policyd(rule_file(LEDGER))
    for _ in range(20):
        session = mail.connect("end_only", login="")
        assert session.send(ALICE, ["a@ext.example"], message(300)).passed
        session.close()

    assert counts_told(mail, daemon) == {"end-without-rcpt", "never-a-login", "loopback-only"}
