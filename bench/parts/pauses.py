"""Latency at 20,000 requests a second while a snapshot of all counts is written.

Beside it the same without a snapshot, at lower rates, and the responder on Twisted: what the
machine itself does to latency is in that one too.
"""

import subprocess
from functools import partial

from bench import measure
from bench.context import Bench, Figures
from bench.measure import Sample
from bench.subjects import Subject

RATE = 20_000
LOWER = (2_000, 8_000)
CONNECTIONS = 100


def run(bench: Bench) -> Figures:
    """Return the samples by what is going on."""
    most = bench.scale.accounts[-1]
    ours, noop = bench.filled(most), bench.make.noop()
    with bench.make.running(noop):
        takers = {
            "snapshot": partial(_during_snapshot, bench, ours, most),
            "quiet": partial(_taken, bench, ours, most, RATE),
            "noop": partial(_taken, bench, noop, most, RATE),
        }
        for rate in LOWER:
            takers[f"at {rate}"] = partial(_taken, bench, ours, most, rate)
            takers[f"noop at {rate}"] = partial(_taken, bench, noop, most, rate)
        return measure.in_turns(max(3, bench.scale.rounds - 2), takers)


def _taken(bench: Bench, subject: Subject, accounts: int, rate: float, _: int) -> Sample:
    return bench.ask(
        subject,
        connections=CONNECTIONS,
        accounts=accounts,
        rate=rate,
        requests=0,
        seconds=bench.scale.seconds,
        warm=int(rate / 4),
    )


def _during_snapshot(bench: Bench, subject: Subject, accounts: int, number: int) -> Sample:
    words = bench.snapshot(subject)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writing:  # noqa: S603
        sample = _taken(bench, subject, accounts, RATE, number)
        said = writing.communicate(timeout=300)[0]
    return sample | {"said": said.strip()}
