"""The text of a limit's answer, checked before anybody has to read it."""

from collections.abc import Mapping
from typing import Final

from policyd.aup.policy import Action, Refuse, Strength
from policyd.aup.wording import DEFAULT, PLACEHOLDERS, Wording, mistakes, warnings
from policyd.config import grammar
from policyd.config.kinds import suggestion
from policyd.config.problem import Place, Problems
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
        place = record.place(grammar.TEXT)
        errors = problems.errors
        _check_reply(record[grammar.TEXT], place, record[grammar.REFUSE], action, problems)
        if problems.errors == errors:
            _check_wisdom(record[grammar.TEXT], place, known, problems)
    elif grammar.TITLE in record and not record.has(grammar.TEXT):
        for warning in warnings(DEFAULT, known):
            problems.warning(record.place(grammar.TITLE), warning, _NO_COLON)


def _check_reply(
    text: str, place: Place, refuse: Refuse, action: Action, problems: Problems
) -> None:
    """Check what Postfix and those who read its log need of a reply."""
    permanent = action.strength is Strength.REJECT
    for mistake in mistakes(text, _ROOM[refuse], permanent=permanent):
        if mistake.startswith(_UNKNOWN):
            name = mistake.removeprefix(_UNKNOWN)
            problems.error(place.of(name), mistake, suggestion(name[1:-1], PLACEHOLDERS))
        else:
            message, _, hint = mistake.partition("; ")
            problems.error(place, message, hint)


def _check_wisdom(text: str, place: Place, known: Mapping[str, str], problems: Problems) -> None:
    """Point out what a reader of the text would miss."""
    for warning in warnings(text, known):
        problems.warning(place, warning, _NO_COLON)
    used = Wording(text).placeholders
    if "incident" in used:
        message = "no incidents are kept yet, so {incident} stands for nothing"
        problems.warning(place.of("{incident}"), message, "leave it out")
    for name, setting in _SETTINGS.items():
        if name in used and not known[name]:
            message = f"{setting} is not set, so {{{name}}} stands for nothing"
            problems.warning(place.of(f"{{{name}}}"), message, f"set {setting}")
