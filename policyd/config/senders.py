"""Overrides and exemptions: senders that are held to other limits, or to none."""

import difflib
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase

from policyd.aup.match import RECIPIENT_ATTRIBUTES, Matcher
from policyd.aup.policy import Count, Exemption, Limit, Override
from policyd.clock import WallTime
from policyd.config import grammar
from policyd.config.conditions import conditions, listed
from policyd.config.kinds import Placed
from policyd.config.limits import Setting
from policyd.config.lists import NamedFiles
from policyd.config.problem import Problems, quoted
from policyd.config.quantities import Amount
from policyd.config.tables import Record


class Senders:
    """Builds what is said about some senders, for the *limits* of the file.

    *limits* is None when not all of them could be read.
    """

    def __init__(
        self,
        setting: Setting,
        limits: Sequence[Limit] | None,
        files: NamedFiles,
        problems: Problems,
    ) -> None:
        self._setting = setting
        self._limits = limits
        self._files = files
        self._problems = problems

    def override(self, record: Record) -> Override:
        """Return the override of *record*."""
        match = record[grammar.MATCH]
        for key in grammar.CONDITIONS:
            if key.name in RECIPIENT_ATTRIBUTES and key in match:
                message = "an override is about a sender, not about a recipient"
                hint = f"put match: {{{key.name}: ...}} into the limit"
                self._problems.error(match.place(key), message, hint)
        found = [
            *conditions(match, self._setting.accounts, self._problems),
            *listed(record, self._setting.accounts, self._files),
        ]
        if not found and not record.flawed:
            message = "the override names no sender and would hold for everybody"
            hint = "add match: {account: ...}, or change the limit's max"
            self._problems.error(record.place(), message, hint)
        return Override(
            Matcher.of(found),
            self._maximums(record),
            self._until(record),
            record.get(grammar.REASON) or "",
        )

    def exemption(self, record: Record) -> Exemption:
        """Return the exemption of *record*."""
        found = [
            *conditions(record, self._setting.accounts, self._problems),
            *listed(record, self._setting.accounts, self._files),
        ]
        if not found and not record.flawed:
            message = "the exemption names nobody and would hold for everybody"
            hint = "add account, client or recipient; to refuse nothing, use mode: observe"
            self._problems.error(record.place(), message, hint)
        return Exemption(Matcher.of(found), self._until(record), record.get(grammar.REASON) or "")

    def _maximums(self, record: Record) -> Mapping[str, int | None]:
        if grammar.NEW_LIMITS in record and not record[grammar.NEW_LIMITS]:
            message = "the override changes no limit"
            self._problems.error(record.place(grammar.NEW_LIMITS), message, "add an id and its max")
        for pattern, amount in record[grammar.NEW_LIMITS]:
            if self._limits is not None and grammar.NEW_LIMITS in record:
                self._check_maximum(pattern, amount, self._limits)
        return {pattern.value: amount.value.value for pattern, amount in record[grammar.NEW_LIMITS]}

    def _check_maximum(
        self, pattern: Placed[str], amount: Placed[Amount], limits: Sequence[Limit]
    ) -> None:
        ids = [limit.id for limit in limits]
        meant = [limit for limit in limits if fnmatchcase(limit.id, pattern.value)]
        if not meant:
            near = difflib.get_close_matches(pattern.value[:100], ids, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the limits are {', '.join(ids)}"
            self._problems.error(pattern.place, f"no limit is called {quoted(pattern.value)}", hint)
        for limit in meant:
            if amount.value.is_size and limit.count is not Count.BYTES:
                message = f"a size, and {limit.id} counts {limit.count.value}"
                self._problems.error(amount.place, message, "write a number")
                return

    def _until(self, record: Record) -> WallTime | None:
        """Return the end of the day that ``until`` names."""
        if (until := record.get(grammar.UNTIL)) is None:
            return None
        midnight = datetime.combine(until.value, time(), self._setting.time_zone)
        end = WallTime((midnight + timedelta(days=1)).timestamp())
        if self._setting.now is not None and end <= self._setting.now:
            message = f"{until.value} is over, and so is this entry"
            self._problems.warning(until.place, message, "delete the entry, or set a new date")
        return end
