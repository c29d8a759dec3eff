"""What is kept, as lines of JSON for people and other programs, and back again.

The first line names the version and the secret of the hashes, the last one says how many there
were, so that a dump that was cut short is noticed. Every other line is one thing that is known: a
series, an entry of one, an open transaction, a row of a ledger. A key is the list of its values.
"""

import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from math import inf, isfinite
from typing import Any, Final, NoReturn

from policyd.aup.counts import LIKENESS, LIKENESS_CONTENT, LIMIT
from policyd.aup.ladder import SERIES as LADDER
from policyd.aup.likeness_grid import Group, pack, unpack
from policyd.aup.series import Series
from policyd.aup.transaction import TransactionState
from policyd.clock import WallTime
from policyd.content import campaign
from policyd.counting.changes import Bucket
from policyd.counting.runs import HASH_SIZE
from policyd.storage import rows
from policyd.storage.complaint import reason
from policyd.storage.contents import (
    LEDGERS,
    LONGEST_SECRET,
    Contents,
    transaction,
    transaction_text,
)
from policyd.storage.rows import VERSION, Row, Value

_KEY: Final = "\n"

_WRONG: Final = (
    *(ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError),
    *(struct.error, sqlite3.Error),
)
"""What a line that means nothing leads to."""


class DumpError(ValueError):
    """These lines are no dump."""


def dump(contents: Contents) -> Iterator[str]:
    """Yield *contents* as lines."""
    count = 0
    for count, line in enumerate(_things(contents), 1):  # noqa: B007 - it is told at the end
        yield json.dumps(line)
    yield json.dumps({"policyd": "end", "lines": count})


def load(lines: Iterable[str]) -> Contents:
    """Return what *dump* made the *lines* of.

    Raise DumpError, with the number of the line, for anything else: what is returned can be kept.
    """
    number = 0
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        rows.create(database)
        loading = _Loading(rows.Rows(database))
        for number, text in enumerate(lines, 1):
            try:
                loading.take(text)
            except _WRONG as error:
                raise DumpError(f"line {number}: {_words(error)}") from error
    if not loading.ended:
        raise DumpError(f"line {number}: the end of the dump is missing")
    return loading.contents()


class _Loading:
    """A dump that is read line by line; the *tables* take only what a database would take."""

    def __init__(self, tables: rows.Rows) -> None:
        self.ended = False
        self._tables = tables
        self._count = 0
        self._secret = b""
        self._series: dict[str, tuple[str, list[Bucket]]] = {}
        self._kinds: dict[str, type] = {}
        self._transactions: list[TransactionState] = []
        self._ledgers: dict[str, list[Row]] = {table: [] for table in LEDGERS}

    def take(self, text: str) -> None:
        """Add what the next line, *text*, says; raise one of _WRONG if it says nothing."""
        line = json.loads(text, parse_constant=_refuse)
        _right(isinstance(line, dict), "this is no line of a dump")
        _right(not self.ended, "there is more after the end")
        if not self._count:
            _right(line.get("policyd") == "state", "this is not the first line of a dump")
            _right(line["version"] == VERSION, f"only version {VERSION} is known")
            self._secret = bytes.fromhex(line["secret"])
            _right(0 < len(self._secret) <= LONGEST_SECRET, "this is no secret of hashes")
            self._tables.insert("settings", name="secret", value=self._secret)
        elif "policyd" in line:
            _right(line["policyd"] == "end", "another dump begins here")
            _right(line["lines"] == self._count, "lines are missing before this one")
            self.ended = True
        elif "meaning" in line:
            self._begin(line["series"], line["meaning"])
        elif "series" in line:
            self._put(line["series"], line)
        elif "transaction" in line:
            state = transaction(json.dumps(line["transaction"]))
            self._tables.insert("transactions", data=transaction_text(state))
            self._transactions.append(state)
        else:
            ((table, said),) = line.items()
            _right(table in self._ledgers, f"there is no ledger {table}")
            row = {column: _value(value) for column, value in said.items()}
            self._tables.insert(table, **row)
            self._ledgers[table].append(row)
        self._count += 1

    def contents(self) -> Contents:
        """Return all that was said."""
        return Contents(
            self._secret,
            {name: Series(said, -inf, inf, found) for name, (said, found) in self._series.items()},
            transactions=tuple(self._transactions),
            ledgers={table: tuple(found) for table, found in self._ledgers.items()},
        )

    def _begin(self, name: str, meaning: str) -> None:
        _right(name not in self._series, f"the series {name} was there before")
        self._tables.insert("series", name=name, meaning=meaning)
        self._series[name] = meaning, []

    def _put(self, name: str, line: Mapping[str, Any]) -> None:
        """Add the entry that *line* tells of to the series *name*."""
        _right(name in self._series, f"there is no series {name}")
        end, key, value = float(line["end"]), _key(line["key"]), _entry(line)
        _right(isfinite(end), "no bucket ends then")
        _right(isinstance(value, bytes) or type(value) is int, "this is no sum")
        _right(bool(value) and (isinstance(value, bytes) or value > 0), "nothing was counted")
        kind = self._kinds.setdefault(name, type(value))
        _right(kind is type(value), f"the series {name} is of another kind")
        buckets = self._series[name][1]
        last: dict[str, Any] | None = buckets[-1].entries if buckets else None
        if last is None or buckets[-1].end != end or key in last:
            last = {}
            buckets.append(Bucket(end, last))
        last[key] = value


