"""The command line: one module a command."""

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from policyd import __version__
from policyd.cli import check, schema, serve, state


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* names; return the exit code.

    0 is success, 1 means that a problem was found. A command line that cannot be understood
    exits with 2.
    """
    parser = argparse.ArgumentParser(
        prog="policyd",
        description="Enforce a mail provider's acceptable-use policy, as Postfix asks.",
    )
    parser.add_argument("--version", action="version", version=f"policyd {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (serve, check, schema, state):
        command.add(commands)
    args = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    run = args.run
    code: int = run(args)
    return code
