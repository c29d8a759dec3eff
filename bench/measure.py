"""The same asked of several subjects, in turns, so that what else the machine does hits all."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from math import inf, sqrt
from typing import Any, NamedTuple

from bench.building import load
from bench.subjects import Subject, core

Sample = dict[str, Any]
GRACE = 1.2
"""Seconds after which a daemon has written to its journal what it was asked."""

_LONGEST = 1800.0


def asked(subject: Subject, grace: float = 0.0, **options: float | str | bool) -> Sample:
    """Let the load generator ask *subject*; *options* are its."""
    words = [*core(-1), str(load()), "--port", str(subject.port), "--grace", str(grace)]
    words += ["--watch", ",".join(map(str, subject.pids()))]
    for name, value in options.items():
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(str(value))
    done = subprocess.run(  # noqa: S603
        words, capture_output=True, text=True, timeout=_LONGEST, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{subject.name}: {done.stderr}")
    sample: Sample = json.loads(done.stdout)
    return sample


def filled(subject: Subject, accounts: int) -> None:
    """Let each of *accounts* send a message to one recipient, of which only the end is told."""
    asked(
        subject,
        connections=100,
        accounts=accounts,
        messages=accounts,
        in_order=True,
        end_only=True,
        external=1,
        invented=0,
        similar=1,
    )


def in_turns(
    rounds: int, takers: Mapping[str, Callable[[int], Sample]], at_most: float = inf
) -> dict[str, list[Sample]]:
    """Call each of *takers* with the number of the round, one after the other, in every round.

    Each round begins with another of them, and every other one goes backwards: nobody is always
    first, or always after the same one. None begins after *at_most* seconds.
    """
    taken: dict[str, list[Sample]] = {name: [] for name in takers}
    end = time.monotonic() + at_most
    for number in range(rounds):
        for name in _order(list(takers), number):
            taken[name].append(takers[name](number))
        if time.monotonic() > end:
            break
    return taken


def _order(names: list[str], number: int) -> list[str]:
    first = number // 2 % len(names)
    names = names[first:] + names[:first]
    return names[::-1] if number % 2 else names


def middle(samples: Iterable[Sample], figure: str = "cpu_us") -> float:
    """Return the median of a *figure*."""
    return statistics.median(sample[figure] for sample in samples)


def ratio(these: Iterable[Sample], those: Iterable[Sample], figure: str = "cpu_us") -> float:
    """Return the median of how many times a *figure* of *these* is that of *those* beside it."""
    return statistics.median(_ratios(these, those, figure))


class Spread(NamedTuple):
    """The median, the quartiles, and what the median may be off by (95 of 100 times it is less)."""

    low: float
    middle: float
    high: float
    off: float


def spread(these: Iterable[Sample], those: Iterable[Sample], figure: str = "cpu_us") -> Spread:
    """Return how many times a *figure* of *these* is that of *those* beside it."""
    ratios = _ratios(these, those, figure)
    low, middle, high = statistics.quantiles(ratios, method="inclusive")
    # as the notches of box plots have it: McGill, Tukey and Larsen, 1978
    return Spread(low, middle, high, 1.57 * (high - low) / sqrt(len(ratios)))


def _ratios(these: Iterable[Sample], those: Iterable[Sample], figure: str) -> list[float]:
    return [one[figure] / other[figure] for one, other in zip(these, those, strict=True)]
