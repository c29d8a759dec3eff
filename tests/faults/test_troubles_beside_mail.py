"""Signals, a log that nobody reads, a clock that is set: while mail goes on, and for a while."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest
from e2e.daemon import command
from e2e.waiting import wait_until

from .bystander import ACCOUNT
from .flooded import MB, Figure, Flooded, Others, invent
from .senders import all_passed, nonzero, send, total
from .stepped import step
from .strace import LONG, chosen
from .test_clock_steps import STEPS

HANG_UPS: Final = 1000 if LONG else 200
LINES: Final = 100_000 if LONG else 12_000
"""More than may wait, and more than a pipe holds."""

BESIDE: Final = 3.0
"""Seconds after a step of the clock; the journal is written every second."""


def test_a_flood_of_hang_ups_is_a_few_reloads(flooded: Flooded, figure: Figure) -> None:
    idle, held = flooded.descriptors, flooded.memory
    begun = time.monotonic()
    with Others(flooded.port) as others:
        for _ in range(HANG_UPS):
            os.kill(flooded.pid, signal.SIGHUP)
            time.sleep(0.002)
        since = flooded.mark()
        flooded.reload()
        flooded.wait_until_told("reloaded", since)
    reloads = len(flooded.told("reloaded"))
    others.were_served(figure, f" beside {reloads} reloads for {HANG_UPS} signals")
    assert 0 < reloads <= HANG_UPS + 1
    assert not flooded.told("reload-failed")
    assert flooded.memory - held < 50 * MB
    wait_until(lambda: flooded.descriptors <= idle, "no descriptor is left")
    assert time.monotonic() - begun < 0.002 * HANG_UPS + 60
    used = {row["limit"]: row["used"] for row in _of_others(flooded)}
    assert used["messages"] == used["recipients"] == others.seen.answered / 2


def test_a_log_that_nobody_reads_holds_up_nobody(tmp_path: Path, figure: Figure) -> None:
    flooded = Flooded(tmp_path, level="debug")
    flooded.start()
    try:
        with Others(flooded.port) as others, flooded.unheard():
            held = invent(flooded, 0, LINES)
        others.were_served(figure, " while nobody read the log")
        assert held[-1] - held[0] < 100 * MB
        # once somebody does, it is told how much is missing, and goes on
        sent = send(flooded.port, 0, 10)
        flooded.wait_until_told("log-lines-lost", 0)
        lost = sum(int(line["count"]) for line in flooded.told("log-lines-lost"))
        figure(f"{lost} lines were lost")
        assert lost > 1000
        since = flooded.mark()
        sent += send(flooded.port, 1000, 1)
        wait_until(lambda: flooded.first_used(since), "the message is in the log")
        with flooded.unheard():
            sent += send(flooded.port, 2000, 300)
            os.kill(flooded.pid, signal.SIGTERM)
            wait_until(lambda: not flooded.is_running(), "it stops all the same")
        mine = nonzero(total(sent))
        sums = flooded.on_disk().sums
        theirs = LINES + others.seen.answered // 2
        assert sums["messages"] == mine["messages"] + theirs
        assert sums["recipients"] == mine["recipients"] + theirs
    finally:
        flooded.close()


class Stepped(Flooded):
    """A daemon whose wall clock is *wrong_by* so many seconds."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._offset = place / "offset"
        self.wrong_by(0)

    def wrong_by(self, seconds: float) -> None:
        step(self._offset, seconds)

    def _run(self, words: list[str], **options: Any) -> Any:
        program = Path(__file__).with_name("stepped.py")
        arguments = words[len(command()) :]
        return super()._run(
            [sys.executable, str(program), str(self._offset), *arguments], **options
        )


@pytest.mark.parametrize("by", chosen(list(STEPS), 1))
def test_a_step_of_the_clock_holds_up_nobody(tmp_path: Path, figure: Figure, by: str) -> None:
    stepped = Stepped(tmp_path)
    stepped.start()
    try:
        with Others(stepped.port) as others:
            before = send(stepped.port, 0, 20)
            stepped.wrong_by(STEPS[by])
            after = send(stepped.port, 1000, 20)
            # timers go by another clock: what is counted now is on the disk soon
            wanted = len(after) + (0 if STEPS[by] > 86400 else len(before))
            wait_until(lambda: _messages(stepped) >= wanted, "all is on the disk", every=0.3)
            time.sleep(BESIDE)
            stepped.wrong_by(0)
            back = send(stepped.port, 2000, 20)
        others.were_served(figure, " beside a step of the clock and one back")
        assert all_passed(before + after + back)
        assert not stepped.told("state-problem") + stepped.told("state-trouble")
        assert stepped.status()["faults"] == 0
        assert stepped.stop() == 0
        sums = stepped.on_disk().sums
        kept = len(back) + len(after)
        assert kept <= sums["messages"] <= kept + len(before) + others.seen.answered / 2
    finally:
        stepped.close()


def _messages(stepped: Stepped) -> int:
    return stepped.on_disk().sums.get("messages", 0)


def _of_others(flooded: Flooded) -> list[dict[str, Any]]:
    """Return what the others used, by limit."""
    usage: list[dict[str, Any]] = flooded.administer("show", ACCOUNT)["usage"]
    return usage
