"""The unit and the timer that mail the week's report."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from etc.stock_tools import ETC
from excuse import need

UNITS = ETC / "systemd"
SERVICE, TIMER = UNITS / "policyd-report.service", UNITS / "policyd-report.timer"


def script() -> str:
    """Return what the shell is given, with systemd's escapes undone."""
    text = SERVICE.read_text().replace("\\\n", "")
    (found,) = re.findall(r"(?m)^ExecStart=/bin/sh -ec '(.*)'$", text)
    return str(found).replace("$$", "$").replace("%%", "%").replace("\\\\", "\\")


def run(tmp_path: Path, report: str) -> tuple[int, str]:
    """Run it with programs that stand in; return the exit code and the mail."""
    mail = tmp_path / "mail"
    policyd, sendmail = tmp_path / "policyd", tmp_path / "sendmail"
    policyd.write_text(f'#!/bin/sh\necho "$@"\n{report}\n')
    sendmail.write_text(f'#!/bin/sh\necho "$@" > {mail}\ncat >> {mail}\n')
    for program in (policyd, sendmail):
        program.chmod(0o755)
    text = script()
    for there, here in (
        ("/opt/policyd/bin/policyd", policyd),
        ("/usr/sbin/sendmail", sendmail),
    ):
        assert text.count(there) == 1
        text = text.replace(there, str(here))
    done = subprocess.run(
        ["/bin/sh", "-ec", text], env={**os.environ, "REPORT_TO": "pm@mail.example"}, check=False
    )
    return done.returncode, mail.read_text() if mail.exists() else ""


def test_what_is_reported_is_mailed_as_it_is(tmp_path: Path) -> None:
    code, mail = run(tmp_path, r"printf '%s\n' '100% of $HOME \n'")
    assert code == 0
    assert mail == "-i -t\nreport --since 7d --mail-to pm@mail.example\n100% of $HOME \\n\n"


def test_without_a_daemon_nothing_is_mailed_and_the_unit_fails(tmp_path: Path) -> None:
    code, mail = run(tmp_path, "exit 3")
    assert (code, mail) == (3, "")


def test_systemd_takes_both(tmp_path: Path) -> None:
    need("systemd-analyze", "systemd")
    for path in (SERVICE, TIMER):
        shutil.copy(path, tmp_path)
    words = ["systemd-analyze", "verify", "--man=no", "--no-pager"]
    done = subprocess.run(
        [*words, tmp_path / SERVICE.name, tmp_path / TIMER.name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
