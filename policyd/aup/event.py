"""What happened, as plain values: the engine gives events, the outer ring logs and counts them."""

from dataclasses import dataclass

from policyd.aup.policy import Action, Limit
from policyd.counting.counters import Figures
from policyd.protocol.reply import Verdict
from policyd.protocol.request import Request, Stage


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit was exceeded: the mail was refused, or would have been.

    *refused* tells which; *most* is the maximum that held. *action* is the limit's, made
    permanent where waiting would not help, and *verdict* the answer that comes of it.
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


@dataclass(frozen=True, slots=True)
class Decided:
    """The arithmetic of one request, for a log that shows every one.

    *figures* are, for each limit that was tested, its id, its figures and its maximum.
    """

    verdict: Verdict
    account: str
    request: Request
    figures: tuple[tuple[str, Figures, int], ...]


Event = Exceeded | Decided
