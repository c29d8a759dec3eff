"""Hooks: what is told to whom, when, and how often."""

import socket
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aup.building import policy
from service.happenings import NOON, incident, lifted, opened, suspended
from service.log_lines import Lines
from service.reactors import run, until
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from policyd.aup.event import Event, IncidentClosed
from policyd.aup.ladder_rules import Aftermath, Hook, HookEvent
from policyd.clock import Instant, MonotonicTime, WallTime
from policyd.service import hooks
from policyd.service.hook_running import Beginning
from policyd.service.hooks import Hooks
from policyd.service.maillog import MailLog

ALL = frozenset(HookEvent)
LOCK = Hook(ALL, command=("/sbin/lock", "--now"))
PAGE = Hook(ALL, url="http://127.0.0.1:8080/page")


def rules(*present: Hook) -> Any:
    return policy(aftermath=Aftermath(hooks=present))


def now() -> Instant:
    return Instant(WallTime(NOON), MonotonicTime(0.0))


class Told:
    """A hook that is being told; it ends when the test says so."""

    def __init__(self, hook: Hook, data: bytes, at: float) -> None:
        self.hook = hook
        self.data = data
        self.at = at
        self.ended: Deferred[str] = Deferred()
        self.grace: list[float] = []

    def end(self, grace: float) -> None:
        self.grace.append(grace)


class Bench:
    """Hooks with a clock, a log, and nothing behind them."""

    def __init__(self, *present: Hook) -> None:
        self.rules = rules(*present)
        self.clock = Clock()
        self.lines = Lines()
        self.told: list[Told] = []
        self.begin: Callable[[Hook, bytes], Any] = self._begin
        log = MailLog(self.lines)  # type: ignore[arg-type]
        self.hooks = Hooks(self.clock, lambda: self.rules, log, now, self._begin_now)

    def _begin_now(self, hook: Hook, data: bytes) -> Any:
        return self.begin(hook, data)

    def _begin(self, hook: Hook, data: bytes) -> Told:
        self.told.append(Told(hook, data, self.clock.seconds()))
        return self.told[-1]

    def happens(self, *events: Event) -> None:
        for event in events:
            self.hooks.happened(event)
            self.pause()

    def pause(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def over(self, number: int, why: str = "") -> None:
        """Let what was begun as *number* end."""
        self.told[number].ended.callback(why)
        self.pause()

    @property
    def last(self) -> dict[str, str]:
        return self.lines.fields[-1]


def account(number: int) -> str:
    return f"user{number}@local.example"


def accounts(*numbers: int) -> list[Event]:
    return [suspended(name=account(number)) for number in numbers]


# what is told to whom


def test_each_hook_is_told_of_what_it_asks_for() -> None:
    some = Hook(frozenset({HookEvent.SUSPENDED, HookEvent.LIFTED}), command=("/sbin/some",))
    bench = Bench(LOCK, some)
    bench.happens(opened())
    assert [told.hook for told in bench.told] == [LOCK]
    bench.happens(suspended())
    assert {told.hook for told in bench.told[1:]} == {LOCK, some}
    assert b'"event": "incident-opened"' in bench.told[0].data
    assert b'"time": "2026-05-04T12:00:00Z"' in bench.told[0].data
    assert bench.told[1].data == bench.told[2].data


@pytest.mark.parametrize("event", [opened(observed=True), IncidentClosed(incident())])
def test_hooks_are_not_told_of_anything_else(event: Event) -> None:
    bench = Bench(LOCK)
    bench.happens(event)
    assert bench.told == []
    assert bench.clock.getDelayedCalls() == []


def test_without_hooks_nothing_is_done() -> None:
    bench = Bench()
    bench.happens(suspended())
    assert bench.clock.getDelayedCalls() == []
    assert bench.lines.written == []


def test_nothing_is_begun_while_mail_is_answered() -> None:
    bench = Bench(LOCK)
    bench.hooks.happened(suspended())
    assert bench.told == []
    bench.clock.advance(0)
    assert len(bench.told) == 1


def test_what_was_told_is_logged() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    bench.over(0)
    assert bench.lines.fields == [
        {
            "event": "hook-done",
            "hook": "/sbin/lock --now",
            "on": "suspended",
            "about": "mailbox alice@local.example",
        }
    ]
    assert bench.clock.getDelayedCalls() == []


# again


def test_a_hook_that_fails_is_told_again_and_then_given_up() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    for number, wait in enumerate((10.0, 60.0, 600.0)):
        bench.over(number, "exit status 1: why")
        assert bench.last["event"] == "hook-failed"
        assert bench.last["why"] == "exit status 1: why"
        assert bench.last["retry_in"] == f"{wait:.0f}s"
        bench.pause(wait - 0.5)
        assert len(bench.told) == number + 1
        bench.pause(0.5)
        assert len(bench.told) == number + 2
    bench.over(3, "exit status 2")
    assert bench.last["event"] == "hook-given-up"
    assert bench.last["why"] == "exit status 2"
    assert len({told.data for told in bench.told}) == 1
    assert bench.clock.getDelayedCalls() == []


def test_a_hook_that_works_again_is_not_told_once_more() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    bench.over(0, "exit status 1")
    bench.pause(10)
    bench.over(1)
    assert bench.lines.events == ["hook-failed", "hook-done"]
    assert bench.clock.getDelayedCalls() == []


def test_a_hook_that_cannot_be_begun_has_failed() -> None:
    bench = Bench(LOCK)

    def no_process(*_: Any) -> Any:
        raise OSError("no process left")

    bench.begin = no_process
    bench.happens(suspended())
    assert bench.last["event"] == "hook-failed"
    assert bench.last["why"] == "OSError('no process left')"
    bench.begin = bench._begin
    bench.pause(10)
    assert len(bench.told) == 1


def test_a_fault_while_a_hook_is_told_is_a_failure() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    bench.told[0].ended.errback(ValueError("a fault"))
    bench.pause()
    assert bench.last["event"] == "hook-failed"
    assert "a fault" in bench.last["why"]


def test_a_fault_of_ours_stays_with_us() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended(since=WallTime(float("inf"))))
    assert bench.last["event"] == "task-failed"
    assert bench.last["task"] == "hooks"


