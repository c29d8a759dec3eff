"""What was refused is counted once a message, and kept like all counts."""

import random

import pytest
from aup.building import DAY, HOUR, Desk, external, limit, policy, request
from conftest import Lower

from policyd.aup import tally as tallies
from policyd.aup.event import Exceeded
from policyd.aup.incident import Suspension, SuspensionKind
from policyd.aup.policy import Action, Count, EndSession, Mode, Refuse
from policyd.aup.tally import KEPT_FOR, Entry, Tally
from policyd.clock import WallTime

ALICE = "alice@local.example"
FEW = limit("few", "account", max=3)


def told(desk: Desk, since: float = 0.0) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return messages and recipients by entry."""
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for parts in desk.engine.tally.parts(since, 2):
        assert 0 < len(parts) <= 2
        for key, messages, recipients in parts:
            entry = tuple(Entry.of(key))
            before = found.get(entry, (0, 0))
            found[entry] = before[0] + messages, before[1] + recipients
    return found


def suspend(desk: Desk, name: str = ALICE, kind: SuspensionKind = SuspensionKind.MAILBOX) -> None:
    one = Suspension(kind, name, desk.now.wall, None, "anna", "stolen")
    desk.engine.ladder.suspensions.add(one)
    desk.engine.ladder.take_effect([one])


def test_what_passes_is_not_counted() -> None:
    desk = Desk(policy(FEW))
    assert desk.mail(*external(3)) == "DUNNO"
    assert told(desk) == {}


def test_a_message_that_is_refused_at_its_end_is_one_with_all_its_recipients() -> None:
    desk = Desk(policy(FEW))
    assert desk.mail(*external(5)) == "521"
    assert told(desk) == {("refused", "few", ALICE): (1, 5)}
    desk.mail(*external(4))
    assert told(desk) == {("refused", "few", ALICE): (2, 9)}


def test_a_message_that_is_refused_recipient_by_recipient_is_one() -> None:
    desk = Desk(policy(FEW))
    desk.mail(*external(3))
    desk.next_message()
    for address in external(4, start=10):
        assert desk.rcpt(address) == "REJECT"
    desk.next_message()
    assert desk.rcpt("z@away.example") == "REJECT"
    assert told(desk) == {("refused", "few", ALICE): (2, 5)}


def test_single_recipients_that_are_refused_are_of_one_message() -> None:
    desk = Desk(policy(limit("each", "account", max=2, refuse=Refuse.RECIPIENT)))
    desk.next_message()
    assert [desk.rcpt(a) for a in external(5)] == ["DUNNO"] * 2 + ["REJECT"] * 3
    assert desk.end(2) == "DUNNO"
    assert told(desk) == {("refused", "each", ALICE): (1, 3)}


def test_a_message_that_goes_on_after_a_refusal_is_another_one() -> None:
    desk = Desk(policy(FEW, end_session=EndSession.NO))
    desk.next_message()
    for address in external(4):
        desk.rcpt(address)
    assert desk.end(4, size=1000, queue_id="A") == "REJECT"
    for address in external(5, start=20):
        desk.rcpt(address)
    assert desk.end(9, size=2000, queue_id="B") == "REJECT"  # Postfix adds up
    assert told(desk) == {("refused", "few", ALICE): (2, 9)}


def test_a_repeated_question_counts_nothing() -> None:
    desk = Desk(policy(FEW))
    desk.next_message()
    for address in external(4):
        desk.rcpt(address)
    assert [desk.end(4), desk.end(4)] == ["521", "521"]
    assert told(desk) == {("refused", "few", ALICE): (1, 4)}


def test_each_limit_that_would_have_refused_counts() -> None:
    watched = limit("watched", "account", count=Count.RECIPIENTS, max=1, mode=Mode.OBSERVE)
    warned = limit("warned", "account", count=Count.RECIPIENTS, max=1, action=Action("WARN", ""))
    desk = Desk(policy(FEW, watched, warned))
    assert desk.mail(*external(2)) == "WARN"
    assert told(desk) == {
        ("would-refuse", "watched", ALICE): (1, 2),
        ("would-refuse", "warned", ALICE): (1, 2),
    }


def test_the_mail_of_the_suspended_counts_by_what_is_suspended() -> None:
    desk = Desk(policy(FEW))
    suspend(desk)
    desk.next_message()
    assert [desk.rcpt(a) for a in external(3)] == ["REJECT"] * 3
    suspend(desk, "other.example", SuspensionKind.DOMAIN)
    assert desk.mail("a@away.example", sasl_username="bob@other.example") == "REJECT"
    assert told(desk) == {
        ("blocked", "mailbox", ALICE): (1, 3),
        ("blocked", "domain", "bob@other.example"): (1, 1),
    }


def test_who_has_no_account_is_known_by_his_address() -> None:
    desk = Desk(policy(limit("clients", "client_address", count=Count.MESSAGES, max=0)))
    assert desk.mail("a@away.example", sasl_username="") == "REJECT"
    assert told(desk) == {("refused", "clients", "192.0.2.7"): (1, 1)}


def test_only_what_was_counted_since_is_told() -> None:
    desk = Desk(policy(FEW))
    desk.mail(*external(5))
    desk.later(2 * DAY)
    desk.mail(*external(4))
    assert told(desk, desk.wall - DAY) == {("refused", "few", ALICE): (1, 4)}
    assert told(desk, desk.wall - 3 * DAY) == {("refused", "few", ALICE): (2, 9)}
    desk.later(KEPT_FOR - DAY)
    assert told(desk) == {("refused", "few", ALICE): (1, 4)}
    desk.later(2 * DAY)
    assert told(desk) == {}
    assert len(desk.engine.tally.messages) == len(desk.engine.tally.recipients) == 0


@pytest.mark.parametrize("kill", [False, True])
def test_it_goes_on_after_a_restart(*, kill: bool) -> None:
    desk = Desk(policy(FEW))
    desk.mail(*external(5))
    desk.journal()
    desk.mail(*external(4))
    desk.restart(kill=kill)
    assert told(desk) == {("refused", "few", ALICE): (1, 5) if kill else (2, 9)}
    desk.mail(*external(4))
    desk.journal()
    desk.restart()
    assert told(desk) == {("refused", "few", ALICE): (2, 9) if kill else (3, 13)}


def test_all_of_it_is_given_when_everything_is_written_anew() -> None:
    desk = Desk(policy(FEW))
    desk.mail(*external(5))
    desk.journal()
    kept = desk.engine.whole(desk.now)
    other = Tally()
    other.restore(kept, desk.now.wall)
    assert [p for parts in other.parts(0, 9) for p in parts] == [
        p for parts in desk.engine.tally.parts(0, 9) for p in parts
    ]
    assert len(other.messages) == 1


def test_without_room_for_names_the_sums_stay_right(lower: Lower) -> None:
    lower(tallies, "MOST_NAMES", 3)
    desk = Desk(policy(FEW))
    for number in range(6):
        desk.mail(*external(5), sasl_username=f"box{number}")
    desk.mail(*external(4), sasl_username="box0")  # has a name already
    assert told(desk) == {
        ("refused", "few", "box0@local.example"): (2, 9),
        ("refused", "few", "box1@local.example"): (1, 5),
        ("refused", "few", "box2@local.example"): (1, 5),
        ("refused", "few", ""): (3, 15),
    }


def test_its_memory_is_bounded(lower: Lower) -> None:
    lower(tallies, "MOST_WEIGHT", 3_000)
    desk = Desk(policy(FEW))
    for number in range(400):
        desk.mail(*external(5), sasl_username=f"box{number % 20}")
        desk.later(3 * HOUR)
    tally = desk.engine.tally
    assert tally.recipients.weight < 9_000  # the nameless have an entry a bucket all the same
    assert tally.messages.weight == tally.recipients.weight
    names = {who for _, _, who in told(desk)}
    assert "" in names
    messages, recipients = (sum(column) for column in zip(*told(desk).values(), strict=True))
    assert (messages, recipients) == (240, 5 * 240)


def exceeded(instance: str) -> Exceeded:
    desk = Desk(policy(FEW))
    asked = request("RCPT", "a@away.example", instance=instance, sasl_username=ALICE)
    desk.mail(*external(3))
    desk.next_message()
    (event, *_) = desk.ask(asked).events
    assert isinstance(event, Exceeded)
    return event


def test_messages_that_never_end_are_not_remembered_for_ever(lower: Lower) -> None:
    lower(tallies, "_MOST_UNDER_WAY", 2)
    tally = Tally()
    for number in range(5):
        event = exceeded(f"{number}")
        tally.note(event.request, [event], WallTime(1e9))
        tally._check()
    (messages, _) = tally.parts(0, 9)
    assert [part.messages for part in messages] == [5]


def test_entries_are_told_in_parts_whatever_they_are() -> None:
    seed = random.Random(5)
    desk = Desk(policy(FEW))
    expected = [0, 0]
    for _ in range(300):
        count = seed.randrange(4, 9)
        desk.mail(*external(count), sasl_username=f"box{seed.randrange(9)}")
        expected[0] += 1
        expected[1] += count
        desk.later(seed.choice([0, 60, HOUR]))
    assert [sum(column) for column in zip(*told(desk).values(), strict=True)] == expected
    desk.engine.tally._check()
