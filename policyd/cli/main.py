"""The command line: one module a command, or for a few that belong together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from policyd import __version__
from policyd.compiled import core

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Final

_MODULES: Final = {
    "serve": "serve",
    "check": "check",
    "doctor": "doctor",
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
    "explain": "explain",
    "status": "overview",
    "limits": "overview",
    "top": "overview",
    "show": "show",
    "reset": "controlling",
    "reload": "controlling",
    "snapshot": "controlling",
    "tail": "tail",
    "report": "report",
    "similar": "similar",
}
"""The modules of the commands."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* names; return the exit code.

    0 is success, 1 means that a problem was found. A command line that cannot be understood
    exits with 2. The daemon's side of a command may have more to say (admin_client.py).
    """
    argv = sys.argv[1:] if argv is None else argv
    # the rules take longer to import than many a command takes: no more than is asked for
    args = make_parser(argv[0] if argv else "").parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    run = args.run
    code: int = run(args)
    return code


def make_parser(command: str = "") -> argparse.ArgumentParser:
    """Return what parses the command line; it knows *command* alone, if there is such a command."""
    parser = argparse.ArgumentParser(
        prog="policyd",
        description="Enforce a mail provider's acceptable-use policy, as Postfix asks.",
    )
    parser.add_argument(
        "--version", action="version", version=f"policyd {__version__}, core {core()}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    asked = _MODULES.get(command)
    for module in dict.fromkeys([asked] if asked else _MODULES.values()):
        import_module(f"policyd.cli.{module}").add(commands)
    return parser
