"""Killed at any moment while mail is sent: the last second is lost, and nothing counts twice.

The truth is kept by those who send. What a daemon leaves on the disk names the messages that it
answered, beside what it counted of them, so that both can be compared with the truth.
"""

import random
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Final

from e2e.disk import Disk

from .senders import Senders, Sent, nonzero, total
from .strace import LONG, SEED
from .victim import Victim

KILLS: Final = 100 if LONG else 6
LAST_SECOND: Final = 1.0
"""Seconds before a kill; what was answered earlier is on the disk, if that is not slow."""

_LONGEST: Final = 3.5
"""Seconds between a start and the kill; the first ones come before it serves."""


def test_a_kill_costs_the_last_second_and_nothing_is_counted_twice(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    chance = random.Random(SEED)
    victim = Victim(tmp_path)
    counted: dict[str, Sent] = {}  # what is on the disk
    lost: dict[str, Sent] = {}
    losses: list[float] = []  # seconds
    looks = 0
    victim.start()
    try:
        with Disk(tmp_path) as disk, Senders(victim.port, SEED) as senders:
            for kill in range(KILLS):
                since = victim.mark() if kill else 0
                if kill:
                    victim.launch()
                time.sleep(_LONGEST * (kill + chance.random()) / KILLS)
                moment = time.monotonic()
                assert victim.kill() == -9

                # it began with exactly what the one before had left behind
                if (used := victim.first_used(since)) is not None:
                    looks += 1
                    assert used == total(counted.values())
                there = victim.on_disk()
                assert there.instances <= set(senders.sent)
                assert not there.instances & set(lost)
                counted |= {name: senders.sent[name] for name in there.instances}
                # every message is counted once under every limit, or not at all
                assert there.sums == nonzero(total(counted.values()))
                now_lost = {
                    one.instance: one
                    for one in senders.answered()
                    if one.instance not in counted and one.instance not in lost
                }
                # a write may have to wait for the one before, and either syncs more than once
                last = LAST_SECOND + 4 * disk.slowest
                worst = max((moment - one.answered for one in now_lost.values()), default=0.0)
                assert worst <= last, f"kill {kill} of seed {SEED}"
                losses.append(max(worst, 0.0))
                lost |= now_lost
            victim.start()
            senders.wait_for_answers(20)
        assert victim.stop() == 0
    finally:
        victim.close()
    assert victim.told("state-problem") == victim.told("state-trouble") == []
    assert all(one.verdict == "DUNNO" for one in senders.answered())
    sent = {name: one for name, one in senders.sent.items() if one.answered < inf}
    left = {name: one for name, one in sent.items() if name not in lost}
    unanswered = [one for one in senders.sent.values() if one.answered == inf]
    there = victim.on_disk()
    assert looks > 0
    assert unanswered == []
    assert there.sums == total(left.values())
    figure(
        f"{KILLS} kills, {len(sent)} messages: at most {max(losses):.2f} s lost, "
        f"on average {sum(losses) / KILLS:.2f} s, {len(lost)} messages in all; "
        f"the disk took {disk.slowest:.2f} s at most"
    )
