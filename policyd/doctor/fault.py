"""What the doctor finds: plain values."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Weight(StrEnum):
    """How bad it is: a hint may well be what is wanted."""

    FAULT = "fault"
    HINT = "hint"


class Place(StrEnum):
    """Where the cure is to be written."""

    MAIN = "main.cf"
    MASTER = "master.cf"
    SHELL = "shell"


@dataclass(frozen=True)
class Fault:
    """A fault at *listeners*, as master.cf has them: *what* it is, *why* it matters, the *cure*.

    The lines of the *cure* go to *place*; those for master.cf below the listeners.
    """

    code: str
    listeners: tuple[str, ...]
    what: str
    why: str
    place: Place
    cure: tuple[str, ...]
    weight: Weight = Weight.FAULT


def merged(faults: Iterable[Fault]) -> list[Fault]:
    """Return *faults*, those that several listeners share as one; hints come last."""
    found: dict[Fault, dict[str, None]] = {}
    for fault in faults:
        names = found.setdefault(replace(fault, listeners=()), {})
        names.update(dict.fromkeys(fault.listeners))
    shared = [replace(fault, listeners=tuple(names)) for fault, names in found.items()]
    return sorted(shared, key=lambda fault: fault.weight is Weight.HINT)
