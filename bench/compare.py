"""CPU per request of the daemon, of a Twisted server that does nothing, and of one in C.

python -m bench.compare [--policyd PATH] [--connections 10] [--accounts 100000] [--rounds 5]
"""

import argparse

from bench import measure, rules
from bench.subjects import Subject, Subjects

REQUESTS = 30_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policyd", metavar="PATH", help="another checkout's bin/policyd")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    args = parser.parse_args()
    with Subjects([args.policyd] if args.policyd else ()) as make:
        ours, noop, least = make.policyd(rules.shipped()), make.noop(), make.responder()
        with make.running(ours, noop, least):
            measure.filled(ours, args.accounts)
            taken = measure.in_turns(
                args.rounds,
                {
                    subject.name: lambda number, subject=subject: sample(subject, number, args)
                    for subject in (ours, noop, least)
                },
            )
    for name, samples in taken.items():
        print(
            f"{name:10} {measure.middle(samples):6.2f} us CPU a request, "
            f"{measure.ratio(samples, taken['noop']):5.2f} times the no-op; "
            f"p50 {measure.middle(samples, 'p50'):.0f} us, "
            f"{measure.middle(samples, 'per_second'):.0f}/s, "
            f"refused {sum(one['refused'] for one in samples)}"
        )


def sample(subject: Subject, number: int, args: argparse.Namespace) -> measure.Sample:
    return measure.asked(
        subject,
        measure.GRACE,
        connections=args.connections,
        accounts=args.accounts,
        requests=args.requests,
        warm=2000,
        seed=number,
        serial=(number + 1) << 32,
    )


if __name__ == "__main__":
    main()
