"""What happened, as plain values: the engine gives events, the outer ring logs and counts them."""

from dataclasses import dataclass

from policyd.aup.incident import Incident, Suspension
from policyd.aup.policy import Action, Limit
from policyd.clock import WallTime
from policyd.counting.counters import Figures
from policyd.protocol.reply import Verdict
from policyd.protocol.request import Request, Stage


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit was exceeded: the mail was refused, or would have been.

    *refused* tells which; *most* is the maximum that held. *action* is the limit's, made
    permanent where waiting would not help, and *verdict* the answer that comes of it. *incident*
    is the id of the one that this belongs to, empty for none. *recipients* is how many the request
    was about, *subject* that of the message, empty where it is not known.
    """

    refused: bool
    stage: Stage
    limit: Limit
    most: int
    key: str
    figures: Figures
    action: Action
    verdict: Verdict
    account: str
    domain: str
    request: Request
    incident: str = ""
    recipients: int = 1
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """The arithmetic of one request, for a log that shows every one.

    *figures* are, for each limit that was tested, its id, its figures and its maximum.
    """

    verdict: Verdict
    account: str
    request: Request
    figures: tuple[tuple[str, Figures, int], ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Mail of a suspended sender to so many *recipients* was refused."""

    stage: Stage
    suspension: Suspension
    verdict: Verdict
    account: str
    domain: str
    request: Request
    recipients: int = 1


@dataclass(frozen=True, slots=True)
class IncidentOpened:
    """A run of refusals has begun; *notice* tells whether the administrator is to be told."""

    incident: Incident
    notice: bool


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    """A run of refusals is over."""

    incident: Incident


@dataclass(frozen=True, slots=True)
class Suspended:
    """A mailbox or a domain may not send from now on; *incident* led to it, if any did."""

    suspension: Suspension
    incident: Incident | None


@dataclass(frozen=True, slots=True)
class Lifted:
    """A suspension is over: its time has come, or an administrator lifted it."""

    suspension: Suspension


@dataclass(frozen=True, slots=True)
class ExtremeSpared:
    """The *incident* would have suspended its domain, but that is never suspended."""

    incident: Incident


@dataclass(frozen=True, slots=True)
class NearLimit:
    """An account has come near a limit, for the first time in its window."""

    limit: Limit
    most: int
    used: int
    account: str
    domain: str
    when: WallTime


Event = (
    Exceeded
    | Decided
    | Blocked
    | IncidentOpened
    | IncidentClosed
    | Suspended
    | Lifted
    | ExtremeSpared
    | NearLimit
)
