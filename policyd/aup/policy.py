"""The rule file's meaning, frozen: what config makes and the engine obeys (POLICY.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import Enum, IntEnum
from fnmatch import fnmatchcase
from typing import Final

from policyd.aup.address import Accounts, LocalDomains
from policyd.aup.facts import Facts
from policyd.aup.ladder_rules import Aftermath
from policyd.aup.match import ADDRESS_ATTRIBUTES, Matcher
from policyd.aup.wording import Wording
from policyd.clock import WallTime

SCOPES: Final = ("account", "domain")
"""What messages can be alike within, the narrower first."""


SPLITTING_PARTS: Final = ("recipient", "recipient_domain")
"""Parts of a key for which each recipient has its own value; the finer includes the other."""

_LATER_PARTS: Final = frozenset(("likeness", *SPLITTING_PARTS))


class Mode(Enum):
    """Whether a limit answers, or only logs what it would have answered."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


class Count(Enum):
    """What a limit counts."""

    MESSAGES = "messages"
    RECIPIENTS = "recipients"
    DISTINCT_RECIPIENTS = "distinct-recipients"
    BYTES = "bytes"
    DISTINCT_CLIENTS = "distinct-clients"
    FIRST_TIME_RECIPIENTS = "first-time-recipients"


_APART: Final = (Count.DISTINCT_RECIPIENTS, Count.FIRST_TIME_RECIPIENTS)


class Recipients(Enum):
    """Which recipients a limit is about."""

    EXTERNAL = "external"
    LOCAL = "local"
    ALL = "all"


class Refuse(Enum):
    """What is refused: the message whole at END-OF-MESSAGE, or each recipient too many at RCPT."""

    MESSAGE = "message"
    RECIPIENT = "recipient"


