"""A provider whose rules have a ladder: small limits, short times, and users who offend."""

import json
import re

from .daemon import REPOSITORY, Daemon
from .mail_system import MailSystem
from .rules import ALICE, LOCAL_DOMAIN, rule_file
from .smtp import Mailing, message
from .snippets import replace_once

ADMINISTRATOR = "postmaster@sender.example"
PROVIDER = "abuse@mail.example"
CONTACT = "abuse@mail.example"  # of the head of the rule files
SHARED = "shared.example"  # a domain of the provider's that is never suspended
THREE = [f"reader{number}@ext.example" for number in range(3)]
A_FRIEND, A_COLLEAGUE = "friend@ext.example", f"user1@{LOCAL_DOMAIN}"
HOUR = 3600.0
SHIPPED = REPOSITORY / "etc" / "policyd" / "policy.yaml"

TWO_EACH = """\
  - id: bulk
    title: Bulk mail
    per: [account, likeness]
    count: distinct-recipients
    recipients: external
    max: 2
    window: 24h
    text: "Bulk mail is not permitted here; {used} of {max} in {window}; incident {incident}"
    strike: true
"""

STEPS = """\
    - {strikes: 1, do: notice}
    - {strikes: 3, do: suspend-mailbox, for: 24h}
"""
AT_ONCE = "    - {strikes: 1, do: suspend-mailbox, for: 24h}\n"

MORE = """\
ladder:
  quiet: %(quiet)s
  steps:
%(steps)s\
  extreme:
    - {suspended_mailboxes: %(mailboxes)d, in: 7d}
  never_suspend: [%(shared)s]
  suspended_recipients: %(suspended_recipients)s

notices:
  to: ["postmaster@{domain}"]
  bcc: [%(provider)s]
  smtp: 127.0.0.1:%(port)d
  observed: %(observed)s
%(more)s
"""


def ladder_rules(
    port: int,
    *,
    steps: str = STEPS,
    quiet: str = "1h",
    mailboxes: int = 3,
    mode: str = "enforce",
    suspended_recipients: str = "all",
    observed: str = "false",
    more: str = "",
) -> str:
    """Return a rule file with a ladder of these *steps*, whose notices go to *port*.

    So many suspended *mailboxes* suspend their domain. *more* are further lines: of the section
    for notices, and sections after it.
    """
    own = {
        "port": port,
        "steps": steps,
        "quiet": quiet,
        "mailboxes": mailboxes,
        "suspended_recipients": suspended_recipients,
        "observed": observed,
        "more": more,
        "shared": SHARED,
        "provider": PROVIDER,
    }
    rules = rule_file(TWO_EACH, mode=mode, more=MORE % own)
    everyone = f"domains: [{LOCAL_DOMAIN}, sender.example, {SHARED}]"
    return replace_once(rules, f"domains: [{LOCAL_DOMAIN}]", everyone)


def shipped_in_force(port: int) -> str:
    """Return the rule file that we ship, in force, for our domains; its notices go to *port*."""
    rules = SHIPPED.read_text(encoding="utf-8")
    for old, new in (
        ("\nmode: observe\n", "\nmode: enforce\n"),
        ("domains: [mail.example]\n", f"domains: [mail.example, {LOCAL_DOMAIN}, sender.example]\n"),
        ("smtp: 127.0.0.1:10025\n", f"smtp: 127.0.0.1:{port}\n"),
    ):
        rules = replace_once(rules, old, new)
    return rules


def send(mail: MailSystem, account: str, recipients: list[str], size: int = 3000) -> Mailing:
    """Send one message with the login *account*, in a session of its own."""
    with mail.submit(account) as session:
        return session.send(account, recipients, message(size))


def offend(mail: MailSystem, account: str = ALICE, size: int = 3000) -> str:
    """Send what is not permitted; return the id of the incident that the reply names."""
    mailing = send(mail, account, THREE, size)
    assert mailing.accepted == len(THREE)
    assert mailing.end.code == 521, mailing.end
    return incident_in(mailing.end.text)


def offend_anew(mail: MailSystem, daemon: Daemon, account: str = ALICE, size: int = 3000) -> str:
    """Do it again as another incident; for rules in which one is over after a second."""
    await_quiet(daemon, account)
    return offend(mail, account, size)


def await_quiet(daemon: Daemon, account: str) -> None:
    """Wait until all incidents of *account* are over."""
    for line in daemon.events("incident-opened", account=account):
        daemon.wait_for("incident-closed", incident=line["incident"])


def incident_in(text: str) -> str:
    """Return the id that *text*, a reply, ends with."""
    found = re.search(r"; incident ([2-9B-Z]{7})$", text)
    assert found, text
    return found[1]


def is_suspended(mail: MailSystem, account: str, recipient: str = A_FRIEND) -> bool:
    """Tell whether a harmless mail of *account* is refused at its first recipient."""
    mailing = send(mail, account, [recipient], 500)
    if mailing.passed:
        return False
    (reply,) = mailing.recipients
    assert reply.code == 554
    assert "Sending is suspended for " in reply.text
    assert mailing.end is None
    return True


def an_hour_later(kept: str) -> str:
    """Return *kept*, a dump, as if an hour had passed for the notices that wait."""
    lines = [json.loads(line) for line in kept.splitlines()]
    for line in lines:
        if "notices" in line:
            line["notices"]["made"] -= HOUR
            line["notices"]["due"] -= HOUR
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def facts(text: str) -> dict[str, str]:
    """Return the figures of a notice: what its indented lines say."""
    return dict(re.findall(r"^    (\S.*?): +(.*)$", text, re.MULTILINE))
