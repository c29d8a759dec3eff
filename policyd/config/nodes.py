"""YAML as a tree of nodes that know their place, without YAML's traps.

PyYAML's loader takes the last of two equal keys, reads ``010`` as 8 and ``12:30`` as 750, and
repeats an alias for as long as there is memory. Here its parser only splits the file into events.
Every scalar stays the text that the administrator wrote, and what a rule file has no need of is an
error: tags, merge keys, a second document, keys that are no scalars.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from policyd.config.problem import Place, Problems, RuleError, Source, quoted
from policyd.config.syntax import explained

_DEEPEST: Final = 20
"""Levels of nesting. The grammar has need of six."""
_MOST_REPEATED: Final = 10_000
"""Values that aliases may repeat, all together."""

_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    "|\r(?!\n)"
)
"""What YAML does not allow, and those line ends that editors do not count as such."""
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What an escape can bring into a value."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as it was written; *quoted* tells ``"010"`` from ``010``."""

    place: Place
    text: str
    quoted: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is no value at all, as after a key that stands alone."""
        return not self.quoted and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Listing:
    """A list."""

    place: Place
    items: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with their values, in the order of the file; no key occurs twice."""

    place: Place
    entries: tuple[tuple[Scalar, "Node"], ...] = ()


Node = Scalar | Listing | Mapping


def decode(name: str, data: bytes) -> Source:
    """Return the text of the file *name*.

    Raise RuleError when the *data* is not UTF-8, or holds characters that no text file should.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RuleError(Place(Source(name)), "the file is UTF-16", "save it as UTF-8")
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        source = Source.of(name, data.decode(errors="replace"))
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        place = _place_after(source, data[: error.start].decode())
        raise RuleError(place, message, "save the file as UTF-8") from None
    source = Source.of(name, text)
    if found := _UNPRINTABLE.search(text):
        message = f"the control character U+{ord(found.group()):04X}"
        raise RuleError(_place_after(source, text[: found.start()]), message, "delete it")
    return source


def _place_after(source: Source, text: str) -> Place:
    return Place(source, text.count("\n") + 1, len(text) - text.rfind("\n"))


def compose(source: Source, problems: Problems) -> Mapping | None:
    """Return the tree of a rule file, or None when there is none; tell *problems* why."""
    try:
        return _Composer(source, problems).document()
    except RuleError as error:
        problems.add(error)
    return None


class _Composer:
    """Builds the tree of one file from the events of PyYAML's parser."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._loader = yaml.SafeLoader("\n".join(source.lines))
        self._anchors: dict[str, Node | None] = {}  # None while the value is being read
        self._values: dict[str, int] = {}  # by anchor: how many values an alias repeats
        self._repeated = 0
        self._read = 0

    def document(self) -> Mapping:
        events = self._events()
        next(events)  # the start of the stream
        event = next(events)
        start = Place(self._source, 1, 1)
        if isinstance(event, yaml.StreamEndEvent):
            raise RuleError(start, "there are no rules in this file", "begin with version: 1")
        root = self._node(next(events), events, 0)
        next(events)  # the end of the document
        following = next(events)
        if isinstance(following, yaml.DocumentStartEvent):
            message = "a second document begins here"
            raise RuleError(self._at(following), message, "delete the line ---")
        if not isinstance(root, Mapping):
            message = "the file does not begin with a key"
            raise RuleError(root.place, message, "write version: 1, mode: observe and so on")
        return root

    def _events(self) -> Iterator[yaml.Event]:
        try:
            while self._loader.check_event():
                yield self._loader.get_event()  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            raise explained(error, self._source) from None
        except (ValueError, OverflowError):
            # PyYAML does not foresee every number in an escape or a directive
            mark = self._loader.get_mark()
            place = Place(self._source, mark.line + 1, mark.column + 1)
            raise RuleError(place, "this is no YAML", "look for a wrong escape") from None

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        assert isinstance(event, yaml.NodeEvent)  # noqa: S101 the parser sends nothing else here
        place = self._at(event)
        if depth > _DEEPEST:
            raise RuleError(place, f"more than {_DEEPEST} levels of nesting", "close the brackets")
        tag = getattr(event, "tag", None)
        if tag is not None:
            name = quoted(tag.replace("tag:yaml.org,2002:", "!!"))
            message = f"the tag {name} is not supported"
            self._problems.error(place, message, "delete it, or put the text in quotes")
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        first = self._read
        self._read += 1
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._listing(events, place, depth)
        else:
            node = self._mapping(events, place, depth)
        if anchor is not None:
            self._anchors[anchor] = node
            self._values[anchor] = self._read - first
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        place = self._at(event)
        name = event.anchor
        if name not in self._anchors:
            message = f"there is no &{name} above for *{name}"
            raise RuleError(place, message, "put text that begins with * in quotes")
        node = self._anchors[name]
        if node is None:
            raise RuleError(place, f"*{name} is inside of &{name}", "write the values out")
        self._read += self._values[name]
        self._repeated += self._values[name]
        if self._repeated > _MOST_REPEATED:
            message = f"aliases repeat more than {_MOST_REPEATED} values"
            raise RuleError(place, message, "write the values out")
        return node

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Scalar:
        if found := _CONTROL.search(event.value):
            message = f"the value holds the control character U+{ord(found.group()):04X}"
            self._problems.error(place, message, "delete the escape")
        return Scalar(place, event.value, quoted=event.style is not None)

    def _listing(self, events: Iterator[yaml.Event], place: Place, depth: int) -> Listing:
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, depth + 1))
        return Listing(place, tuple(items))

    def _mapping(self, events: Iterator[yaml.Event], place: Place, depth: int) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if not isinstance(key, Scalar):
                message = "a list or mapping stands where a key belongs"
                hint = "put text that begins with { or [ in quotes"
                self._problems.error(key.place, message, hint)
            elif key.is_empty:
                self._problems.error(key.place, "a value without a key", "write the key before :")
            elif key.text == "<<" and not key.quoted:
                message = "merge keys (<<) are not supported"
                self._problems.error(key.place, message, "write the keys out")
            elif key.text in entries:
                first = entries[key.text][0].place
                message = f"the key {key.text} is already in line {first.line}"
                self._problems.error(key.place, message, "keep one of the two")
            else:
                entries[key.text] = (key, value)
        return Mapping(place, tuple(entries.values()))

    def _at(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None  # noqa: S101 the parser marks every event
        return Place(self._source, mark.line + 1, mark.column + 1)
