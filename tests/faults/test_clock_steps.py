"""The clock is set, forward and back, while running and between two runs (POLICY.md "Windows").

A count is forgotten between one window and one window plus one bucket after it was made. What a
step back would put into the future counts as present.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from e2e.rules import rule_file

from policyd.counting.window import bucket_width

from .life import Life, without_threads
from .strace import LONG, SEED

__all__ = ["without_threads"]

pytestmark = pytest.mark.usefixtures("without_threads")

HOUR: Final = 3600
DAY: Final = 24 * HOUR
WINDOWS: Final = {"10m": 600, "24h": DAY, "7d": 7 * DAY}
MOST: Final = 3
STEPS: Final = {
    "+1 s": 1,
    "+1 h": HOUR,
    "+1 d": DAY,
    "+400 d": 400 * DAY,
    "-1 s": -1,
    "-1 h": -HOUR,
    "-1 d": -DAY,
}


def rules(most: int) -> str:
    limits = "".join(
        f"  - {{id: {count}-{window}, per: [account], count: {count}, max: {most},"
        f" window: {window}}}\n"
        for window in WINDOWS
        for count in ("messages", "distinct-recipients")
    )
    return rule_file(limits, more="state: {snapshot_every: 1s}\n")


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[int], Life]]:
    lives = []

    def begin(most: int) -> Life:
        lives.append(Life(tmp_path / "life", rules(most)))
        return lives[-1]

    yield begin
    for life in lives:
        life.end()


def window(limit: str) -> int:
    return WINDOWS[limit.rsplit("-", maxsplit=1)[-1]]


def check_disk(life: Life) -> None:
    """See that on the disk is what is counted, and nothing of it in the future."""
    sums = dict.fromkeys(life.used(), 0)
    for limit, end, value in life.on_disk():
        assert end <= life.wall + bucket_width(window(limit))
        if end > life.wall - window(limit):
            sums[limit] += value
    assert sums == life.used()


@pytest.mark.parametrize("how", ["running", "stopped", "killed"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_forgets_nothing_too_early_and_locks_out_nobody_for_longer(
    begin: Callable[[int], Life], step: str, how: str
) -> None:
    life = begin(MOST)
    life.let_pass(17)
    assert [life.mail() for _ in range(MOST + 1)] == ["DUNNO"] * MOST + ["REJECT"]
    made = life.wall
    life.flush()
    life.wall += STEPS[step]
    life.restart(how)
    after = life.wall
    life.flush()
    since = min(made, after)  # of what is in the future now, this is the present
    moments = {
        after,
        *(since + one - 3 for one in WINDOWS.values()),
        *(since + one + bucket_width(one) + 3 for one in WINDOWS.values()),
    }
    seen = 0
    for moment in sorted(moments):
        if moment > life.wall:
            life.let_pass(moment - life.wall)
        life.flush()
        life.restart(how)
        for limit, used in life.used().items():
            length = window(limit)
            if life.wall < since + length:
                assert used == MOST, limit
                seen += 1
            elif life.wall >= since + length + bucket_width(length):
                assert used == 0, limit
                seen += 1
        life.flush()
        check_disk(life)
        life.engine._check()
        if max(life.used().values()) == MOST:
            assert life.mail() == "REJECT"
    assert seen >= 2 * len(WINDOWS)
    assert life.mail() == "DUNNO"
    assert not {"state-problem", "state-trouble"} & set(life.told())


@pytest.mark.parametrize("number", range(40 if LONG else 4))
def test_no_series_of_steps_counts_anything_twice(
    begin: Callable[[int], Life], number: int
) -> None:
    chance = random.Random(f"{SEED} {number}")
    life = begin(1_000_000)
    # by window, of each message: the last moment that it may count from, and whether it must count
    sent: dict[str, list[tuple[float, bool]]] = {limit: [] for limit in life.used()}

    def judge() -> None:
        for limit, messages in sent.items():
            length = window(limit)
            still = [(min(since, life.wall), must) for since, must in messages]
            sent[limit] = [
                (since, must and life.wall < since + length)
                for since, must in still
                if life.wall < since + length + bucket_width(length)
            ]

    for _ in range(60):
        for _ in range(chance.randint(0, 5)):
            life.mail()
            for messages in sent.values():
                messages.append((life.wall, True))
        life.flush()
        judge()
        life.wall += chance.choice([0, 0, *STEPS.values(), -600, 300, 6 * DAY])
        judge()
        life.restart(chance.choice(["running", "stopped", "killed"]))
        life.flush()
        judge()
        life.let_pass(chance.expovariate(1 / HOUR))
        life.flush()
        judge()
        for limit, used in life.used().items():
            least = sum(must for _, must in sent[limit])
            assert least <= used <= len(sent[limit]), f"{limit}, seed {SEED}"
        check_disk(life)
        life.engine._check()
    assert not {"state-problem", "state-trouble"} & set(life.told())
