"""Exemptions that administrators granted by command, beside those of the rule file."""

from collections.abc import Iterable, Mapping
from typing import Any

from policyd.aup import incident as records
from policyd.aup.address import Accounts
from policyd.aup.incident import Entry, Grant
from policyd.aup.match import Matcher, condition
from policyd.aup.policy import Exemption
from policyd.clock import WallTime


class Grants:
    """All that were granted and have not ended, by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, Grant] = {}
        self._changed: dict[str, Grant | None] = {}

    def add(self, grant: Grant) -> None:
        """Take in *grant*, in the place of an earlier one for the same."""
        self.by_id[grant.id] = self._changed[grant.id] = grant

    def remove(self, name: str) -> Grant | None:
        """Take back the grant with the id *name*; return it, None if there is none."""
        grant = self.by_id.pop(name, None)
        if grant is not None:
            self._changed[name] = None
        return grant

    def end(self, now: WallTime) -> bool:
        """Take back those whose time has come; tell whether there were any."""
        over = [one.id for one in self.by_id.values() if one.until is not None and one.until <= now]
        for name in over:
            self.remove(name)
        return bool(over)

    def exemptions(self, accounts: Accounts) -> tuple[Exemption, ...]:
        """Return what is granted, as rules."""
        return tuple(exemption(one, accounts) for one in self.by_id.values())

    def take_entries(self) -> list[Entry]:
        """Return the rows that changed since the last call."""
        changed, self._changed = self._changed, {}
        return [
            Entry(records.EXEMPTIONS, name, None) if one is None else one.entry()
            for name, one in changed.items()
        ]

    def whole_entries(self) -> list[Entry]:
        """Return all rows."""
        self._changed.clear()
        return [one.entry() for one in self.by_id.values()]

    def restore(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Go on from the *rows*; raise ValueError if they are none of ours."""
        for one in map(records.grant, rows):
            self.by_id[one.id] = one


def exemption(grant: Grant, accounts: Accounts) -> Exemption:
    """Return *grant* as a rule; raise ValueError, with a sentence, if it cannot be one."""
    if grant.kind not in ("account", "client", "recipient"):
        raise ValueError(f"an account, a client or a recipient is exempt, and no {grant.kind}")
    if not grant.name or grant.name.startswith("/"):
        raise ValueError("name one account, client network or recipient")
    match = Matcher.of([condition(grant.kind, [grant.name], accounts)])
    return Exemption(match, grant.until, grant.reason)
