"""Rule files that were mutated: what is wrong is told, and what is not wrong can be obeyed."""

import random
import time
from pathlib import Path
from typing import Final

import pytest
from config.test_mutations import EVERYTHING, loaded

from .form import SEED, seeds, times
from .house import GRAMMAR, SHIPPED, House, recorded
from .mutation import Mutator

pytestmark = pytest.mark.usefixtures("without_threads")

FILES: Final = times(120, 10_000)
BAD: Final = Path(__file__).parents[1] / "bad_configs"


def test_mutated_rules_are_refused_or_obeyed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    good = [EVERYTHING.encode(), SHIPPED.read_bytes(), *seeds("rules")]
    bad = [path.read_bytes() for path in sorted(BAD.glob("*.yaml"))]
    lines = sorted({line + b"\n" for one in good + bad for line in one.split(b"\n")})
    mutator = Mutator(chance, lines)
    sessions = recorded()
    obeyed = 0
    begun = time.monotonic()
    for number in range(FILES):
        data = mutator.raw(chance.choice(good if chance.random() < 0.6 else bad))
        try:
            policy = loaded(tmp_path / "policy.yaml", data).policy
            if policy is not None:
                house = House(tmp_path / f"state-{number}", policy)
                _answers(house, sessions[number % len(sessions)])
                obeyed += 1
        except Exception as error:
            (tmp_path / "failed.yaml").write_bytes(data)
            error.add_note(f"rules in {tmp_path / 'failed.yaml'}, seed {SEED}")
            raise
    print(f"{FILES} files, {FILES / (time.monotonic() - begun):.0f}/s, {obeyed} were obeyed")
    assert FILES / 20 < obeyed < FILES


def _answers(house: House, session: list[bytes]) -> None:
    """See that a *session* is answered, and that what was counted of it is kept."""
    server, wire = house.connect()
    for request in session:
        server.dataReceived(request)
    assert GRAMMAR.fullmatch(wire.value())
    assert wire.value().count(b"\n\n") == len(session)
    house.let_pass(1)
    house.check()
    house.restart()
    house.check()
    house.end()
