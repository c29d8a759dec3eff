"""``policyd notice preview``: print a notice as an administrator would get it."""

import argparse
import sys
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Final

from policyd.aup.event import NearLimit
from policyd.aup.incident import LADDER, Incident, Sample, Suspension, SuspensionKind
from policyd.aup.notice import Notice, compose, digest, message
from policyd.aup.notice_words import Kind
from policyd.aup.policy import Limit, Policy
from policyd.clock import WallTime
from policyd.config.load import load
from policyd.config.problem import Severity

_DIGEST: Final = "digest"
_KINDS: Final = {kind.value: kind for kind in Kind}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    parser = commands.add_parser(
        "notice",
        help="print a notice as the rules would have it",
        description="See what account administrators get, without anything being sent.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    preview = actions.add_parser(
        "preview",
        help="print a notice about an incident that is made up",
        description="Print a notice about an incident that is made up, in the words of the rules. "
        "Exit with 1 if the rules cannot be used, or send no notices.",
        epilog="example: policyd notice preview /etc/policyd/policy.yaml --domain kunde.example",
    )
    preview.add_argument("rules", type=Path, metavar="FILE", help="the rule file, or a directory")
    preview.add_argument(
        "--kind",
        choices=(*_KINDS, _DIGEST),
        default=Kind.INCIDENT.value,
        help="which notice (default: %(default)s)",
    )
    preview.add_argument(
        "--domain", metavar="DOMAIN", help="the domain of the account (default: one of the rules)"
    )
    preview.set_defaults(run=_preview)


def _preview(args: argparse.Namespace) -> int:
    """Print a notice."""
    loaded = load(args.rules)
    for problem in loaded.problems:
        if problem.severity is Severity.ERROR:
            sys.stderr.write(f"{problem}\n")
    policy = loaded.policy
    if policy is None:
        return 1
    if policy.aftermath.notices is None:
        sys.stderr.write(f"{args.rules} has no notices: section, so none are sent\n")
        return 1
    now = WallTime(datetime.now(UTC).timestamp())
    notice = _notice(args.kind, policy, args.domain or _domain(policy), now)
    if not notice.recipients:
        sys.stderr.write("the rules name nobody who would get it\n")
        return 1
    made = message(notice, "<policyd.preview@localhost>", datetime.fromtimestamp(now, UTC))
    mail = message_from_bytes(made, policy=default)
    for name in ("From", "To", "Subject"):
        sys.stdout.write(f"{name}: {mail[name]}\n")
    if notice.bcc:
        sys.stdout.write(f"Bcc: {', '.join(notice.bcc)}\n")
    content = mail.get_content().replace("\r\n", "\n")
    sys.stdout.write(f"\n{content}")
    return 0


def _notice(kind: str, policy: Policy, domain: str, now: WallTime) -> Notice:
    limit = next((one for one in policy.limits if one.strike), policy.limits[0])
    account = f"alice@{domain}"
    if kind == Kind.WARNING.value:
        near = NearLimit(limit, limit.max, limit.max * 4 // 5, account, domain, now)
        return compose(Kind.WARNING, near, policy, now)
    incident = _incident(limit, account, domain, now)
    if kind == _DIGEST:
        rules = policy.aftermath.notices
        return digest(rules.bcc or rules.to if rules else (), [incident], policy)
    incident.observed = kind == Kind.OBSERVED.value
    suspension = Suspension(
        kind=SuspensionKind.MAILBOX,
        name=account,
        since=now,
        until=None,
        by=LADDER,
        reason="repeated violations",
        incident=incident.id,
        in_force=True,
    )
    suspensions = [] if incident.observed else [suspension]
    return compose(_KINDS[kind], incident, policy, now, suspensions)


def _incident(limit: Limit, account: str, domain: str, now: WallTime) -> Incident:
    names = [f"{name}@elsewhere.example" for name in ("bob", "carol", "dave")]
    return Incident(
        id="K7M4XQ2",
        account=account,
        domain=domain,
        limit=limit.id,
        title=limit.title,
        opened=WallTime(now - 600),
        last=now,
        sample=Sample(account, names, 23_456),
        strike=3,
        used=limit.max + 1,
        max=limit.max,
        window=limit.window,
        attempts=2,
        messages=2,
        recipients=1652,
        told=800,
        told_messages=1,
        clients=["192.0.2.7"],
        actions=[f"mailbox {account} suspended until an administrator lifts it"],
    )


def _domain(policy: Policy) -> str:
    """Return a domain that an account could have."""
    rules = policy.aftermath.notices
    known = policy.accounts.default_domain, *(rules.by_domain if rules else ())
    return next(filter(None, (*known, *policy.local.names)), "mail.example")
