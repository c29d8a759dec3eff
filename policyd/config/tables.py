"""Mappings whose keys are declared, each once: its kind, its default and what it means.

From the declarations come the reading, the hints at unknown keys and the JSON Schema.
"""

from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from policyd.config.kinds import Kind, Schema, Written, refuse_nothing, shown, suggestion
from policyd.config.nodes import Listing, Mapping, Node, Scalar
from policyd.config.problem import Place, Problems, RuleError, quoted

T = TypeVar("T")


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
        refuse_nothing(node)
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
