"""Deciding about a message whose content was shown: the very limits and counts, one step later.

Of what was asked at the end of the message everything is known but what it is like. Now every limit
is tested, and the message is counted under all of them, or refused and counted under none.

A message that nobody was asked about, as the policy service is not wired, is decided by what the
milter tells of it alone.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from policyd.aup.answer import by_strength
from policyd.aup.applied import Message, Recipient
from policyd.aup.deciding import Deciding
from policyd.aup.decision import Asked, Decision
from policyd.aup.facts import Facts
from policyd.aup.policy import LikenessBy
from policyd.aup.transaction import Transaction
from policyd.clock import Instant, WallTime
from policyd.content.fingerprint import Fingerprint
from policyd.protocol.reply import PASS
from policyd.protocol.request import Request, Stage


class Shown(NamedTuple):
    """A message as it was shown, which has a *queue_id*.

    *attributes* are what a policy request would say of it, *recipients* to whom it goes.
    """

    queue_id: str
    attributes: Mapping[str, str]
    recipients: Sequence[str]
    fingerprint: Fingerprint


class DecidingContent(Deciding):
    """What also decides messages whose content is shown."""

    def show(self, shown: Shown, now: Instant) -> Decision:
        """Return the answer to a message that was *shown*."""
        waiting = self.awaiting.take(shown.queue_id)
        if waiting is None and self.awaiting.is_decided(shown.queue_id, now.monotonic):
            return Decision(PASS)
        self.awaiting.decided(shown.queue_id, now.monotonic)
        subject = shown.fingerprint.subject if self.obeyed.likeness.subjects else ""
        asked = self._alone(shown, now) if waiting is None else self._again(waiting, now.wall)
        asked.subject = subject
        return self._at_content(asked, shown.fingerprint)

    def _at_content(self, asked: Asked, fingerprint: Fingerprint) -> Decision:
        if (decision := self.decisions.blocked(asked)) is not None:
            return decision
        transaction, recipients = asked.transaction, asked.recipients
        if transaction.exempt:
            return self.decisions.passed(asked)
        message = Message(recipients, transaction.size(asked.request))
        if fingerprint.hashes and self.obeyed.likeness.by is LikenessBy.CONTENT:
            message.fingerprint = fingerprint
        # an answer to an invitation is like all others, whoever invites
        is_spared = fingerprint.is_calendar_reply and len(recipients) == 1
        tested = self._test_all(transaction, message, asked.now, without_likeness=is_spared)
        if refusing := by_strength(one for one in tested.excesses if one.answers):
            return self.decisions.refusal(asked, refusing, tested)
        self._commit(message, tested)
        return self.decisions.passed(asked, tested)

    def _again(self, waiting: Asked, now: WallTime) -> Asked:
        """Return what was asked about a message, *now*, and under the present rules."""
        transaction, recipients = waiting.transaction, waiting.recipients
        if transaction.policy is not self.obeyed:
            self._apply(transaction, Facts(transaction.facts.request, self.obeyed.accounts), now)
            recipients = [self._looked_at_again(transaction, one) for one in recipients]
        return Asked(_request(waiting.request.attributes), transaction, recipients, now)

    def _looked_at_again(self, transaction: Transaction, recipient: Recipient) -> Recipient:
        # a stand-in is no address
        if " " in recipient.address:
            return recipient
        return self._recipient(transaction, recipient.address)

    def _alone(self, shown: Shown, now: Instant) -> Asked:
        """Return what there is to ask about a message that only the milter tells of."""
        request = _request(shown.attributes)
        facts = Facts(request, self.obeyed.accounts)
        transaction = Transaction("", shown.queue_id, facts, now.monotonic)
        self._apply(transaction, facts, now.wall)
        found = [self._recipient(transaction, address) for address in shown.recipients]
        recipients = list({one.address: one for one in found}.values())
        return Asked(request, transaction, recipients, now.wall)


def _request(attributes: Mapping[str, str]) -> Request:
    """Return the request that Postfix would make of *attributes* where content is shown."""
    request = Request({**attributes, "protocol_state": Stage.CONTENT.value})
    request.stage = Stage.CONTENT
    return request
