"""What a notice can name: facts of an incident and of the rules, each as one line of text."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from policyd.aup.event import NearLimit
from policyd.aup.incident import Incident, Suspension, SuspensionKind
from policyd.aup.ladder_rules import Do, Extreme, LadderRules
from policyd.aup.notice_template import one_line
from policyd.aup.policy import Count, Limit, Organization, Policy, Recipients
from policyd.aup.wording import duration
from policyd.clock import WallTime

Facts = dict[str, str]

_LONGEST_NAME: Final = 254
_LONGEST: Final = 120
_LONGEST_URL: Final = 300
_MOST_SHOWN: Final = 3
"""Recipients of the sample, and client addresses."""

_NOUNS: Final = {
    Count.MESSAGES: "messages",
    Count.RECIPIENTS: "recipients",
    Count.DISTINCT_RECIPIENTS: "different recipients",
    Count.BYTES: "bytes",
    Count.DISTINCT_CLIENTS: "different client addresses",
    Count.FIRST_TIME_RECIPIENTS: "new recipients",
}
_OF_MAIL: Final = (Count.MESSAGES, Count.BYTES)
_WHERE: Final = {
    Recipients.EXTERNAL: " outside our network",
    Recipients.LOCAL: " inside our network",
    Recipients.ALL: "",
}


def facts_of_incident(
    incident: Incident, policy: Policy, now: WallTime, suspensions: Iterable[Suspension] = ()
) -> Facts:
    """Return what a notice about *incident* can name."""
    ladder = policy.aftermath.ladder
    limit = next((one for one in policy.limits if one.id == incident.limit), None)
    sample = incident.sample
    holding = [one for one in suspensions if one.in_force and one.holds(now)]
    climbs = bool(incident.account) and not incident.observed
    spared = not incident.domain or incident.domain in ladder.never_suspend
    return (
        _of_all(incident.account, incident.domain, policy)
        | _of_limit(limit, incident.title, incident.max, incident.window)
        | {
            "limit": one_line(incident.limit, _LONGEST),
            "used": str(incident.used),
            "incident": one_line(incident.id, _LONGEST),
            "strike": str(incident.strike or ""),
            "strikes_expire": duration(ladder.strikes_expire),
            "messages": str(incident.messages),
            "recipients": str(incident.recipients),
            "attempts": str(incident.attempts),
            "first": moment(incident.opened, policy),
            "last": moment(incident.last, policy),
            "sample_subject": one_line(sample.subject, _LONGEST),
            "sample_sender": one_line(sample.sender or "<>", _LONGEST),
            "sample_recipients": _some(sample.recipients, incident.recipients),
            "sample_size": _size(sample.size),
            "clients": _some(incident.clients, len(incident.clients)),
            "done": _done(incident, holding, policy),
            "mailbox_until": _until(holding, policy),
            "mailbox_held": _held(holding, SuspensionKind.MAILBOX),
            "domain_held": _held(holding, SuspensionKind.DOMAIN),
            "steps": _steps(ladder) if climbs else "",
            "extremes": _extremes(ladder) if climbs and not spared else "",
        }
    )


def facts_of_warning(warning: NearLimit, policy: Policy) -> Facts:
    """Return what a notice about an account that is near a limit can name."""
    limit = warning.limit
    return (
        _of_all(warning.account, warning.domain, policy)
        | _of_limit(limit, limit.title, warning.most, limit.window)
        | {
            "limit": one_line(limit.id, _LONGEST),
            "used": str(warning.used),
            "percent": str(100 * warning.used // max(warning.most, 1)),
            "time": moment(warning.when, policy),
        }
    )


def facts_of(organization: Organization) -> Facts:
    """Return what all notices can name."""
    return {
        "organization": one_line(organization.name, _LONGEST),
        "aup_url": one_line(organization.aup_url, _LONGEST_URL),
        "contact": one_line(organization.contact, _LONGEST_URL),
    }


def moment(when: WallTime, policy: Policy) -> str:
    """Return *when* as date and time in the time zone of the rules."""
    return datetime.fromtimestamp(when, policy.time_zone).strftime("%Y-%m-%d %H:%M:%S %Z").strip()


def zone(policy: Policy) -> str:
    """Return the name of the time zone of the rules."""
    return str(policy.time_zone)


def _of_all(account: str, domain: str, policy: Policy) -> Facts:
    return facts_of(policy.organization) | {
        "who": one_line(account or domain, _LONGEST_NAME),
        "account": one_line(account, _LONGEST_NAME),
        "domain": one_line(domain, _LONGEST_NAME),
        "domain_alone": "" if account else one_line(domain, _LONGEST_NAME),
        "zone": zone(policy),
    }


def _of_limit(limit: Limit | None, title: str, most: int, window: int) -> Facts:
    return {
        "title": one_line(title, _LONGEST),
        "max": str(most),
        "window": duration(window),
        "window_hours": f"{window / 3600:.4g}",
        "rule": _rule(limit, most, window),
    }


def _rule(limit: Limit | None, most: int, window: int) -> str:
    """Return what a limit permits, in words; less of it if the rules no longer have the limit."""
    if limit is None:
        return f"at most {most} in {duration(window)}"
    noun = _NOUNS[limit.count]
    what = [noun.removesuffix("s") if most == 1 else noun]
    if limit.count is not Count.DISTINCT_CLIENTS and limit.recipients is not Recipients.ALL:
        what.append(" to recipients" if limit.count in _OF_MAIL else "")
        what.append(_WHERE[limit.recipients])
    if limit.counts_per("recipient"):
        what.append(" to any one recipient")
    elif limit.counts_per("recipient_domain"):
        what.append(" to any one domain")
    if limit.counts_per("likeness"):
        what.append(", for the same or similar content,")
    if limit.counts_per("account"):
        what.append(" from one account")
    elif limit.counts_per("domain"):
        what.append(" from all accounts of a domain together")
    return f"at most {most} {''.join(what)} in {duration(window)}"


def _some(values: Iterable[str], number: int) -> str:
    """Return the first of *values*; three dots say that there are more, *number* in all."""
    shown = [text for value in [*values][:_MOST_SHOWN] if (text := one_line(value, _LONGEST // 2))]
    if shown and number > len(shown):
        shown.append("...")
    return ", ".join(shown)


def _size(size: int) -> str:
    if not size:
        return ""
    for unit, length in (("MB", 1_000_000), ("kB", 1000)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} bytes"


def _done(incident: Incident, holding: Iterable[Suspension], policy: Policy) -> str:
    """Return what has been done about the sender, as sentences."""
    local = ", except to our own users" if policy.aftermath.ladder.suspended_to_local else ""
    told = []
    for one in holding:
        term = "until an administrator lifts this"
        if one.until is not None:
            term = f"until {moment(one.until, policy)}"
        name = one_line(one.name, _LONGEST_NAME)
        if one.kind is SuspensionKind.DOMAIN:
            told.append(f"Nobody of the whole domain {name} can send mail{local}, {term}.")
        else:
            told.append(f"The mailbox {name} is suspended: it cannot send mail{local}, {term}.")
    if not told:
        told.append(
            "Only this mail was blocked; other mail that the limits permit still passes."
            if not incident.observed
            else ""
        )
    return " ".join(told)


def _until(holding: Iterable[Suspension], policy: Policy) -> str:
    ends = [
        one.until for one in holding if one.kind is SuspensionKind.MAILBOX and one.until is not None
    ]
    return moment(max(ends), policy) if ends else ""


def _held(holding: Iterable[Suspension], kind: SuspensionKind) -> str:
    names = (one.name for one in holding if one.kind is kind and one.until is None)
    return one_line(next(names, ""), _LONGEST_NAME)


def _steps(rules: LadderRules) -> str:
    """Return what repeated violations lead to, as one sentence."""
    steps = sorted(
        (one for one in rules.steps if one.do is Do.SUSPEND_MAILBOX), key=lambda one: one.strikes
    )
    if not steps:
        return ""
    clauses = []
    for one in steps:
        term = "until an administrator lifts it"
        if one.lasts is not None:
            term = f"for {duration(one.lasts)}"
        clauses.append(f"the {_ordinal(one.strikes)} {term}")
    return (
        f"Repeated violations suspend the mailbox: within {duration(rules.strikes_expire)}, "
        f"{', '.join(clauses)}."
    )


def _extremes(rules: LadderRules) -> str:
    """Return what extreme abuse leads to, as one sentence."""
    if not rules.extremes:
        return ""
    clauses = " or ".join(_clauses(rules.extremes))
    return f"Extreme abuse ends sending for the whole domain: {clauses}."


def _clauses(extremes: Iterable[Extreme]) -> Iterator[str]:
    for one in extremes:
        if one.recipients is not None:
            yield f"mail to {one.recipients} recipients blocked in {duration(one.within)}"
        if one.suspended_mailboxes is not None:
            yield f"{one.suspended_mailboxes} mailboxes suspended in {duration(one.within)}"


def _ordinal(number: int) -> str:
    teens = 10 <= number % 100 <= 20
    suffix = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
