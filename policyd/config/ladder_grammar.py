"""The keys of the ladder and of the notices.

This version checks them and does not act on them, so nothing of them reaches the policy.
"""

from enum import Enum

from policyd.config.kinds import ListOf, OneOrList
from policyd.config.quantities import Duration, Number, Percentage
from policyd.config.tables import Key, Table
from policyd.config.terms import DOMAIN, NOTICE_ADDRESS, SERVER
from policyd.config.words import OneOf, Text


class Step(Enum):
    """What a step of the ladder does."""

    NOTICE = "notice"
    SUSPEND_MAILBOX = "suspend-mailbox"


STRIKES = Key(
    "strikes", Number(3, least=1), "How many strikes it takes within strikes_expire.", required=True
)
DO = Key(
    "do",
    OneOf("a step", Step, {"suspend-domain": "a domain is suspended by the conditions of extreme"}),
    "notice: mail to the administrator. suspend-mailbox: the account may not send.",
    required=True,
)
FOR = Key("for", Duration("24h"), "How long; by default until an administrator lifts it.")
STEP_TABLE = Table("a step", STRIKES, DO, FOR)

EXTREME_RECIPIENTS = Key(
    "recipients",
    Number(5000, least=1),
    "Distinct external recipients of one account's refused messages.",
)
SUSPENDED_MAILBOXES = Key(
    "suspended_mailboxes", Number(3, least=1), "Suspended mailboxes of one domain."
)
IN = Key("in", Duration("24h"), "How far back is counted.", required=True)
EXTREME_TABLE = Table("an extreme", EXTREME_RECIPIENTS, SUSPENDED_MAILBOXES, IN)

STRIKES_EXPIRE = Key(
    "strikes_expire",
    Duration("30d"),
    "How long a strike is held against an account.",
    default="30d",
)
QUIET = Key(
    "quiet",
    Duration("1h"),
    "How long without a refusal until an incident is over, and the next one is a new strike.",
    default="1h",
)
STEPS = Key("steps", ListOf(STEP_TABLE), "What so many strikes lead to.", default=[])
EXTREME = Key(
    "extreme", ListOf(EXTREME_TABLE), "Any of these suspends the whole domain.", default=[]
)
NEVER_SUSPEND = Key(
    "never_suspend",
    ListOf(DOMAIN),
    "Domains that are never suspended whole; accounts.default_domain, which everybody shares, "
    "by default.",
)
WARN_AT = Key("warn_at", Percentage("80%"), "When an early notice goes out, once a window.")
LADDER_TABLE = Table("a ladder", STRIKES_EXPIRE, QUIET, STEPS, EXTREME, NEVER_SUSPEND, WARN_AT)

TO = Key(
    "to",
    OneOrList(NOTICE_ADDRESS),
    "Who gets the notices; {domain} is the account's.",
)
TO_FILE = Key(
    "to_file", Text("a file name", "notice-addresses"), "A file: domain and addresses a line."
)
BCC = Key("bcc", OneOrList(NOTICE_ADDRESS), "Who gets a copy of each notice.")
SMTP = Key(
    "smtp",
    SERVER,
    "A Postfix listener that does not ask this daemon.",
    default="127.0.0.1:10025",
)
TEMPLATE = Key(
    "template", Text("a file name", "notice.txt"), "The notice's text; a good one is built in."
)
NOTICES_TABLE = Table("how notices go out", TO, TO_FILE, BCC, SMTP, TEMPLATE)
