"""``policyd reset``, ``reload`` and ``snapshot``: have the daemon do something."""

import argparse
import sys
from collections.abc import Iterator

from policyd.cli.admin_client import Answer, add_command, run
from policyd.cli.tables import shown


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to *commands*."""
    resetting = add_command(
        commands,
        "reset",
        "forget what is counted of an account",
        "Forget what is counted of an account under all limits per account, or under one, also on "
        "the disk. Strikes, suspensions and what is counted of its domain stay.",
        "policyd reset alice@mail.example --limit bulk --reason 'mailing was approved'",
    )
    resetting.add_argument("account", metavar="ACCOUNT")
    resetting.add_argument("--limit", metavar="ID", help="only under this limit")
    resetting.add_argument("--reason", required=True, metavar="TEXT", help="for the record")
    resetting.set_defaults(run=_reset)
    reloading = add_command(
        commands,
        "reload",
        "read the rules again",
        "Read the rules again, as SIGHUP does, and say what is wrong with them; then the old ones "
        "stay, and the exit code is 1.",
        "policyd reload",
    )
    reloading.set_defaults(run=_reload)
    writing = add_command(
        commands,
        "snapshot",
        "write a snapshot of the counts",
        "Write a snapshot now; it is on the disk when the command returns.",
        "policyd snapshot",
    )
    writing.set_defaults(run=_snapshot)


def _reset(args: argparse.Namespace) -> int:
    """Forget."""
    fields = {"account": args.account, "limit": args.limit, "reason": args.reason}
    return run(args, "reset", _forgot, **fields)


def _forgot(answer: Answer) -> Iterator[str]:
    for limit, amount in answer["forgot"].items():
        yield shown(f"{answer['account']} starts anew under {limit}; there were {amount}")


def _reload(args: argparse.Namespace) -> int:
    """Reload."""
    return run(args, "reload", _reloaded, is_well=_is_good)


def _is_good(answer: Answer) -> bool:
    return bool(answer["good"])


def _reloaded(answer: Answer) -> Iterator[str]:
    for problem in answer["problems"]:
        sys.stderr.writelines(f"{shown(line)}\n" for line in problem.splitlines())
    if answer["good"]:
        yield f"the rules are obeyed: {answer['mode']}, {len(answer['limits'])} limits"
    else:
        sys.stderr.write("policyd: the old rules stay\n")


def _snapshot(args: argparse.Namespace) -> int:
    """Write."""
    return run(args, "snapshot", _written, is_well=lambda answer: bool(answer["durable"]))


def _written(answer: Answer) -> Iterator[str]:
    if answer["durable"]:
        yield f"written in {answer['took']:.3f} s"
