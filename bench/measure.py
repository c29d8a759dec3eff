"""The same asked of several subjects, in turns, so that what else the machine does hits all."""

import json
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import Any

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


def in_turns(rounds: int, takers: Mapping[str, Callable[[int], Sample]]) -> dict[str, list[Sample]]:
    """Call each of *takers* with the number of the round, one after the other, in every round."""
    taken: dict[str, list[Sample]] = {name: [] for name in takers}
    for number in range(rounds):
        for name, take in takers.items():
            taken[name].append(take(number))
    return taken


def middle(samples: Iterable[Sample], figure: str = "cpu_us") -> float:
    """Return the median of a *figure*."""
    return statistics.median(sample[figure] for sample in samples)


def ratio(these: Iterable[Sample], those: Iterable[Sample], figure: str = "cpu_us") -> float:
    """Return the median of how many times a *figure* of *these* is that of *those* beside it."""
    return statistics.median(
        one[figure] / other[figure] for one, other in zip(these, those, strict=True)
    )
