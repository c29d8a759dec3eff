"""Answers to a message, and the one place that makes the bytes of a milter's replies.

A refusal goes to the client as it is written here: Postfix puts nothing before the text, and takes
several lines. It reads ``%`` as the beginning of something, and ``%%`` as ``%``.
"""

import re
import struct
from typing import Final, NamedTuple

from policyd.protocol.milter import Changes
from policyd.protocol.reply import PASS, ROOM, Verdict, to_ascii
from policyd.protocol.request import Stage

MOST_LINES: Final = 20
"""Lines of a refusal."""

_CODES: Final = {"REJECT": "554", "DEFER": "450"}
_REFUSAL: Final = re.compile(r"[45]\d\d")
_STATUS: Final = re.compile(r"[45]\.\d{1,3}\.\d{1,3}")
_NAME: Final = re.compile(r"[!-9;-~]+")
"""A header's name (RFC 5322)."""

_HEAD: Final = struct.Struct("!Ic")
_NEGOTIATED: Final = struct.Struct("!III")


class Answer(NamedTuple):
    """What becomes of a message: a *verdict*, and *headers* for one that passes."""

    verdict: Verdict = PASS
    headers: tuple[tuple[str, str], ...] = ()


def _packet(command: bytes, data: bytes = b"") -> bytes:
    return _HEAD.pack(1 + len(data), command) + data


CONTINUE: Final = _packet(b"c")


def negotiated(version: int, changes: int, steps: int) -> bytes:
    """Return the bytes that settle what both sides do."""
    return _packet(b"O", _NEGOTIATED.pack(version, changes, steps))


def answered(answer: Answer, may: int) -> bytes:
    """Return the bytes that tell Postfix the *answer* to a message; *may* are Changes.

    Raise ValueError for a verb, a status or the name of a header that there is not; whatever a text
    is, it is made fit.
    """
    verb = answer.verdict.verb
    if verb in {"DUNNO", "WARN"}:  # a warning is a line in our own log
        return _added(answer, may) + CONTINUE
    if verb == "HOLD":
        reason = to_ascii(answer.verdict.text)[: ROOM[Stage.END_OF_MESSAGE]] or "Held by policy"
        held = _packet(b"q", reason.encode("ascii") + b"\0") if may & Changes.QUARANTINE else b""
        return held + _added(answer, may) + CONTINUE
    return _packet(b"y", _refusal(answer.verdict).encode("ascii") + b"\0")


def _added(answer: Answer, may: int) -> bytes:
    if not may & Changes.ADD_HEADERS:
        return b""
    packets = []
    for name, value in answer.headers:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        packets.append(_packet(b"h", f"{name}\0{to_ascii(value)}\0".encode("ascii")))
    return b"".join(packets)


def _refusal(verdict: Verdict) -> str:
    """Return the lines of an SMTP reply that say the *verdict*."""
    code = _CODES.get(verdict.verb, verdict.verb)
    if not _REFUSAL.fullmatch(code):
        raise ValueError(f"{verdict.verb!r} is no answer of a milter")
    status = verdict.status or f"{code[0]}.7.1"
    if not _STATUS.fullmatch(status) or status[0] != code[0]:
        raise ValueError(f"{verdict.status!r} is no status of a refusal with {code}")
    texts = [_fit(line) for line in verdict.text.split("\n")]
    texts = [text for text in texts if text][:MOST_LINES] or ["Refused by policy"]
    lines = [f"{code}-{status} {text}" for text in texts[:-1]]
    return "\r\n".join([*lines, f"{code} {status} {texts[-1]}"])


def _fit(line: str) -> str:
    return to_ascii(line)[: ROOM[Stage.END_OF_MESSAGE]].strip().replace("%", "%%")
