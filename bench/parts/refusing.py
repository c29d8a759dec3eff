"""What a refusal costs beside a pass: messages to one recipient, of one size, from few accounts.

Who passes is under limits that are not reached; who is refused has gone beyond *burst* (DEFER), or
beyond *bulk* (REJECT, with an incident). Only the end of each message is told, which is what
decides: so that every request is the one or the other.
"""

from functools import partial
from typing import Any

from bench import measure, rules
from bench.context import Bench, Figures
from bench.measure import Sample
from bench.subjects import Subject

SIZE = 5_000
ACCOUNTS = 100
SHAPE: dict[str, float | str | bool] = {
    "connections": 10,
    "accounts": ACCOUNTS,
    "end_only": True,
    "external": 1,
    "invented": 1,
}


def run(bench: Bench) -> Figures:
    """Return the samples, by what happens to the mail."""
    subjects = {
        "pass": _with(bench, "pass"),
        "deferred": _with(bench, "burst"),
        "rejected": _with(bench, "bulk"),
    }
    with bench.make.running(*subjects.values()):
        for name, subject in subjects.items():
            if name != "pass":
                bench.ask(subject, requests=ACCOUNTS * 20, warm=0, size=SIZE, **SHAPE)
        takers = {name: partial(_taken, bench, subject, name) for name, subject in subjects.items()}
        return measure.in_turns(bench.scale.rounds, takers)


def _with(bench: Bench, limit: str) -> Subject:
    """Return a daemon in which *limit* alone is tight: of the shipped ones, or none."""
    policy: dict[str, Any] = rules.shipped()
    for one in policy["limits"]:
        one["max"] = 2 if one["id"] == limit else rules.UNBOUNDED
    # else a third incident would make it a suspension, which is less work
    policy["ladder"] = {"steps": [{"strikes": 1, "do": "notice"}]}
    return bench.make.policyd(policy, limit)


def _taken(bench: Bench, subject: Subject, name: str, _: int) -> Sample:
    sample = bench.ask(subject, size=SIZE, **SHAPE)
    if sample["passed" if name != "pass" else "refused"]:
        raise RuntimeError(f"{name}: {sample}")
    return sample
