"""Prometheus's text format, version 0.0.4: families of samples to bytes.

A family has a name, a type and a sentence of help; its samples have labels and a value. Names and
help are ours; values of labels may be anything, and are escaped.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """A *value*; *suffix* is what a sample of a histogram has after the name of its family."""

    value: float
    labels: Labels
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one *name*."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


def counter(name: str, help_: str, value: float) -> Family:
    """Return a family of one number that only grows."""
    return Family(name, COUNTER, help_, [Sample(value, {})])


def gauge(name: str, help_: str, value: float | None) -> Family:
    """Return a family of one number; without a *value* it has no sample."""
    return Family(name, GAUGE, help_, [] if value is None else [Sample(value, {})])


def counters(name: str, help_: str, label: str, values: Mapping[str, float]) -> Family:
    """Return a family of numbers that only grow, by *label*."""
    return Family(name, COUNTER, help_, _by(label, values))


def gauges(name: str, help_: str, label: str, values: Mapping[str, float]) -> Family:
    """Return a family of numbers by *label*."""
    return Family(name, GAUGE, help_, _by(label, values))


def histogram(
    name: str, help_: str, bounds: Sequence[float], numbers: Sequence[int], total: float
) -> Family:
    """Return a histogram: *numbers* between *bounds*, one more above the last; their *total*."""
    up_to = list(accumulate(numbers))
    samples = [
        Sample(number, {"le": _number(bound)}, "_bucket")
        for bound, number in zip((*bounds, math.inf), up_to, strict=True)
    ]
    samples += [Sample(total, {}, "_sum"), Sample(up_to[-1], {}, "_count")]
    return Family(name, HISTOGRAM, help_, samples)


def exposed(families: Iterable[Family]) -> bytes:
    """Return *families* as Prometheus reads them; of one without samples nothing."""
    lines = []
    for family in families:
        if not family.samples:
            continue
        name = family.name
        lines.append(f"# HELP {name} {_escaped(family.help)}")
        lines.append(f"# TYPE {name} {family.kind}")
        lines += [
            f"{name}{one.suffix}{_labels(one.labels)} {_number(one.value)}"
            for one in family.samples
        ]
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def _by(label: str, values: Mapping[str, float]) -> list[Sample]:
    return [Sample(value, {label: name}) for name, value in values.items()]


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
