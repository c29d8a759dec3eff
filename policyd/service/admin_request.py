"""What goes over the admin socket: requests, answers and errors, as plain values and as JSON.

A request is an object with a ``command``, and the fields that this takes: texts, and flags that are
true or false. An answer is an object as well, with ``ok``. All of it is made by strangers until it
is checked here.
"""

import json
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

MOST_ENTRIES: Final = 10_000
"""Entries of a list in one answer."""

_LONGEST_TEXT: Final = 500
_AT_ONCE: Final = 50
"""Entries that are made JSON in one go."""

Fields = Mapping[str, Any]
Table = Sequence[Mapping[str, str]]


class Code(StrEnum):
    """What kind of error it is, for programs."""

    UNKNOWN_COMMAND = "unknown-command"
    USAGE = "usage"
    NO_SUCH = "no-such"
    NOT_ALLOWED = "not-allowed"
    BUSY = "busy"
    FAULT = "fault"


class CommandError(Exception):
    """A command that cannot be carried out, and why, in a sentence for whoever asked."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class Asker(NamedTuple):
    """Who asks: the user *uid*, *on_behalf* of somebody, or of nobody when that is empty."""

    uid: int
    on_behalf: str = ""


class Request:
    """The *texts* and *tables* that a request has, and the *flags* that are true in it."""

    def __init__(
        self,
        asker: Asker,
        texts: Mapping[str, str],
        flags: frozenset[str],
        tables: Mapping[str, Table] | None = None,
    ) -> None:
        self.asker = asker
        self._tables = tables or {}
        self._texts = texts
        self._flags = flags

    def __getitem__(self, name: str) -> str:
        """Return the text of that *name*, empty if there is none."""
        return self._texts.get(name, "")

    def table(self, name: str) -> Table:
        """Return the list of that *name*, empty if there is none."""
        return self._tables.get(name, ())

    def has(self, flag: str) -> bool:
        """Tell whether *flag* is set."""
        return flag in self._flags


class Follow(Protocol):
    """Lines that come to be one after the other, for somebody who reads them."""

    def begin(self, wake: Callable[[], None]) -> None:
        """Call *wake* whenever there is something to be taken."""

    def take(self) -> bytes:
        """Return what there is, nothing if that is nothing yet."""

    def end(self) -> None:
        """Let go: nobody reads any more."""

    @property
    def is_lost(self) -> bool:
        """Whether the reader is so slow that he was given up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say: its *fields*, and a list called *name* of *entries*.

    Each entry is made when it is sent; so a long list costs nobody much at a time. After the line
    of the answer come the lines of *follow*, as they come to be.
    """

    fields: Fields = field(default_factory=dict)
    name: str = ""
    entries: Iterable[Fields] = ()
    follow: Follow | None = None

    def encoded(self) -> Iterator[bytes]:
        """Yield the line of the answer, in parts."""
        head = json.dumps({"ok": True, **self.fields})
        if not self.name:
            yield f"{head}\n".encode("ascii")
            return
        yield f"{head[:-1]}, {json.dumps(self.name)}: [".encode("ascii")
        separator = ""
        entries = iter(self.entries)
        while some := [json.dumps(entry) for entry in islice(entries, _AT_ONCE)]:
            yield f"{separator}{', '.join(some)}".encode("ascii")
            separator = ", "
        yield b"]}\n"


class Command(NamedTuple):
    """A command: what it does, and the fields of its request.

    *needs* are texts that must be there, *takes* those that may be, *flags* are true or false.
    *tables* are lists of objects of texts, and may be there.
    """

    run: Callable[[Request], Answer | Coroutine[Any, Any, Answer]]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def request(self, fields: Fields, uid: int) -> Request:
        """Return what *fields* ask, in the name of the user *uid*.

        Raise CommandError for fields that are missing, unknown or of the wrong kind.
        """
        texts = {
            name: text(name, fields[name])
            for name in (*self.needs, *self.takes)
            if name in fields and fields[name] is not None
        }
        for name in self.needs:
            if not texts.get(name):
                raise CommandError(Code.USAGE, f"{name} is missing")
        for name in fields:
            if name not in (*self.needs, *self.takes, *self.flags, *self.tables, "command", "as"):
                raise CommandError(Code.USAGE, f"there is no field {name[:50]!r} here")
        flags = {name for name in self.flags if _flag(name, fields.get(name, False))}
        # whose name root takes is his own affair; nobody else may speak for others
        on_behalf = text("as", fields["as"]) if uid == 0 and "as" in fields else ""
        tables = {name: _table(name, fields[name]) for name in self.tables if name in fields}
        return Request(Asker(uid, on_behalf), texts, frozenset(flags), tables)


def parsed(line: bytes) -> dict[str, Any]:
    """Return the object that *line* is; raise CommandError if it is none."""
    try:
        fields = json.loads(line.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise CommandError(Code.USAGE, "a request is one JSON object on a line") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("command"), str):
        raise CommandError(Code.USAGE, 'a request is an object with a "command"')
    return fields


def error_line(code: Code, message: str) -> bytes:
    """Return the line of an answer that says what is wrong."""
    answer = {"ok": False, "error": {"code": code.value, "message": message}}
    return f"{json.dumps(answer)}\n".encode("ascii")


def text(name: str, value: object) -> str:
    """Return *value*, the field *name*, as a text on one line; raise CommandError if it is none."""
    if not isinstance(value, str):
        raise CommandError(Code.USAGE, f"{name} is no text")
    line = " ".join(value.split())
    if len(line) > _LONGEST_TEXT:
        raise CommandError(Code.USAGE, f"{name} is longer than {_LONGEST_TEXT} characters")
    if not line.isprintable():
        raise CommandError(Code.USAGE, f"{name} has characters that do not print")
    return line


def _table(name: str, value: object) -> Table:
    """Return *value*, the field *name*, which is bounded by the length of a request."""
    if not isinstance(value, list):
        raise CommandError(Code.USAGE, f"{name} is no list")
    for row in value:
        if not isinstance(row, dict) or not all(map(_is_text, (*row, *row.values()))):
            raise CommandError(Code.USAGE, f"{name} is a list of objects of texts")
    return value


def _is_text(value: object) -> bool:
    """Tell whether *value* is a text that may come over the wire, perhaps not as UTF-8."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise CommandError(Code.USAGE, f"{name} is neither true nor false")
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
