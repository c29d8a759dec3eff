"""Log lines for the tests: kept, and taken apart again."""

import json
import re

from policyd.service.log_writer import Priority

PAIR = re.compile(r'([a-z_0-9]+)=("(?:[^"\\]|\\.)*"|[^" ]+)(?: |$)')


def parsed(line: str) -> dict[str, str]:
    """Return the fields of *line*, which must be made of nothing else."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(line):
        found = PAIR.match(line, at)
        assert found is not None, line[at:]
        assert found[1] not in fields
        fields[found[1]] = json.loads(found[2]) if found[2].startswith('"') else found[2]
        at = found.end()
    return fields


class Lines:
    """Takes the place of a LogWriter."""

    def __init__(self, least: Priority = Priority.DEBUG) -> None:
        self.least = least
        self.lost = 0
        self.written: list[tuple[Priority, str]] = []

    def write(self, priority: Priority, line: str) -> None:
        self.written.append((priority, line))

    @property
    def fields(self) -> list[dict[str, str]]:
        """The lines, taken apart."""
        return [parsed(line) for _, line in self.written]

    @property
    def events(self) -> list[str]:
        return [fields["event"] for fields in self.fields]
