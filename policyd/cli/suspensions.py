"""``policyd suspend``, ``unsuspend`` and ``suspensions``: who may not send."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from policyd.cli.admin_client import Answer, add_command, run
from policyd.cli.subject import add_subject
from policyd.cli.tables import listing, moment, shown

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to *commands*."""
    suspending = add_command(
        commands,
        "suspend",
        "let an account or a domain send no mail",
        "Refuse all mail of an account, or of all accounts of a domain, from now on; also where "
        "the rules only observe.",
        "policyd suspend alice@mail.example --for 24h --reason stolen",
    )
    add_subject(suspending, ("account", "domain"))
    suspending.add_argument(
        "--for",
        dest="lasts",
        metavar="DURATION",
        help="such as 90s, 10m, 24h or 7d (default: until it is lifted)",
    )
    suspending.add_argument(
        "--force", action="store_true", help="also a domain that the rules say never to suspend"
    )
    suspending.add_argument(
        "--reason", required=True, metavar="TEXT", help="for the record, and the sender is told it"
    )
    suspending.set_defaults(run=_suspend)
    lifting = add_command(
        commands,
        "unsuspend",
        "let an account or a domain send mail again",
        "Lift every suspension of an account or a domain. Its strikes count no more.",
        "policyd unsuspend alice@mail.example --reason 'password changed'",
    )
    add_subject(lifting, ("account", "domain"))
    lifting.add_argument("--reason", required=True, metavar="TEXT", help="for the record")
    lifting.set_defaults(run=_unsuspend)
    listing = add_command(
        commands,
        "suspensions",
        "list who may not send",
        "List the suspensions, by the rules or by an administrator, the newest first.",
        "policyd suspensions --all",
    )
    listing.add_argument("--all", action="store_true", help="also those that are over")
    listing.set_defaults(run=_suspensions)


def term(one: dict[str, Any]) -> str:
    """Return what *one* suspension is, in words."""
    until = moment(one["until"], "it is lifted")
    said = f"{one['kind']} {one['name']} from {moment(one['since'])} until {until}"
    said += f", by {one['by']}: {one['reason']}"
    if one["lifted"] and one["lifted_by"] == "time":
        return f"{said}; over"
    if one["lifted"]:
        said += f"; lifted {moment(one['lifted'])} by {one['lifted_by']}: {one['lifted_why']}"
    return said


def _suspend(args: argparse.Namespace) -> int:
    """Suspend."""
    fields = {"subject": args.subject, "kind": args.kind, "reason": args.reason, "for": args.lasts}
    return run(args, "suspend", _suspended, force=args.force, **fields)


def _suspended(answer: Answer) -> Iterator[str]:
    one = answer["suspension"]
    yield shown(
        f"{one['kind']} {one['name']} suspended until {moment(one['until'], 'it is lifted')}"
    )


def _unsuspend(args: argparse.Namespace) -> int:
    """Lift."""
    fields = {"subject": args.subject, "kind": args.kind, "reason": args.reason}
    return run(args, "unsuspend", _lifted, **fields)


def _lifted(answer: Answer) -> Iterator[str]:
    for one in answer["lifted"]:
        yield shown(f"{one['kind']} {one['name']} may send again; it was: {one['reason']}")


def _suspensions(args: argparse.Namespace) -> int:
    """List."""
    return run(args, "suspensions", _listed, all=args.all)


def _listed(answer: Answer) -> Iterator[str]:
    yield from listing(
        ("Kind", "Who", "Since", "Until", "By", "Incident", "Reason"),
        (
            (
                one["kind"],
                one["name"],
                moment(one["since"]),
                _until(one),
                one["by"],
                one["incident"] or "-",
                one["reason"],
            )
            for one in answer["suspensions"]
        ),
        "nobody is suspended",
        answer["more"],
    )


def _until(one: dict[str, Any]) -> str:
    if one["lifted"] and one["lifted_by"] != "time":
        return f"lifted {moment(one['lifted'])}"
    return moment(one["until"], "it is lifted") if one["holds"] else f"over {moment(one['until'])}"
