"""What a value may be, declared once per key: from this come parsing and the JSON Schema.

A *kind* reads a node into a value, or raises RuleError with the likely fix, and describes itself
for editors. A *table* is a mapping whose keys are declared, each with its kind, its default and
what it means.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from policyd.config.nodes import Listing, Mapping, Node, Scalar
from policyd.config.problem import Place, Problems, RuleError, quoted

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Written = str | int | bool | list[Any] | dict[str, Any]
"""A value as it could stand in the rule file."""
Schema = dict[str, Any]

_FEW: Final = 12
"""As many keys are listed when none of them resembles an unknown one."""


class Kind(ABC, Generic[T_co]):
    """What a value must be like.

    *noun* names it with its article; *example* is one, as it could stand in the rule file.
    """

    noun: str
    example: Written

    @abstractmethod
    def read(self, node: Node, problems: Problems) -> T_co:
        """Return the value of *node*.

        Raise RuleError when it is unusable; what is wrong with parts of it goes to *problems*.
        """

    @abstractmethod
    def schema(self) -> Schema:
        """Return the JSON Schema of such a value."""


class ScalarKind(Kind[T_co]):
    """A kind whose values are written as one scalar."""

    def read(self, node: Node, problems: Problems) -> T_co:  # noqa: ARG002 parts have no parts
        """Return the value of *node*, which must be a scalar with something in it."""
        if not isinstance(node, Scalar):
            found = "a list" if isinstance(node, Listing) else "a mapping"
            message = f"{found} stands where {self.noun} belongs"
            raise RuleError(node.place, message, f"write one value, such as {self.example}")
        if node.is_empty:
            message = f"{self.noun} is missing here"
            raise RuleError(node.place, message, f"write one, such as {self.example}")
        return self.parse(node)

    @abstractmethod
    def parse(self, scalar: Scalar) -> T_co:
        """Return the value of *scalar*; raise RuleError when it is none of this kind."""


class Placed(NamedTuple, Generic[T]):
    """A value with the place where it is written."""

    value: T
    place: Place


class WithPlace(Kind[Placed[T]]):
    """The same kind of value, with its place."""

    def __init__(self, kind: Kind[T]) -> None:
        self._kind = kind
        self.noun = kind.noun
        self.example = kind.example

    def read(self, node: Node, problems: Problems) -> Placed[T]:
        """Return the value of *node* and its place."""
        return Placed(self._kind.read(node, problems), node.place)

    def schema(self) -> Schema:
        """Return the schema of the value."""
        return self._kind.schema()


class ListOf(Kind[tuple[T, ...]]):
    """A list; what is wrong with one entry does not hide the others."""

    def __init__(self, item: Kind[T]) -> None:
        self._item = item
        self.noun = "a list"
        self.example = [item.example]

    def read(self, node: Node, problems: Problems) -> tuple[T, ...]:
        """Return the values of the entries that are right."""
        if not isinstance(node, Listing):
            message = f"a list belongs here, each entry {self._item.noun}"
            raise RuleError(node.place, message, "begin each entry with a dash: - ")
        values = []
        for item in node.items:
            try:
                values.append(self._item.read(item, problems))
            except RuleError as error:
                problems.add(error)
        return tuple(values)

    def schema(self) -> Schema:
        """Return the schema of a list."""
        return {"type": "array", "items": self._item.schema()}


class OneOrList(ListOf[T]):
    """A list with at least one entry, or the one entry by itself."""

    def __init__(self, item: Kind[T]) -> None:
        super().__init__(item)
        self.noun = f"{item.noun} or a list"
        self.example = item.example

    def read(self, node: Node, problems: Problems) -> tuple[T, ...]:
        """Return the values of the entries that are right."""
        if isinstance(node, Listing) and not node.items:
            hint = f"write {shown(self.example)}, or delete the key"
            raise RuleError(node.place, "the list is empty", hint)
        if isinstance(node, Listing):
            return super().read(node, problems)
        return (self._item.read(node, problems),)

    def schema(self) -> Schema:
        """Return the schema of an entry or a list of them."""
        return {"anyOf": [self._item.schema(), super().schema() | {"minItems": 1}]}


class MapOf(Kind[tuple[tuple[Placed[str], T], ...]]):
    """A mapping with any keys."""

    def __init__(self, value: Kind[T], example: dict[str, Any]) -> None:
        self._value = value
        self.noun = "a mapping"
        self.example = example

    def read(self, node: Node, problems: Problems) -> tuple[tuple[Placed[str], T], ...]:
        """Return the keys with those values that are right."""
        if not isinstance(node, Mapping):
            hint = f"write {shown(self.example)}"
            raise RuleError(node.place, "keys with values belong here", hint)
        pairs = []
        for key, value in node.entries:
            try:
                pairs.append((Placed(key.text, key.place), self._value.read(value, problems)))
            except RuleError as error:
                problems.add(error)
        return tuple(pairs)

    def schema(self) -> Schema:
        """Return the schema of the mapping."""
        return {"type": "object", "additionalProperties": self._value.schema()}


@dataclass(frozen=True)
class Key(Generic[T]):
    """The declaration of one key: what its value is, what it means, what it is by default.

    The *default* is told as it would be written. A *required* key has none.
    """

    name: str
    kind: Kind[T]
    doc: str
    default: Written | None = None
    required: bool = False


class Record:
    """A mapping that a table has read.

    A required value that is missing, like one that is wrong, is stood in for by its default or by
    an example, so that the checks can go on: the rules are not used then anyway. *flawed* tells
    whether anything in the mapping is wrong.
    """

    def __init__(self, mapping: Mapping) -> None:
        self._place = mapping.place
        self._keys = {key.text: key.place for key, _ in mapping.entries}
        self._nodes = {key.text: value for key, value in mapping.entries}
        self._values: dict[str, Any] = {}
        self._wrong: set[str] = set()
        self.flawed = False

    def __contains__(self, key: Key[Any]) -> bool:
        """Tell whether *key* is written and its value right."""
        return key.name in self._nodes and key.name not in self._wrong

    def has(self, key: Key[Any]) -> bool:
        """Tell whether *key* is written, right or wrong."""
        return key.name in self._nodes

    def __getitem__(self, key: Key[T]) -> T:
        """Return the value of *key*, which is required or has a default."""
        return cast("T", self._values[key.name])

    def get(self, key: Key[T]) -> T | None:
        """Return the value of *key*, or None when there is none."""
        return cast("T | None", self._values.get(key.name))

    def place(self, key: Key[Any] | None = None) -> Place:
        """Return the place of the value of *key*, or else that of the whole mapping."""
        node = self._nodes.get(key.name) if key else None
        return node.place if node else self._place

    def key_place(self, key: Key[Any]) -> Place:
        """Return the place of *key* itself."""
        return self._keys.get(key.name, self._place)

    def read(self, key: Key[Any], problems: Problems) -> None:
        """Read the value of *key*, which may be missing."""
        node = self._nodes.get(key.name)
        errors = problems.errors
        if node is not None:
            try:
                self._values[key.name] = key.kind.read(node, problems)
            except RuleError as error:
                problems.add(error)
            if problems.errors == errors:
                return
            self._wrong.add(key.name)
        elif key.required:
            hint = f"add {key.name}: {shown(key.kind.example)}"
            problems.error(self._place, f"{key.name} is missing", hint)
        if key.name in self._values:
            return
        stand_in = key.kind.example if key.required else key.default
        if stand_in is not None:
            self._values[key.name] = key.kind.read(as_node(stand_in, self._place), Problems())


class Table(Kind[Record]):
    """A mapping whose keys are declared.

    *explanations* say what to do about keys that are often tried and do not exist. A table with a
    *definition* is described once, under that name, and its schema refers there.
    """

    def __init__(
        self,
        noun: str,
        *keys: Key[Any],
        explanations: MappingType[str, str] | None = None,
        definition: str = "",
    ) -> None:
        self.noun = noun
        self._definition = definition
        self.example: Written = {}
        self.keys: Final = keys
        self._explanations = explanations or {}

    def read(self, node: Node, problems: Problems) -> Record:
        """Return the record of a mapping; unknown keys go to *problems*."""
        if not isinstance(node, Mapping):
            names = ", ".join(key.name for key in self.keys[:3])
            hint = f"write keys with values: {names} ..."
            raise RuleError(node.place, f"{self.noun} belongs here", hint)
        errors = problems.errors
        known = {key.name for key in self.keys}
        for key, _ in node.entries:
            if key.text not in known:
                hint = self._explanations.get(key.text) or suggestion(key.text, known)
                problems.error(key.place, f"unknown key {quoted(key.text)}", hint)
        record = Record(node)
        for declared in self.keys:
            record.read(declared, problems)
        record.flawed = problems.errors > errors
        return record

    def schema(self) -> Schema:
        """Return the schema of the mapping, or a reference to its definition."""
        if self._definition:
            # draft 7 ignores what stands beside a plain $ref
            return {"allOf": [{"$ref": f"#/definitions/{self._definition}"}]}
        return self.whole_schema()

    def whole_schema(self) -> Schema:
        """Return the schema of the mapping."""
        schema: Schema = {"type": "object", "additionalProperties": False}
        schema["properties"] = {key.name: _described(key) for key in self.keys}
        if required := [key.name for key in self.keys if key.required]:
            schema["required"] = required
        return schema


def _described(key: Key[Any]) -> Schema:
    schema = {"description": key.doc, **key.kind.schema()}
    if key.default is not None and key.default != {}:
        schema["default"] = key.default
    return schema


def as_node(written: Written, place: Place) -> Node:
    """Return the node of what is *written*, as if it stood at *place*."""
    if isinstance(written, dict):
        entries = ((Scalar(place, key), as_node(value, place)) for key, value in written.items())
        return Mapping(place, tuple(entries))
    if isinstance(written, list):
        return Listing(place, tuple(as_node(item, place) for item in written))
    return Scalar(place, shown(written))


def shown(written: Written) -> str:
    """Return *written* as YAML on one line."""
    if isinstance(written, dict):
        return "{" + ", ".join(f"{key}: {shown(value)}" for key, value in written.items()) + "}"
    if isinstance(written, list):
        return "[" + ", ".join(map(shown, written)) + "]"
    return str(written).lower() if isinstance(written, bool) else str(written)


def suggestion(text: str, known: Iterable[str]) -> str:
    """Return the hint at the one of the *known* names that *text* may be meant to be."""
    names = sorted(known)
    near = difflib.get_close_matches(text.lower()[:100], names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if len(names) <= _FEW:
        return f"known here: {', '.join(names)}"
    return "see the comments of the sample rule file"
