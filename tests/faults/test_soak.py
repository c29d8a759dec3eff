"""Mail at a steady rate, from senders who come and go: nothing grows, and all of it is counted.

POLICYD_SOAK=600 goes on for so many seconds, POLICYD_SOAK_RATE=1000 with so many requests each.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from e2e.rules import rule_file
from e2e.waiting import PATIENCE

from policyd.counting.window import bucket_width

from .bystander import ACCOUNT
from .flooded import MB, Figure, Flooded, Others
from .strace import LONG, SEED

SECONDS: Final = float(os.environ.get("POLICYD_SOAK") or (600 if LONG else 15))
RATE: Final = float(os.environ.get("POLICYD_SOAK_RATE") or (1000 if LONG else 200))
LOOKS: Final = 60
SHORT: Final = 2
"""The window, in seconds, of what is counted by who came once and never again."""

KEPT_ANSWERS: Final = 300.0
"""Seconds that answers are kept for; only after these is there as much as there will ever be."""

LIMITS: Final = f"""\
  - {{id: messages, per: [account], count: messages, max: 10000000, window: 24h}}
  - {{id: recipients, per: [account], count: recipients, max: 10000000, window: 24h}}
  - {{id: distinct, per: [account], count: distinct-recipients, max: 10000000, window: 24h}}
  - {{id: bytes, per: [account], count: bytes, max: 100000000MB, window: 24h}}
  - {{id: briefly, per: [sender], count: messages, max: 1000, window: {SHORT}s}}
  - {{id: held, per: [sender, recipient], count: recipients, max: 1000, window: {SHORT}s,
     refuse: recipient}}
"""
RULES: Final = rule_file(LIMITS, more="state: {snapshot_every: 5s}\n")


def test_nothing_grows_and_all_is_counted(tmp_path: Path, figure: Figure) -> None:
    soaked = Flooded(tmp_path, RULES)
    soaked.start()
    try:
        with Others(soaked.port) as others:
            memory, descriptors, sent = _soak(soaked)
            status = soaked.status()
        rate = sent["requests"] / SECONDS
        figure(
            f"{sent['requests']} requests at {rate:.0f}/s; memory {memory[0] // MB} MB at first, "
            f"{max(memory[LOOKS // 2 :]) // MB} MB at most in the second half, "
            f"{memory[-1] // MB} MB at last"
        )
        others.were_served(figure, " meanwhile")
        assert list(sent["actions"]) == ["action=DUNNO"]
        assert memory[-1] - memory[_settled()] < 5 * MB + memory[-1] // 20
        assert max(descriptors[LOOKS // 2 :]) <= max(descriptors[: LOOKS // 2]) + 2
        assert status["faults"] == 0
        assert status["open_transactions"] <= 2  # and those of the others
        told = soaked.told("state-problem") + soaked.told("state-trouble")
        assert told == []
        assert soaked.stop() == 0
        counted = _on_disk(soaked)
        for limit, by_account in sent["sums"].items():
            mine = {sender: used for sender, used in counted[limit].items() if sender != ACCOUNT}
            assert mine == by_account, limit
        assert not _long_gone(sent["ends"]) & counted["briefly"].keys()
    finally:
        soaked.close()


def _soak(soaked: Flooded) -> tuple[list[int], list[int], dict[str, Any]]:
    """Send mail; return how much memory and descriptors were used meanwhile, and what was sent."""
    words = ["-m", "faults.steady", str(soaked.port), str(RATE), str(SECONDS), str(SEED)]
    memory, descriptors = [], []
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for _ in range(LOOKS):
            time.sleep(SECONDS / LOOKS)
            memory.append(soaked.memory)
            descriptors.append(soaked.descriptors)
        said, _ = process.communicate(timeout=PATIENCE)
    return memory, descriptors, json.loads(said)


def _settled() -> int:
    """Return the first look after which nothing has a reason to grow."""
    return int(LOOKS * min(0.6, (KEPT_ANSWERS + 30) / SECONDS))


def _on_disk(soaked: Flooded) -> dict[str, Counter[str]]:
    """Return by limit what is kept of each sender."""
    counted: dict[str, Counter[str]] = {}
    members: dict[tuple[str, str], set[str]] = {}
    for text in soaked.kept().splitlines():
        line = json.loads(text)
        kind, _, limit = line.get("series", "").partition(" ")
        if kind == "limit" and "key" in line:
            sender = line["key"][0]
            amounts = counted.setdefault(limit, Counter())
            amounts[sender] += line.get("sum", 0)
            # who got mail again stands in two buckets, of which the earlier is not written anew
            known = members.setdefault((limit, sender), set())
            found = set(line.get("members", ())) - known
            known |= found
            amounts[sender] += len(found)
    return counted


def _long_gone(ends: list[tuple[float, str]]) -> set[str]:
    """Return who came once, and so long ago that nothing may be known of him any more."""
    latest = ends[-1][0] - SHORT - bucket_width(SHORT) - SECONDS / 3
    gone = {sender for moment, sender in ends if moment < latest}
    assert gone
    return gone