def test_a_hook_that_takes_too_long_is_ended() -> None:
    bench = Bench(replace(LOCK, timeout=7.5))
    bench.happens(suspended())
    bench.pause(7)
    assert bench.told[0].grace == []
    bench.pause(0.5)
    assert bench.told[0].grace == [hooks.GRACE]
    assert bench.lines.written == []  # it has not ended yet
    bench.over(0, "killed by SIGTERM")
    assert bench.last["why"] == "it took longer than 7.5s: killed by SIGTERM"
    bench.pause(10)
    bench.over(1, "exit status 1")
    assert bench.last["why"] == "exit status 1"


# at once


def test_four_are_told_at_once() -> None:
    bench = Bench(LOCK)
    bench.happens(*accounts(*range(10)))
    assert len(bench.told) == hooks.MOST_AT_ONCE == 4
    bench.over(2, "exit status 1")
    assert len(bench.told) == 5
    bench.over(1)
    assert len(bench.told) == 6
    for number in range(4, 20):
        if number < len(bench.told):
            bench.over(number)
    assert len(bench.told) == 10


def test_a_hook_that_hangs_does_not_keep_others_waiting_for_ever() -> None:
    bench = Bench(LOCK, PAGE)
    bench.rules = rules(LOCK)
    bench.happens(*accounts(*range(8)))
    bench.rules = rules(LOCK, PAGE)
    bench.happens(*accounts(8, 9))
    assert {told.hook for told in bench.told} == {LOCK}
    bench.over(0)
    assert [told.hook for told in bench.told[4:]] == [PAGE]
    bench.over(1)
    assert [told.hook for told in bench.told[5:]] == [PAGE]
    bench.over(2)
    assert [told.hook for told in bench.told[6:]] == [LOCK]


# in order


def test_of_one_mailbox_a_hook_is_told_in_order() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended(), lifted())
    assert len(bench.told) == 1
    bench.over(0, "exit status 1")
    assert len(bench.told) == 1  # lifted waits for the second try
    bench.pause(10)
    assert b'"event": "suspended"' in bench.told[1].data
    assert len(bench.told) == 2
    bench.over(1)
    assert b'"event": "lifted"' in bench.told[2].data


def test_other_mailboxes_and_other_hooks_do_not_wait() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    bench.over(0, "exit status 1")
    bench.rules = rules(LOCK, PAGE)
    bench.happens(lifted(), *accounts(7))
    assert [(told.hook, b"lifted" in told.data[:20]) for told in bench.told[1:]] == [
        (PAGE, True),
        (LOCK, False),
        (PAGE, False),
    ]


