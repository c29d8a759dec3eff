"""How well variants of real mails are found to be alike, and strangers are not."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from content.corpus import Mail
from content.variants import VARIANTS, Draw, Text, length, mail, short_merge, swapped

from policyd.clock import WallTime
from policyd.content.campaigns import Campaigns
from policyd.content.fingerprint import Fingerprint, Kind
from policyd.content.reader import Boilerplate, Reader
from policyd.content.sketch import Sketcher
from policyd.content.words import words

SKETCHER = Sketcher(b"a secret of tests")
NO_BOILERPLATE = Boilerplate(SKETCHER)
NOW = WallTime(1e9)
DAY = 86_400.0

SHORT = range(15, 41)
LONG = range(60, 2_000)
"""Words of the mails that variants are made of."""

_EACH = 4
"""Variants of a mail."""

_BATCHES = 12
"""Batches of a mailing that drifts, each with a tenth of the last one's words swapped."""

_REALLY_ALIKE = 0.25
"""The share of their runs of three words that mails have in common that are alike in truth."""


BARS = {
    "mail merge": 0.99,
    "greeting and name": 1.0,
    "hash-buster 50 %": 0.95,
    "10 % of words swapped": 0.93,
    "one paragraph replaced": 0.85,
    "short mail merge": 0.95,
    "false joins": 0.01,
}
"""The least recall of a kind of variant, and the most false joins."""


class Joins(NamedTuple):
    """What became of mails of one account or of several.

    *false* joined a campaign of which no mail is alike to them in truth, *right* one of which one
    is. *renamed* are those of both that have a subject that no other mail in the campaign has.
    """

    mails: int
    false: int
    right: int
    renamed: int

    @property
    def share(self) -> float:
        """The share of the mails that joined a campaign that they are not alike to."""
        return self.false / self.mails


def fingerprint(data: bytes) -> Fingerprint:
    """Return what the mail *data* is like."""
    reader = Reader(SKETCHER, NO_BOILERPLATE)
    reader.feed(data)
    return reader.done()


def texts(mails: Sequence[Mail], lengths: range) -> list[Text]:
    """Return the texts of such of the *mails* as have a length in words within *lengths*."""
    found = []
    for one in mails:
        reader = Reader(SKETCHER, NO_BOILERPLATE)
        reader.feed(one.data)
        reading = reader.reading()
        if reading.words in lengths:
            blocks = (part.split() for part in reading.left.text.split("\n\n"))
            text = [block for block in blocks if block]
            if length(text) in lengths:
                found.append(text)
    return found


def recall(
    name: str, text: Sequence[Text], vocabulary: Sequence[str], change: Callable[[Text, Draw], Text]
) -> float:
    """Return the share of variants that join the campaign of the first of them."""
    found = 0
    for number, one in enumerate(text):
        draw = Draw(f"{name} {number}", vocabulary)
        campaigns = Campaigns(DAY)
        first = campaigns.join("a", fingerprint(mail(change(one, draw), draw)), NOW)
        for _ in range(_EACH):
            found += first == campaigns.join("a", fingerprint(mail(change(one, draw), draw)), NOW)
    return found / (_EACH * len(text))


def recalls(mails: Sequence[Mail]) -> Iterator[tuple[str, float]]:
    """Yield the recall of each kind of variant, made of *mails*."""
    long, short = texts(mails, LONG), texts(mails, SHORT)
    vocabulary = [word for text in long for paragraph in text for word in paragraph]
    for name, change in VARIANTS.items():
        yield name, recall(name, long, vocabulary, change)
    yield "short mail merge", recall("short", short, vocabulary, short_merge)
    yield "drift", _drift(long, vocabulary)


def _drift(long: Sequence[Text], vocabulary: Sequence[str]) -> float:
    """Return the share of batches that are in the campaign of the first one."""
    change = swapped(0.1)
    found = 0
    for number, one in enumerate(long):
        draw = Draw(f"drift {number}", vocabulary)
        campaigns = Campaigns(DAY)
        first = campaigns.join("a", fingerprint(mail(one, draw)), NOW)
        for _ in range(_BATCHES):
            one = change(one, draw)  # noqa: PLW2901 - from batch to batch
            found += first == campaigns.join("a", fingerprint(mail(one, draw)), NOW)
    return found / (_BATCHES * len(long))


def strangers(mails: Sequence[Mail], each: int) -> Joins:
    """Return what becomes of *mails* when so many *each*, drawn by lot, are of one account."""
    drawn = list(mails)
    Random(1).shuffle(drawn)
    return _joins(drawn[at : at + each] for at in range(0, len(drawn), each))


def senders(mails: Sequence[Mail]) -> Joins:
    """Return what becomes of *mails* when each sender has his account."""
    by_sender = defaultdict(list)
    for one in mails:
        by_sender[one.sender].append(one)
    return _joins(by_sender.values())


def _joins(accounts: Iterable[Sequence[Mail]]) -> Joins:
    mails = false = right = renamed = 0
    for account in accounts:
        campaigns = Campaigns(DAY)
        members: dict[str, list[set[tuple[str, ...]]]] = defaultdict(list)
        subjects: dict[str, set[str]] = defaultdict(set)
        for one in account:
            found = fingerprint(one.data)
            if found.kind is Kind.UNKNOWN:
                continue
            mails += 1
            name = campaigns.join("a", found, NOW)
            runs, subject = _runs(one), _bare(found.subject)
            if members[name]:
                alike = any(_share(runs, other) >= _REALLY_ALIKE for other in members[name])
                right += alike
                false += not alike
                renamed += subject not in subjects[name]
            members[name].append(runs)
            subjects[name].add(subject)
    return Joins(mails, false, right, renamed)


def _bare(subject: str) -> str:
    """Return a subject without what answering it adds, and without figures."""
    return " ".join(word for word in words(subject) if word not in ("re", "fwd", "fw", "aw", "0"))


def _runs(one: Mail) -> set[tuple[str, ...]]:
    """Return all runs of three words in the text of a mail, without keyed hashes or sketches."""
    reader = Reader(SKETCHER, NO_BOILERPLATE)
    reader.feed(one.data)
    found = words(reader.reading().left.text)
    return {*zip(found, found[1:], found[2:], strict=False)} or {tuple(found)}


def _share(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / max(len(one), len(other))
