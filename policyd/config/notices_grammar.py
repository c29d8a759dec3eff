"""The keys of the notices that administrators get."""

from policyd.config.kinds import ListOf, OneOrList, WithPlace
from policyd.config.quantities import Duration, Number
from policyd.config.tables import Key, Table
from policyd.config.terms import MAILABLE, NOTICE_ADDRESS, PLAIN_DOMAIN, Server
from policyd.config.words import Boolean, Text

TO = Key(
    "to",
    OneOrList(NOTICE_ADDRESS),
    "Who gets the notices; {domain} is the account's.",
)
TO_FILE = Key(
    "to_file",
    WithPlace(Text("a file name", "notice-addresses")),
    "A file with a domain and its addresses a line, for domains whose notices go elsewhere. "
    "It is read again when it changes.",
)
TEMPLATE = Key(
    "template",
    WithPlace(Text("a file name", "notice.txt")),
    "A file with the text of the notice of an incident; a good one is built in. "
    "It is read again when it changes.",
)
SUMMARY_TEMPLATE = Key(
    "summary_template",
    WithPlace(Text("a file name", "summary.txt")),
    "The same for the summary that follows when an incident has grown.",
)
WARNING_TEMPLATE = Key(
    "warning_template",
    WithPlace(Text("a file name", "warning.txt")),
    "The same for the early notice of ladder.warn_at.",
)
TEMPLATES = {"incident": TEMPLATE, "summary": SUMMARY_TEMPLATE, "warning": WARNING_TEMPLATE}
"""The keys of templates, by the kind of notice."""

FOR_DOMAINS = Key(
    "domains", OneOrList(WithPlace(PLAIN_DOMAIN)), "The domains that this is about.", required=True
)
DOMAINS_TABLE = Table(
    "notices of some domains", FOR_DOMAINS, TO, TEMPLATE, SUMMARY_TEMPLATE, WARNING_TEMPLATE
)

BCC = Key("bcc", OneOrList(MAILABLE), "Who gets a copy of each notice.")
SMTP = Key(
    "smtp",
    Server(),
    "A Postfix listener that does not ask this daemon.",
    default="127.0.0.1:10025",
)
SENDER = Key(
    "sender",
    MAILABLE,
    "Whom the notices are from; organization.contact, or else the postmaster of "
    "accounts.default_domain, by default.",
)
DOMAINS = Key(
    "domains",
    ListOf(DOMAINS_TABLE),
    "Domains whose notices go to other addresses, or are written in another language.",
    default=[],
)
OBSERVED = Key(
    "observed",
    Boolean(),
    "Whether those under bcc, and nobody else, are told what observing limits would have refused.",
    default=False,
)
MOST_PER_HOUR = Key(
    "most_per_hour",
    Number(100, least=1),
    "More notices than that are joined into digests.",
    default=100,
)
GIVE_UP = Key(
    "give_up",
    Duration("5d"),
    "How long a notice that cannot be sent is tried again.",
    default="5d",
)
NOTICES_TABLE = Table(
    "how notices go out",
    TO,
    TO_FILE,
    BCC,
    SMTP,
    SENDER,
    *TEMPLATES.values(),
    DOMAINS,
    OBSERVED,
    MOST_PER_HOUR,
    GIVE_UP,
)