def _things(contents: Contents) -> Iterator[Mapping[str, Any]]:
    yield {"policyd": "state", "version": VERSION, "secret": contents.secret.hex()}
    for name, series in contents.kept.items():
        yield {"series": name, "meaning": series.meaning}
        for end, entries in series.buckets:
            for key, value in entries.items():
                said = _said(name, value)
                yield {"series": name, "end": end, "key": key.split(_KEY), **said}
    for state in contents.transactions:
        yield {"transaction": json.loads(transaction_text(state))}
    for table, ledger in contents.ledgers.items():
        for row in ledger:
            yield {table: {column: _plain(value) for column, value in row.items()}}


def _said(name: str, value: int | bytes) -> Mapping[str, Any]:
    """Return what an entry of the series *name* says."""
    if isinstance(value, int):
        return {"sum": value}
    kind = name.split(maxsplit=1)[0]
    if kind == LIKENESS:
        return {"groups": [group._asdict() for group in unpack(value)]}
    if kind == LIKENESS_CONTENT:
        return {"campaigns": [_campaign(one) for one in campaign.unpack("", value)]}
    if kind in (LIMIT, LADDER):
        return {"members": value.hex(" ", HASH_SIZE).split()}
    return {"verdicts": value.decode("ascii").splitlines()}


def _entry(line: Mapping[str, Any]) -> int | bytes:
    """Return the value of the entry that *line* tells of."""
    if "sum" in line:
        given: int = line["sum"]
        return given
    if "groups" in line:
        return pack(Group(**group) for group in line["groups"])
    if "campaigns" in line:
        return campaign.pack(_campaign_of(**one) for one in line["campaigns"])
    if "members" in line:
        members = [bytes.fromhex(member) for member in line["members"]]
        _right(all(len(member) == HASH_SIZE for member in members), "a member is cut short")
        return b"".join(members)
    return "".join(f"{text}\n" for text in line["verdicts"]).encode("ascii")


def _campaign(one: campaign.Campaign) -> Mapping[str, Any]:
    return {"serial": one.serial, "last": one.last, "forms": one.forms}


def _campaign_of(serial: int, last: float, forms: list[list[int]]) -> campaign.Campaign:
    one = campaign.Campaign("", serial, WallTime(last), tuple(map(tuple, forms)))
    # what is no campaign is told here, and not when the daemon starts
    _right(list(campaign.unpack("", campaign.pack((one,)))) == [one], "this is no campaign")
    return one


def _key(values: Any) -> str:
    _right(isinstance(values, list), "a key is the list of its values")
    return _KEY.join(values)


def _plain(value: Value) -> Any:
    return {"text": value.decode("utf-8", "surrogateescape")} if isinstance(value, bytes) else value


def _value(plain: Any) -> Value:
    if isinstance(plain, dict):
        return str(plain["text"]).encode("utf-8", "surrogateescape")
    if plain is None or type(plain) in (str, int, float):
        value: Value = plain
        return value
    raise DumpError(f"{json.dumps(plain)} is no value of a row")


def _right(condition: bool, complaint: str) -> None:
    if not condition:
        raise DumpError(complaint)


def _refuse(constant: str) -> NoReturn:
    raise DumpError(f"{constant} is no number")


def _words(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"this is no JSON: {error}"
    return reason(error)
