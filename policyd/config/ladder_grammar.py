"""The keys of what follows a refusal: the ladder and its hooks."""

from enum import Enum

from policyd.aup.ladder_rules import Do, HookEvent
from policyd.config.kinds import ListOf, OneOrList, WithPlace
from policyd.config.quantities import Duration, Number, Percentage
from policyd.config.tables import Key, Table
from policyd.config.terms import HOOK_ADDRESS, PLAIN_DOMAIN
from policyd.config.words import OneOf, Text


class Suspended(Enum):
    """Which recipients a suspended sender may not write to."""

    ALL = "all"
    EXTERNAL = "external"


STRIKES = Key(
    "strikes", Number(3, least=1), "How many strikes it takes within strikes_expire.", required=True
)
DO = Key(
    "do",
    OneOf("a step", Do, {"suspend-domain": "a domain is suspended by the conditions of extreme"}),
    "notice: mail to the administrator, from that strike on. suspend-mailbox: the account may not "
    "send.",
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
    ListOf(PLAIN_DOMAIN),
    "Domains that are never suspended whole; accounts.default_domain, which everybody shares, "
    "by default.",
)
WARN_AT = Key(
    "warn_at",
    Percentage("80%"),
    "At how much of a limit's max an early notice goes out, once a window; by default none does.",
)
SUSPENDED_RECIPIENTS = Key(
    "suspended_recipients",
    OneOf("a kind of recipients", Suspended),
    "Whom a suspended sender may not write to: all, or external (mail to local ones passes).",
    default="all",
)
SUSPENDED_TEXT = Key(
    "suspended_text",
    WithPlace(Text("a text", "Sending is suspended for {suspended}; {reason}")),
    "What a suspended sender reads, in ASCII. Placeholders: {suspended} {reason} {since} {until} "
    "{incident} {account} {domain} {sender} {recipient} {client_address} {organization} {aup_url} "
    "{contact}.",
)
LADDER_TABLE = Table(
    "a ladder",
    STRIKES_EXPIRE,
    QUIET,
    STEPS,
    EXTREME,
    NEVER_SUSPEND,
    WARN_AT,
    SUSPENDED_RECIPIENTS,
    SUSPENDED_TEXT,
)

ON = Key(
    "on",
    OneOrList(OneOf("an event", HookEvent)),
    "What it is told of: incident-opened, suspended or lifted, or a list of them.",
    required=True,
)
RUN = Key(
    "run",
    OneOrList(WithPlace(Text("a program", "/usr/local/sbin/on-suspension"))),
    "A program, by its absolute path, and its arguments; no shell reads them. What has happened "
    "is JSON on its standard input.",
)
URL = Key("url", HOOK_ADDRESS, "Where what has happened is posted to, as JSON.")
TIMEOUT = Key(
    "timeout", Duration("10s", most=300), "How long it may take, at most 5m.", default="10s"
)
HOOK_TABLE = Table("a hook", ON, RUN, URL, TIMEOUT)
