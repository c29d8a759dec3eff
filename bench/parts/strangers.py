"""What 200 rules cost that are about somebody else."""

from functools import partial

from bench import measure, rules
from bench.context import Bench, Figures
from bench.measure import Sample
from bench.subjects import Subject

NUMBER = 200


def run(bench: Bench) -> Figures:
    """Return the samples with the shipped rules alone, and with 200 more."""
    subjects = {
        "alone": bench.make.policyd(rules.shipped(), "alone"),
        "strangers": bench.make.policyd(rules.with_strangers(NUMBER), "strangers"),
    }
    with bench.make.running(*subjects.values()):
        takers = {name: partial(_taken, bench, one) for name, one in subjects.items()}
        return measure.in_turns(bench.scale.rounds, takers)


def _taken(bench: Bench, subject: Subject, _: int) -> Sample:
    return bench.ask(subject, connections=10, accounts=10_000)
