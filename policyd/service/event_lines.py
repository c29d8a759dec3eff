"""The log's words for what the engine tells: for each kind of event its line."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from policyd.aup import event as events
from policyd.aup.incident import Incident, Suspension
from policyd.protocol.reply import Verdict
from policyd.protocol.request import Request
from policyd.service.log_writer import Priority

Fields = Mapping[str, str | int | float]

_LONGEST_SUBJECT: Final = 100
"""Characters of a message's subject; each may take twelve in the log."""


class Said(NamedTuple):
    """A line: its *priority*, the *name* of the event, and the *fields* after it."""

    priority: Priority
    name: str
    fields: Fields


def said(event: events.Event) -> Said:
    """Return what is said of *event*."""
    return _SAYING[type(event)](event)


def window(seconds: int) -> str:
    """Return *seconds* as the rule file has them: 90s, 10m, 24h, 7d."""
    for unit, length, least in (("d", 86400, 172800), ("h", 3600, 3600), ("m", 60, 60)):
        if seconds >= least and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _exceeded(event: events.Exceeded) -> Said:
    limit, figures = event.limit, event.figures
    incident = {"incident": event.incident} if event.incident else {}
    fields = {
        "limit": limit.id,
        "stage": event.stage.value,
        "action": event.action.verb,
        "reply": event.verdict.verb,
        "mode": limit.mode.value,
        **incident,
        "account": event.account,
        "domain": event.domain,
        **_request(event.request),
        **_subject(event.subject),
        "used": figures.total,
        "reserved": figures.reserved,
        "asked": figures.asked,
        "max": event.most,
        "window": window(limit.window),
        "key": event.key.replace("\n", " ").strip(),
        "text": event.verdict.text,
    }
    if event.refused:
        return Said(Priority.NOTICE, "refused", fields)
    return Said(Priority.INFO, "would-refuse", fields)


def _blocked(event: events.Blocked) -> Said:
    suspension = event.suspension
    fields = {
        "suspended": f"{suspension.kind.value} {suspension.name}",
        "reason": suspension.reason,
        "stage": event.stage.value,
        "reply": event.verdict.verb,
        "incident": suspension.incident,
        "account": event.account,
        "domain": event.domain,
        **_request(event.request),
        "text": event.verdict.text,
    }
    return Said(Priority.NOTICE, "refused", fields)


def _decided(event: events.Decided) -> Said:
    request = event.request
    fields = {
        "stage": request["protocol_state"],
        "verdict": _words(event.verdict),
        "account": event.account,
        "client_address": request["client_address"],
        "sender": request["sender"],
        "recipient": request["recipient"],
        "recipient_count": request["recipient_count"],
        "queue_id": request["queue_id"],
        "instance": request["instance"],
        "size": request["size"],
        "policy_context": request["policy_context"],
        "limits": " ".join(
            f"{limit}={figures.used}+{figures.reserved}+{figures.asked}/{most}"
            for limit, figures, most in event.figures
        ),
    }
    return Said(Priority.DEBUG, "decided", fields)


def _near(event: events.NearLimit) -> Said:
    fields: Fields = {
        "limit": event.limit.id,
        "account": event.account,
        "domain": event.domain,
        "used": event.used,
        "max": event.most,
        "window": window(event.limit.window),
    }
    return Said(Priority.NOTICE, "near-limit", fields)


def _opened(event: events.IncidentOpened) -> Said:
    incident = event.incident
    fields: Fields = {"strike": incident.strike, "observed": int(incident.observed)}
    return Said(Priority.NOTICE, "incident-opened", {**_incident(incident), **fields})


def _closed(event: events.IncidentClosed) -> Said:
    incident = event.incident
    fields: Fields = {
        "messages": incident.messages,
        "recipients": incident.recipients,
        "attempts": incident.attempts,
        "lasted": f"{incident.last - incident.opened:.0f}s",
    }
    return Said(Priority.INFO, "incident-closed", {**_incident(incident), **fields})


def _spared(event: events.ExtremeSpared) -> Said:
    fields = {"what": event.incident.actions[-1], "suspended": "nobody"}
    return Said(Priority.WARNING, "extreme-spared", {**_incident(event.incident), **fields})


def _suspended(event: events.Suspended) -> Said:
    return Said(Priority.WARNING, "suspended", _suspension(event.suspension))


def _lifted(event: events.Lifted) -> Said:
    lifted = {"lifted_by": event.suspension.lifted_by, "why": event.suspension.lifted_why}
    return Said(Priority.NOTICE, "lifted", {**_suspension(event.suspension), **lifted})


_SAYING: Final[Mapping[type, Callable[[Any], Said]]] = {
    events.Exceeded: _exceeded,
    events.Decided: _decided,
    events.Blocked: _blocked,
    events.IncidentOpened: _opened,
    events.IncidentClosed: _closed,
    events.ExtremeSpared: _spared,
    events.Suspended: _suspended,
    events.Lifted: _lifted,
    events.NearLimit: _near,
}


def _request(request: Request) -> dict[str, str]:
    names = "client_address sender recipient recipient_count size queue_id instance"
    return {name: request[name] for name in names.split()}


def _subject(subject: str) -> dict[str, str]:
    return {"subject": subject[:_LONGEST_SUBJECT]} if subject else {}


def _incident(incident: Incident) -> Fields:
    return {
        "incident": incident.id,
        "limit": incident.limit,
        "account": incident.account,
        "domain": incident.domain,
    }


def _suspension(suspension: Suspension) -> Fields:
    return {
        "kind": suspension.kind.value,
        "name": suspension.name,
        "until": "lifted" if suspension.until is None else _moment(suspension.until),
        "by": suspension.by,
        "reason": suspension.reason,
        "incident": suspension.incident,
    }


def _moment(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _words(verdict: Verdict) -> str:
    return " ".join(word for word in verdict if word)
