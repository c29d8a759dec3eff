"""While the disk takes nothing, what waits for it is at most once more what is counted."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from e2e.rules import rule_file

from policyd.storage.writer import Writer

from .life import Life, without_threads

__all__ = ["without_threads"]

pytestmark = pytest.mark.usefixtures("without_threads")

WINDOW: Final = 600
LIMITS: Final = f"""\
  - {{id: sums, per: [account], count: messages, max: 1000000, window: {WINDOW}s}}
  - {{id: members, per: [account], count: distinct-recipients, max: 1000000, window: {WINDOW}s}}
"""


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    more = "state: {snapshot_every: 1s}\n"
    life = Life(tmp_path / "life", rule_file(LIMITS, more=more))
    yield life
    life.end()


def entries(life: Life) -> int:
    """Return how many entries there are of what is counted."""
    return sum(
        len(counts)
        for _, counter in life.engine.counts.counters()
        for _, counts in counter.usage.buckets().items()
    )


def waiting(life: Life) -> int:
    """Return how many of them wait for the disk, in a snapshot that failed or since."""
    store = life.persistence._store
    return sum(
        len(bucket.entries)
        for pending in (store._pending, *([store._doubt.pending] if store._doubt else ()))
        for name, series in pending.series().items()
        if name.startswith("limit ")
        for bucket in series.buckets
    )


def on_disk(life: Life) -> dict[str, int]:
    sums = dict.fromkeys(life.used(), 0)
    for limit, end, value in life.on_disk():
        if end > life.wall - WINDOW:
            sums[limit] += value
    return sums


@pytest.mark.parametrize("new", [False, True], ids=["the same accounts", "new accounts"])
def test_what_waits_is_at_most_once_more_what_is_counted(
    life: Life, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    most = tries = 0
    tried = life.persistence._not_before
    with monkeypatch.context() as trouble:
        trouble.setattr(Writer, "journal", fails)
        trouble.setattr(Writer, "snapshot", fails)
        # three windows long: what was counted first need not be written any more
        for turn in range(180):
            for at in range(40):
                life.mail(f"u{turn if new else 0}.{at}@sender.example")
            life.let_pass(WINDOW / 60)
            life.flush()
            if life.persistence._not_before > tried:  # as long as nothing is tried, nothing changes
                tried = life.persistence._not_before
                tries += 1
                assert waiting(life) <= entries(life)
            most = max(most, waiting(life))
    assert tries > 20
    assert most >= (2 * 40 * 50 if new else 2 * 40)
    assert life.told()["state-trouble"] == 1
    life.let_pass(61)
    life.flush()
    assert life.told()["state-saved-again"] == 1
    assert life.told()["state-problem"] == 0
    assert waiting(life) == 0
    held = {
        name: sum(sum(counts.values()) for _, counts in counter.usage.buckets().items())
        for name, counter in life.engine.counts.counters()
    }
    assert on_disk(life) == held
