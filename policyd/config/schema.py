"""The JSON Schema of the rule file, for editors."""

from typing import Final

from policyd.config.grammar import CONDITIONS_TABLE, FILE_TABLE
from policyd.config.kinds import Schema

_DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""The newest that editors' YAML support knows in full."""


def json_schema() -> Schema:
    """Return the schema of a rule file.

    It demands no top-level key: a file of a directory holds only some of them.
    """
    return {
        "$schema": _DIALECT,
        "title": "policyd rule file",
        "definitions": {"conditions": CONDITIONS_TABLE.whole_schema()},
        **FILE_TABLE.schema(),
    }
