"""All figures of one sender: an account, a domain, or a client address."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from policyd.aup.address import fold_domain, split_address
from policyd.aup.engine import Engine
from policyd.aup.holders import is_client, key_of, maximum, values
from policyd.aup.incident import Incident
from policyd.clock import Instant
from policyd.config.names import account_flaw, plain_domain_flaw
from policyd.config.problem import quoted
from policyd.service.admin_answers import grant_told, incident_told, suspension_told
from policyd.service.admin_names import checked, network
from policyd.service.admin_request import Answer, Code, Command, CommandError, Request
from policyd.service.walking import Walks

KINDS: Final = ("account", "domain", "client")

_KNOWN: Final = {
    "account": ("account", "domain"),
    "domain": ("domain",),
    "client": ("client_address",),
}
"""What is known of a sender of each kind."""

_MOST_KEYS: Final = 1000
"""Keys of one limit that are shown; those with the highest usage."""

_MOST_INCIDENTS: Final = 100


class Showing:
    """The command, on *engine*; *walks* find the keys of a sender."""

    def __init__(self, engine: Engine, walks: Walks, now: Callable[[], Instant]) -> None:
        self._engine = engine
        self._walks = walks
        self._now = now

    @property
    def commands(self) -> Mapping[str, Command]:
        """The command by its name."""
        return {"show": Command(self._show, needs=("subject",), takes=("kind",))}

    async def _show(self, request: Request) -> Answer:
        kind, name = sender(request["subject"], request["kind"], self._engine)
        usage = await self._usage(kind, name)
        now, zone = self._now().wall, self._engine.policy.time_zone
        ladder = self._engine.ladder
        incidents = [one for one in ladder.incidents.values() if _is_of(one, kind, name)]
        suspensions = [
            one
            for one in ladder.suspensions.by_id.values()
            if one.holds(now)
            and one.name in ((name, split_address(name)[1]) if kind == "account" else (name,))
        ]
        grants = [one for one in self._engine.grants.by_id.values() if one.name == name]
        fields = {
            "incidents": [incident_told(one, zone) for one in incidents[-_MOST_INCIDENTS:]],
            "suspensions": [suspension_told(one, now, zone) for one in suspensions],
            "exemptions": [grant_told(one, zone) for one in grants],
            "exempt_by_rule": self._rules_for(kind, name),
        }
        if not usage and not any(fields.values()):
            # a mistake in the name would look just like a sender who has done nothing
            raise CommandError(Code.NO_SUCH, f"nothing is known of {kind} {quoted(name)}")
        strikes = ladder.strikes(name, now) if kind == "account" else None
        return Answer({"kind": kind, "name": name, "strikes": strikes, **fields}, "usage", usage)

    async def _usage(self, kind: str, name: str) -> Sequence[Mapping[str, Any]]:
        engine = self._engine
        told: list[Mapping[str, Any]] = []
        for limit in engine.policy.limits:
            is_his = key_of(limit, kind, name, engine.policy)
            if is_his is None:
                continue
            counter = engine.counts.counter(limit)
            found = await self._walks.find(counter, is_his)
            now = self._now().wall
            counter.tidy(now, 0)
            used = [(counter.usage.sum(key), key) for key in found]
            for amount, key in sorted(used, reverse=True)[:_MOST_KEYS]:
                if amount:
                    most = maximum(limit, key, engine.policy, now)
                    row = {"limit": limit.id, "key": list(values(key)), "used": amount}
                    told.append({**row, "max": most, "window": limit.window})
        return told

    def _rules_for(self, kind: str, name: str) -> Sequence[str]:
        """Return the exemptions of the rule file that are of the sender alone, and match him."""
        facts = {"account": name, "domain": split_address(name)[1] or name, "client_address": name}
        now = self._now().wall
        return [
            f"{one.match}{f' ({one.reason})' if one.reason else ''}"
            for one in self._engine.policy.exemptions
            if (one.until is None or now < one.until)
            and not one.match.on_recipient
            and all(c.attribute in _KNOWN[kind] for c in one.match.on_transaction)
            and all(c.test(facts[c.attribute]) for c in one.match.on_transaction)
        ]


def sender(name: str, kind: str, engine: Engine) -> tuple[str, str]:
    """Return the kind and the folded name of what an administrator calls *name*.

    A name without a dot is a login without its domain.
    """
    if kind not in ("", *KINDS):
        raise CommandError(Code.USAGE, f"kind is one of {', '.join(KINDS)}")
    if not kind:
        is_login = not name.startswith("@") and ("@" in name or "." not in name)
        kind = "client" if is_client(name) else "account" if is_login else "domain"
    if kind == "client":
        return kind, network(name)
    if kind == "account":
        checked(name, account_flaw)
        return kind, engine.policy.accounts.normalise(name)
    name = name.removeprefix("@")
    checked(name, plain_domain_flaw)
    return kind, fold_domain(name)


def _is_of(incident: Incident, kind: str, name: str) -> bool:
    if kind == "client":
        return name in incident.clients
    return name == (incident.account if kind == "account" else incident.domain)
