"""From exceeded limits to the one answer: which of them speaks, and in what words."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from policyd.aup.applied import Applied
from policyd.aup.facts import Facts
from policyd.aup.incident import Suspension
from policyd.aup.policy import Action, EndSession, Mode, Policy, Strength
from policyd.aup.wording import Wording, duration
from policyd.clock import WallTime
from policyd.counting.counters import Claim, Figures
from policyd.protocol.reply import ROOM, Verdict, starts_over
from policyd.protocol.request import Request, Stage


class Excess(NamedTuple):
    """One limit that a step would exceed, and by which claim; by *others* it would as well."""

    applied: Applied
    claim: Claim
    figures: Figures
    others: Sequence[tuple[Claim, Figures]] = ()

    @property
    def action(self) -> Action:
        """The action: for good where no waiting would help, as *asked* alone is too much."""
        action = self.applied.limit.action
        if action.strength is Strength.DEFER and self.figures.asked > self.applied.max:
            return action.made_permanent()
        return action

    @property
    def answers(self) -> bool:
        """Whether this refuses mail, as opposed to only being noted."""
        return self.applied.limit.answers

    @property
    def speaks(self) -> bool:
        """Whether Postfix is told: a WARN and a HOLD are, an observing limit is not."""
        return self.applied.limit.mode is Mode.ENFORCE


def by_strength(excesses: Iterable[Excess]) -> Sequence[Excess]:
    """Return *excesses*, that whose answer is given first: the strongest, in the file's order."""
    return sorted(excesses, key=lambda excess: -excess.action.strength)


class Told(NamedTuple):
    """Who is told what about: all that an answer's words may speak of beside what it is about."""

    policy: Policy
    facts: Facts
    request: Request


def exceeded(excess: Excess, told: Told, incident: str, now: WallTime) -> Verdict:
    """Return the answer that *excess* makes; *incident* is the id of the one it belongs to."""
    limit, action = excess.applied.limit, excess.action
    wording = limit.text if action == limit.action else limit.permanent_text
    values = {
        "used": str(excess.figures.total),
        "asked": str(excess.figures.asked),
        "max": str(excess.applied.max),
        "window": duration(limit.window),
        "limit": limit.id,
        "title": limit.title,
        "incident": incident,
    }
    if "retry_after" in wording.placeholders:
        values["retry_after"] = duration(_retry_after(excess, now))
    return _worded(wording, action, values, told)


def suspended(suspension: Suspension, told: Told) -> Verdict:
    """Return the answer to a sender whom *suspension* keeps from sending."""
    until = suspension.until
    values = {
        "suspended": suspension.name,
        "reason": suspension.reason or "by an administrator",
        "since": _moment(suspension.since, told.policy),
        "until": "it is lifted" if until is None else _moment(until, told.policy),
        "incident": suspension.incident,
    }
    wording = told.policy.aftermath.ladder.suspended_text
    return _worded(wording, Action("REJECT", "5.7.1"), values, told)


def _moment(when: WallTime, policy: Policy) -> str:
    """Return *when* as people at the provider say it; without a colon, which log analysers cut."""
    return datetime.fromtimestamp(when, policy.time_zone).strftime("%Y-%m-%d %Hh%M")


def _worded(wording: Wording, action: Action, values: Mapping[str, str], told: Told) -> Verdict:
    policy, facts, request = told
    known = {
        "account": facts.account,
        "domain": facts.domain,
        "sender": request["sender"] or "<>",
        "recipient": request["recipient"],
        "client_address": facts.client_address,
        "aup_url": policy.organization.aup_url,
        "contact": policy.organization.contact,
        "organization": policy.organization.name,
        **values,
    }
    room = ROOM[Stage.RCPT if request.stage is Stage.RCPT else Stage.END_OF_MESSAGE]
    return Verdict(_verb(action, policy, request), action.status, wording.expand(known, room))


def _verb(action: Action, policy: Policy, request: Request) -> str:
    """Return the verb or code; one that ends the session where Postfix could not go on."""
    if request.stage is not Stage.END_OF_MESSAGE or not action.refuses:
        return action.verb
    if policy.end_session is EndSession.NO:
        return action.verb
    if policy.end_session is EndSession.AUTO and starts_over(request["mail_version"]):
        return action.verb
    return "521" if action.strength is Strength.REJECT else "421"


def _retry_after(excess: Excess, now: WallTime) -> float:
    """Return in how many seconds there is room again, if nothing is sent meanwhile."""
    applied = excess.applied
    return max(
        (when if when is not None else now + applied.limit.window) - now
        for claim, figures in ((excess.claim, excess.figures), *excess.others)
        for when in (applied.counter.falls_by(claim, figures.total - applied.max, now),)
    )
