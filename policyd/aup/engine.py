"""The engine: it decides requests, and keeps what that is done with: the rules and the counts.

Rules change, counts come from the disk and go there, time passes; deciding itself is deciding.py,
and deciding_content.py where content is shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from policyd.aup.counts import Counts
from policyd.aup.deciding_content import DecidingContent
from policyd.aup.decision import Asked, Decision, Decisions
from policyd.aup.facts import Facts
from policyd.aup.grants import Grants, exemption
from policyd.aup.incident import EXEMPTIONS, Entry, Grant, Row
from policyd.aup.ladder import Ladder
from policyd.aup.policy import Policy, Refuse
from policyd.aup.series import Kept
from policyd.aup.tally import Tally
from policyd.aup.transaction import Connection, Transaction, TransactionState
from policyd.clock import Instant
from policyd.content.fingerprint import Fingerprint
from policyd.counting.distinct import Hasher
from policyd.protocol.request import Request

_VERDICTS: Final = "verdicts"
"""The name of their series."""


class Engine(DecidingContent):
    """The policy at work: it decides requests and holds the counts."""

    def __init__(self, policy: Policy, hasher: Hasher) -> None:
        super().__init__(policy, hasher, Counts(policy), Decisions(policy, hasher))
        self.grants = Grants()
        self.tally = Tally()
        self._rules = policy  # as written; those obeyed are with what was granted beside them

    @property
    def policy(self) -> Policy:
        """The rules that are obeyed."""
        return self._rules

    @property
    def ladder(self) -> Ladder:
        """Incidents and suspensions."""
        return self.decisions.ladder

    @property
    def trace(self) -> bool:
        """Whether each decision tells its arithmetic."""
        return self.decisions.trace

    @trace.setter
    def trace(self, trace: bool) -> None:
        self.decisions.trace = trace

    def decide(self, request: Request, connection: Connection, now: Instant) -> Decision:
        """Return the answer to *request*, which arrived on *connection*."""
        decision = super().decide(request, connection, now)
        if decision.events:
            self.tally.note(request, decision.events, now.wall)
        return decision

    def disconnect(self, connection: Connection, now: Instant) -> None:
        """Note that *connection* was closed; its transaction may come back on another."""
        self.transactions.leave(connection, now.monotonic)

    def obey(self, policy: Policy, now: Instant) -> list[str]:
        """Go on under a changed *policy*; return the ids of the limits that start empty.

        Open transactions keep their recipients and are held to the new rules.
        """
        for transaction in self.transactions:
            transaction.release()
        emptied = self.counts.obey(policy, now.wall)
        self._rules = policy
        self._with_grants()
        # the others are looked at again when they are asked about
        if any(limit.refuse is Refuse.RECIPIENT for limit in policy.limits):
            for transaction in self.transactions:
                self._renew(transaction, now.wall)
        return emptied

    def grant(self, grant: Grant) -> None:
        """Exempt whom *grant* names; raise ValueError, with a sentence, if it names nobody."""
        exemption(grant, self._rules.accounts)
        self.grants.add(grant)
        self._with_grants()

    def revoke(self, name: str) -> Grant | None:
        """Take back the grant with the id *name*; return it, None if there is none."""
        grant = self.grants.remove(name)
        self._with_grants()
        return grant

    def take_entries(self) -> list[Entry]:
        """Return the rows of ledgers that changed since the last call."""
        return self.ladder.take_entries() + self.grants.take_entries()

    def whole_entries(self) -> list[Entry]:
        """Return all rows of ledgers."""
        return self.ladder.whole_entries() + self.grants.whole_entries()

    def take(self, now: Instant) -> Kept:
        """Return what is to be kept of all that happened since the last call."""
        parts = (self.counts, self.ladder, self.tally)
        kept = {name: series for part in parts for name, series in part.take(now.wall).items()}
        return {**kept, _VERDICTS: self.verdicts.take(now.wall)}

    def whole(self, now: Instant) -> Kept:
        """Return all that is to be kept; from here on *take* gives the changes."""
        self.take(now)
        parts = (self.counts, self.ladder, self.tally)
        kept = {name: series for part in parts for name, series in part.whole(now.wall).items()}
        return {**kept, _VERDICTS: self.verdicts.whole(now)}

    def open_transactions(self, now: Instant) -> list[TransactionState]:
        """Return what is to be kept over a restart beside what is counted."""
        return [transaction.dump(now.monotonic) for transaction in self.transactions]

    def restore(
        self,
        kept: Kept,
        transactions: Iterable[TransactionState],
        rows: Mapping[str, Sequence[Row]],
        now: Instant,
    ) -> list[str]:
        """Go on where another engine ended; return the ids of the limits that start empty.

        Raise ValueError if this is nothing that an engine gave.
        """
        emptied = self.counts.restore(kept, now.wall)
        self.ladder.restore(kept, rows, now.wall)
        self.tally.restore(kept, now.wall)
        self.grants.restore(rows.get(EXEMPTIONS, ()))
        self._with_grants()
        if verdicts := kept.get(_VERDICTS):
            self.verdicts.restore(verdicts.buckets, now)
        for state in transactions:
            facts = Facts(Request(state.attributes), self.obeyed.accounts)
            transaction = Transaction.restored(state, facts, now.monotonic)
            self.transactions.restore(transaction, now.monotonic)
            self._renew(transaction, now.wall, state.recipients)
        return emptied

    def tidy(self, now: Instant, at_most: int) -> int:
        """Let time pass and forget what is over; do up to *at_most* steps and return how many."""
        done = self.transactions.tidy(now.monotonic, at_most)
        done += self.verdicts.tidy(now.monotonic, at_most - done)
        done += self.awaiting.tidy(now.monotonic, at_most - done)
        done += self.counts.tidy(now.wall, at_most - done)
        done += self.ladder.pass_time(now.wall, at_most - done)
        done += self.tally.tidy(now.wall, max(at_most - done, 0))
        if self.grants.end(now.wall):
            self._with_grants()
        return done + self.counts.evict(at_most)

    def _at_content(self, asked: Asked, fingerprint: Fingerprint) -> Decision:
        decision = super()._at_content(asked, fingerprint)
        if decision.events:
            self.tally.note(asked.request, decision.events, asked.now)
        return decision

    def _with_grants(self) -> None:
        """Obey the rules, and what was granted beside them."""
        granted = self.grants.exemptions(self._rules.accounts)
        exemptions = (*self._rules.exemptions, *granted)
        self.obey_now(replace(self._rules, exemptions=exemptions) if granted else self._rules)
        self.decisions.obey(self.obeyed)

    def _check(self) -> None:
        """Assert the invariants of all that is held."""
        self.counts._check()
        self.transactions._check()
        self.verdicts._check()
        self.awaiting._check()
        self.tally._check()
