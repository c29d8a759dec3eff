"""``policyd explain``: what would become of a request, and why, without counting it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from policyd.cli.admin_client import Answer, add_command, run
from policyd.cli.tables import bold, exact, facts, shown, table

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

_RCPT, _END = "RCPT", "END-OF-MESSAGE"
_MOST_RECIPIENTS = 1000
_MOST_WITH_ROOM = 3
"""Keys of one limit that are shown though they have room."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to *commands*."""
    parser = add_command(
        commands,
        "explain",
        "say what would become of a request, and why",
        "Put a request through the rules and counts of the running daemon, without counting it: "
        "for every limit whether it holds, what it comes to, and the answer. Without a "
        "protocol_state it is a whole message: its recipients, and its end.",
        "policyd explain --account alice@mail.example --recipients 30 --size 20kB",
    )
    parser.add_argument(
        "attributes",
        nargs="*",
        metavar="NAME=VALUE",
        help="attributes as Postfix sends them, such as sasl_username=alice recipient=x@y.example",
    )
    parser.add_argument(
        "--request",
        metavar="FILE",
        help="requests as Postfix sends them, of one message; - is the standard input",
    )
    parser.add_argument("--account", metavar="ACCOUNT", help="who sends")
    parser.add_argument(
        "--recipients",
        metavar="N|ADDRESSES",
        help="so many new external recipients, or these, with commas between",
    )
    parser.add_argument("--size", help="of the message, such as 20kB (default: 3000)")
    parser.add_argument(
        "--buckets", action="store_true", help="show also when what is counted was, and leaves"
    )
    parser.set_defaults(run=_explain)


def _explain(args: argparse.Namespace) -> int:
    """Explain."""
    try:
        requests = list(_changes(_requests(args)))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"policyd: {shown(str(error))}\n")
        return 2
    fields = {"account": args.account, "size": args.size, "buckets": args.buckets}
    return run(args, "explain", _said, requests=requests, **fields)


def _requests(args: argparse.Namespace) -> list[dict[str, str]]:
    """Return the requests; raise ValueError, with a sentence, if there are none."""
    given = dict(map(_attribute, args.attributes))
    if args.request:
        if args.recipients:
            raise ValueError("--request has the recipients already")
        return [one | given for one in _recorded(args.request)]
    if "protocol_state" in given:
        return [given]
    recipients = _recipients(args.recipients) or [given.get("recipient", "")]
    if recipients == [""]:
        raise ValueError("say to whom: recipient=x@y.example, or --recipients")
    if len(recipients) > _MOST_RECIPIENTS:
        raise ValueError(f"at most {_MOST_RECIPIENTS} recipients are explained")
    only = recipients[0] if len(recipients) == 1 else ""
    end = {"protocol_state": _END, "recipient": only, "recipient_count": str(len(recipients))}
    at_rcpt = [
        {**given, "protocol_state": _RCPT, "recipient": one, "recipient_count": "0", "size": "0"}
        for one in recipients
    ]
    return [*at_rcpt, {**given, **end, "size": given.get("size", "")}]


def _recipients(text: str | None) -> list[str]:
    if text is None:
        return []
    if text.isascii() and text.isdecimal():
        return [f"new-{number}@explain.invalid" for number in range(1, int(text[:6]) + 1)]
    return [one.strip() for one in text.split(",") if one.strip()]


def _recorded(path: str) -> Iterator[dict[str, str]]:
    """Yield the requests in a file: lines of name=value, an empty line after each request."""
    if path == "-":
        text = sys.stdin.read()
    else:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:  # noqa: PTH123
            text = file.read()
    for part in text.replace("\r\n", "\n").split("\n\n"):
        if lines := [line for line in part.split("\n") if line]:
            yield dict(map(_attribute, lines))


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"{text[:60]!r} is no attribute; write name=value")
    return name, value


def _changes(requests: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Yield of each request what is not as it was in the one before it."""
    before: dict[str, str] = {}
    for one in requests:
        gone = {name: "" for name in before if name not in one}
        yield {name: value for name, value in one.items() if before.get(name) != value} | gone
        before = one


def _said(answer: Answer) -> Iterator[str]:
    who = answer["account"] or "nobody: there is no login"
    yield from facts(
        (
            ("account", who if answer["logged_in"] or not answer["account"] else f"{who}, claimed"),
            ("domain", answer["domain"]),
            ("client", answer["client_address"]),
            *(("exempt", one.rstrip(": ")) for one in answer["exemptions"]),
            ("suspended", _suspended(answer["suspension"])),
        )
    )
    for step in answer["steps"]:
        yield ""
        yield from _step(step)


def _suspended(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    said = f"{one['kind']} {one['name']}, by {one['by']}: {one['reason']}"
    return said if one["refuses"] else f"{said}; but {one['spares']}"


def _step(step: dict[str, Any]) -> Iterator[str]:
    others = f" and {step['requests'] - 1} more alike" if step["requests"] > 1 else ""
    about = step["recipient"] or f"{step['recipients']} recipients"
    size = f", {step['size']} bytes" if step["stage"] == _END else ""
    yield bold(shown(f"{step['stage'] or 'no stage'}: {about}{size}{others}"))
    yield shown(f"  answer  {step['answer']}")
    if step["why"]:
        yield shown(f"  because {step['why']}")
    if step["limits"]:
        yield from table(
            ("", "Limit", "Used", "Held", "Added", "Max", "Room", "Key", "Why"),
            (row for one in step["limits"] for row in _rows(one, step)),
        )
    for one in step["limits"]:
        for key in one["keys"]:
            yield from _buckets(one, key)


def _rows(one: dict[str, Any], step: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    most = "-" if one["max"] is None else one["max"]
    if not one["keys"]:
        why = one["why"] if one["why"] != step["why"] else "not looked at"
        yield ("", one["id"], "-", "-", "-", most, "", "", why)
    keys = [key for key in one["keys"] if key["exceeded"]]
    keys += [key for key in one["keys"] if not key["exceeded"]][:_MOST_WITH_ROOM]
    for number, key in enumerate(keys):
        mark = "over" if key["exceeded"] else "ok"
        why = "" if number else "; ".join(filter(None, (one["why"], _override(one))))
        figures = (key["used"], key["reserved"], key["added"])
        yield (mark, one["id"], *figures, most, _room(key), _key(key["key"]), why)
    if more := one["more"] + len(one["keys"]) - len(keys):
        yield ("", one["id"], "-", "-", "-", most, "", f"and {more} more keys", "")


def _override(one: dict[str, Any]) -> str:
    return f"override for {one['override']}" if one["override"] else ""


def _room(key: dict[str, Any]) -> str:
    if not key["exceeded"]:
        return "now"
    return exact(key["room"]) if key["room"] else "not by waiting"


def _key(values: list[str]) -> str:
    return " ".join(value or "(new)" for value in values)


def _buckets(one: dict[str, Any], key: dict[str, Any]) -> Iterator[str]:
    if key.get("buckets"):
        yield ""
        yield shown(f"  {one['id']}, {_key(key['key'])}")
        yield from table(
            ("Until", "Amount", "Leaves"),
            ((exact(b["until"]), b["amount"], exact(b["leaves"])) for b in key["buckets"]),
        )