def test_when_a_hook_is_given_up_what_came_later_is_told() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended(), lifted())
    for number, wait in enumerate((10, 60, 600, 0)):
        bench.over(number, "exit status 1")
        bench.pause(wait)
    assert b'"event": "lifted"' in bench.told[4].data


# after a reload


def test_a_hook_that_has_gone_from_the_rules_is_not_told_again() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    bench.over(0, "exit status 1")
    bench.rules = rules(PAGE)
    bench.pause(10)
    assert len(bench.told) == 1
    assert bench.last["event"] == "hook-given-up"
    assert bench.last["why"] == "the hook has gone from the rules"


def test_a_hook_that_does_not_want_to_know_any_more_is_not_told_again() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    bench.over(0, "exit status 1")
    bench.rules = rules(replace(LOCK, on=frozenset({HookEvent.LIFTED})))
    bench.pause(10)
    assert len(bench.told) == 1
    assert bench.last["event"] == "hook-given-up"


def test_a_hook_with_another_timeout_is_the_same() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    bench.over(0, "exit status 1")
    bench.rules = rules(replace(LOCK, timeout=99))
    bench.pause(10)
    assert bench.told[1].hook.timeout == 99
    bench.pause(98)
    assert bench.told[1].grace == []
    bench.pause(1)
    assert bench.told[1].grace == [hooks.GRACE]


# a full queue


def test_when_too_many_wait_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MOST_WAITING", 3)
    bench = Bench(LOCK)
    bench.happens(*accounts(0, 1, 2, 3))  # under way
    bench.happens(*accounts(4, 5, 6, 7, 8))
    for number in range(4):
        bench.over(number)
    names = [told.data.partition(b"user")[2][:1] for told in bench.told]
    assert names == [b"0", b"1", b"2", b"3", b"6", b"7", b"8"]


def test_what_is_tried_again_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MOST_WAITING", 3)
    bench = Bench(LOCK)
    for number in range(10):
        bench.happens(*accounts(number))
        bench.over(number, "exit status 1")
    dropped = [fields["count"] for fields in bench.lines.fields if "count" in fields]
    assert dropped == ["1"]
    bench.pause(10)
    names = [told.data.partition(b"user")[2][:1] for told in bench.told[10:]]
    assert names == [b"7", b"8", b"9"]
    bench.pause(50)
    assert bench.last == {"event": "hook-dropped", "count": "6", "why": "3 are waiting already"}


def test_a_thousand_may_wait() -> None:
    bench = Bench(LOCK)
    bench.happens(*accounts(*range(4)))
    bench.happens(*accounts(*range(4, 1004)))
    assert bench.lines.written == []
    bench.happens(*accounts(1004))
    assert bench.last["event"] == "hook-dropped"


def test_what_is_dropped_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MOST_WAITING", 1)
    bench = Bench(replace(LOCK, timeout=300))
    bench.happens(*accounts(*range(4)))
    bench.happens(*accounts(*range(4, 100)))
    said = {"event": "hook-dropped", "why": "1 are waiting already"}
    assert bench.lines.fields == [said | {"count": "1"}]
    bench.pause(59)
    assert len(bench.lines.fields) == 1
    bench.pause(1)
    assert bench.lines.fields[1:] == [said | {"count": "94"}]
    bench.pause(120)
    bench.happens(*accounts(200))
    assert bench.lines.fields[2:] == [said | {"count": "1"}]


# stop


def stopped(bench: Bench) -> list[None]:
    done: list[None] = []
    bench.hooks.stop().addCallback(done.append)
    return done


def test_with_nothing_under_way_a_stop_is_over_at_once() -> None:
    bench = Bench(LOCK)
    assert stopped(bench) == [None]
    assert bench.lines.written == []
    bench.happens(suspended())
    assert bench.told == []
    assert bench.clock.getDelayedCalls() == []


def test_a_stop_ends_what_is_under_way_and_begins_nothing_more() -> None:
    bench = Bench(LOCK)
    bench.happens(*accounts(*range(6)))
    done = stopped(bench)
    assert [len(told.grace) for told in bench.told] == [1, 1, 1, 1]
    assert all(told.grace[0] < hooks.PATIENCE == 2 for told in bench.told)
    bench.over(0)
    bench.over(1, "killed by SIGTERM")
    bench.over(2, "killed by SIGTERM")
    assert done == []
    bench.over(3)
    assert done == [None]
    assert len(bench.told) == 4
    assert bench.lines.fields == [
        {"event": "hook-dropped", "count": "4", "why": "the daemon stops"}
    ]
    assert all(told.hook.timeout == 10 for told in bench.told)
    assert bench.clock.getDelayedCalls() == []


