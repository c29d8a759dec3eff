"""Taking somebody out of what is kept."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from policyd.aup.address import fold_address
from policyd.aup.counts import LIKENESS, LIKENESS_CONTENT, LIMIT
from policyd.aup.ladder import SERIES as LADDER
from policyd.counting.changes import Bucket
from policyd.counting.distinct import Hasher
from policyd.counting.runs import HASH_SIZE
from policyd.storage.contents import Contents
from policyd.storage.rows import Row, Value


class Forgotten(NamedTuple):
    """What is left, and how many *entries* went."""

    contents: Contents
    entries: int


def forget(contents: Contents, address: str) -> Forgotten:
    """Return *contents* without whatever names *address*: as a sender, or as a recipient.

    Distinct recipients are known by their hashes only; that of *address* is one of them.
    """
    somebody = _Somebody(address, contents.secret)
    kept = {
        name: series._replace(
            buckets=[
                Bucket(end, dict(_left(name.split(maxsplit=1)[0], entries, somebody)))
                for end, entries in series.buckets
            ]
        )
        for name, series in contents.kept.items()
    }
    transactions = tuple(
        state
        for state in contents.transactions
        if not somebody.is_among((*state.attributes.values(), *state.recipients))
    )
    ledgers = {
        table: tuple(row for row in ledger if not _names(row, somebody))
        for table, ledger in contents.ledgers.items()
    }
    left = replace(contents, kept=kept, journal={}, transactions=transactions, ledgers=ledgers)
    return Forgotten(left, _size(contents) - _size(left))


class _Somebody:
    """Whoever has the *address*, and how to find him."""

    def __init__(self, address: str, secret: bytes) -> None:
        self._name = fold_address(address)
        # neither as a part of another address nor as the domain of one
        self._word = re.compile(rf"(?<![\w.+@-]){re.escape(self._name)}(?![\w@-]|[.+][\w])")
        self.member = Hasher(secret)(self._name)

    def is_among(self, values: Iterable[str]) -> bool:
        """Tell whether one of the *values* is the address, however it is written."""
        return any(fold_address(value) == self._name for value in values)

    def is_named_in(self, texts: Iterable[str]) -> bool:
        """Tell whether the address stands anywhere in the *texts*."""
        return any(self._word.search(text.lower()) for text in texts)


def _left(kind: str, entries: Any, somebody: _Somebody) -> Iterator[tuple[str, Any]]:
    """Yield what is left of the *entries* of a series of that *kind*."""
    for key, value in entries.items():
        if somebody.is_among(key.split("\n")):
            continue
        if isinstance(value, int) or kind in (LIKENESS, LIKENESS_CONTENT):
            yield key, value
        elif kind in (LIMIT, LADDER):
            if others := b"".join(one for one in _apart(value) if one != somebody.member):
                yield key, others
        elif not somebody.is_named_in(_strings(_parsed(value.decode("ascii").splitlines()))):
            yield key, value


def _apart(members: bytes) -> Iterable[bytes]:
    return (members[at : at + HASH_SIZE] for at in range(0, len(members), HASH_SIZE))


def _names(row: Row, somebody: _Somebody) -> bool:
    return any(somebody.is_named_in(_texts(value)) for value in row.values())


def _texts(value: Value) -> Iterator[str]:
    """Yield the text that *value* is, and what stands in it if it is JSON."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        yield value
        yield from _strings(_parsed([value]))


def _parsed(texts: Iterable[str]) -> Iterator[Any]:
    for text in texts:
        with suppress(ValueError):
            yield json.loads(text)


def _strings(plain: Any) -> Iterator[str]:
    """Yield every text in *plain*, however deep."""
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, dict):
        yield from _strings(plain.items())
    elif isinstance(plain, Iterable):
        for one in plain:
            yield from _strings(one)


def _size(contents: Contents) -> int:
    counted = sum(
        len(value) if isinstance(value, bytes) and name.startswith((LIMIT, LADDER)) else HASH_SIZE
        for name, series in contents.kept.items()
        for bucket in series.buckets
        for value in bucket.entries.values()
    )
    ledgers = sum(map(len, contents.ledgers.values()))
    return counted // HASH_SIZE + len(contents.transactions) + ledgers
