"""CPU per request and latency as accounts and connections grow, beside the responders and peers.

All that is compared is asked in turns in one run; the daemon has the shipped rules, enforcing. One
that is not compiled is beside one that is.
"""

from functools import partial

from bench import measure, peers, rules
from bench.bars import usual
from bench.context import Bench, Figures
from bench.measure import Sample
from bench.subjects import Subject

PEERS_ACCOUNTS = 100_000
PEERS_CONNECTIONS = (10, 100)
PEERS_PART = 20
"""A peer is asked so much less in a sample: it takes so much longer."""


def run(bench: Bench) -> Figures:
    """Return the samples, by connections and subject."""
    scale = bench.scale
    ours = {accounts: bench.filled(accounts) for accounts in scale.accounts}
    about = usual(scale.accounts)
    beside = bench.not_compiled(rules.shipped())
    plain = {"noop": bench.make.noop(), "responder": bench.make.responder()}
    others = {one.name: one for one in peers.available(bench.make)} if bench.peers else {}
    figures: Figures = {}
    with bench.make.running(*beside.values(), *plain.values(), *others.values()):
        for subject in beside.values():
            measure.filled(subject, about)
        for connections in scale.connections:
            takers = {
                str(accounts): partial(_ours, bench, subject, connections, accounts)
                for accounts, subject in ours.items()
            }
            takers |= {
                name: partial(_ours, bench, subject, connections, about)
                for name, subject in beside.items()
            }
            takers |= {
                name: partial(_plain, bench, subject, connections)
                for name, subject in plain.items()
            }
            takers |= {
                name: partial(_other, bench, subject, connections)
                for name, subject in others.items()
                if connections in PEERS_CONNECTIONS
            }
            figures[str(connections)] = measure.in_turns(scale.rounds, takers)
            _shown(connections, figures[str(connections)])
    return figures


def _ours(bench: Bench, subject: Subject, connections: int, accounts: int, _: int) -> Sample:
    sample = bench.ask(subject, connections=connections, accounts=accounts)
    if sample["refused"]:  # then it would not be passing that is measured
        raise RuntimeError(f"{subject.name} refuses: {sample}")
    return sample


def _plain(bench: Bench, subject: Subject, connections: int, _: int) -> Sample:
    return bench.ask(subject, connections=connections, accounts=PEERS_ACCOUNTS)


def _other(bench: Bench, subject: Subject, connections: int, _: int) -> Sample:
    requests = bench.scale.requests // PEERS_PART
    return bench.ask(
        subject, connections=connections, accounts=PEERS_ACCOUNTS, requests=requests, warm=100
    )


def _shown(connections: int, samples: dict[str, list[Sample]]) -> None:
    for name, taken in samples.items():
        print(
            f"  {connections} connections, {name}: {measure.middle(taken):.1f} us, "
            f"{measure.ratio(taken, samples['noop']):.2f} times the no-op"
        )
