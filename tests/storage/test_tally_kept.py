"""What the report counts is kept, dumped, put back and forgotten like all counts."""

import json
from pathlib import Path

from aup.building import Desk, external, limit, policy
from storage.samples import NOW, SECRET, flat, kept_in, open_store

from policyd.aup.series import Kept
from policyd.aup.tally import Tally
from policyd.storage.contents import Contents
from policyd.storage.dump import dump, load
from policyd.storage.forgetting import forget


def counted() -> Kept:
    """Return what an engine has counted of two senders' refusals."""
    desk = Desk(policy(limit("few", "account", max=3)))
    desk.mail(*external(5))
    desk.mail(*external(4), sasl_username="bob")
    kept = desk.engine.take(desk.now)
    return {name: series for name, series in kept.items() if name.startswith("tally ")}


def told(kept: Kept) -> dict[str, tuple[int, int]]:
    tally = Tally()
    tally.restore(kept, Desk(policy()).now.wall)
    found: dict[str, tuple[int, int]] = {}
    for parts in tally.parts(0.0, 100):
        for key, messages, recipients in parts:
            before = found.get(key, (0, 0))
            found[key] = before[0] + messages, before[1] + recipients
    return found


ALICE = "refused\nfew\nalice@local.example"
BOB = "refused\nfew\nbob@local.example"


def test_both_series_are_there() -> None:
    kept = counted()
    assert set(kept) == {"tally messages", "tally recipients"}
    assert told(kept) == {ALICE: (1, 5), BOB: (1, 4)}


def test_a_dump_shows_them_and_brings_them_back() -> None:
    lines = list(dump(Contents(SECRET, counted())))
    shown = [json.loads(line) for line in lines]
    assert ["refused", "few", "bob@local.example"] in [line.get("key") for line in shown]
    assert told(load(lines).kept) == {ALICE: (1, 5), BOB: (1, 4)}


def test_the_database_keeps_them(tmp_path: Path) -> None:
    kept = counted()
    with open_store(tmp_path) as store:
        store.write(kept, NOW, [], snapshot=False)
        store.write({}, NOW, [], snapshot=False)
    assert kept_in(tmp_path) == flat(kept)


def test_somebody_is_forgotten_and_nobody_else() -> None:
    left, entries = forget(Contents(SECRET, counted()), "Alice@Local.example")
    assert entries == 2
    assert told(left.kept) == {BOB: (1, 4)}
