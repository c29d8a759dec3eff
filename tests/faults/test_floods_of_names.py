"""Senders, recipients and transactions that are invented: memory stays within its bounds."""

import time
from pathlib import Path
from typing import Any, Final

from e2e import policy
from e2e.rules import ALICE, rule_file
from e2e.waiting import wait_until

from policyd.aup.transaction import GRACE

from .bystander import ACCOUNT
from .flooded import MB, Figure, Flooded, Others, connections, crowd, invent
from .senders import Sent, all_passed, at_rcpt, nonzero, send, total
from .small_disk import mounted
from .strace import LONG
from .victim import ROOMY

NAMES: Final = 10_000_000 if LONG else 15_000
KEYS: Final = 50_000 if LONG else 1000
"""The most for each limit."""

OPEN: Final = 10_000 if LONG else 1000
MAIL_DURING: Final = 200 if LONG else 20

LIMITS: Final = """\
  - {id: messages, per: [account], count: messages, max: 190, window: 24h}
  - {id: distinct, per: [account], count: distinct-recipients, max: 300, window: 24h}
  - {id: from-sender, per: [sender], count: recipients, max: 300, window: 24h}
"""
NEAR: Final = 100
"""Messages after which a sender is near those limits."""

BOUNDED: Final = rule_file(
    LIMITS,
    more=f"overrides: [{{match: {{account: {ACCOUNT}}}, limits: {{'*': unlimited}}}}]\n"
    f"state: {{snapshot_every: 2s, max_keys: {KEYS}, max_memory: 500MB}}\n",
)


def test_invented_senders_and_recipients_take_no_more_than_their_share(
    flooded: Flooded, figure: Figure
) -> None:
    flooded.replace_rules(BOUNDED)
    flooded.reload()
    flooded.wait_until_told("reloaded", 0)
    sent = send(flooded.port, 0, NEAR)
    beginning = flooded.memory
    with Others(flooded.port) as others:
        begun = time.monotonic()
        held = invent(flooded, 0, NAMES)
        rate = NAMES / (time.monotonic() - begun)
    figure(f"{NAMES:,} at {rate:.0f}/s: from {beginning // MB} to {max(held) // MB} MB at most")
    others.were_served(figure, " meanwhile")
    # up to 500,000 answers are kept, and what comes in a second is forgotten after it
    assert max(held) - beginning < 100 * MB + 3 * KEYS * 500 + min(NAMES, 500_000) * 1000
    wait_until(lambda: flooded.status()["keys"] <= 3 * KEYS, "there are no more keys", every=0.5)
    assert flooded.status()["faults"] == 0
    # who is near a limit is not forgotten
    used = {row["limit"]: row["used"] for row in flooded.administer("show", ALICE)["usage"]}
    wanted = total(sent)
    assert used == {name: wanted[name] for name in ("messages", "distinct")}


def test_transactions_that_never_end_take_no_more_than_their_share(
    flooded: Flooded, figure: Figure
) -> None:
    number = connections(OPEN)
    beginning = flooded.memory
    with Others(flooded.port) as others, crowd(flooded.port, number) as clients:
        for at, client in enumerate(clients):
            for recipient in range(3):
                asked = at_rcpt(Sent(f"never.{at}", 3, 1000), recipient)
                assert policy.ask(client, asked) == "DUNNO"
        there = _open(flooded)
        grown = flooded.memory - beginning
        sent = send(flooded.port, 0, MAIL_DURING)
    others.were_served(figure, f" beside {there} open transactions, which took {grown // MB} MB")
    assert number <= there <= number + 2
    assert grown < 50 * MB + number * 20_000
    assert all_passed(sent)
    wait_until(lambda: not _open(flooded), "none is open", every=0.5, patience=GRACE + 60.0)
    assert flooded.stop() == 0
    mine = nonzero(total(sent))
    assert flooded.on_disk().sums == {
        name: figure + (others.seen.answered // 2) * (1000 if name == "bytes" else 1)
        for name, figure in mine.items()
    }


def test_a_flood_while_the_disk_is_full_costs_nobody_anything(
    tmp_path: Path, figure: Figure
) -> None:
    flooded = Flooded(tmp_path, rule_file(ROOMY, more="state: {snapshot_every: 2s}\n"))
    with mounted(flooded.state) as disk:
        try:
            flooded.start()
            with Others(flooded.port) as others:
                disk.fill()
                held = invent(flooded, 0, 3000)
                flooded.wait_until_told("state-trouble", 0)
                disk.make_room()
                flooded.wait_until_told("state-saved-again", 0)
            others.were_served(figure, " while the disk was full")
            assert held[-1] - held[0] < 100 * MB
            assert flooded.stop() == 0
            sums = flooded.on_disk().sums
        finally:
            flooded.close()
    wanted = 3000 + others.seen.answered // 2
    assert {name: used for name, used in sums.items() if name != "bytes"} == dict.fromkeys(
        (name for name in sums if name != "bytes"), wanted
    )
    assert sums["bytes"] == 1000 * wanted


def _open(flooded: Flooded) -> int:
    told: dict[str, Any] = flooded.status()
    number: int = told["open_transactions"]
    return number
