"""What is known of repeated refusals and of what they led to: plain values, and their rows.

An incident is a run of refusals of one limit for one account (or, for a limit without account, for
one domain). A suspension is a mailbox or a domain that may not send. Both are kept on the disk as
rows of ledgers, and are what notices, hooks and tools tell of.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from policyd.clock import WallTime

INCIDENTS: Final = "incidents"
SUSPENSIONS: Final = "suspensions"
EXEMPTIONS: Final = "exemptions"

LADDER: Final = "ladder"
"""Who suspends when no administrator does."""

MOST_CLIENTS: Final = 20
MOST_SAMPLED: Final = 10
"""Client addresses, and recipients of the sample, that an incident names."""


Row = Mapping[str, str | int | float | bytes | None]

_ALPHABET: Final = "23456789BCDFGHJKMNPQRTVWXYZ"
"""Letters and digits that are not taken for one another, and make no words."""
_ID_LENGTH: Final = 7


def public_id(digest: bytes) -> str:
    """Return what *digest* is called on the phone."""
    number = int.from_bytes(digest, "big")
    name = ""
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        name += _ALPHABET[digit]
    return name


class Entry(NamedTuple):
    """A row of a ledger: the *table*, the *id* that it is known by there, and its other columns.

    Without a *row* it is one that is to be deleted.
    """

    table: str
    id: str
    row: Row | None


@dataclass(slots=True)
class Sample:
    """One of the messages: the first that was refused.

    *size* is in bytes, 0 where it was refused before it was known. *subject* is empty without a
    content source.
    """

    sender: str
    recipients: Sequence[str]
    size: int
    subject: str = ""


@dataclass(slots=True)
class Incident:
    """A run of refusals.

    *account* is empty for the incident of a domain. *strike* says which one it is for the account,
    0 if it is none. *used*, *max* and *window* (seconds) are the arithmetic of the first refusal.
    *attempts* counts refusals, a message that is tried again included; *messages* and *recipients*
    (distinct external ones) count each once. *actions* are what it led to, in words.
    *told* and *told_messages* are the recipients and messages that the administrator was last told
    of. *sampled* tells the message
    of the sample from others, until a restart.
    """

    id: str
    account: str
    domain: str
    limit: str
    title: str
    opened: WallTime
    last: WallTime
    sample: Sample
    observed: bool = False
    strike: int = 0
    used: int = 0
    max: int = 0
    window: int = 0
    attempts: int = 0
    messages: int = 0
    recipients: int = 0
    told: int = 0
    told_messages: int = 0
    clients: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    closed: WallTime | None = None
    extreme: bool = False
    sampled: bytes = b""

    @property
    def who(self) -> str:
        """The account, or the domain of an incident that has none."""
        return self.account or self.domain

    def entry(self) -> Entry:
        """Return the row of a ledger that *incident* reads again."""
        data = {name: getattr(self, name) for name in _IN_DATA}
        sample = self.sample
        data["sample"] = [sample.sender, list(sample.recipients), sample.size, sample.subject]
        row: Row = {
            "account": _bytes(self.account),
            "domain": _bytes(self.domain),
            "limit_id": self.limit,
            "opened": self.opened,
            "last": self.last,
            "closed": self.closed,
            "observed": int(self.observed),
            "data": json.dumps(data),
        }
        return Entry(INCIDENTS, self.id, row)


_IN_DATA: Final = (
    *("title", "strike", "used", "max", "window", "attempts", "messages", "recipients", "told"),
    *("told_messages", "clients", "actions", "extreme"),
)


def incident(row: Mapping[str, Any]) -> Incident:
    """Return the incident of *row*; raise ValueError if that is none."""
    try:
        data = json.loads(row["data"])
        sender, recipients, size, subject = data["sample"]
        return Incident(
            id=row["id"],
            account=_text(row["account"]),
            domain=_text(row["domain"]),
            limit=str(row["limit_id"]),
            opened=WallTime(row["opened"]),
            last=WallTime(row["last"]),
            closed=None if row["closed"] is None else WallTime(row["closed"]),
            observed=bool(row["observed"]),
            sample=Sample(sender, recipients, size, subject),
            **{name: data[name] for name in _IN_DATA},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no incident: {error!r}") from error


class SuspensionKind(Enum):
    """What is suspended."""

    MAILBOX = "mailbox"
    DOMAIN = "domain"


@dataclass(slots=True)
class Suspension:
    """A mailbox or a domain that may not send, *since* then and *until* then, None for no end.

    *by* is an administrator's name, or LADDER. *incident* is the id of the one that led to it, or
    empty. *lifted* is when an administrator ended it, *lifted_by* who did and *lifted_why* why.
    It is not *in_force* before it is on the disk.
    """

    kind: SuspensionKind
    name: str
    since: WallTime
    until: WallTime | None
    by: str
    reason: str
    incident: str = ""
    lifted: WallTime | None = None
    lifted_by: str = ""
    lifted_why: str = ""
    in_force: bool = False

    @property
    def id(self) -> str:
        """What it is known by."""
        return f"{self.kind.value} {self.name} {self.since:.6f}"

    def holds(self, now: WallTime) -> bool:
        """Tell whether it has neither been lifted nor ended."""
        return self.lifted is None and (self.until is None or now < self.until)

    def entry(self) -> Entry:
        """Return the row of a ledger that *suspension* reads again."""
        row: Row = {
            "kind": self.kind.value,
            "name": _bytes(self.name),
            "since": self.since,
            "until": self.until,
            "by": self.by,
            "reason": self.reason,
            "incident": self.incident,
            "lifted": self.lifted,
            "lifted_by": self.lifted_by,
            "lifted_why": self.lifted_why,
        }
        return Entry(SUSPENSIONS, self.id, row)


def suspension(row: Mapping[str, Any]) -> Suspension:
    """Return the suspension of *row*; raise ValueError if that is none."""
    try:
        return Suspension(
            kind=SuspensionKind(row["kind"]),
            name=_text(row["name"]),
            since=WallTime(row["since"]),
            until=None if row["until"] is None else WallTime(row["until"]),
            by=row["by"],
            reason=row["reason"],
            incident=row["incident"],
            lifted=None if row["lifted"] is None else WallTime(row["lifted"]),
            lifted_by=row["lifted_by"],
            lifted_why=row["lifted_why"],
            in_force=True,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no suspension: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Grant:
    """An exemption that an administrator granted by command.

    *kind* is account, client or recipient; *name* which one.
    """

    kind: str
    name: str
    since: WallTime
    until: WallTime | None
    by: str
    reason: str

    @property
    def id(self) -> str:
        """What it is known by: there is one at most of each."""
        return f"{self.kind} {self.name}"

    def entry(self) -> Entry:
        """Return the row of a ledger that *grant* reads again."""
        row: Row = {
            "kind": self.kind,
            "name": _bytes(self.name),
            "since": self.since,
            "until": self.until,
            "by": self.by,
            "reason": self.reason,
        }
        return Entry(EXEMPTIONS, self.id, row)


def grant(row: Mapping[str, Any]) -> Grant:
    """Return the exemption of *row*; raise ValueError if that is none."""
    try:
        until = None if row["until"] is None else WallTime(row["until"])
        since = WallTime(row["since"])
        name = _text(row["name"])
        return Grant(row["kind"], name, since, until, row["by"], row["reason"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no exemption: {error!r}") from error


def _bytes(text: str) -> bytes:
    """Return *text* as it is kept: what was no UTF-8 in a request comes back as it was."""
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
