"""The results for people: the bars first, then tables of all figures, and curves."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import plot
from bench.bars import accounts_of, bars, usual
from bench.context import NOT_COMPILED
from bench.measure import middle, ratio, spread

Found = dict[str, Any]
CURVES = (NOT_COMPILED, "noop", "responder")
"""Those with a curve of their own, beside ours by accounts."""


def write(found: Found, directory: Path) -> None:
    """Write README.md and the curves to *directory*."""
    text = "\n".join(_lines(found)) + "\n"
    (directory / "README.md").write_text(text, encoding="utf-8")
    _draw(found, directory)


def _lines(found: Found) -> Iterator[str]:
    yield "# What policyd costs"
    yield ""
    yield "Written by `make bench`. CPU is that of the server, with its threads and children, and"
    yield "includes what it writes to its journal afterwards. What is compared was asked in turns;"
    yield "figures are medians, ratios are medians of ratios within a round. Absolute figures move"
    yield "with what else the machine does, ratios much less."
    yield ""
    yield ", ".join(f"{name}: {value}" for name, value in found["machine"].items())
    yield ""
    yield from _table(
        ("", "found", "bar", ""),
        [
            (one.what, one.found, one.bar, "pass" if one.passed else "**fail**")
            for one in bars(found)
        ],
    )
    for part, tell in TOLD.items():
        if found.get(part):
            yield from tell(found[part])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _growth(growth: Found) -> Iterator[str]:
    yield "## CPU per request and latency, closed loop"
    yield ""
    yield "![CPU over accounts](cpu-by-accounts.svg)"
    yield "![CPU over connections](cpu-by-connections.svg)"
    yield ""
    titles = _titles(growth)
    head = "connections, server, CPU us, beside the no-op, requests/s, p50 us, p99 us, max us"
    rows = [
        (
            connections,
            titles[name],
            f"{middle(taken):.1f}",
            f"{ratio(taken, samples['noop']):.2f}",
            f"{middle(taken, 'per_second'):,.0f}",
            *(f"{middle(taken, part):,.0f}" for part in ("p50", "p99", "max")),
        )
        for connections, samples in growth.items()
        for name, taken in samples.items()
    ]
    yield from _table(head.split(", "), rows)


def _titles(growth: Found) -> dict[str, str]:
    """Return what the servers are called that were measured."""
    names = {name: name for samples in growth.values() for name in samples}
    numbers = accounts_of(names)
    names |= {str(number): f"policyd, {number:,} accounts" for number in numbers}
    if NOT_COMPILED in names:
        names[NOT_COMPILED] = f"{NOT_COMPILED}, {usual(numbers):,} accounts"
    return names


def _samples(title: str, head: str, figures: Sequence[str], samples: Found) -> Iterator[str]:
    yield title
    yield ""
    rows = [
        (name, *(f"{middle(taken, figure):,.1f}" for figure in figures))
        for name, taken in samples.items()
    ]
    yield from _table(head.split(", "), rows)


def _refusing(samples: Found) -> Iterator[str]:
    head = "end of a message, CPU us, requests/s, p99 us"
    figures = "cpu_us", "per_second", "p99"
    yield from _samples("## Refusals", head, figures, samples)


def _strangers(samples: Found) -> Iterator[str]:
    head = "shipped rules, CPU us a request, p99 us"
    yield from _samples("## 200 rules about others", head, ("cpu_us", "p99"), samples)


def _pauses(samples: Found) -> Iterator[str]:
    yield from _samples(
        "## Latency in an open loop\n\n![Latency over rate](latency-by-rate.svg)",
        "what, requests/s, p50 us, p99 us, p99.9 us, max us, CPU us",
        ("per_second", "p50", "p99", "p999", "max", "cpu_us"),
        samples,
    )
    yield f"The snapshots: {'; '.join(sample['said'] for sample in samples['snapshot'])}."
    yield ""


def _postfix(samples: Found) -> Iterator[str]:
    yield "## Through a real Postfix"
    yield ""
    yield "Beside the responder: medians of ratios within a round, and their quartiles. Postfix is"
    yield "short of CPU, so messages/s go by what a message takes of it altogether; other work on"
    yield "the machine changes CPU a message as well, but less than messages/s."
    yield ""
    head = (
        "who is asked; messages/s; beside the responder; its CPU us a message; with Postfix's; "
        "beside the responder"
    )
    rows = [
        (
            name,
            f"{middle(taken, 'per_second'):,.1f}",
            _beside(taken, samples["responder"], "per_second"),
            f"{middle(taken):,.1f}",
            f"{middle(taken, 'with_postfix_us'):,.1f}",
            _beside(taken, samples["responder"], "with_postfix_us"),
        )
        for name, taken in samples.items()
    ]
    yield from _table(head.split("; "), rows)


def _beside(these: Found, those: Found, figure: str) -> str:
    found = spread(these, those, figure)
    return f"{found.middle:.3f} ({found.low:.3f} to {found.high:.3f})"


def _memory(memory: Found) -> Iterator[str]:
    yield "## Memory"
    yield ""
    rows = [(name.replace("_", " "), f"{value:,.0f}") for name, value in memory.items()]
    yield from _table(("each", "bytes"), rows)


def _starting(starting: Found) -> Iterator[str]:
    yield "## Starting"
    yield ""
    told = {
        "nothing kept": starting["empty"],
        f"{starting['keys_number']:,} keys of one limit": starting["keys"],
        f"shipped rules, {starting['shipped_accounts']:,} accounts": starting["shipped"],
    }
    rows = [(name, f"{sorted(taken)[len(taken) // 2]:.2f}") for name, taken in told.items()]
    yield from _table(("kept", "seconds to the first answer"), rows)


def _stalls(stalls: Found) -> Iterator[str]:
    yield "## The longest turns of the reactor"
    yield ""
    rows = [(f"{seconds * 1e3:.2f}", done) for seconds, done in stalls["worst"]]
    yield from _table(("CPU ms", "what was done"), rows)


TOLD = {
    "growth": _growth,
    "pauses": _pauses,
    "refusing": _refusing,
    "strangers": _strangers,
    "postfix": _postfix,
    "memory": _memory,
    "starting": _starting,
    "stalls": _stalls,
}


def _draw(found: Found, directory: Path) -> None:
    us = "CPU us per request"
    if growth := found.get("growth"):
        by_accounts: dict[str, plot.Curve] = {}
        by_connections: dict[str, plot.Curve] = {}
        for connections, samples in growth.items():
            numbers = accounts_of(samples)
            curve = [(number, middle(samples[str(number)])) for number in numbers]
            by_accounts[f"{connections} connections"] = curve
            noop = middle(samples["noop"])
            if connections in {"10", "100"}:
                flat = [(number, noop) for number in numbers]
                by_accounts[f"no-op, {connections} connections"] = flat
        for name, title in _titles(growth).items():
            if name.isdigit() or name in CURVES:
                by_connections[title] = [
                    (int(connections), middle(samples[name]))
                    for connections, samples in growth.items()
                ]
        path = directory / "cpu-by-accounts.svg"
        plot.draw(path, "CPU per request over accounts", ("accounts", us), by_accounts)
        path = directory / "cpu-by-connections.svg"
        plot.draw(path, "CPU per request over connections", ("connections", us), by_connections)
    if samples := found.get("pauses"):
        curves = {
            f"{name or 'policyd'} {part}": sorted(
                (taken[0]["rate"], middle(taken, part) / 1e3)
                for what, taken in samples.items()
                if what.startswith("noop" if name else ("at", "quiet"))
            )
            for name in ("", "noop")
            for part in ("p50", "p99")
        }
        path = directory / "latency-by-rate.svg"
        plot.draw(path, "Latency over rate, open loop", ("requests/s", "ms"), curves)
