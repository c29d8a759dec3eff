"""``policyd tail``: the last events of the log, and those to come."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from policyd.cli.admin_client import Answer, add_command, follow, run
from policyd.cli.tables import shown

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to *commands*."""
    parser = add_command(
        commands,
        "tail",
        "show the last events",
        "Show the last lines of the daemon's log, of which it remembers a thousand.",
        "policyd tail -f --account alice@mail.example",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with those to come")
    parser.add_argument("--account", help="only what is about this account")
    parser.add_argument("-n", "--number", metavar="N", help="how many (default: 20)")
    parser.set_defaults(run=_tail)


def _tail(args: argparse.Namespace) -> int:
    """Show events."""
    fields = {"account": args.account, "number": args.number}
    if args.follow:
        return follow(args, "tail", _line, "events", follow=True, **fields)
    return run(args, "tail", _told, **fields)


def _told(answer: Answer) -> Iterator[str]:
    yield from map(_line, answer["events"])


def _line(one: dict[str, Any]) -> str:
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(one["time_epoch"]))
    return f"{when}Z {one['level']} {shown(one['line'])}"
