"""The daemon to do something to, and what it leaves on the disk."""

import json
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from e2e.daemon import FIGURES, REPOSITORY, Daemon, Line, command
from e2e.ports import free_ports
from e2e.rules import LEDGER, rule_file
from e2e.waiting import PATIENCE, wait_until

ROOMY: Final = LEDGER.replace("10000", "1000000")
# most of what is found on the disk then is in the buckets already, and the rest in the journal
RULES: Final = rule_file(ROOMY, more="state: {snapshot_every: 2s}\n")


class Kept(NamedTuple):
    """What is on the disk: by limit all that is counted, and the messages with a kept answer."""

    sums: dict[str, int]
    instances: set[str]


class Victim(Daemon):
    """A daemon with the rules of a ledger, whose state is in *state*.

    With *tied* it must obey the permissions of files, even as root.
    """

    def __init__(self, place: Path, *, tied: bool = False) -> None:
        directory = place / "daemon"
        super().__init__(directory, *free_ports(1))
        self.state = directory / "state"
        self.tied = tied
        self.write_rules(RULES)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start it, and do not wait until it serves."""
        self._launch()

    def timed_start(self) -> float:
        """Start it; return how many seconds it took until it served."""
        began = time.monotonic()
        self.start()
        return time.monotonic() - began

    def _launch(self) -> None:
        if self._process:
            self._end(signal.SIGKILL)
        super()._launch()

    def _run(self, words: list[str], **options: Any) -> subprocess.Popen[str]:
        return super()._run([*untied(), *words] if self.tied else words, **options)

    def on_disk(self) -> Kept:
        """Return what a daemon that starts now will find."""
        sums: Counter[str] = Counter()
        instances = set()
        for text in self.kept().splitlines():
            line = json.loads(text)
            if line.get("series") == "verdicts" and "key" in line:
                instances.add(line["key"][1])
            elif "sum" in line or "members" in line:
                sums[_limit(line["series"])] += line.get("sum") or len(line["members"])
        return Kept(dict(sums), instances)

    def first_used(self, since: int) -> dict[str, int] | None:
        """Return what the limits held before the first message that was counted *since*."""
        for line in self.lines[since:]:
            if line.get("event") == "decided" and line["stage"] == "END-OF-MESSAGE":
                # of a message that was repeated there are no figures
                used = {limit: int(used) for limit, used, *_ in FIGURES.findall(line["limits"])}
                if used:
                    return used
        return None

    def told(self, event: str, since: int = 0) -> list[Line]:
        """Return the lines about *event*, of a daemon that need not run any more."""
        return [line for line in self.lines[since:] if line.get("event") == event]

    def second(self) -> "subprocess.CompletedProcess[str]":
        """Start another daemon on the same state, and return how it ended."""
        return subprocess.run(
            [
                *(*command(), "serve", "--config", str(self._rules), "--state", str(self.state)),
                *("--listen", f"unix:{self.state.parent / 'second'}"),
            ],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def replace_rules(self, text: str) -> None:
        """Write new rules, which are read whole or not at all."""
        new = self._rules.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._rules)

    def wait_until_told(self, event: str, since: int, patience: float = PATIENCE) -> None:
        wait_until(lambda: self.told(event, since), f"event={event}", patience)


def untied() -> list[str]:
    """Return how a program is run that may not read what root alone may read."""
    capabilities = "-dac_override,-dac_read_search"
    return [shutil.which("setpriv") or "setpriv", f"--bounding-set={capabilities}", "--"]


def _limit(series: str) -> str:
    kind, name = series.split()
    assert kind == "limit", series
    return name
