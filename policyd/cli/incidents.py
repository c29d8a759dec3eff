"""``policyd incidents`` and ``policyd incident``: who was refused, and what came of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from policyd.cli.admin_client import Answer, add_command, run
from policyd.cli.suspensions import term
from policyd.cli.tables import bold, exact, facts, listing, moment, number_of

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any, Final

_NOTICES: Final = {
    "none": "none is called for",
    "owed": "owed: to be written, or sent",
    "told": "the administrator was told of {told} recipients",
}
"""What became of the notice."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to *commands*."""
    several = add_command(
        commands,
        "incidents",
        "list the incidents",
        "List the incidents, the newest first: runs of refusals by limits with strike: true. "
        "The figures are the messages and the different external recipients that were attempted.",
        "policyd incidents --open --domain mail.example --since 7d",
    )
    several.add_argument("--account", help="only those of this account")
    several.add_argument("--domain", help="only those of this domain")
    several.add_argument("--open", action="store_true", help="only those that are not over")
    several.add_argument(
        "--since", metavar="DURATION", help="only those with a refusal in this time, such as 7d"
    )
    several.set_defaults(run=_incidents)
    one = add_command(
        commands,
        "incident",
        "show one incident",
        "Show all that is known of one incident, which the reply to the sender, the log and the "
        "notice name.",
        "policyd incident B7DFGH2",
    )
    one.add_argument(
        "id", nargs="+", metavar="ID", help="in capitals or not, with spaces or dashes or without"
    )
    one.set_defaults(run=_incident)


def _incidents(args: argparse.Namespace) -> int:
    """List incidents."""
    wanted = {name: getattr(args, name) for name in ("account", "domain", "since")}
    return run(args, "incidents", _listed, open=args.open, **wanted)


def _listed(answer: Answer) -> Iterator[str]:
    headers = ("ID", "Who", "Limit", "First", "Last", "Messages", "Recipients", "Strike", "State")
    yield from listing(
        headers,
        (
            (
                one["id"],
                one["account"] or one["domain"],
                one["limit"],
                moment(one["opened"]),
                moment(one["last"]),
                one["messages"],
                one["recipients"],
                one["strike"] or "-",
                _state(one),
            )
            for one in answer["incidents"]
        ),
        "no incidents",
        answer["more"],
    )


def _incident(args: argparse.Namespace) -> int:
    """Show an incident."""
    return run(args, "incident", _shown, id=" ".join(args.id))


def _shown(answer: Answer) -> Iterator[str]:
    one = answer["incident"]
    sample = one["sample"]
    yield bold(f"Incident {one['id']}, {_state(one)}")
    yield from facts(
        (
            ("account", one["account"]),
            ("domain", one["domain"]),
            ("limit", f"{one['limit']}, {one['title']}"),
            ("reached", f"{one['used']} of at most {one['max']} in {_duration(one['window'])}"),
            ("first", exact(one["opened"])),
            ("last", exact(one["last"])),
            ("closed", exact(one["closed"])),
            ("attempted", _attempted(one)),
            ("clients", ", ".join(one["clients"])),
            ("sample", f"from {sample['sender'] or '<>'}{_size(sample['size'])}"),
            ("subject", sample["subject"]),
            *(("to", recipient) for recipient in sample["recipients"]),
            ("strike", one["strike"]),
            *(("led to", action) for action in one["actions"]),
            *(("suspension", term(suspension)) for suspension in answer["suspensions"]),
            ("notice", _NOTICES[one["notice"]].format(**one)),
        )
    )


def _state(one: dict[str, Any]) -> str:
    observed = "observed, " if one["observed"] else ""
    return f"{observed}{'open' if one['open'] else 'closed'}"


def _attempted(one: dict[str, Any]) -> str:
    messages = number_of(one["messages"], "message")
    recipients = number_of(one["recipients"], "external recipient")
    return f"{messages} to {recipients}, {number_of(one['attempts'], 'refusal')}"


def _size(size: int) -> str:
    return f", {size} bytes" if size else ""


def _duration(seconds: int) -> str:
    for unit, length, least in (("d", 86400, 172800), ("h", 3600, 3600), ("m", 60, 60)):
        if seconds >= least and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
