"""The rule file's keys, each declared once: its kind, its default and what it means.

Parsing, the hints at unknown keys and the JSON Schema of ``policyd schema`` all come from here.
"""

from typing import Final

from policyd.aup.facts import VARYING_ATTRIBUTES
from policyd.aup.match import RECIPIENT_ATTRIBUTES
from policyd.aup.policy import Count, EndSession, Mode, Recipients, Refuse
from policyd.config.kinds import ListOf, MapOf, OneOrList, WithPlace
from policyd.config.ladder_grammar import HOOK_TABLE, LADDER_TABLE
from policyd.config.likeness_grammar import LIKENESS_TABLE
from policyd.config.notices_grammar import NOTICES_TABLE
from policyd.config.quantities import AmountKind, Duration, Number, Size
from policyd.config.tables import Key, Table
from policyd.config.terms import (
    ADDRESS,
    DOMAIN,
    SENDER_NAMES,
    WEB_ADDRESS,
    ActionKind,
    Attribute,
    Extension,
    KeyName,
)
from policyd.config.words import Boolean, Date, OneOf, Text, TimeZone

# who and where the provider is

NAME = Key("name", Text("a name", "Example Mail"), "The provider's name, {organization} in texts.")
AUP_URL = Key("aup_url", WEB_ADDRESS, "Where the acceptable-use policy is, {aup_url} in texts.")
CONTACT = Key("contact", ADDRESS, "Whom a blocked sender may ask, {contact} in texts.")
ORGANIZATION_TABLE = Table("the provider's data", NAME, AUP_URL, CONTACT)

DOMAINS = Key(
    "domains",
    OneOrList(WithPlace(DOMAIN)),
    "Domains of the provider. A leading dot: and all its subdomains.",
)
DOMAIN_FILES = Key(
    "domain_files",
    OneOrList(WithPlace(Text("a file name", "local-domains"))),
    "Files with one domain a line, postmap source files too (the first word counts). "
    "They are read again when they change.",
)
LOCAL_TABLE = Table("a mapping of domains and domain_files", DOMAINS, DOMAIN_FILES)

# how senders and recipients are told apart

IDENTITY = Key(
    "identity",
    OneOrList(Attribute()),
    "Request attributes that name the sender; the first that is not empty is the account.",
    default="sasl_username",
)
DEFAULT_DOMAIN = Key(
    "default_domain",
    DOMAIN,
    "The domain of logins without one: alice means alice@mail.example.",
)
STRIP_EXTENSION = Key(
    "strip_extension",
    Extension(),
    'With "+", alice+shop@mail.example is alice@mail.example. By default nothing is stripped.',
)
ACCOUNTS_TABLE = Table("how accounts are found", IDENTITY, DEFAULT_DOMAIN, STRIP_EXTENSION)
RECIPIENTS_TABLE = Table("how recipients are told apart", STRIP_EXTENSION)

# conditions

_VALUES = OneOrList(WithPlace(Text("a value", "mail.example")))


def _meaning(name: str) -> str:
    return {
        "account": "The sending account.",
        "domain": "The account's domain; with a leading dot its subdomains as well.",
        "client": "Short for client_address.",
        "client_address": "The client's IP address or network, such as 192.0.2.0/24.",
        "server_address": "Our IP address or network that the client is connected to.",
        "recipient": "The recipient's address.",
        "recipient_domain": "The recipient's domain; with a leading dot its subdomains as well.",
    }.get(name, f"Postfix's request attribute {name}.")


CONDITIONS = tuple(
    Key(name, _VALUES, f"{_meaning(name)} A value, a list, or a /regular expression/.")
    for name in sorted(SENDER_NAMES | RECIPIENT_ATTRIBUTES)
)
_NO_CONDITIONS = dict.fromkeys(
    VARYING_ATTRIBUTES, "it changes within one message, so a rule cannot look at it"
)
CONDITIONS_TABLE = Table(
    "a mapping of conditions",
    *CONDITIONS,
    explanations=_NO_CONDITIONS,
    definition="conditions",
)

