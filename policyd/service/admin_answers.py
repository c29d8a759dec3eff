"""What the daemon tells administrators, as plain values for JSON.

Every time is there twice: as people write it, in the time zone of the rules, and in seconds since
the epoch under the same name with ``_epoch``.
"""

from datetime import datetime, tzinfo
from typing import Any

from policyd.aup.incident import Grant, Incident, Suspension
from policyd.clock import WallTime

Told = dict[str, Any]


def incident_told(incident: Incident, zone: tzinfo) -> Told:
    """Return what there is to tell of *incident*."""
    sample = incident.sample
    return {
        "id": incident.id,
        "account": incident.account,
        "domain": incident.domain,
        "limit": incident.limit,
        "title": incident.title,
        "observed": incident.observed,
        "open": incident.closed is None,
        **moment_told("opened", incident.opened, zone),
        **moment_told("last", incident.last, zone),
        **moment_told("closed", incident.closed, zone),
        "strike": incident.strike,
        "used": incident.used,
        "max": incident.max,
        "window": incident.window,
        "attempts": incident.attempts,
        "messages": incident.messages,
        "recipients": incident.recipients,
        "clients": list(incident.clients),
        "sample": {
            "sender": sample.sender,
            "recipients": list(sample.recipients),
            "size": sample.size,
            "subject": sample.subject,
        },
        "actions": list(incident.actions),
        "told": incident.told,
    }


def suspension_told(suspension: Suspension, now: WallTime, zone: tzinfo) -> Told:
    """Return what there is to tell of *suspension*; *holds* says whether it is over."""
    return {
        "kind": suspension.kind.value,
        "name": suspension.name,
        "holds": suspension.holds(now),
        **moment_told("since", suspension.since, zone),
        **moment_told("until", suspension.until, zone),
        "by": suspension.by,
        "reason": suspension.reason,
        "incident": suspension.incident,
        **moment_told("lifted", suspension.lifted, zone),
        "lifted_by": suspension.lifted_by,
        "lifted_why": suspension.lifted_why,
    }


def grant_told(grant: Grant, zone: tzinfo) -> Told:
    """Return what there is to tell of the exemption that was granted."""
    return {
        "kind": grant.kind,
        "name": grant.name,
        **moment_told("since", grant.since, zone),
        **moment_told("until", grant.until, zone),
        "by": grant.by,
        "reason": grant.reason,
    }


def moment_told(name: str, when: WallTime | None, zone: tzinfo) -> Told:
    """Return the time *when* under *name*, in both forms."""
    if when is None:
        return {name: None, f"{name}_epoch": None}
    iso = datetime.fromtimestamp(when, zone).isoformat(timespec="seconds")
    return {name: iso, f"{name}_epoch": when}
