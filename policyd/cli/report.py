"""``policyd report``: what was refused in some days, as text fit for a mail."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterable, Iterator
from functools import partial
from textwrap import wrap

from policyd.cli.admin_client import Answer, add_command, run
from policyd.cli.tables import moment, number_of, shown

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any, Final

_WIDTH: Final = 72
_DAY: Final = 86_400


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to *commands*."""
    parser = add_command(
        commands,
        "report",
        "tell what was refused, and what it led to, fit for a mail",
        "Tell what was refused or would have been, the incidents and suspensions, the senders with "
        "the most of it, and who is near a limit. A message that is sent again counts again.",
        "policyd report --since 7d --mail-to postmaster | /usr/sbin/sendmail -i -t",
    )
    parser.add_argument(
        "--since", metavar="DURATION", help="such as 24h or 30d, which is the most (default: 7d)"
    )
    parser.add_argument(
        "--mail-to",
        type=_address,
        metavar="ADDRESS",
        help="begin with the header of a mail to ADDRESS, for sendmail -t",
    )
    parser.set_defaults(run=_report)


def _address(text: str) -> str:
    if not text.isascii() or not text.isprintable() or not text.strip():
        raise argparse.ArgumentTypeError(f"{text!a} is no address")
    return text


def _report(args: argparse.Namespace) -> int:
    """Print the report."""
    return run(args, "report", partial(_mail, args.mail_to), since=args.since)


def _mail(recipient: str | None, answer: Answer) -> Iterator[str]:
    if recipient is not None:
        yield f"To: {recipient}"
        yield f"Subject: policyd on {socket.gethostname()}: {_in_short(answer)}"
        yield "MIME-Version: 1.0"
        yield "Content-Type: text/plain; charset=utf-8"
        yield "Content-Transfer-Encoding: 8bit"
        yield "Auto-Submitted: auto-generated"
        yield ""
    yield from _lines(answer)


def _in_short(answer: Answer) -> str:
    refused, begun = answer["refused"]["messages"], answer["suspensions"]["begun"]
    told = f"{number_of(refused, 'message')} refused"
    if answer["mode"] == "observe":
        told = f"{number_of(answer['would_refuse']['messages'], 'refusal')} only observed"
    return f"{told}, {begun} suspended" if begun else told


def _lines(answer: Answer) -> Iterator[str]:
    """Yield the report, in lines of at most 72 columns."""
    days = (answer["until_epoch"] - answer["since_epoch"]) / _DAY
    yield from _wrapped(f"policyd report {answer['organization']}".strip())
    yield f"{moment(answer['since'])} to {moment(answer['until'])} ({days:.3g} days)"
    if answer["mode"] == "observe":
        yield from _wrapped("The rules only observe: no limit refuses anything.")
    yield from _refusals("Refused", answer["refused"], "message")
    # a message that several limits would have refused is one under each of them
    would = "Would have been refused by limits that observe"
    yield from _refusals(would, answer["would_refuse"], "refusal")
    yield from _incidents(answer["incidents"])
    yield from _suspensions(answer["suspensions"])
    yield from _near(answer)
    yield ""
    yield from _wrapped(
        "More of it: policyd incidents, policyd incident ID, policyd suspensions --all, and the "
        "log (event=refused, event=would-refuse)."
    )


def _refusals(title: str, told: dict[str, Any], noun: str) -> Iterator[str]:
    yield from _titled(title, number_of(told["messages"], noun) if told["messages"] else "nothing")
    if not told["messages"]:
        return
    yield "  Messages  Recipients  Senders  by"
    for one in told["by"]:
        title = "" if one["title"] in ("", one["limit"]) else f" ({one['title']})"
        by = f"{one['limit']}{title}" if one["limit"] else "the senders' suspension"
        yield from _row(f"{one['messages']:10}  {one['recipients']:10}  {one['senders']:7}", by)
    yield ""
    yield "  Messages  Recipients  Sender, by"
    for one in told["top"]:
        by = one["limit"] or "suspension"
        yield from _row(f"{one['messages']:10}  {one['recipients']:10}", f"{one['sender']}, {by}")
    unnamed = told["senders"] - len({one["sender"] for one in told["top"]})
    if unnamed > 0:
        yield f"  and {number_of(unnamed, 'more sender')}"


def _incidents(told: dict[str, Any]) -> Iterator[str]:
    opened = number_of(told["opened"], "was", "were")
    said = f"{opened} opened" if told["opened"] else "none was opened"
    if told["observed"]:
        said += f", {told['observed']} only observed"
    yield from _titled("Incidents", f"{said}; {told['open']} not over")
    for one in told["newest"]:
        who = one["account"] or one["domain"]
        figures = number_of(one["messages"], "message")
        observed = " (observed)" if one["observed"] else ""
        yield from _row(
            f"  {one['id']}  {moment(one['opened'])[:16]}",
            f"{who}, {one['limit']}{observed}: {figures} to {one['recipients']}",
        )
    older = told["opened"] - len(told["newest"])
    if older > 0:
        yield f"  and {older} older"


def _suspensions(told: dict[str, Any]) -> Iterator[str]:
    figures = f"{told['begun']} begun, {told['ended']} ended, {told['in_force']} in force"
    yield from _titled("Suspensions", figures)
    for one in told["newest"]:
        until = moment(one["until"], "it is lifted")
        state = f"until {until}" if one["holds"] else f"over since {moment(one['lifted'])}"
        said = f"{one['kind']} {one['name']}, {state}, by {one['by']}: {one['reason']}"
        yield from _row("", said)


def _near(answer: Answer) -> Iterator[str]:
    share = f"{answer['near_from']:.0%}"
    near = answer["near"]
    yield from _titled("Near a limit at present", f"{share} of it and more" if near else "nobody")
    if not near:
        return
    yield "      Used         Max  Whose, limit"
    for one in near:
        observed = " (observes)" if one["mode"] == "observe" else ""
        whose = f"{' '.join(one['values'])}, {one['limit']}{observed}"
        yield from _row(f"{one['used']:10}  {one['max']:10}", whose)


def _titled(title: str, figures: str) -> Iterator[str]:
    yield ""
    yield f"{title}: {figures}"


def _row(figures: str, text: str) -> Iterable[str]:
    """Yield a line, or a few: *figures*, and beside them *text*."""
    first = f"{figures}  "
    return wrap(
        shown(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
    )


def _wrapped(text: str) -> Iterable[str]:
    return wrap(shown(text), _WIDTH)
