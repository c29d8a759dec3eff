"""``policyd check``: tell what is wrong with the rules, or what they come to."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from policyd.clock import WallTime
from policyd.config.load import load
from policyd.config.problem import Severity
from policyd.config.summary import summarise


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    parser = commands.add_parser(
        "check",
        help="check the rules and say what they come to",
        description="Check the rules as serve does at its start. Tell all mistakes at once, or "
        "else what the rules come to. Exit with 1 if the rules cannot be used.",
    )
    parser.add_argument(
        "rules", type=Path, metavar="FILE", help="the rule file, or a directory of *.yaml"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the rules that *args* name; return 1 if they cannot be used."""
    loaded = load(args.rules, WallTime(datetime.now(UTC).timestamp()))
    for problem in loaded.problems:
        sys.stderr.write(f"{problem}\n")
    if loaded.policy is None:
        errors = sum(problem.severity is Severity.ERROR for problem in loaded.problems)
        sys.stderr.write(f"{errors} {'mistake' if errors == 1 else 'mistakes'}\n")
        return 1
    sys.stdout.write("\n".join(summarise(loaded.policy)) + "\n")
    return 0
