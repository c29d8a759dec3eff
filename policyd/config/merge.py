"""The files of a directory as one rule file: lists are joined, everything else is said once."""

from collections.abc import Container, Sequence

from policyd.config.grammar import CONCATENATED, LOCAL, LOCAL_TABLE
from policyd.config.nodes import Listing, Mapping, Node, Scalar
from policyd.config.problem import Problems


def merged(files: Sequence[Mapping], problems: Problems) -> Mapping:
    """Return the mapping that the *files* come to; a key that two of them have is a problem."""
    if len(files) == 1:
        return files[0]
    return _merged(files, CONCATENATED, problems)


def _merged(files: Sequence[Mapping], joined: Container[str], problems: Problems) -> Mapping:
    said: dict[str, list[tuple[Scalar, Node]]] = {}
    for file in files:
        for key, value in file.entries:
            said.setdefault(key.text, []).append((key, value))
    entries = []
    for name, (first, *others) in said.items():
        key, value = first
        parts = [value, *(other for _, other in others)]
        if others and name in joined:
            value = _concatenated(parts)
        elif others and name == LOCAL.name:
            mappings = [part for part in parts if isinstance(part, Mapping)]
            if len(mappings) == len(parts):
                value = _merged(mappings, {key.name for key in LOCAL_TABLE.keys}, problems)
        else:
            for again, _ in others:
                message = f"{name} is already in {key.place}"
                problems.error(again.place, message, "keep one of the two")
        entries.append((key, value))
    return Mapping(files[0].place, tuple(entries))


def _concatenated(parts: Sequence[Node]) -> Listing:
    items: list[Node] = []
    for part in parts:
        if isinstance(part, Listing):
            items += part.items
        else:
            items.append(part)
    return Listing(parts[0].place, tuple(items))