class EndSession(Enum):
    """Whether a refusal at END-OF-MESSAGE ends the SMTP session (POLICY.md "Answers")."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"


class Strength(IntEnum):
    """How strong an answer is: of several the strongest is given."""

    WARN = 1
    HOLD = 2
    DEFER = 3
    REJECT = 4


@dataclass(frozen=True, slots=True)
class Action:
    """What Postfix is told: a verb (REJECT, DEFER, HOLD, WARN) or a reply code, and a status.

    *status* is the enhanced status code (RFC 3463), empty for HOLD and WARN.
    """

    verb: str
    status: str = ""

    @property
    def strength(self) -> Strength:
        """The strength of this answer; a code is as strong as the verb of its class."""
        if self.verb.isdigit():
            return Strength.REJECT if self.verb.startswith("5") else Strength.DEFER
        return Strength[self.verb]

    @property
    def refuses(self) -> bool:
        """Whether the mail does not pass."""
        return self.strength >= Strength.DEFER

    def made_permanent(self) -> "Action":
        """Return the 5xx answer of a limit whose answer is a 4xx one."""
        return Action("REJECT", f"5{self.status[1:]}")


@dataclass(frozen=True, slots=True)
class KeyPart:
    """One name under ``per``; the prefixes, in bits, cut an IP address to its network."""

    name: str
    prefix4: int = 32
    prefix6: int = 128

    @property
    def is_address(self) -> bool:
        """Whether the value is an IP address, which the prefixes cut."""
        return self.name in ADDRESS_ATTRIBUTES

    def __str__(self) -> str:
        if (self.prefix4, self.prefix6) == (32, 128):
            return self.name
        return f"{self.name}/{self.prefix4}/{self.prefix6}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One entry under ``limits``: who, what, how much, and the answer.

    All conditions of *match* must hold, none of *unless* may. *window* is in seconds; *max* is the
    most that may pass, in units of *count*. *permanent_text* is the text when a deferral is made
    permanent, and *text* itself for any other action. Refusals are *strike*s that climb the ladder,
    or not. *known_for*, in seconds, is how long a recipient is no first-time one any more.

    Derived: *likeness_scope* is what the likeness in the key is within, None for a key without one;
    *shared_parts* are those of the key that all recipients of a message share, and *split_by* is
    what each has a key of its own for. *answers* tells whether exceeding this limit refuses mail,
    as opposed to only being noted. *external* is what recipients that count must be, None for
    either; *counts_recipients_apart* says that they are what is counted, each once.
    """

    id: str
    title: str
    per: tuple[KeyPart, ...]
    count: Count
    recipients: Recipients
    max: int
    window: int
    refuse: Refuse
    action: Action
    text: Wording
    permanent_text: Wording
    mode: Mode
    match: Matcher = field(default_factory=Matcher)
    unless: Matcher = field(default_factory=Matcher)
    strike: bool = False
    known_for: float = 0.0
    likeness_scope: str | None = field(init=False, repr=False)
    shared_parts: tuple[KeyPart, ...] = field(init=False, repr=False)
    split_by: str | None = field(init=False, repr=False)
    chooses_recipients: bool = field(init=False, repr=False)
    answers: bool = field(init=False, repr=False)
    external: bool | None = field(init=False, repr=False)
    counts_recipients_apart: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # worked out once here, and not for every transaction
        everybody = self.recipients is Recipients.ALL
        scope = next((scope for scope in SCOPES if self.counts_per(scope)), None)
        derived = {
            "likeness_scope": scope if self.counts_per("likeness") else None,
            "shared_parts": tuple(part for part in self.per if part.name not in _LATER_PARTS),
            "split_by": next((name for name in SPLITTING_PARTS if self.counts_per(name)), None),
            "chooses_recipients": bool(self.match.on_recipient or self.unless.on_recipient),
            "counts_recipients_apart": self.count in _APART,
            "answers": self.mode is Mode.ENFORCE and self.action.refuses,
            "external": None if everybody else self.recipients is Recipients.EXTERNAL,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def counts_per(self, *names: str) -> bool:
        """Tell whether any of *names* is under ``per``."""
        return any(part.name in names for part in self.per)

    def holds_to(self, facts: Facts) -> bool:
        """Tell whether the conditions let this limit hold to the sender of whom *facts* tell."""
        return self.match.matches(facts) and not self.unless.touches(facts)

    def chooses(self, recipient: str) -> bool:
        """Tell whether the conditions let the *recipient*, a folded address, count."""
        return self.match.matches_recipient(recipient) and not self.unless.touches_recipient(
            recipient
        )


@dataclass(frozen=True, slots=True)
class Override:
    """Another maximum for some senders; *limits* maps patterns of limit ids to it.

    None stands for unlimited. *until* is when the override ends, None for never.
    """

    match: Matcher
    limits: Mapping[str, int | None]
    until: WallTime | None = None
    reason: str = ""

    def pattern_for(self, limit_id: str) -> str | None:
        """Return the entry of *limits* that speaks of *limit_id*: its own, or else a pattern."""
        if limit_id in self.limits:
            return limit_id
        return next((p for p in self.limits if fnmatchcase(limit_id, p)), None)


@dataclass(frozen=True, slots=True)
class Exemption:
    """Mail, or with conditions on the recipient just a recipient, that no limit holds to."""

    match: Matcher
    until: WallTime | None = None
    reason: str = ""


class LikenessBy(Enum):
    """What makes two messages of one scope alike."""

    SIZE = "size"
    ANY = "any"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Likeness:
    """How similar messages are told: *tolerance* is in bytes, or in percent of the first size.

    Where they are told by content, *fallback* tells those whose content is not known, *boilerplate*
    is text that says nothing of a message, and *subjects* are kept of refused ones or not.
    """

    by: LikenessBy = LikenessBy.SIZE
    tolerance: float = 64
    percent: bool = False
    fallback: LikenessBy = LikenessBy.SIZE
    boilerplate: str = ""
    subjects: bool = True

    @property
    def without_content(self) -> LikenessBy:
        """How messages are told whose content is not known."""
        return self.fallback if self.by is LikenessBy.CONTENT else self.by


@dataclass(frozen=True, slots=True)
class Organization:
    """Who the provider is, for the texts."""

    name: str = ""
    aup_url: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Where the counts are kept, how often they are put in order there, and how much they may be.

    *snapshot_every* is in seconds. *max_keys* holds for each limit, *max_memory*, in bytes, for all
    together.
    """

    directory: str = "/var/lib/policyd"
    snapshot_every: int = 60
    max_keys: int = 5_000_000
    max_memory: int = 4_000_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """One rule file, read and found right."""

    mode: Mode
    limits: tuple[Limit, ...]
    local: LocalDomains
    accounts: Accounts
    time_zone: tzinfo
    organization: Organization = Organization()
    likeness: Likeness = Likeness()
    recipient_extension: str = ""
    end_session: EndSession = EndSession.AUTO
    overrides: tuple[Override, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    state: State = State()
    aftermath: Aftermath = field(default_factory=Aftermath)
