"""The options that policyd is asked with: those that Postfix goes by, and those that it should."""

import re
from collections.abc import Mapping
from typing import Final

from policyd.doctor.postfix import Listener
from policyd.doctor.restrictions import Ask

_MOST_PATIENCE: Final = 10.0
"""Seconds: of two tries one client waits for twice as much, and one second more."""

_POSTFIX_OWN_ACTION: Final = "451 4.3.5 Server configuration problem"
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def value_of(listener: Listener, ask: Ask, name: str) -> str:
    """Return the option *name* of *ask*, which has its default in a parameter."""
    given = ask.options.get(name)
    return listener.value(f"smtpd_policy_service_{name}") if given is None else given


def better_options(listener: Listener, ask: Ask) -> Mapping[str, str]:
    """Return what the options of *ask* have to be changed to; an empty one is to be left out."""
    changes = {}
    if is_slow(value_of(listener, ask, "timeout")):
        changes["timeout"] = "5s"
    if action_flaw(value_of(listener, ask, "default_action")):
        changes["default_action"] = "DUNNO"
    if is_tried_once(value_of(listener, ask, "try_limit")):
        changes["try_limit"] = "2" if "try_limit" not in ask.options else ""
    return changes


def is_slow(timeout: str) -> bool:
    """Tell whether a *timeout* is more than a client waits for."""
    return seconds(timeout) > _MOST_PATIENCE


def is_tried_once(try_limit: str) -> bool:
    """Tell whether there is no second try."""
    return try_limit in {"0", "1"}


def action_flaw(action: str) -> tuple[str, str, str] | None:
    """Return the code of what is wrong with a default *action*, what, and why."""
    if action == _POSTFIX_OWN_ACTION:
        return (
            "no-default-action",
            "there is no default_action for when policyd is away",
            "Nobody can send then: Postfix's own is a 451. DUNNO lets mail flow, uncounted.",
        )
    word = action.partition(" ")[0].upper()
    if not word or (word.isdigit() and word == action) or word in {"OK", "PERMIT", "RELAY"}:
        return (
            "default-permits",
            f'the default_action "{action}" permits instead of going on with the list',
            "While policyd is away the checks after it are skipped: mail is relayed for anybody.",
        )
    if word == "REJECT" or re.fullmatch(r"5\d\d", word):
        return (
            "default-rejects",
            f'the default_action "{action}" refuses for good',
            "While policyd is away mail comes back to its senders instead of being tried again.",
        )
    return None


def seconds(time: str) -> float:
    """Return a span of *time* as Postfix writes it; 0 for what is none."""
    found = re.fullmatch(r"(\d+)([smhdw]?)", time.strip().lower())
    return int(found[1]) * _UNITS[found[2]] if found else 0.0
