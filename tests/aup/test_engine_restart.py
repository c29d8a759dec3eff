"""The engine over a restart, and where memory is short."""

from dataclasses import replace

import pytest
from aup.building import DAY, HOUR, Desk, external, limit, policy, request

from policyd.aup.policy import Count, EndSession, Mode, Recipients, Refuse, State
from policyd.aup.transaction import Connection

EACH = limit("each", "account", max=3, refuse=Refuse.RECIPIENT)
ALL = limit("all", "account", max=1000, count=Count.RECIPIENTS, recipients=Recipients.ALL)


# restarts


def test_everything_that_was_counted_goes_on() -> None:
    repeat = limit("repeat", "account likeness recipient", count=Count.MESSAGES, max=2)
    desk = Desk(policy(limit(max=5), repeat, ALL))
    assert desk.mail(*external(3)) == "DUNNO"
    assert desk.mail(*external(1)) == "DUNNO"
    desk.journal()
    assert desk.restart() == []
    assert desk.mail(*external(3, start=3)) == "521"  # six recipients of similar mail
    assert desk.mail(*external(1)) == "521"  # the third to the same one
    assert desk.mail(*external(2, start=3)) == "DUNNO"
    assert (desk.usage("bulk"), desk.usage("all")) == (5, 6)


def test_after_a_kill_what_was_not_written_is_forgotten_and_nothing_else() -> None:
    desk = Desk(policy(limit(max=5), ALL))
    assert desk.mail(*external(2)) == "DUNNO"
    desk.journal()
    assert desk.mail(*external(2, start=2)) == "DUNNO"
    desk.restart(kill=True)
    assert (desk.usage("bulk"), desk.usage("all")) == (2, 2)


def test_time_passes_between_two_runs() -> None:
    desk = Desk(policy(limit(max=2, window=HOUR)))
    assert desk.mail(*external(2)) == "DUNNO"
    desk.journal()
    desk.wall += HOUR + 20
    desk.restart()
    assert desk.mail(*external(2, start=2)) == "DUNNO"


@pytest.mark.parametrize("step", [-1, -HOUR, -DAY, -400 * DAY])
def test_a_clock_that_was_stepped_back_between_two_runs_locks_nobody_out(step: float) -> None:
    desk = Desk(policy(limit(max=2)))
    assert desk.mail(*external(2)) == "DUNNO"
    desk.journal()
    desk.wall += step
    desk.restart()
    assert desk.usage("bulk") == 2
    assert desk.mail(*external(1, start=2)) == "521"
    desk.later(DAY + 300)
    assert desk.usage("bulk") == 0
    assert desk.mail(*external(2, start=2)) == "DUNNO"


def test_a_group_that_has_ended_stays_so_whatever_the_clock_did() -> None:
    desk = Desk(policy(limit(max=5)))
    assert desk.mail(*external(3)) == "DUNNO"
    desk.step(HOUR)  # before anything is written
    desk.journal()
    desk.later(DAY - HOUR + 600)
    assert desk.usage("bulk") == 0
    desk.journal()
    desk.step(-HOUR)
    desk.restart()
    assert len(desk.engine.counts.groups["account"]) == 0


def test_what_counts_something_else_starts_empty() -> None:
    desk = Desk(policy(limit(max=5), ALL))
    assert desk.mail(*external(2)) == "DUNNO"
    changed = limit(max=5, recipients=Recipients.ALL)
    assert desk.restart(policy(changed, ALL)) == ["bulk"]
    assert (desk.usage("bulk"), desk.usage("all")) == (0, 2)


def test_a_message_under_way_is_decided_on_its_own_recipients() -> None:
    desk = Desk(policy(limit(max=249), ALL))
    desk.next_message()
    for recipient in ("a@away.example", "u@local.example", "b@away.example"):
        assert desk.rcpt(recipient) == "DUNNO"
    desk.restart()
    assert desk.rcpt("c@away.example") == "DUNNO"
    assert desk.end(4) == "DUNNO"
    assert (desk.usage("bulk"), desk.usage("all")) == (3, 4)


def test_a_message_under_way_waits_an_hour_and_holds_for_5_seconds() -> None:
    desk = Desk(policy(EACH, ALL))
    desk.next_message()
    for recipient in external(3):
        desk.rcpt(recipient)
    desk.restart()
    other = Connection("mx")

    def of_another(recipient: str) -> str:
        asked = request("RCPT", recipient, instance="other")
        return desk.ask(asked, other).verdict.verb

    assert of_another("x@away.example") == "REJECT"
    desk.later(5)
    assert of_another("x@away.example") == "DUNNO"
    desk.later(3594)
    assert desk.end(3) == "521"  # on its own recipients; the other one has reserved
    desk.restart()
    desk.later(3600)
    assert len(desk.engine.transactions) == 0