ACCOUNTS_FILE = Key(
    "accounts_file",
    WithPlace(Text("a file name", "premium-accounts")),
    "A file with one account a line; it is read again when it changes.",
)
DOMAINS_FILE = Key(
    "domains_file",
    WithPlace(Text("a file name", "premium-domains")),
    "A file with one account domain a line; it is read again when it changes.",
)
UNTIL = Key("until", WithPlace(Date()), "The last day, to its end in time_zone: YYYY-MM-DD.")
REASON = Key("reason", Text("a reason", "approved list host"), "Why, for whoever reads this later.")

# limits

ID = Key(
    "id",
    Text("a name of letters, digits, - and _", "bulk", "[A-Za-z0-9_-]{1,64}"),
    "Names the counter: max, text and action may change and the counts stay.",
    required=True,
)
TITLE = Key("title", Text("a title", "Bulk mail"), "{title} in texts; the id by default.")
PER = Key(
    "per",
    OneOrList(WithPlace(KeyName())),
    "What is counted by, each combination on its own: account, domain (the account's), likeness, "
    "recipient, recipient_domain, or a request attribute; client_address/24 counts by network.",
    required=True,
)
COUNT = Key(
    "count",
    OneOf("something to count", Count),
    "messages and bytes count a message once if it has a recipient of the kind of recipients; "
    "recipients counts each accepted one; distinct-recipients those that the window does not "
    "hold yet; first-time-recipients those that were not mailed for known_for either; "
    "distinct-clients the networks (IPv4 /24, IPv6 /64) that messages come from.",
    required=True,
)
KNOWN_FOR = Key(
    "known_for",
    Duration("30d"),
    "With count: first-time-recipients, how long a recipient is none any more once it was mailed.",
    default="30d",
)
RECIPIENTS = Key(
    "recipients",
    OneOf("a kind of recipients", Recipients),
    "Which recipients count: external (not in a local domain), local or all.",
    default="all",
)
MAX = Key(
    "max",
    AmountKind(),
    "The most that may pass in the window; one more is refused. For bytes also 25MB.",
    required=True,
)
WINDOW = Key("window", Duration("24h"), "How far back is counted: 90s 10m 24h 7d.", required=True)
REFUSE = Key(
    "refuse",
    OneOf("something to refuse", Refuse),
    "message: all or nothing, when the message has arrived. recipient: each recipient too many, "
    "so that half a mailing goes out.",
    default="message",
)
ACTION = Key(
    "action",
    ActionKind(),
    "REJECT, DEFER (the client tries again later), HOLD, WARN (only the mail log), or a code "
    "such as 452, 421, 521.",
    default="REJECT",
)
STATUS = Key(
    "status",
    Text("an enhanced status code", "5.7.1", r"[245]\.[0-9]{1,3}\.[0-9]{1,3}"),
    "The enhanced status code; 5.7.1, or 4.7.1 for a deferral, by default.",
)
TEXT = Key(
    "text",
    Text("a text", "Bulk mail is not permitted here"),
    "What the sender reads, in ASCII. Placeholders: {used} {asked} {max} {window} {retry_after} "
    "{title} {limit} {account} {domain} {sender} {recipient} {client_address} {organization} "
    "{aup_url} {contact} {incident}.",
)
STRIKE = Key(
    "strike",
    Boolean(),
    "Whether refusals are incidents, and strikes against the account. With domain and no account "
    "under per they are the domain's, and climb nothing.",
    default=False,
)
LIMIT_MODE = Key(
    "mode",
    OneOf("a mode", Mode),
    "observe: only log what would be refused. enforce: refuse. The file's mode by default.",
)
MATCH = Key("match", CONDITIONS_TABLE, "What it is about: all of these must hold.", default={})
UNLESS = Key("unless", CONDITIONS_TABLE, "What it is not about: none may hold.", default={})
LIMIT_TABLE = Table(
    "a limit",
    ID,
    TITLE,
    PER,
    COUNT,
    KNOWN_FOR,
    RECIPIENTS,
    MAX,
    WINDOW,
    REFUSE,
    ACTION,
    STATUS,
    TEXT,
    STRIKE,
    LIMIT_MODE,
    MATCH,
    UNLESS,
)

# who is held to other limits, or to none

