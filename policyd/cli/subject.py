"""Of whom a command is: an account, a domain, a client."""

import argparse
from collections.abc import Iterable

_SAID = {
    "account": "an account, though it looks like a domain",
    "domain": "a domain",
    "client": "a client",
}


def add_subject(parser: argparse.ArgumentParser, kinds: Iterable[str]) -> None:
    """Add the name of one of *kinds*, and an option for each that says which it is."""
    kinds = tuple(kinds)
    parser.add_argument(
        "subject",
        metavar="|".join(kinds).upper(),
        help="without an @, and with a dot, it is a domain",
    )
    options = parser.add_mutually_exclusive_group()
    for kind in kinds:
        options.add_argument(
            f"--{kind}", dest="kind", action="store_const", const=kind, help=f"it is {_SAID[kind]}"
        )
