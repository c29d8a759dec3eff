"""The command line: one module a command, or for a few that belong together."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Final

from policyd import __version__

_MODULES: Final = {
    "serve": "serve",
    "check": "check",
    "schema": "schema",
    "state": "state",
    "notice": "notice",
    "incidents": "incidents",
    "incident": "incidents",
    "suspend": "suspensions",
    "unsuspend": "suspensions",
    "suspensions": "suspensions",
    "exempt": "exemptions",
    "unexempt": "exemptions",
    "exemptions": "exemptions",
}
"""The modules of the commands."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* names; return the exit code.

    0 is success, 1 means that a problem was found. A command line that cannot be understood
    exits with 2. The daemon's side of a command may have more to say (admin_client.py).
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="policyd",
        description="Enforce a mail provider's acceptable-use policy, as Postfix asks.",
    )
    parser.add_argument("--version", action="version", version=f"policyd {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # the rules take longer to import than many a command takes: no more than is asked for
    asked = _MODULES.get(argv[0]) if argv else None
    for module in dict.fromkeys([asked] if asked else _MODULES.values()):
        import_module(f"policyd.cli.{module}").add(commands)
    args = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    run = args.run
    code: int = run(args)
    return code