def test_a_stop_waits_two_seconds_at_most() -> None:
    bench = Bench(LOCK)
    bench.happens(suspended())
    done = stopped(bench)
    bench.pause(1.9)
    assert done == []
    bench.pause(0.1)
    assert done == [None]
    assert bench.last == {"event": "hook-dropped", "count": "1", "why": "the daemon stops"}
    bench.over(0, "killed by SIGKILL")
    assert len(bench.lines.written) == 1


def test_a_stop_does_not_wait_for_what_is_to_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks, "MOST_WAITING", 1)
    bench = Bench(LOCK)
    for number in range(3):
        bench.happens(*accounts(number))
        bench.over(number, "exit status 1")
    assert stopped(bench) == [None]
    assert bench.last == {"event": "hook-dropped", "count": "2", "why": "the daemon stops"}
    assert bench.clock.getDelayedCalls() == []


# with real programs

HANG = "import os, signal, time\n{0}\nopen({1!r}, 'w').close()\nwhile True: time.sleep(1)\n"


def script(directory: Path, text: str) -> Hook:
    path = directory / "hook.py"
    path.write_text(text, encoding="utf-8")
    return Hook(ALL, command=(sys.executable, "-I", str(path)))


def real(reactor: Any, hook: Hook) -> tuple[Hooks, Lines]:
    lines = Lines()
    log = MailLog(lines)  # type: ignore[arg-type]
    return Hooks(reactor, lambda: rules(hook), log, now, Beginning(reactor)), lines


def test_a_real_program_is_told(tmp_path: Path) -> None:
    copy = f"import sys; open({str(tmp_path / 'news')!r}, 'w').write(sys.stdin.read())"
    hook = script(tmp_path, copy)

    def work(reactor: Any) -> Deferred[list[str]]:
        telling, lines = real(reactor, hook)
        telling.happened(suspended(name="al\udcffce$(id)@local.example"))
        return until(reactor, lambda: lines.written).addCallback(lambda _: lines.events)

    assert run(work) == ["hook-done"]
    news = (tmp_path / "news").read_text(encoding="ascii")
    assert '"name": "al\\\\udcffce$(id)@local.example"' in news


def test_a_real_program_that_hangs_is_ended(tmp_path: Path) -> None:
    hook = replace(script(tmp_path, HANG.format("", str(tmp_path / "x"))), timeout=0.2)

    def work(reactor: Any) -> Deferred[Any]:
        telling, lines = real(reactor, hook)
        telling.happened(suspended())
        return until(reactor, lambda: lines.written).addCallback(lambda _: lines.fields)

    (fields,) = run(work)
    assert fields["event"] == "hook-failed"
    assert fields["why"].startswith("it took longer than 0.2s: killed by SIG")


def test_a_real_program_that_hangs_does_not_delay_a_stop(tmp_path: Path) -> None:
    started = tmp_path / "started"
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    hook = script(tmp_path, HANG.format(ignore, str(started)))

    def work(reactor: Any) -> Deferred[Any]:
        telling, lines = real(reactor, hook)
        telling.happened(suspended())

        def stop(_: None) -> Deferred[Any]:
            return telling.stop().addCallback(lambda _: lines.fields)

        return until(reactor, started.exists).addCallback(stop)

    assert run(work) == [{"event": "hook-dropped", "count": "1", "why": "the daemon stops"}]


def test_a_real_server_that_hangs_is_not_waited_for_any_longer() -> None:
    def work(reactor: Any) -> Deferred[Any]:
        telling, lines = real(reactor, Hook(ALL, url=url, timeout=0.2))
        telling.happened(suspended())
        return until(reactor, lambda: lines.written).addCallback(lambda _: lines.fields)

    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        (fields,) = run(work)
    assert fields["event"] == "hook-failed"
    assert fields["hook"] == url
    # the clock of the reactor is a little before the connection's, or after it
    assert fields["why"] in (
        "it took longer than 0.2s: there was no answer",
        "TimeoutError: timed out",
    )
