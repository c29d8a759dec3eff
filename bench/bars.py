"""What was promised, beside what was found."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bench.context import NOT_COMPILED
from bench.measure import middle, ratio, spread

Found = dict[str, Any]
USUAL = 100_000
"""The accounts that most bars are about; a quick run has fewer."""


class Bar(NamedTuple):
    """*found* and *bar* are for people, *passed* says whether it holds."""

    what: str
    found: str
    bar: str
    passed: bool


def at_most(what: str, value: float, bar: float, unit: str) -> Bar:
    return Bar(what, f"{value:,.2f} {unit}", f"at most {bar:g} {unit}", value <= bar)


def bars(found: Found) -> Iterator[Bar]:
    """Yield the bars about which something was found."""
    for part, say in SAID.items():
        if found.get(part):
            yield from say(found[part])


def accounts_of(samples: dict[str, Any]) -> list[int]:
    """Return the numbers of accounts that were measured."""
    return sorted(int(name) for name in samples if name.isdigit())


def usual(accounts: Sequence[int]) -> int:
    """Return which of *accounts*, which rise, most bars are about."""
    return USUAL if USUAL in accounts else accounts[-1]


def _ours(samples: Found, name: str) -> Iterator[tuple[str, Any]]:
    """Yield our samples, which are called *name*, and those of a daemon that is not compiled."""
    yield "", samples[name]
    if NOT_COMPILED in samples:
        yield "not compiled, ", samples[NOT_COMPILED]


def _growth(growth: Found) -> Iterator[Bar]:
    for connections in ("10", "100"):
        if not (samples := growth.get(connections)):
            continue
        numbers = accounts_of(samples)
        number = usual(numbers)
        where = f"CPU per request, {connections} connections"
        for which, ours in _ours(samples, str(number)):
            here = f"{where}, {number:,} accounts, {which}"
            more = ratio(ours, samples["noop"])
            yield at_most(f"{here}beside the no-op on Twisted", more, 1.35, "times")
            if "postfwd" in samples:
                less = ratio(samples["postfwd"], ours)
                what = f"{here}postfwd beside ours"
                yield Bar(what, f"{less:.1f} times", "at least 6 times", less >= 6)
        most, least = samples[str(numbers[-1])], samples[str(numbers[0])]
        what = f"{where}, {numbers[-1]:,} accounts beside {numbers[0]:,}"
        yield at_most(what, ratio(most, least), 1.15, "times")


def _refusing(samples: Found) -> Iterator[Bar]:
    for name in ("deferred", "rejected"):
        what = f"CPU of a message's end that is {name}, beside a pass"
        yield at_most(what, ratio(samples[name], samples["pass"]), 2, "times")


def _strangers(samples: Found) -> Iterator[Bar]:
    pairs = zip(samples["strangers"], samples["alone"], strict=True)
    more = middle([{"cpu_us": with_them["cpu_us"] - alone["cpu_us"]} for with_them, alone in pairs])
    yield at_most("CPU per request that 200 rules about others add", more, 5, "us")


def _pauses(samples: Found) -> Iterator[Bar]:
    p99, noop = (middle(samples[name], "p99") / 1e3 for name in ("snapshot", "noop"))
    what = f"p99 at 20,000 requests/s during a snapshot (the no-op's is {noop:,.2f} ms)"
    yield at_most(what, p99, 2, "ms")


def _memory(memory: Found) -> Iterator[Bar]:
    yield at_most("memory of a key beside its name, one bucket", memory["one_bucket"], 200, "bytes")
    yield at_most("memory of a key beside its name, 24 buckets", memory["buckets"], 1024, "bytes")
    yield at_most("memory of a heavy sender's recipient", memory["recipient"], 12, "bytes")
    yield at_most("memory of a connection", memory["connection"], 1024, "bytes")


def _starting(starting: Found) -> Iterator[Bar]:
    took = sorted(starting["keys"])[len(starting["keys"]) // 2]
    yield at_most(f"start with {starting['keys_number']:,} keys", took, 3, "s")


def _stalls(stalls: Found) -> Iterator[Bar]:
    worst = max((seconds for seconds, _ in stalls["worst"]), default=0.0)
    yield at_most("CPU of the longest turn of the reactor", worst * 1e3, 5, "ms")


def _postfix(samples: Found) -> Iterator[Bar]:
    what = "fewer messages/s through Postfix than with the responder in C"
    for which, ours in _ours(samples, "policyd"):
        kept = spread(ours, samples["responder"], "per_second")
        low, fewer, high = ((1 - one) * 100 for one in (kept.high, kept.middle, kept.low))
        found = (
            f"{fewer:.1f} %, give or take {kept.off * 100:.1f} (quartiles {low:.1f}, {high:.1f})"
        )
        yield Bar(f"{which}{what}", found, "at most 3 %", fewer <= 3)


SAID = {
    "growth": _growth,
    "refusing": _refusing,
    "strangers": _strangers,
    "pauses": _pauses,
    "memory": _memory,
    "starting": _starting,
    "stalls": _stalls,
    "postfix": _postfix,
}
