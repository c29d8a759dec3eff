"""The text of an answer, checked before anybody has to read it."""

from collections.abc import Iterable, Mapping
from typing import Final

from policyd.aup.policy import Action, Organization, Refuse, Strength
from policyd.aup.wording import (
    DEFAULT,
    PLACEHOLDERS,
    SUSPENDED_PLACEHOLDERS,
    Wording,
    mistakes,
    warnings,
)
from policyd.config import grammar
from policyd.config.kinds import Placed, suggestion
from policyd.config.problem import Problems
from policyd.config.tables import Record
from policyd.protocol.reply import ROOM
from policyd.protocol.request import Stage

_ROOM: Final = {
    Refuse.MESSAGE: ROOM[Stage.END_OF_MESSAGE],
    Refuse.RECIPIENT: ROOM[Stage.RCPT],
}
"""Bytes that a text may have, by what is refused (POLICY.md "Answers")."""

_UNKNOWN: Final = "unknown placeholder "
_SETTINGS: Final = {
    "aup_url": "organization.aup_url",
    "contact": "organization.contact",
    "organization": "organization.name",
}
"""Placeholders, and the settings that they stand for."""
_NO_COLON: Final = "write a comma or a dash instead"


def check_text(
    record: Record, action: Action, known: Mapping[str, str], problems: Problems
) -> None:
    """Check the text of a limit; *known* are the placeholders whose values are fixed."""
    if grammar.TEXT in record:
        text = Placed(record[grammar.TEXT], record.place(grammar.TEXT))
        permanent = action.strength is Strength.REJECT
        room = _ROOM[record[grammar.REFUSE]]
        errors = problems.errors
        _check_reply(text, mistakes(text.value, room, permanent=permanent), PLACEHOLDERS, problems)
        if problems.errors == errors:
            _check_wisdom(text, known, problems)
            _check_incident(text, record, problems)
    elif grammar.TITLE in record and not record.has(grammar.TEXT):
        for warning in warnings(DEFAULT, known):
            problems.warning(record.place(grammar.TITLE), warning, _NO_COLON)


def check_suspended_text(text: Placed[str], organization: Organization, problems: Problems) -> None:
    """Check the *text* for suspended senders, who are refused for good and at RCPT."""
    found = mistakes(
        text.value, ROOM[Stage.RCPT], permanent=True, placeholders=SUSPENDED_PLACEHOLDERS
    )
    errors = problems.errors
    _check_reply(text, found, SUSPENDED_PLACEHOLDERS, problems)
    if problems.errors == errors:
        _check_wisdom(text, of_organization(organization), problems)


def of_organization(organization: Organization) -> Mapping[str, str]:
    """Return the values of the placeholders that *organization* sets."""
    return {
        "aup_url": organization.aup_url,
        "contact": organization.contact,
        "organization": organization.name,
    }


def _check_reply(
    text: Placed[str], found: Iterable[str], placeholders: Iterable[str], problems: Problems
) -> None:
    """Tell *problems* the mistakes that were *found* in a reply."""
    for mistake in found:
        if mistake.startswith(_UNKNOWN):
            name = mistake.removeprefix(_UNKNOWN)
            problems.error(text.place.of(name), mistake, suggestion(name[1:-1], placeholders))
        else:
            message, _, hint = mistake.partition("; ")
            problems.error(text.place, message, hint)


def _check_wisdom(text: Placed[str], known: Mapping[str, str], problems: Problems) -> None:
    """Point out what a reader of the text would miss."""
    for warning in warnings(text.value, known):
        problems.warning(text.place, warning, _NO_COLON)
    used = Wording(text.value).placeholders
    for name, setting in _SETTINGS.items():
        if name in used and not known[name]:
            message = f"{setting} is not set, so {{{name}}} stands for nothing"
            problems.warning(text.place.of(f"{{{name}}}"), message, f"set {setting}")


def _check_incident(text: Placed[str], record: Record, problems: Problems) -> None:
    """Point out an {incident} where refusals are none."""
    if "incident" in Wording(text.value).placeholders and not record[grammar.STRIKE]:
        message = "only refusals that are strikes are incidents, so {incident} stands for nothing"
        hint = "leave it out, or add strike: true"
        problems.warning(text.place.of("{incident}"), message, hint)