NEW_LIMITS = Key(
    "limits",
    MapOf(WithPlace(AmountKind(unlimited=True)), {"daily": 3000}),
    'The new max of each limit, by its id; ids may be patterns such as "bulk*". unlimited: neither '
    "checked nor counted.",
    required=True,
)
OVERRIDE_TABLE = Table("an override", MATCH, ACCOUNTS_FILE, DOMAINS_FILE, NEW_LIMITS, UNTIL, REASON)
EXEMPTION_TABLE = Table(
    "an exemption",
    *CONDITIONS,
    ACCOUNTS_FILE,
    DOMAINS_FILE,
    UNTIL,
    REASON,
    explanations={"match": "write the conditions here: {account: lists@mail.example}"}
    | _NO_CONDITIONS,
)

# where the counts are kept

DIRECTORY = Key(
    "directory",
    Text("an absolute path", "/var/lib/policyd", "/.*"),
    "Where the counts are kept over a restart.",
    default="/var/lib/policyd",
)
SNAPSHOT_EVERY = Key(
    "snapshot_every",
    Duration("60s"),
    "How often the journal, which is written every second, is put in order.",
    default="60s",
)
MAX_KEYS = Key(
    "max_keys",
    Number(5_000_000, least=1000),
    "The most keys that are held for one limit. What was counted longest ago is forgotten first.",
    default=5_000_000,
)
MAX_MEMORY = Key(
    "max_memory",
    Size("4GB", least=10_000_000),
    "The most memory that counts take, about.",
    default="4GB",
)
STATE_TABLE = Table("where the counts are kept", DIRECTORY, SNAPSHOT_EVERY, MAX_KEYS, MAX_MEMORY)

# the file

VERSION = Key("version", Number(1, least=1, most=1), "The version of this grammar: 1.")
MODE = Key(
    "mode",
    OneOf("a mode", Mode),
    "observe: log what would be refused and let all mail pass. enforce: refuse. "
    "A limit's own mode wins.",
    default="observe",
)
END_SESSION = Key(
    "end_session",
    OneOf("auto, yes or no", EndSession, {"true": "write yes", "false": "write no"}),
    "Whether a refused message ends the SMTP session; auto: only where Postfix needs it.",
    default="auto",
)
TIME_ZONE = Key("time_zone", TimeZone(), "The time zone of dates under until.", default="UTC")
ORGANIZATION = Key("organization", ORGANIZATION_TABLE, "Who the provider is.", default={})
LOCAL = Key(
    "local",
    LOCAL_TABLE,
    "The provider's own domains; mail to all others is external.",
    default={},
)
ACCOUNTS = Key("accounts", ACCOUNTS_TABLE, "How the sending account is found.", default={})
RECIPIENT_FORM = Key("recipients", RECIPIENTS_TABLE, "How recipients are told apart.", default={})
LIKENESS = Key("likeness", LIKENESS_TABLE, "What makes two messages similar.", default={})
LIMITS = Key("limits", ListOf(LIMIT_TABLE), "The limits.")
OVERRIDES = Key(
    "overrides",
    ListOf(OVERRIDE_TABLE),
    "Other maximums for some senders; the first that matches wins, for each limit.",
    default=[],
)
EXEMPT = Key("exempt", ListOf(EXEMPTION_TABLE), "Who no limit holds to.", default=[])
LADDER = Key("ladder", LADDER_TABLE, "What repeated refusals lead to.", default={})
NOTICES = Key("notices", NOTICES_TABLE, "The mail that administrators get.")
HOOKS = Key("hooks", ListOf(HOOK_TABLE), "Programs and web addresses that are told.", default=[])
STATE = Key("state", STATE_TABLE, "Where the counts are kept.", default={})

FILE_TABLE = Table(
    "a rule file",
    VERSION,
    MODE,
    END_SESSION,
    TIME_ZONE,
    ORGANIZATION,
    LOCAL,
    ACCOUNTS,
    RECIPIENT_FORM,
    LIKENESS,
    LIMITS,
    OVERRIDES,
    EXEMPT,
    LADDER,
    NOTICES,
    HOOKS,
    STATE,
)
CONCATENATED: Final = frozenset((LIMITS.name, OVERRIDES.name, EXEMPT.name, HOOKS.name))
"""Top-level lists, which several files of a directory may add to."""
