"""``policyd show``: all figures of one account, domain or client."""

import argparse
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from policyd.cli.admin_client import Answer, add_command, run
from policyd.cli.subject import add_subject
from policyd.cli.suspensions import term
from policyd.cli.tables import bold, facts, moment, shown, table

_MOST_KEYS = 5
"""Keys of one limit that are shown; with recipients among them there may be hundreds."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    parser = add_command(
        commands,
        "show",
        "show all figures of an account, a domain or a client",
        "Show what is counted of an account, a domain, or a client address or network, its "
        "strikes, incidents, suspensions and exemptions.",
        "policyd show alice@mail.example",
    )
    add_subject(parser, ("account", "domain", "client"))
    parser.set_defaults(run=_show)


def _show(args: argparse.Namespace) -> int:
    """Show."""
    return run(args, "show", _told, subject=args.subject, kind=args.kind)


def _told(answer: Answer) -> Iterator[str]:
    yield bold(shown(f"{answer['kind']} {answer['name']}"))
    incidents = answer["incidents"]
    grants = answer["exemptions"]
    yield from facts(
        (
            ("strikes", answer["strikes"]),
            *(("suspended", term(one)) for one in answer["suspensions"]),
            *(("incident", _incident(one)) for one in incidents[-10:]),
            *(("exempt", f"{moment(one['until'], 'for ever')}: {one['reason']}") for one in grants),
            *(("exempt", f"by rule: {one}") for one in answer["exempt_by_rule"]),
        )
    )
    by_limit = [list(many) for _, many in groupby(answer["usage"], key=itemgetter("limit"))]
    yield from table(
        ("Limit", "Used", "Max", "Key"),
        (
            (
                one["limit"],
                one["used"],
                "-" if one["max"] is None else one["max"],
                " ".join(one["key"]),
            )
            for many in by_limit
            for one in many[:_MOST_KEYS]
        ),
    )
    for many in by_limit:
        if len(many) > _MOST_KEYS:
            yield f"and {len(many) - _MOST_KEYS} more of {many[0]['limit']}"
    if not by_limit:
        yield "nothing is counted"


def _incident(one: dict[str, object]) -> str:
    state = "open" if one["open"] else "closed"
    return f"{one['id']} {one['limit']}, {moment(str(one['last']))}, {state}"
