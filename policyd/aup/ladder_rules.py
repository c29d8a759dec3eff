"""What follows a refusal: the rule file's ``ladder``, ``notices`` and ``hooks``, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from policyd.aup.wording import Wording

DAY: Final = 86400

SUSPENDED: Final = Wording(
    "Sending is suspended for {suspended}; {reason}; ask {contact}; incident {incident}"
)
"""What a suspended sender is told where the rule file has no words of its own."""


class Do(Enum):
    """What a step of the ladder does."""

    NOTICE = "notice"
    SUSPEND_MAILBOX = "suspend-mailbox"


@dataclass(frozen=True, slots=True)
class Step:
    """What so many *strikes* lead to; *lasts* seconds, None until an administrator lifts it."""

    strikes: int
    do: Do
    lasts: float | None = None


@dataclass(frozen=True, slots=True)
class Extreme:
    """What suspends a whole domain: one of the two figures, reached *within* so many seconds.

    *recipients* are distinct external ones of one account's refused messages.
    """

    within: float
    recipients: int | None = None
    suspended_mailboxes: int | None = None


@dataclass(frozen=True, slots=True)
class LadderRules:
    """What incidents lead to.

    *strikes_expire* and *quiet* are in seconds. *warn_at* is a part of a limit's max, None for no
    early notice. *suspended_to_local* says that who is suspended may still mail local recipients.
    """

    strikes_expire: float = 30 * DAY
    quiet: float = 3600
    steps: tuple[Step, ...] = ()
    extremes: tuple[Extreme, ...] = ()
    never_suspend: frozenset[str] = frozenset()
    warn_at: float | None = None
    suspended_to_local: bool = False
    suspended_text: Wording = SUSPENDED

    @property
    def notice_from(self) -> int | None:
        """The strike from which on every incident is told to the administrator, if any is."""
        strikes = [step.strikes for step in self.steps if step.do is Do.NOTICE]
        return min(strikes, default=None)


@dataclass(frozen=True, slots=True)
class Template:
    """A notice's words: a first line ``Subject: ...``, an empty line, the text."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class NoticeRules:
    """Who is told, how, and in what words.

    *to* are addresses in which ``{domain}`` is the account's domain; *by_domain* are addresses that
    stand for them, by domain. *smtp* is host and port. *sender* is the From of a notice, and *name*
    the host name in its Message-ID. *templates* are by kind of notice, *domain_templates* by
    domain, and then by kind; what is in neither is built in. With *observed*, those under *bcc*
    are told what observing limits would have refused. More than *most_per_hour* become digests;
    what cannot be sent for *give_up* seconds is given up.
    """

    to: tuple[str, ...] = ()
    by_domain: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bcc: tuple[str, ...] = ()
    smtp: tuple[str, int] = ("127.0.0.1", 10025)
    sender: str = ""
    templates: Mapping[str, Template] = field(default_factory=dict)
    domain_templates: Mapping[str, Mapping[str, Template]] = field(default_factory=dict)
    observed: bool = False
    most_per_hour: int = 100
    give_up: float = 5 * DAY


class HookEvent(Enum):
    """What a hook may be told of."""

    INCIDENT_OPENED = "incident-opened"
    SUSPENDED = "suspended"
    LIFTED = "lifted"


@dataclass(frozen=True, slots=True)
class Hook:
    """Whom to tell *on* what: a *command* to run, or a *url* to post to; *timeout* in seconds."""

    on: frozenset[HookEvent]
    command: tuple[str, ...] = ()
    url: str = ""
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Aftermath:
    """All that follows a refusal; without *notices* nobody is written to."""

    ladder: LadderRules = field(default_factory=LadderRules)
    notices: NoticeRules | None = None
    hooks: tuple[Hook, ...] = ()