def test_what_was_refused_is_not_counted_after_a_restart_either() -> None:
    desk = Desk(policy(limit(max=2), ALL, end_session=EndSession.NO))
    desk.next_message()
    for recipient in external(3):
        desk.rcpt(recipient)
    assert desk.end(3, size=1000) == "REJECT"
    desk.restart()
    assert desk.rcpt("new@away.example") == "DUNNO"
    assert desk.end(4, size=1700) == "DUNNO"  # Postfix adds up
    assert (desk.usage("bulk"), desk.usage("all")) == (1, 1)


def test_what_was_noted_is_not_charged_after_a_restart_either() -> None:
    observed = replace(EACH, max=1, mode=Mode.OBSERVE)
    desk = Desk(policy(observed, ALL))
    desk.next_message()
    for recipient in external(2):
        assert desk.rcpt(recipient) == "DUNNO"
    desk.restart()
    assert desk.end(2) == "DUNNO"
    assert (desk.usage("each"), desk.usage("all")) == (0, 2)


@pytest.mark.parametrize("most", [3, 2])
def test_a_repeated_end_gets_the_same_answer_from_the_next_daemon(most: int) -> None:
    desk = Desk(policy(limit(max=most)))
    verb = desk.mail(*external(3))
    assert verb == ("DUNNO" if most == 3 else "521")
    desk.journal()
    desk.restart(kill=True)
    assert desk.end(3) == verb
    assert desk.usage("bulk") == (3 if most == 3 else 0)


def test_an_exempt_message_under_way_stays_exempt_and_keeps_its_recipients() -> None:
    desk = Desk(policy(limit(max=2)))
    desk.next_message()
    for recipient in external(2):
        desk.rcpt(recipient)
    desk.restart(policy(limit(max=1)))
    assert desk.end(2) == "521"


# where memory is short


def capped(desk: Desk, **most: int) -> None:
    rules = desk.engine.policy
    desk.engine.obey(replace(rules, state=State(**most)), desk.now)


def test_keys_are_capped_and_who_is_near_the_limit_is_not_forgotten() -> None:
    desk = Desk(policy(limit("each", "sender", max=10)))
    for n in range(5):
        desk.mail("a@away.example", sender=f"old{n}@local.example")
    assert desk.mail(*external(5), sender="near@local.example") == "DUNNO"
    desk.later(HOUR)
    for n in range(20):
        desk.mail("a@away.example", sender=f"new{n}@local.example")
    capped(desk, max_keys=22)
    for _ in range(20):
        desk.later(1)
    desk.engine._check()
    counter = desk.engine.counts.counter(desk.engine.policy.limits[0])
    assert len(counter) <= 22
    assert sum(desk.engine.counts.evicted.values()) >= 4
    assert desk.mail(*external(6, start=5), sender="near@local.example") == "521"


def test_memory_is_capped_and_the_group_of_whoever_is_near_stays() -> None:
    desk = Desk(policy(limit(max=10)))
    assert desk.mail(*external(10), size=500) == "DUNNO"
    desk.later(HOUR)
    for n in range(400):
        desk.mail("a@away.example", size=1000 + 200 * n)
    held = desk.engine.counts
    before = held.groups["account"].weight
    capped(desk, max_memory=before)
    for _ in range(20):
        desk.later(1)
    desk.engine._check()
    assert sum(one.weight for _, one in held.counters()) + held.groups["account"].weight <= before
    assert held.evicted
    assert desk.mail("new@away.example", size=510) == "521"


def test_within_the_caps_nothing_is_forgotten() -> None:
    desk = Desk(policy(limit(max=10)))
    for n in range(100):
        desk.mail("a@away.example", size=1000 + 200 * n)
    capped(desk, max_keys=100)
    for _ in range(20):
        desk.later(1)
    assert not desk.engine.counts.evicted
    assert desk.usage("bulk") == 100


def test_open_transactions_are_capped_and_the_oldest_goes() -> None:
    desk = Desk(policy(limit(max=5), ALL))
    desk.engine.transactions.most_open = 3
    for n in range(5):
        asked = request("RCPT", "a@away.example", instance=f"i{n}")
        desk.ask(asked, Connection("mx"))
    desk.later(1)
    assert len(desk.engine.transactions) == 3
    kept = [one.attributes["instance"] for one in desk.engine.open_transactions(desk.now)]
    assert kept == ["i2", "i3", "i4"]


def test_recipients_of_open_transactions_are_capped() -> None:
    desk = Desk(policy(ALL))
    desk.engine.transactions.most_recipients = 10
    for n in range(4):
        for recipient in external(4):
            desk.ask(request("RCPT", recipient, instance=f"i{n}"), Connection("mx"))
    desk.later(1)
    assert len(desk.engine.transactions) == 2
    # what comes without an instance is no open transaction
    for recipient in external(30):
        desk.ask(request("RCPT", recipient, instance=""), Connection("mx"))
    desk.later(1)
    assert len(desk.engine.transactions) == 2
