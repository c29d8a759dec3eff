"""``policyd similar``: whether mails are alike by their content, and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence

from policyd.cli.tables import bold, facts, shown
from policyd.clock import WallTime
from policyd.content.campaigns import Campaigns
from policyd.content.fingerprint import ALIKE, SHORTEST, Kind, are_alike, share, votes_needed
from policyd.content.reader import Boilerplate, Reader, Reading
from policyd.content.sketch import Sketcher
from policyd.content.words import is_unspaced, words

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any, Final

_SECRET: Final = b"policyd similar"
"""The daemon's own secret chooses other hashes; what is just alike may come out otherwise there."""

_PROBLEM, _USAGE = 1, 2
_CHUNK: Final = 65_536


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to *commands*."""
    parser = commands.add_parser(
        "similar",
        help="say whether mails are alike by what they say, and why",
        description="Compare mails as limits with likeness by content do: how much of their words "
        "they share, how much is needed, and what was left out. Exit with 0 if all of them count "
        "as one mailing, with 1 if they do not.",
        epilog="Example: policyd similar first.eml second.eml",
    )
    parser.add_argument("first", metavar="FILE", help="a mail with its header")
    parser.add_argument("others", nargs="+", metavar="FILE", help="mails to compare with it")
    parser.add_argument(
        "--boilerplate", metavar="FILE", help="text that says nothing, such as a disclaimer"
    )
    parser.add_argument("--json", action="store_true", help="print it for programs")
    parser.set_defaults(run=_similar)


def _similar(args: argparse.Namespace) -> int:
    """Compare."""
    sketcher = Sketcher(_SECRET)
    names = [args.first, *args.others]
    try:
        boilerplate = Boilerplate(sketcher, _examples(args.boilerplate))
        readings = [_read(name, Reader(sketcher, boilerplate)) for name in names]
    except OSError as error:
        name = shown(str(error.filename))
        sys.stderr.write(f"policyd: {name} cannot be read: {error.strerror}\n")
        return _USAGE
    answer = _answer(names, readings)
    lines = [json.dumps(answer)] if args.json else _said(answer)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0 if answer["alike"] else _PROBLEM


def _examples(path: str | None) -> Iterator[str]:
    if path is not None:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            yield file.read()


def _read(path: str, reader: Reader) -> Reading:
    with open(path, "rb") as file:  # noqa: PTH123
        while chunk := file.read(_CHUNK):
            reader.feed(chunk)
    return reader.reading()


def _answer(names: Sequence[str], readings: Sequence[Reading]) -> dict[str, Any]:
    mailings = _mailings(readings)
    first = readings[0].fingerprint
    return {
        "alike": None not in mailings and len(set(mailings)) == 1,
        "needed": ALIKE,
        "mails": [
            {"file": name, "mailing": mailing, **_told(reading)}
            for name, mailing, reading in zip(names, mailings, readings, strict=True)
        ],
        "compared": [
            {"file": name, "with": names[0], **_compared(first.hashes, reading.fingerprint.hashes)}
            for name, reading in zip(names[1:], readings[1:], strict=True)
        ],
    }


def _mailings(readings: Sequence[Reading]) -> list[int | None]:
    """Return for each mail which mailing it belongs to; None for one whose content is unknown."""
    campaigns = Campaigns(1)
    found: dict[str, int] = {}
    return [
        found.setdefault(campaigns.join("", one.fingerprint, WallTime(0)), len(found) + 1)
        if one.fingerprint.hashes
        else None
        for one in readings
    ]


def _told(reading: Reading) -> dict[str, Any]:
    fingerprint, content = reading.fingerprint, reading.content
    return {
        "subject": fingerprint.subject,
        "known_by": fingerprint.kind.value,
        "hashes": len(fingerprint.hashes) if fingerprint.kind is Kind.SKETCH else 0,
        "words": reading.words,
        "quoted_words": len(words(reading.left.quoted)),
        "signature_words": len(words(reading.left.signature)),
        "boilerplate_runs": reading.boilerplate,
        "attachments": len(content.attachments),
        "unspaced": is_unspaced(reading.left.text),
        "calendar_reply": fingerprint.is_calendar_reply,
    }


def _compared(one: tuple[int, ...], other: tuple[int, ...]) -> dict[str, Any]:
    return {
        "shared": len({*one} & {*other}),
        "of": max(len(one), len(other)),
        "needed": votes_needed(len(one), len(other)),
        "share": round(share(one, other), 3),
        "alike": are_alike(one, other),
    }


def _said(answer: dict[str, Any]) -> Iterator[str]:
    mails = answer["mails"]
    for one in mails:
        yield bold(shown(one["file"]))
        yield from facts(_facts(one))
    yield ""
    by_file = zip(mails[1:], answer["compared"], strict=True)
    for mail, one in by_file:
        yield shown(f"{one['file']} and {one['with']}: {_verdict(mails[0], mail, one)}")
    yield bold(_summary(answer))


def _facts(one: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "subject", one["subject"]
    yield "known by", _known_by(one)
    left_out = (
        ("quoted", one["quoted_words"], "words"),
        ("signature", one["signature_words"], "words"),
        ("boilerplate", one["boilerplate_runs"], "runs of three words"),
    )
    yield "left out", ", ".join(f"{name}: {n} {what}" for name, n, what in left_out if n)
    if one["unspaced"]:
        yield "language", "written without spaces: each letter is taken for a word"
    if one["calendar_reply"]:
        yield "note", "answers an invitation; it counts for nothing if it has one recipient"


def _known_by(one: dict[str, Any]) -> str:
    if one["known_by"] == Kind.UNKNOWN.value:
        return "its size alone: it is encrypted"
    if one["known_by"] == Kind.SKETCH.value:
        return f"what it says: {one['hashes']} hashes, of {one['words']} words"
    short = f"it has {one['words']} words of its own, fewer than {SHORTEST}"
    why = short if one["words"] < SHORTEST else "it says next to nothing but boilerplate"
    return f"one hash of text, subject and {one['attachments']} attachments: {why}"


def _verdict(first: dict[str, Any], mail: dict[str, Any], one: dict[str, Any]) -> str:
    kinds = {first["known_by"], mail["known_by"]}
    if Kind.UNKNOWN.value in kinds:
        return "not to be compared"
    if kinds == {Kind.EXACT.value}:
        return "the same" if one["alike"] else "not the same"
    if len(kinds) > 1:
        return "not alike: one is known by what it says, one by a single hash"
    word = "alike" if one["alike"] else "not alike"
    return f"{one['shared']} of {one['of']} hashes in common, {one['needed']} are enough: {word}"


def _summary(answer: dict[str, Any]) -> str:
    if answer["alike"]:
        return "alike: they count as one mailing"
    mailings = {one["mailing"] for one in answer["mails"]} - {None}
    return f"not alike: they count as {len(mailings)} mailings" if mailings else "not alike"
