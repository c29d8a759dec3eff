"""``policyd schema``: print the JSON Schema of the rule file, for editors."""

import argparse
import json
import sys

from policyd.config.schema import json_schema


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of the rule file",
        description="Print the JSON Schema of the rule file. An editor that knows it completes "
        "keys, explains them and marks mistakes.",
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print the schema."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return 0
