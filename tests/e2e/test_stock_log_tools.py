"""Our refusals in Postfix's own log, as the tools read it that many hosts have."""

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from etc.stock_tools import fail2ban, logwatch, pflogsumm

from .daemon import Daemon
from .mail_system import MailSystem
from .rules import BOB, rule_file
from .smtp import message

LIMITS = """\
  - {{id: bulk, title: Bulk mail, per: [account, likeness], count: distinct-recipients,
     recipients: external, max: 2, window: 24h, action: {action}, strike: true,
     text: "Bulk mail is not permitted here; see {{aup_url}}; {{used}} of {{max}} external \\
       recipients in {{window}}; incident {{incident}}"}}
  - {{id: daily, title: Daily recipients, per: [account], count: recipients, recipients: external,
     max: 3, window: 24h, action: {action}}}
"""
CUSTOMER = "192.0.2.77"
USERS = [f"box{number}@sender.example" for number in range(4)]
MODES = ("more", "normal", "auth", "rbl", "ddos", "extra", "aggressive", "errors")


def names(count: int, start: int = 0) -> list[str]:
    return [f"r{number}@ext.example" for number in range(start, start + count)]


class Logs(NamedTuple):
    """A mail log with all our answers; and one with the sessions that Postfix ended for errors."""

    refusals: Path
    errors: Path
    codes: set[int]


def send(mail: MailSystem, user: str, recipients: list[str], size: int) -> set[int]:
    """Send one mail as a customer does; return the codes of the refusals."""
    with mail.connect(login=user, address=CUSTOMER) as session:
        sent = session.send(user, recipients, message(size))
        if not session.over:
            session.quit()
    replies = [*sent.recipients, *([sent.end] if sent.end else ())]
    return {reply.code for reply in replies if not reply.passed}


@pytest.fixture
def logs(mail: MailSystem, tmp_path: Path) -> Logs:
    codes: set[int] = set()
    since = mail.postfix.mark()
    daemon = mail.policyd(rule_file(LIMITS.format(action="REJECT")))
    daemon.administer("suspend", BOB, "--reason", "stolen")
    variants = itertools.product(("REJECT", "DEFER"), ("auto", "no"))
    for user, (action, end_session) in zip(USERS, variants, strict=True):
        obey(daemon, rule_file(LIMITS.format(action=action), end_session=end_session))
        codes |= send(mail, user, names(3), 3000)  # too many at once
        codes |= send(mail, user, names(2), 3000)
        codes |= send(mail, user, names(1, start=8), 3000)  # one too many
        codes |= send(mail, user, names(1, start=9), 9000)
        codes |= send(mail, user, names(3, start=20), 5000)  # from the first recipient on
        codes |= send(mail, BOB, names(3), 3000)
    with mail.submit(BOB) as session:
        session.envelope(BOB, names(1))
        session.quit()
    mail.postfix.wait_for_log("submission/smtpd.*: disconnect from", since)
    refusals = tmp_path / "refusals" / "mail.log"
    refusals.parent.mkdir()
    refusals.write_text(log(mail, since), encoding="utf-8")

    since = mail.postfix.mark()
    for _ in range(5):
        send(mail, USERS[0], names(25, start=20), 5000)
    with mail.connect(login=USERS[0], address=CUSTOMER) as session:
        session.envelope(USERS[0], names(3))
    mail.postfix.wait_for_log("lost connection after RCPT", since)
    errors = tmp_path / "errors"
    errors.write_text(log(mail, since), encoding="utf-8")
    return Logs(refusals, errors, codes)


def log(mail: MailSystem, since: int) -> str:
    """Return what Postfix has logged, under the name that it has where there is only one.

    And with a day below ten as syslog writes it, not as Postfix's own log file has it.
    """
    logged = mail.postfix.log(since).replace("postfix-policyd-test/", "postfix/")
    return re.sub(r"(?m)^(\w{3}) 0", r"\1  ", logged)


def obey(daemon: Daemon, rules: str) -> None:
    since = daemon.mark()
    daemon.write_rules(rules)
    daemon.reload()
    daemon.wait_for("reloaded", since)


def test_what_stock_tools_make_of_our_refusals(logs: Logs, tmp_path: Path) -> None:
    assert logs.codes == {554, 521, 450, 421}

    # no reply of ours is an offence to fail2ban's filter for Postfix, in any mode
    for mode in MODES:
        held = fail2ban(logs.refusals, f"postfix[mode={mode}]", directory=tmp_path / "f2b")
        assert held == []

    # after 20 of them Postfix ends the session, and that is; with our change it is not
    for mode, lines in (("more", 5), ("normal", 5), ("extra", 5), ("errors", 5), ("auth", 0)):
        name = f"postfix[mode={mode}]"
        held = fail2ban(logs.errors, name, directory=tmp_path / "f2b")
        assert len(held) == lines
        assert all("too many errors after RCPT" in text for text in held)
        changed = fail2ban(logs.errors, name, "postfix.local", directory=tmp_path / "ours")
        assert changed == []
    # a client that leaves without a word is one to the mode for floods, refused or not
    name = "postfix[mode=aggressive]"
    left = fail2ban(logs.errors, name, "postfix.local", directory=tmp_path / "ours")
    assert [text.startswith(CUSTOMER) for text in left] == [True]
    assert "lost connection after RCPT" in left[0]

    # pflogsumm counts all; at RCPT it has our words up to the first semicolon, at the end none
    said = pflogsumm(logs.refusals)
    rejected = len(re.findall(r" reject: ", logs.refusals.read_text(encoding="utf-8")))
    assert re.search(rf"(?m)^ +{rejected}   rejected ", said)
    at_end, at_rcpt = said.partition("message reject detail")[2].split("  RCPT\n")
    assert "END-OF-MESSAGE" in at_end
    assert f"from=<{USERS[0]}>" in at_end
    assert "Bulk mail" not in at_end
    assert re.search(
        r"(?m)^    Recipient address rejected: Daily recipients \(total: 12\)", at_rcpt
    )
    suspended = f"Recipient address rejected: Sending is suspended for {BOB} (total: 13)"
    assert suspended in at_rcpt
    in_full = pflogsumm(logs.refusals, "--verbose_msg_detail")
    assert len(re.findall("End-of-data rejected: Bulk mail is not permitted here", in_full)) >= 6

    # logwatch's service for Postfix does not know refusals at the end: it lists each as unmatched
    said = logwatch(logs.refusals.parent, "postfix", directory=tmp_path / "lw")
    known, unmatched = said.split("**Unmatched Entries**")
    assert "Daily recipients" in known
    assert "Bulk mail" not in known
    assert unmatched.count("reject: END-OF-MESSAGE") == 8
