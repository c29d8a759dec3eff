"""One entry under ``limits``, checked for what its keys mean together."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from policyd.aup.address import Accounts
from policyd.aup.match import Matcher
from policyd.aup.policy import (
    SPLITTING_PARTS,
    Action,
    Count,
    KeyPart,
    Likeness,
    LikenessBy,
    Limit,
    Mode,
    Organization,
    Refuse,
    Strength,
)
from policyd.aup.wording import DEFAULT, Wording, duration, for_deferral, for_rejection
from policyd.clock import WallTime
from policyd.config import grammar
from policyd.config.conditions import conditions
from policyd.config.problem import Problems
from policyd.config.quantities import as_duration
from policyd.config.tables import Record
from policyd.config.texts import check_text, of_organization

_SCOPES: Final = frozenset(("account", "domain"))
"""Whose messages are compared to tell which of them are alike."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the rest of the rule file says, as far as its entries need it.

    *now* is the time of loading, None when it does not matter.
    """

    mode: Mode
    accounts: Accounts
    likeness: Likeness
    organization: Organization
    time_zone: tzinfo
    now: WallTime | None = None


def build_limit(record: Record, setting: Setting, problems: Problems) -> Limit:
    """Return the limit of *record*; tell *problems* which of its keys do not fit together."""
    per = _key(record, problems)
    _check_count(record, per, problems)
    _check_refusal(record, per, setting.likeness.by, problems)
    action = _action(record, problems)
    _check_strike(record, per, action, problems)
    limit_id = record[grammar.ID]
    title = record.get(grammar.TITLE) or limit_id
    maximum = _maximum(record, problems)
    window = record[grammar.WINDOW]
    known = {
        "title": title,
        "limit": limit_id,
        "max": str(maximum),
        "window": duration(window),
        **of_organization(setting.organization),
    }
    check_text(record, action, known, problems)
    text = record.get(grammar.TEXT) or DEFAULT
    defers = action.strength is Strength.DEFER
    return Limit(
        id=limit_id,
        title=title,
        per=per,
        count=record[grammar.COUNT],
        recipients=record[grammar.RECIPIENTS],
        max=maximum,
        window=window,
        refuse=record[grammar.REFUSE],
        action=action,
        text=for_deferral(text) if defers else Wording(text),
        permanent_text=for_rejection(text) if defers else Wording(text),
        mode=record.get(grammar.LIMIT_MODE) or setting.mode,
        match=Matcher.of(conditions(record[grammar.MATCH], setting.accounts, problems)),
        unless=Matcher.of(conditions(record[grammar.UNLESS], setting.accounts, problems)),
        strike=record[grammar.STRIKE],
        known_for=record[grammar.KNOWN_FOR] if _knows(record) else 0.0,
    )


def _names(per: Iterable[KeyPart]) -> frozenset[str]:
    return frozenset(part.name for part in per)


def _key(record: Record, problems: Problems) -> tuple[KeyPart, ...]:
    """Return what the limit counts by."""
    names = _names(part for part, _ in record[grammar.PER])
    parts: dict[str, KeyPart] = {}
    for part, place in record[grammar.PER]:
        if part.name in parts:
            problems.error(place, f"{part.name} is under per twice", "keep one of the two")
        if part.name == "likeness" and grammar.PER in record and not names & _SCOPES:
            message = "likeness is told among the messages of one account or one domain"
            problems.error(place, message, "add account or domain to per")
        parts[part.name] = part
    if "recipient" in parts and record[grammar.COUNT] is Count.DISTINCT_RECIPIENTS:
        problems.warning(
            record.place(grammar.COUNT),
            "each recipient is counted by itself here, and is never more than one",
            "write count: messages, or take recipient out of per",
        )
    return tuple(parts.values())


def _knows(record: Record) -> bool:
    """Tell whether the limit needs to know whom an account has mailed before."""
    return record[grammar.COUNT] is Count.FIRST_TIME_RECIPIENTS


def _check_count(record: Record, per: Iterable[KeyPart], problems: Problems) -> None:
    """Check that the key leaves something to count, and how long recipients are known."""
    names = _names(per) if grammar.PER in record else frozenset()
    count, place = record[grammar.COUNT], record.place(grammar.COUNT)
    if count is Count.DISTINCT_CLIENTS and "client_address" in names:
        message = "clients are counted here, and each has a count of its own"
        problems.error(place, message, "take client_address out of per")
    if _knows(record) and names & {*SPLITTING_PARTS}:
        message = "first-time recipients are counted here, and each has a count of its own"
        problems.error(place, message, "take recipient and recipient_domain out of per")
    if not _knows(record):
        if grammar.COUNT in record and record.has(grammar.KNOWN_FOR):
            message = f"known_for is not about {count.value}"
            hint = "delete the key, or write count: first-time-recipients"
            problems.error(record.key_place(grammar.KNOWN_FOR), message, hint)
    elif grammar.WINDOW in record and record[grammar.KNOWN_FOR] < record[grammar.WINDOW]:
        window = as_duration(record[grammar.WINDOW])
        key = grammar.KNOWN_FOR if record.has(grammar.KNOWN_FOR) else grammar.WINDOW
        message = "recipients would be forgotten (known_for) before the window is over"
        problems.error(record.place(key), message, f"write known_for: {window} or more")


def _check_strike(
    record: Record, per: Iterable[KeyPart], action: Action, problems: Problems
) -> None:
    """Check that there is somebody whose strikes refusals are, and that there are refusals."""
    if not record[grammar.STRIKE]:
        return
    place = record.place(grammar.STRIKE)
    if grammar.PER in record and not _names(per) & _SCOPES:
        message = "a strike is an account's or a domain's, and neither is under per"
        problems.error(place, message, "add account or domain to per, or write strike: false")
    if not action.refuses and grammar.ACTION in record:
        message = f"{action.verb} refuses nothing, so nothing is ever a strike"
        problems.warning(place, message, "write strike: false, or another action")


def _check_refusal(
    record: Record, per: tuple[KeyPart, ...], by: LikenessBy, problems: Problems
) -> None:
    """Check that what ``refuse: recipient`` decides on is known at RCPT."""
    if record[grammar.REFUSE] is not Refuse.RECIPIENT:
        return
    place = record.place(grammar.REFUSE)
    hint = "write refuse: message"
    if grammar.PER in record and "likeness" in _names(per) and by is not LikenessBy.ANY:
        message = f"a recipient cannot be refused by likeness: the {by.value} is not known yet"
        problems.error(place, message, hint)
    if record[grammar.COUNT] is Count.BYTES:
        message = "a recipient cannot be refused by bytes: the size is not known yet"
        problems.error(place, message, hint)
    if record[grammar.COUNT] is Count.DISTINCT_CLIENTS:
        message = "a recipient cannot be refused by clients: all of a message have the same one"
        problems.error(place, message, hint)
    if _knows(record):
        message = "a recipient cannot be refused for being a first-time one: only the message can"
        problems.error(place, message, hint)
    if record[grammar.ACTION].verb == "HOLD":
        message = "HOLD holds the whole message, not one recipient"
        problems.error(place, message, hint)


def _maximum(record: Record, problems: Problems) -> int:
    amount = record[grammar.MAX]
    is_bytes = record[grammar.COUNT] is Count.BYTES
    if amount.is_size and grammar.COUNT in record and not is_bytes:
        problems.error(
            record.place(grammar.MAX),
            f"a size, and the limit counts {record[grammar.COUNT].value}",
            "write a number, or count: bytes",
        )
    return amount.value or 0


def _action(record: Record, problems: Problems) -> Action:
    action = record[grammar.ACTION]
    status = record.get(grammar.STATUS)
    if status is None or grammar.STATUS not in record:
        return action
    place = record.place(grammar.STATUS)
    if not action.refuses:
        message = f"{action.verb} refuses nothing, so it has no status"
        problems.error(place, message, "delete the key")
    elif status[0] != action.status[0]:
        code = action.verb if action.verb.isdigit() else f"{action.verb} ({action.status[0]}xx)"
        message = f"the status {status} does not fit the action {code}"
        problems.error(place, message, f"write {action.status[0]}{status[1:]}")
    return Action(action.verb, status)
