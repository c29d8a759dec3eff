"""What is kept, mutated: it is refused, or the daemon goes on from it and answers.

A database that is broken is noticed by its checksums. This is about one whose checksums are right,
and that says what no daemon has written: a dump that somebody has edited.
"""

import json
import random
import shutil
import time
from pathlib import Path
from typing import Final

import pytest

from policyd.aup.policy import Policy
from policyd.storage import recovery
from policyd.storage.dump import DumpError, dump, load
from policyd.storage.files import DATABASE

from .form import SEED, seeds, times
from .house import GRAMMAR, SHIPPED, House, recorded, rules
from .mutation import Mutator

pytestmark = pytest.mark.usefixtures("without_threads")

DUMPS: Final = times(120, 5000)
NO_SENSE: Final = "makes no sense"


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """Return the rules that are shipped, so strict that there are incidents and suspensions."""
    text = SHIPPED.read_text(encoding="utf-8").replace("mode: observe", "mode: enforce")
    for most in ("249", "250", "500", "1000"):
        text = text.replace(f"max: {most}\n", "max: 1\n")
    return rules(text.replace("strikes: 3", "strikes: 2"), tmp_path / "policy.yaml")


def answers(house: House, sessions: list[list[bytes]], chance: random.Random, number: int) -> None:
    """See that so many sessions are answered."""
    for _ in range(number):
        server, wire = house.connect()
        for request in chance.choice(sessions):
            server.dataReceived(request)
        assert GRAMMAR.fullmatch(wire.value())
        house.let_pass(chance.choice([1, 1, 4000]))


def made(directory: Path, policy: Policy) -> list[str]:
    """Return the dump of what a daemon leaves that has answered much."""
    house = House(directory, policy)
    answers(house, recorded(), random.Random(1), 100)
    house.restart()
    house.end()
    return list(dump(recovery.read(directory / DATABASE)))


def test_a_mutated_dump_is_refused_or_gone_on_from(tmp_path: Path, policy: Policy) -> None:
    chance = random.Random(SEED)
    sessions = recorded()
    kept = [made(tmp_path / "made", policy), *(one.decode().splitlines() for one in seeds("state"))]
    assert {"incidents", "suspensions"} <= {name for line in kept[0] for name in json.loads(line)}
    mutator = Mutator(chance, [line.encode() for lines in kept for line in lines])
    refused = senseless = 0
    begun = time.monotonic()
    for number in range(DUMPS):
        lines = list(chance.choice(kept))
        for at in chance.sample(range(len(lines)), chance.choice([1, 1, 1, 2])):
            if chance.random() < 0.95:
                lines[at] = json.dumps(mutator.json(json.loads(lines[at])))
            else:
                lines[at] = mutator.raw(lines[at].encode()).decode("utf-8", "replace")
        place = tmp_path / f"state-{number}"
        try:
            contents = load(lines)
            place.mkdir()
            recovery.install(place / DATABASE, contents)
            senseless += _goes_on(place, policy, sessions, chance)
            shutil.rmtree(place)
        except DumpError:
            refused += 1
        except Exception as error:
            (tmp_path / "failed").write_text("\n".join(lines), encoding="utf-8")
            error.add_note(f"the dump is {tmp_path / 'failed'}, seed {SEED}")
            raise
    rate = DUMPS / (time.monotonic() - begun)
    print(f"{DUMPS} dumps at {rate:.0f}/s, {refused} refused, {senseless} made no sense")
    assert DUMPS / 10 < refused < DUMPS * 19 / 20


def _goes_on(
    place: Path, policy: Policy, sessions: list[list[bytes]], chance: random.Random
) -> bool:
    """See that a daemon goes on from *place*; return whether it said that this makes no sense."""
    house = House(place, policy)
    said = house.written.bad
    assert all(NO_SENSE in line for line in said)
    no_sense = bool(said)
    said.clear()
    house.check()
    answers(house, sessions, chance, 3)
    house.check()
    house.let_pass(chance.choice([1, 3600, 86400, 40 * 86400]))
    house.check()
    house.restart()
    house.check()
    house.end()
    return no_sense
