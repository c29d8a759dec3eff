"""What the engine tells of incidents and suspensions, with what a test does not care about."""

from typing import Any

from policyd.aup.event import IncidentOpened, Lifted, Suspended
from policyd.aup.incident import Incident, Sample, Suspension, SuspensionKind
from policyd.clock import WallTime

# 2026-05-04 12:00:00 UTC
NOON = 1_777_896_000.0


def incident(**changes: Any) -> Incident:
    return Incident(
        **{
            "id": "7KX3PQ2",
            "account": "alice@local.example",
            "domain": "local.example",
            "limit": "bulk",
            "title": "Bulk mail",
            "opened": WallTime(NOON),
            "last": WallTime(NOON),
            "sample": Sample("alice@local.example", ["r0@away.example"], 3000),
            **changes,
        }
    )


def suspension(**changes: Any) -> Suspension:
    return Suspension(
        **{
            "kind": SuspensionKind.MAILBOX,
            "name": "alice@local.example",
            "since": WallTime(NOON),
            "until": None,
            "by": "ladder",
            "reason": "strike 3",
            **changes,
        }
    )


def opened(**changes: Any) -> IncidentOpened:
    return IncidentOpened(incident(**changes), notice=True)


def suspended(**changes: Any) -> Suspended:
    return Suspended(suspension(**changes), None)


def lifted(**changes: Any) -> Lifted:
    return Lifted(suspension(**changes))
