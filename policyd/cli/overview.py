"""``policyd status``, ``limits`` and ``top``: the daemon at work."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from policyd.cli.admin_client import Answer, add_command, run
from policyd.cli.tables import facts, moment, table

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to *commands*."""
    status = add_command(
        commands,
        "status",
        "show how the daemon does",
        "Show what the daemon does: its rules, requests, counts and state.",
        "policyd status",
    )
    status.set_defaults(run=_status)
    limits = add_command(
        commands,
        "limits",
        "list the limits, and how many are near them",
        "List the limits with the keys that each counts, those that are near their maximum (80 "
        "percent), and those that have no room left. All keys are looked at, a few at a time.",
        "policyd limits",
    )
    limits.set_defaults(run=_limits)
    top = add_command(
        commands,
        "top",
        "list who is nearest to a limit",
        "List what is nearest to its maximum. All keys are looked at, a few at a time.",
        "policyd top --limit bulk --number 10",
    )
    top.add_argument("--limit", metavar="ID", help="only this limit")
    top.add_argument("--domain", help="only accounts of this domain, and the domain itself")
    top.add_argument("-n", "--number", metavar="N", help="how many (default: 20)")
    top.set_defaults(run=_top)


def _status(args: argparse.Namespace) -> int:
    """Show the status."""
    return run(args, "status", _told, is_well=lambda answer: not answer["state"]["trouble"])


def _told(answer: Answer) -> Iterator[str]:
    state = answer["state"]
    trouble = "trouble: the disk takes nothing; " if state["trouble"] else ""
    ages = [
        f"{name} {ago(state[f'{name}_age'])}"
        for name in ("journal", "snapshot", "copy")
        if state[f"{name}_age"] is not None
    ]
    enforcing = f"{answer['enforcing']} of {answer['limits']} limits refuse"
    memory = f"{answer['counts_memory'] / 1e6:.1f} MB"
    yield from facts(
        (
            ("version", f"{answer['version']}, core {answer['core']}"),
            ("up", ago(answer["uptime"]).removesuffix(" ago")),
            ("mode", f"{answer['mode']}; {enforcing}"),
            ("listens", ", ".join(answer["listening"])),
            ("connections", str(answer["connections"])),
            *(("requests", one) for one in _requests(answer["requests"])),
            *(("content", one) for one in _contents(answer["contents"])),
            ("faults", answer["faults"]),
            ("messages", f"{answer['open_transactions']} under way"),
            ("counts", f"{answer['keys']} keys, {memory}"),
            ("incidents", f"{answer['incidents_open']} open"),
            ("suspensions", str(answer["suspensions"])),
            ("notices", f"{answer['notices_waiting']} waiting"),
            ("hooks", f"{answer['hooks_waiting']} waiting"),
            ("state", f"{trouble}{', '.join(ages)}"),
            ("reload", _reload(answer["reload"])),
        )
    )


def _contents(shown: dict[str, Any] | None) -> Iterator[str]:
    """Yield what there is to say of content; nothing where none is shown."""
    if shown is None:
        return
    kinds = shown["kinds"]
    known = ", ".join(f"{kind} {number}" for kind, number in kinds.items() if number)
    verbs = ", ".join(f"{verb} {number}" for verb, number in shown["answers"].items())
    yield f"{sum(kinds.values())} messages shown ({verbs}{f'; known by {known}' if known else ''})"
    yield f"{shown['connections']} connections, {shown['waiting']} messages waiting"


def _requests(by_stage: dict[str, dict[str, int]]) -> Iterator[str]:
    for stage, answers in by_stage.items():
        verbs = ", ".join(f"{verb} {number}" for verb, number in answers.items())
        yield f"{stage} {sum(answers.values())}{f' ({verbs})' if verbs else ''}"


def _reload(last: dict[str, Any] | None) -> str:
    if last is None:
        return "none since the start"
    came_of = "obeyed" if last["good"] else "FAILED, the old rules stay; policyd reload says why"
    return f"{moment(last['when'])}, {last['why']}: {came_of}"


def ago(seconds: float) -> str:
    """Return how long ago something was."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _limits(args: argparse.Namespace) -> int:
    """List the limits."""
    return run(args, "limits", _listed)


def _listed(answer: Answer) -> Iterator[str]:
    yield from table(
        ("Limit", "Mode", "Max", "Keys", "Near", "Full"),
        (
            (one["id"], one["mode"], one["max"], one["keys"], one["near"], one["full"])
            for one in answer["limits"]
        ),
    )
    yield ""
    for one in answer["limits"]:
        yield one["sentence"]


def _top(args: argparse.Namespace) -> int:
    """List who is near."""
    fields = {"limit": args.limit, "domain": args.domain, "number": args.number}
    return run(args, "top", _nearest, **fields)


def _nearest(answer: Answer) -> Iterator[str]:
    yield from table(
        ("Percent", "Used", "Max", "Limit", "Key"),
        (
            (f"{one['share'] * 100:.0f}", one["used"], one["max"], one["limit"], _key(one["key"]))
            for one in answer["top"]
        ),
    )
    if not answer["top"]:
        yield "nothing is counted"


def _key(values: list[str]) -> str:
    return " ".join(values)
