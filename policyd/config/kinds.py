"""What a value may be: kinds of values, and of lists and mappings of them.

A kind reads a node into a value, or raises RuleError with the likely fix, and describes itself for
editors.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from policyd.config.nodes import Listing, Mapping, Node, Scalar
from policyd.config.problem import Place, Problems, RuleError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Written = str | int | bool | list[Any] | dict[str, Any]
"""A value as it could stand in the rule file."""
Schema = dict[str, Any]

_FEW: Final = 16
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
            raise RuleError(node.place, message, f"write one value, such as {shown(self.example)}")
        if node.is_empty:
            message = f"{self.noun} is missing here"
            raise RuleError(node.place, message, f"write one, such as {shown(self.example)}")
        return self.parse(node)

    @abstractmethod
    def parse(self, scalar: Scalar) -> T_co:
        """Return the value of *scalar*; raise RuleError when it is none of this kind."""


class Placed(NamedTuple, Generic[T]):
    """A value with the place where it is written."""

    value: T
    place: Place


def refuse_nothing(node: Node) -> None:
    """Raise RuleError for a key that stands alone, as when all below it became a comment."""
    if isinstance(node, Scalar) and node.is_empty:
        raise RuleError(node.place, "there is nothing below this key", "delete it, or fill it")


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
        refuse_nothing(node)
        if not isinstance(node, Listing):
            message = f"a list belongs here, each entry {self._item.noun}"
            raise RuleError(node.place, message, "begin each entry with a dash")
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
            hint = f"add an entry, such as {shown(self.example)}"
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
        refuse_nothing(node)
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
