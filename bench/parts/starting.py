"""From the call of the daemon to its first answer: with nothing kept, a million keys, and more."""

from bench import measure, rules
from bench.context import Bench, Figures
from bench.subjects import Subject

ROUNDS = 3


def run(bench: Bench) -> Figures:
    """Return seconds."""
    million = bench.scale.million
    one_limit = bench.make.policyd(rules.only(rules.one("messages")), "one limit", "one-limit")
    with bench.make.running(one_limit):
        measure.filled(one_limit, million)
    most = bench.scale.accounts[-1]
    all_limits = bench.release(most)
    all_limits.stop()
    empty = bench.make.policyd(rules.shipped(), "empty")
    subjects = {"empty": empty, "keys": one_limit, "shipped": all_limits}
    found: Figures = {name: [] for name in subjects}
    for _ in range(ROUNDS):
        for name, subject in subjects.items():
            found[name].append(_started(bench, subject))
    return found | {"keys_number": million, "shipped_accounts": most}


def _started(bench: Bench, subject: Subject) -> float:
    with bench.make.running(subject):
        return subject.started_in
