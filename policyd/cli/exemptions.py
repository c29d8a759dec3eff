"""``policyd exempt``, ``unexempt`` and ``exemptions``: whom no limit holds to, for a time."""

import argparse
from collections.abc import Iterator

from policyd.cli.admin_client import Answer, add_command, run
from policyd.cli.tables import listing, moment, shown


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to *commands*."""
    exempting = add_command(
        commands,
        "exempt",
        "let no limit hold to an account, a client or a recipient",
        "Let no limit hold to an account, a client address or network, or a recipient, and count "
        "that mail nowhere, beside what the rule file exempts. It lifts no suspension.",
        "policyd exempt account ceo@mail.example --for 24h --reason report",
    )
    _add_whom(exempting)
    exempting.add_argument(
        "--for",
        dest="lasts",
        required=True,
        metavar="DURATION",
        help="such as 90s, 10m, 24h or 7d; or ever",
    )
    exempting.add_argument("--reason", required=True, metavar="TEXT", help="for the record")
    exempting.set_defaults(run=_exempt)
    ending = add_command(
        commands,
        "unexempt",
        "take an exemption back",
        "Take back what was exempt by command. What the rule file exempts is ended there.",
        "policyd unexempt client 192.0.2.0/28",
    )
    _add_whom(ending)
    ending.add_argument("--reason", metavar="TEXT", help="for the record")
    ending.set_defaults(run=_unexempt)
    listing = add_command(
        commands,
        "exemptions",
        "list what was exempt by command",
        "List what was exempt by command, the newest first; the rule file has more of them.",
        "policyd exemptions",
    )
    listing.set_defaults(run=_exemptions)


def _add_whom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("account", "client", "recipient"))
    parser.add_argument(
        "name", metavar="NAME", help="a login, a network such as 192.0.2.0/28, an address"
    )


def _exempt(args: argparse.Namespace) -> int:
    """Exempt."""
    fields = {"kind": args.kind, "name": args.name, "for": args.lasts, "reason": args.reason}
    return run(args, "exempt", _exempted, **fields)


def _exempted(answer: Answer) -> Iterator[str]:
    one = answer["exemption"]
    yield shown(
        f"{one['kind']} {one['name']} exempt until {moment(one['until'], 'it is taken back')}"
    )


def _unexempt(args: argparse.Namespace) -> int:
    """Take back."""
    fields = {"kind": args.kind, "name": args.name, "reason": args.reason}
    return run(args, "unexempt", _taken_back, **fields)


def _taken_back(answer: Answer) -> Iterator[str]:
    one = answer["exemption"]
    yield shown(f"{one['kind']} {one['name']} exempt no more; it was: {one['reason']}")


def _exemptions(args: argparse.Namespace) -> int:
    """List."""
    return run(args, "exemptions", _listed)


def _listed(answer: Answer) -> Iterator[str]:
    yield from listing(
        ("Kind", "Name", "Since", "Until", "By", "Reason"),
        (
            (
                one["kind"],
                one["name"],
                moment(one["since"]),
                moment(one["until"], "it is taken back"),
                one["by"],
                one["reason"],
            )
            for one in answer["exemptions"]
        ),
        "nothing is exempt by command",
        answer["more"],
    )
