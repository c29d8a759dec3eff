"""Rules that are read again and again while mail is sent and written: the counts stay exact."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from e2e.rules import rule_file
from e2e.waiting import wait_until

from .senders import Senders, all_passed, nonzero, send, total
from .strace import LONG, SEED, chosen
from .victim import ROOMY, RULES, Victim

RELOADS: Final = 500 if LONG else 50

# other windows, maxima and places, and a limit that comes and goes: none of it empties the others
PASSING: Final = "  - {id: passing, per: [sender], count: messages, max: 1000000, window: 1h}\n"
OTHER: Final = rule_file(
    PASSING,
    ROOMY.replace("max: 1000000, window: 24h", "max: 2000000, window: 48h"),
    more="state: {snapshot_every: 1s}\n",
)


@pytest.mark.parametrize("end", chosen(["stop", "kill"], 1))
def test_reloads_lose_nothing_and_count_nothing_twice(
    tmp_path: Path, figure: Callable[[str], None], end: str
) -> None:
    chance = random.Random(SEED)
    victim = Victim(tmp_path)
    victim.start()
    try:
        with Senders(victim.port, SEED) as senders:
            for reload in range(RELOADS):
                victim.replace_rules(RULES if reload % 2 else OTHER)
                victim.reload()
                # one reload waits for another; of several that wait, one is done
                time.sleep(chance.uniform(0, 0.06))
            senders.wait_for_answers(20)
        sent = senders.answered()
        victim.wait_until_told("reloaded", 0)
        if end == "kill":
            wanted = nonzero(total(sent))
            wait_until(lambda: ours(victim) == wanted, f"{wanted} is on the disk", every=0.3)
            victim.kill()
        else:
            assert victim.stop() == 0
        reloads = victim.told("reloaded")
        assert len(reloads) > RELOADS / 10
        assert all(line.get("emptied", "passing") == "passing" for line in reloads)
        assert not victim.told("reload-failed")
        assert not victim.told("state-problem") + victim.told("state-trouble")
        assert all_passed(sent)
        assert len(sent) > RELOADS / 10
        assert ours(victim) == nonzero(total(sent))
        since = victim.mark()
        victim.start()
        send(victim.port, 0, 1)
        wait_until(lambda: victim.first_used(since), "the message is in the log")
        used = victim.first_used(since) or {}
        used.pop("passing", None)
        assert used == total(sent)
        figure(f"{len(reloads)} reloads during {len(sent)} messages")
    finally:
        victim.close()


def ours(victim: Victim) -> dict[str, int]:
    """Return what is on the disk of the limits that all rules have."""
    sums = victim.on_disk().sums
    sums.pop("passing", None)
    return sums
