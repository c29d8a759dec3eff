"""What administrators can see and do: incidents, suspensions, exemptions.

A change takes effect at once, is put on record, and is answered when both are on the disk.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from policyd.aup.address import fold_address, fold_domain, split_address
from policyd.aup.engine import Engine
from policyd.aup.incident import Grant, Suspension, SuspensionKind
from policyd.aup.policy import Policy
from policyd.clock import Instant, WallTime
from policyd.config.names import account_flaw, address_flaw, plain_domain_flaw
from policyd.config.problem import quoted
from policyd.service.admin_answers import grant_told, incident_told, suspension_told
from policyd.service.admin_names import checked, listing, network, seconds
from policyd.service.admin_request import (
    Answer,
    Code,
    Command,
    CommandError,
    Request,
)
from policyd.service.audit import Audit, Change

EVER: Final = "ever"
"""How long an exemption lasts that has no end."""

_NOT_DURABLE: Final = (
    "it is in force, but the disk takes nothing at present: a crash would undo it (see the log)"
)
Subject = tuple[SuspensionKind, str]


class Administration:
    """The commands, on *engine*; *audit* keeps the record, *now* tells the time.

    *is_owed* tells of the id of an incident whether a notice about it is yet to be sent.
    """

    def __init__(
        self,
        engine: Engine,
        audit: Audit,
        now: Callable[[], Instant],
        is_owed: Callable[[str], bool],
    ) -> None:
        self._engine = engine
        self._audit = audit
        self._now = now
        self._is_owed = is_owed

    @property
    def commands(self) -> Mapping[str, Command]:
        """The commands by name."""
        who = ("subject", "reason")
        whom = ("kind", "name")
        return {
            "incidents": Command(
                self._incidents, takes=("account", "domain", "since"), flags=("open",)
            ),
            "incident": Command(self._incident, needs=("id",)),
            "suspend": Command(self._suspend, who, takes=("kind", "for"), flags=("force",)),
            "unsuspend": Command(self._unsuspend, who, takes=("kind",)),
            "suspensions": Command(self._suspensions, flags=("all",)),
            "exempt": Command(self._exempt, (*whom, "for", "reason")),
            "unexempt": Command(self._unexempt, whom, takes=("reason",)),
            "exemptions": Command(self._exemptions),
        }

    @property
    def _policy(self) -> Policy:
        return self._engine.policy

    # incidents

    def _incidents(self, request: Request) -> Answer:
        account, domain = request["account"], fold_domain(request["domain"])
        account = account and self._policy.accounts.normalise(account)
        since = self._now().wall - seconds(request["since"]) if request["since"] else 0.0
        found = [
            one
            for one in self._engine.ladder.incidents.values()
            if (not account or one.account == account)
            and (not domain or one.domain == domain)
            and (one.closed is None or not request.has("open"))
            and one.last >= since
        ]
        zone = self._policy.time_zone
        return listing("incidents", found, lambda one: incident_told(one, zone))

    def _incident(self, request: Request) -> Answer:
        name = re.sub(r"[\W_]", "", request["id"]).upper()
        incident = self._engine.ladder.incidents.get(name)
        if incident is None:
            raise CommandError(Code.NO_SUCH, f"there is no incident {quoted(request['id'])}")
        now, zone = self._now().wall, self._policy.time_zone
        suspensions = [
            suspension_told(one, now, zone)
            for one in self._engine.ladder.suspensions.by_id.values()
            if one.incident == incident.id
        ]
        notice = "owed" if self._is_owed(incident.id) else "told" if incident.told else "none"
        told = {**incident_told(incident, zone), "notice": notice}
        return Answer({"incident": told, "suspensions": suspensions})

    # suspensions

    async def _suspend(self, request: Request) -> Answer:
        kind, name = self._subject(request)
        lasts = seconds(request["for"]) if request["for"] else None
        spared = self._policy.aftermath.ladder.never_suspend
        if kind is SuspensionKind.DOMAIN and name in spared and not request.has("force"):
            message = f"{name} is in never_suspend: all of it would stop; force is needed"
            raise CommandError(Code.NOT_ALLOWED, message)
        by = await self._audit.name(request.asker)
        now = self._now().wall
        notes = [*self._not_ours(kind, name), *self._longer(kind, name, now, lasts)]
        until = None if lasts is None else WallTime(now + lasts)
        one = Suspension(kind, name, now, until, by, request["reason"])
        self._engine.ladder.suspensions.add(one)
        change = Change(by, "suspend", name, request["reason"])
        told = {"suspension": suspension_told(one, now, self._policy.time_zone)}
        return await self._changed(change, told, notes)

    async def _unsuspend(self, request: Request) -> Answer:
        kind, name = self._subject(request)
        by = await self._audit.name(request.asker)
        now = self._now().wall
        lifted = self._engine.ladder.lift(kind, name, now, by=by, why=request["reason"])
        notes = []
        if kind is SuspensionKind.MAILBOX:
            domain = split_address(name)[1]
            if self._holding(SuspensionKind.DOMAIN, domain, now):
                notes.append(f"the whole domain {domain} is suspended")
        if not lifted:
            raise CommandError(Code.NO_SUCH, "; ".join((f"{name} is not suspended", *notes)))
        zone = self._policy.time_zone
        told = {"lifted": [suspension_told(one, now, zone) for one in lifted]}
        return await self._changed(Change(by, "unsuspend", name, request["reason"]), told, notes)

    def _suspensions(self, request: Request) -> Answer:
        now, zone = self._now().wall, self._policy.time_zone
        suspensions = self._engine.ladder.suspensions.by_id.values()
        found = [one for one in suspensions if request.has("all") or one.holds(now)]
        return listing("suspensions", found, lambda one: suspension_told(one, now, zone))

    def _subject(self, request: Request) -> Subject:
        """Return what is to be suspended, or no more: an account, or else a domain.

        A name without a dot is a login without its domain.
        """
        name, kind = request["subject"], request["kind"]
        if kind not in ("", "account", "domain"):
            raise CommandError(Code.USAGE, "kind is account or domain")
        is_login = not name.startswith("@") and ("@" in name or "." not in name)
        if kind == "account" or (not kind and is_login):
            return SuspensionKind.MAILBOX, self._account(name)
        name = name.removeprefix("@")
        checked(name, plain_domain_flaw)
        return SuspensionKind.DOMAIN, fold_domain(name)

    def _holding(self, kind: SuspensionKind, name: str, now: WallTime) -> Sequence[Suspension]:
        """Return what keeps *name* from sending."""
        return [
            one
            for one in self._engine.ladder.suspensions.by_id.values()
            if (one.kind, one.name) == (kind, name) and one.holds(now)
        ]

    def _longer(
        self, kind: SuspensionKind, name: str, now: WallTime, lasts: float | None
    ) -> Iterable[str]:
        """Yield what is to be said of a suspension that holds longer than a new one would."""
        ends = [one.until for one in self._holding(kind, name, now)]
        if lasts is not None and any(end is None or end > now + lasts for end in ends):
            yield "it is suspended for longer already, and stays so; unsuspend it first"

    def _not_ours(self, kind: SuspensionKind, name: str) -> Iterable[str]:
        """Yield what is to be said of a name that nobody of the provider's has, perhaps a typo."""
        domain = name if kind is SuspensionKind.DOMAIN else split_address(name)[1]
        if domain and domain not in self._policy.local:
            yield f"{domain} is none of the local domains"

    # exemptions

    async def _exempt(self, request: Request) -> Answer:
        kind, name = self._exempt_name(request)
        lasts = None if request["for"] == EVER else seconds(request["for"])
        by = await self._audit.name(request.asker)
        now = self._now().wall
        until = None if lasts is None else WallTime(now + lasts)
        one = Grant(kind, name, now, until, by, request["reason"])
        notes = []
        if one.id in self._engine.grants.by_id:
            notes.append("it takes the place of an earlier one")
        try:
            self._engine.grant(one)
        except ValueError as error:
            raise CommandError(Code.USAGE, str(error)) from None
        change = Change(by, "exempt", one.id, request["reason"])
        told = {"exemption": grant_told(one, self._policy.time_zone)}
        return await self._changed(change, told, notes)

    async def _unexempt(self, request: Request) -> Answer:
        kind, name = self._exempt_name(request)
        by = await self._audit.name(request.asker)
        one = self._engine.revoke(f"{kind} {name}")
        if one is None:
            message = f"no exemption of {kind} {name} was granted by command"
            raise CommandError(Code.NO_SUCH, f"{message}; those of the rule file are ended there")
        told = {"exemption": grant_told(one, self._policy.time_zone)}
        return await self._changed(Change(by, "unexempt", one.id, request["reason"]), told, ())

    def _exemptions(self, _: Request) -> Answer:
        now, zone = self._now().wall, self._policy.time_zone
        found = sorted(
            (
                one
                for one in self._engine.grants.by_id.values()
                if one.until is None or now < one.until
            ),
            key=lambda one: one.since,
        )
        return listing("exemptions", found, lambda one: grant_told(one, zone))

    def _exempt_name(self, request: Request) -> tuple[str, str]:
        """Return the kind and the name of an exemption."""
        kind, name = request["kind"], request["name"]
        if kind == "account":
            return kind, self._account(name)
        if kind == "recipient":
            checked(name, address_flaw)
            return kind, fold_address(name)
        if kind != "client":
            raise CommandError(Code.USAGE, "kind is account, client or recipient")
        return kind, network(name)

    # all

    def _account(self, name: str) -> str:
        checked(name, account_flaw)
        return self._policy.accounts.normalise(name)

    async def _changed(
        self, change: Change, told: Mapping[str, Any], notes: Sequence[str]
    ) -> Answer:
        """Return the answer to a *change*, once it is durable."""
        durable = await self._audit.record(change)
        notes = notes if durable else (*notes, _NOT_DURABLE)
        return Answer({**told, "durable": durable, "notes": notes})
