"""What a hook is told: which event it was, and one JSON object with all that is known of it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from policyd.aup.event import Event, IncidentOpened, Lifted, Suspended
from policyd.aup.incident import Incident, Suspension
from policyd.aup.ladder_rules import HookEvent
from policyd.clock import WallTime


class Told(NamedTuple):
    """What has happened: *on* is what a hook asks for, *about* names the subject.

    *data* is a JSON object in ASCII on one line.
    """

    on: HookEvent
    about: str
    data: bytes


def told(event: Event, now: WallTime) -> Told | None:
    """Return what hooks are told of *event*, None if it is nothing for them."""
    if isinstance(event, IncidentOpened) and not event.incident.observed:
        about = f"incident {event.incident.id}"
        return _told(HookEvent.INCIDENT_OPENED, about, now, event.incident, None)
    if isinstance(event, Suspended):
        about = _about(event.suspension)
        return _told(HookEvent.SUSPENDED, about, now, event.incident, event.suspension)
    if isinstance(event, Lifted):
        return _told(HookEvent.LIFTED, _about(event.suspension), now, None, event.suspension)
    return None


def _about(suspension: Suspension) -> str:
    return f"{suspension.kind.value} {suspension.name}"


def _told(
    on: HookEvent,
    about: str,
    now: WallTime,
    incident: Incident | None,
    suspension: Suspension | None,
) -> Told:
    facts = {
        "event": on.value,
        "time": _moment(now),
        "incident": None if incident is None else _incident(incident),
        "suspension": None if suspension is None else _suspension(suspension),
    }
    return Told(on, about, json.dumps(_readable(facts)).encode("ascii") + b"\n")


def _incident(incident: Incident) -> Mapping[str, Any]:
    sample = incident.sample
    return {
        "id": incident.id,
        "account": incident.account,
        "domain": incident.domain,
        "limit": incident.limit,
        "title": incident.title,
        "opened": _moment(incident.opened),
        "last": _moment(incident.last),
        "strike": incident.strike,
        "messages": incident.messages,
        "recipients": incident.recipients,
        "clients": incident.clients,
        "sample": {
            "sender": sample.sender,
            "recipients": sample.recipients,
            "size": sample.size,
            "subject": sample.subject,
        },
        "used": incident.used,
        "max": incident.max,
        "window": incident.window,
    }


def _suspension(suspension: Suspension) -> Mapping[str, Any]:
    return {
        "kind": suspension.kind.value,
        "name": suspension.name,
        "since": _moment(suspension.since),
        "until": _moment(suspension.until),
        "by": suspension.by,
        "reason": suspension.reason,
        "incident": suspension.incident,
        "lifted": _moment(suspension.lifted),
        "lifted_by": suspension.lifted_by,
        "lifted_why": suspension.lifted_why,
    }


def _moment(when: float | None) -> str | None:
    if when is None:
        return None
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _readable(value: Any) -> Any:
    r"""Return *value* with a byte that was no UTF-8 in an address as text: \udcff for 0xff.

    JSON could have it as an escape, but many a reader refuses the whole object then, and who put
    the byte there would go unnoticed.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {key: _readable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(part) for part in value]
    return value
