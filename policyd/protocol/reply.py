"""Verdicts, and the one place that makes reply bytes of them (CONTRACT.md A2).

A pass is DUNNO and nothing else: ``OK``, an empty text or a number would let mail skip the checks
that follow. Everything else is a verb or a code that is known here, with words after it: Postfix
reads past the end of a bare code. The text is one line of printable ASCII, and so short that the
SMTP reply stays within RFC 5321's 512 bytes.
"""

import re
import unicodedata
from typing import Final, NamedTuple

from policyd.protocol.request import Stage

ROOM: Final = {Stage.RCPT: 200, Stage.END_OF_MESSAGE: 450}
"""Bytes for the text of a reply; Postfix puts the recipient and words of its own before it."""

_VERBS: Final = re.compile(r"REJECT|DEFER|HOLD|WARN|[45]\d\d")
_STATUS: Final = re.compile(r"[45]\.\d{1,3}\.\d{1,3}")


class Verdict(NamedTuple):
    """What Postfix is told: a *verb* or reply code, an enhanced *status* (RFC 3463), a *text*."""

    verb: str
    status: str = ""
    text: str = ""


PASS: Final = Verdict("DUNNO")

_DEFAULT_STATUS: Final = {"R": "5.7.1", "D": "4.7.1", "5": "5.7.1", "4": "4.7.1"}
"""By the first letter of the verb. Without one Postfix would take the text's first word for it."""

_PASS_BYTES: Final = b"action=DUNNO\n\n"


def reply(verdict: Verdict, stage: Stage = Stage.END_OF_MESSAGE) -> bytes:
    """Return the bytes that tell Postfix the *verdict*.

    Raise ValueError for a verb or a status that Postfix would take for something else; whatever
    the text is, it is made fit.
    """
    if verdict is PASS or verdict == PASS:
        return _PASS_BYTES
    if not _VERBS.fullmatch(verdict.verb):
        raise ValueError(f"{verdict.verb!r} is no answer of this service")
    if verdict.status and not _STATUS.fullmatch(verdict.status):
        raise ValueError(f"{verdict.status!r} is no status of a refusal")
    text = to_ascii(verdict.text)[: ROOM[stage]].strip() or "Refused by policy"
    status = verdict.status or _DEFAULT_STATUS.get(verdict.verb[0], "")
    words = (verdict.verb, status, text) if status else (verdict.verb, text)
    return f"action={' '.join(words)}\n\n".encode("ascii")


def to_ascii(text: str) -> str:
    """Return *text* as one line of printable ASCII: accents dropped, controls gone, else ``?``."""
    if text.isascii() and text.isprintable():
        return text
    plain = []
    for character in unicodedata.normalize("NFKD", text):
        if " " <= character <= "~":
            plain.append(character)
        elif unicodedata.category(character) not in ("Cc", "Cf", "Mn", "Zl", "Zp"):
            plain.append("?")
    return "".join(plain)


_FIXED: Final = {(3, 8): 20, (3, 9): 14, (3, 10): 13, (3, 11): 6}
"""The first patch release of each version in which Postfix starts over after a refusal."""


def starts_over(mail_version: str) -> bool:
    """Tell whether this Postfix resets the transaction after a refusal at END-OF-MESSAGE.

    One that does not goes on with what it has, and crashes when DATA is sent again; a Postfix
    that says no version is older than 3.8.
    """
    parts = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", mail_version)
    if parts is None:
        return False
    major, minor, patch = (int(part or 0) for part in parts.groups())
    return (major, minor) > max(_FIXED) or patch >= _FIXED.get((major, minor), patch + 1)
